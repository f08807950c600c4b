"""A client that goes away at any step of a turn, an engine that raises at any step: the others notice nothing."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import groupby

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import Caller, calling
from tests.e2e.faults import STEPS, Faults, settled
from tests.e2e.nodes import RunningNode, running_node
from tests.faulty import SPARED, Panic
from tests.protocol.order import check
from tests.speech import utterance
from voiceedge.engines import Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.errors import NodeError

log = logging.getLogger(__name__)

SLOTS = 4
WORDS = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."
NEIGHBOURS_ANSWER = f"A good {SPARED} notices nothing of it."
STORY = " ".join(f"This is sentence number {n} of a long story." for n in range(40))
PIECE_BYTES = 2 * 24_000 // 5  # 200 ms


def _answer(prompt: Prompt) -> str:
    instructions = prompt.messages[0].text
    if SPARED in instructions:
        return NEIGHBOURS_ANSWER
    return STORY if "story" in instructions else ANSWER


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest.fixture(scope="module")
def llm() -> FakeLlm:
    return FakeLlm(_answer, slots=SLOTS)


@pytest.fixture(scope="module")
def node(faults: Faults, llm: FakeLlm):
    engines = fake_engines(text=WORDS)
    object.__setattr__(engines, "llm", llm)
    with running_node(faults.engines(engines), max_sessions=SLOTS) as node:
        yield node


@asynccontextmanager
async def a_neighbour(node: RunningNode) -> AsyncIterator[Caller]:
    """Somebody who is connected all the time."""
    async with calling(node.url) as neighbour:
        await neighbour.update(instructions=f"You are the {SPARED}.")
        yield neighbour
        check(neighbour.seen)


async def asks(caller: Caller, text: str) -> None:
    content = [{"type": "input_text", "text": text}]
    await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await caller.send("response.create")


async def is_answered(caller: Caller, answer: str) -> None:
    done = (await caller.until("response.done"))["response"]
    while done["status"] == "cancelled":  # talked over
        done = (await caller.until("response.done"))["response"]
    assert done["status"] == "completed", done["status_details"]
    assert done["output"][0]["content"][0]["transcript"].strip() == answer


async def speaks(caller: Caller, text: str = WORDS, pause_s: float = 1.6) -> None:
    audio = utterance(text, pause_s)
    for begin in range(0, len(audio), PIECE_BYTES):
        chunk = base64.b64encode(audio[begin : begin + PIECE_BYTES]).decode()
        await caller.send("input_audio_buffer.append", audio=chunk)


# ── the client goes away ──────────────────────────────────────────────────────────────────────────────


class _CutError(Exception):
    """Here the connection is cut."""


class CutCaller(Caller):
    """Cuts its own connection after so many steps, sent or received."""

    def __init__(self, caller: Caller, cut_after: int | None) -> None:
        super().__init__(caller.socket)
        self.steps: list[str] = []
        self.cut_after = cut_after

    async def send(self, kind: str, **fields: object) -> None:
        await super().send(kind, **fields)
        self._step(f"> {kind}")

    async def next(self) -> dict[str, object]:
        event = await super().next()
        self._step(f"< {event['type']}")
        return event

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) == self.cut_after:
            raise _CutError


async def by_voice(caller: Caller) -> None:
    await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
    await speaks(caller)
    await caller.until("voiceedge.turn")


async def by_button(caller: Caller) -> None:
    await caller.update(audio={"input": {"turn_detection": None}})
    await speaks(caller, pause_s=0.0)
    await caller.send("input_audio_buffer.commit")
    await caller.send("response.create")
    await caller.until("voiceedge.turn")


async def by_text(caller: Caller) -> None:
    await caller.update(output_modalities=["text"])
    await asks(caller, WORDS)
    await caller.until("voiceedge.turn")
    await caller.send("response.create", response={"output_modalities": ["audio"]})
    await caller.until("response.output_audio.delta")
    await caller.send("response.cancel")
    await caller.until("voiceedge.turn")


async def by_barging_in(caller: Caller) -> None:
    await caller.update(instructions="Tell a story.")
    await speaks(caller)
    await caller.until("response.output_audio.delta")
    await speaks(caller)
    await caller.until("input_audio_buffer.speech_started")
    done = await caller.until("response.done")
    item_id = done["response"]["output"][0]["id"]
    await caller.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=300)
    await caller.until("response.output_audio.delta")
    await caller.send("response.cancel")
    await caller.until("response.done")


SCRIPTS = (by_voice, by_button, by_text, by_barging_in)
LEAST_POINTS = {by_voice: 30, by_button: 25, by_text: 25, by_barging_in: 35}
Script = Callable[[Caller], Awaitable[None]]


async def run(node: RunningNode, script: Script, cut_after: int | None, *, politely: bool) -> list[str]:
    """Play a script until it is cut; returns its steps."""
    async with calling(node.url) as plain:
        caller = CutCaller(plain, cut_after)
        try:
            await script(caller)
        except _CutError:
            if not politely:
                caller.socket.transport.abort()
    return caller.steps


def points(steps: list[str]) -> list[int]:
    """After every step, of a run of the same event after its first and its last."""
    found: list[int] = []
    for _, same in groupby(enumerate(steps, 1), lambda step: step[1]):
        places = [place for place, _ in same]
        found += places if steps[places[0] - 1].startswith(">") else sorted({places[0], places[-1]})
    return found


@pytest.mark.parametrize("politely", [False, True], ids=["abort", "close"])
@pytest.mark.parametrize("script", SCRIPTS)
async def test_a_client_may_go_away_after_any_step(
    node: RunningNode,
    llm: FakeLlm,
    faults: Faults,
    script: Script,
    politely: bool,
):
    faults.disarm()
    async with a_neighbour(node) as neighbour:
        cuts = points(await run(node, script, None, politely=True))
        for cut in cuts:
            await asks(neighbour, "Can you hear anything?")
            await run(node, script, cut, politely=politely)
            await is_answered(neighbour, NEIGHBOURS_ANSWER)
            await settled(node, sessions=1)
            assert llm.free_slots == SLOTS - 1
    log.info("%s: %d points", script.__name__, len(cuts))
    assert len(cuts) >= LEAST_POINTS[script]
    assert faults.shared_streams == 0


@pytest.mark.parametrize(
    "opening",
    [
        b"",
        b"GET /v1/realtime?model=x HTTP/1.1\r\n",
        b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s\r\n"
        % b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ],
    ids=["connected", "half a handshake", "a handshake"],
)
async def test_a_client_may_go_away_before_it_is_greeted(node: RunningNode, llm: FakeLlm, opening: bytes):
    async with a_neighbour(node) as neighbour:
        _, writer = await asyncio.open_connection("127.0.0.1", node.port)
        writer.write(opening)
        await writer.drain()
        writer.transport.abort()
        await asks(neighbour, "Can you hear anything?")
        await is_answered(neighbour, NEIGHBOURS_ANSWER)
        await settled(node, sessions=1)
    assert llm.free_slots >= SLOTS - 1


# ── an engine raises ──────────────────────────────────────────────────────────────────────────────────

ERRORS = (RuntimeError, MemoryError, NodeError, Panic)
HARMLESS = ("end_of_turn", "llm.warm")
"""Steps without which a turn comes to its end all the same."""
ONCE_A_SESSION = ("vad.open", "llm.open", "llm.close")


async def taken_in_a_turn(node: RunningNode, faults: Faults) -> dict[str, int]:
    faults.disarm()
    async with calling(node.url) as caller:
        await speaks(caller)
        await is_answered(caller, ANSWER)
    await settled(node, sessions=0)
    return dict(faults.taken)


async def test_every_kind_of_step_is_taken_in_a_turn(node: RunningNode, faults: Faults):
    assert set(await taken_in_a_turn(node, faults)) == set(STEPS)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", [step for step in STEPS if step not in ONCE_A_SESSION])
async def test_an_engine_may_raise_at_any_step(
    node: RunningNode,
    faults: Faults,
    step: str,
    error: type[BaseException],
):
    times = (await taken_in_a_turn(node, faults))[step]
    numbers = sorted({1, min(2, times), (times + 1) // 2, times})
    async with a_neighbour(node) as neighbour:
        for number in numbers:
            await asks(neighbour, "Can you hear anything?")
            async with calling(node.url) as caller:
                if step == "llm.warm":
                    faults.arm(step, number, error("boom"))
                    await caller.update(instructions=f"Be brief {number} times.")
                faults.arm(step, number, error("boom"))
                await speaks(caller)
                await _a_turn_with_a_fault(caller, step)
                assert step == "llm.warm" or not faults.is_armed
                faults.disarm()
                await speaks(caller)
                await is_answered(caller, ANSWER)
                check(caller.seen)
            await is_answered(neighbour, NEIGHBOURS_ANSWER)
            await settled(node, sessions=1)
    log.info("%s: %d points", step, len(numbers))


async def _a_turn_with_a_fault(caller: Caller, step: str) -> None:
    if step == "vad.frame":
        await caller.until("error")
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
    elif step in HARMLESS:
        await is_answered(caller, ANSWER)
    else:
        done = (await caller.until("response.done"))["response"]
        assert done["status"] == "failed", step
        assert done["status_details"]["error"]["message"]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError, NodeError])
@pytest.mark.parametrize("step", ONCE_A_SESSION)
async def test_a_session_that_cannot_be_opened_or_closed_is_alone(
    node: RunningNode, faults: Faults, llm: FakeLlm, step: str, error: type[BaseException]
):
    faults.disarm()
    async with a_neighbour(node) as neighbour:
        await asks(neighbour, "Can you hear anything?")
        faults.arm(step, 1, error("boom"))
        if step == "llm.close":
            async with calling(node.url):
                pass
        else:
            async with connect(f"{node.url}?model=x") as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1011
        await is_answered(neighbour, NEIGHBOURS_ANSWER)
        await settled(node, sessions=1)
        assert llm.free_slots == SLOTS - 1
