"""The client sees the words while the user still speaks; what it has seen is never taken back, only completed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import running_node
from tests.e2e.test_drafts import PATIENCE_S, SECOND, STATED, Asked, pause, speech
from voiceedge.audio.pcm import PCM
from voiceedge.engines import Prompt, Segment
from voiceedge.engines.fake import FakeStt, fake_engines
from voiceedge.session import following
from voiceedge.session.compute import Compute
from voiceedge.session.load import FOLLOWS_BELOW

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
WORDS_A_SECOND = 5
DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


def so_far(audio: PCM) -> str:
    return " ".join(WORDS[: max(1, len(audio) * WORDS_A_SECOND // SECOND)])


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "INTERVAL_S", 0.2)


async def speaks(caller: Caller, transcription: bool = True) -> None:
    heard = {"turn_detection": STATED, "transcription": {"model": "whisper-1"} if transcription else None}
    await caller.update(audio={"input": heard})
    await caller.hear_in_real_time(speech(1.5) + pause(0.7))
    await caller.until("voiceedge.turn")


async def test_the_words_come_while_the_user_speaks_and_add_up_to_the_transcript():
    with running_node(fake_engines(text=so_far)) as node:
        async with calling(node.url) as caller:
            await speaks(caller)
            kinds = caller.types()
            assert kinds.index(DELTA) < kinds.index("input_audio_buffer.speech_stopped")
            [started], [completed] = caller.of("input_audio_buffer.speech_started"), caller.of(COMPLETED)
            deltas = caller.of(DELTA)
            assert "".join(event["delta"] for event in deltas) == completed["transcript"]
            assert {event["item_id"] for event in [*deltas, completed]} == {started["item_id"]}


async def test_what_turns_out_to_be_wrong_is_replaced_by_the_whole():
    def changes_its_mind(audio: PCM) -> str:
        return so_far(audio) if len(audio) < 1.5 * SECOND else "Something else."

    with running_node(fake_engines(text=changes_its_mind)) as node:
        async with calling(node.url) as caller:
            await speaks(caller)
            [completed] = caller.of(COMPLETED)
            assert completed["transcript"] == "Something else."
            assert not any("Something" in event["delta"] for event in caller.of(DELTA))


async def test_who_does_not_want_to_see_words_sees_none():
    with running_node(fake_engines(text=so_far)) as node:
        async with calling(node.url) as caller:
            await speaks(caller, transcription=False)
            assert caller.of(DELTA) == caller.of(COMPLETED) == []


async def test_the_words_are_prefilled_while_the_user_speaks():
    prompts: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        prompts.append(prompt)
        return "Yes."

    with running_node(fake_engines(text=so_far, answer=answer)) as node:
        async with calling(node.url) as caller:
            await speaks(caller)
            [turn] = caller.of("voiceedge.turn")
            said = next(message.text for message in prompts[-1].messages if message.role == "user")
            assert turn["facts"]["prefill_tokens"] < len(said.split())


async def test_a_hypothesis_that_fails_disturbs_nobody():
    broken = {"stt"}
    with running_node(fake_engines(text=so_far, fail_at=broken)) as node:
        async with calling(node.url) as caller:
            await caller.update(audio={"input": {"turn_detection": STATED, "transcription": {"model": "whisper-1"}}})
            await caller.hear_in_real_time(speech(0.9))
            broken.clear()
            await caller.hear_in_real_time(pause(0.7))
            await caller.until("voiceedge.turn")
            assert caller.of("error") == []
            assert caller.of(COMPLETED)[0]["transcript"]


class Remembering(FakeStt):
    """Knows what it was told of the beginning, and can be held up."""

    def __init__(self) -> None:
        super().__init__(so_far)
        self.told: list[str] = []
        self.began = 0
        self.held = threading.Event()
        self.held.set()

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """Keep what is known."""
        self.told.append(" ".join(segment.text for segment in earlier))
        self.began += 1
        self.held.wait(PATIENCE_S)
        yield from super().transcribe(audio)


async def listening(caller: Caller) -> None:
    await caller.update(audio={"input": {"turn_detection": STATED, "transcription": {"model": "whisper-1"}}})


async def test_what_was_understood_in_a_pause_is_a_hypothesis_when_the_user_goes_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "INTERVAL_S", 60.0)
    stt, asked = Remembering(), Asked()
    with running_node(replace(fake_engines(), stt=stt)) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            for pauses in (1, 2):
                await caller.hear(speech(0.6) + pause(0.2))
                await asked.until(lambda pauses=pauses: stt.began == pauses and "transcribe" not in node.tasks())
            await caller.hear(speech(0.6) + pause(0.7))
            await caller.until("voiceedge.turn")
            nothing, *known = (len(told.split()) for told in stt.told)
            assert nothing == 0
            assert 0 < known[0] < known[1]
            kinds = caller.types()
            assert kinds.index(DELTA) < kinds.index("input_audio_buffer.speech_stopped")
            [completed] = caller.of(COMPLETED)
            assert "".join(event["delta"] for event in caller.of(DELTA)) == completed["transcript"]


async def test_so_is_what_the_step_in_flight_understands_after_that(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(following, "INTERVAL_S", 60.0)
    stt, asked = Remembering(), Asked()
    with running_node(replace(fake_engines(), stt=stt)) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            stt.held.clear()
            await caller.hear(speech(0.6) + pause(0.2))
            await asked.until(lambda: stt.began == 1)
            await caller.hear(speech(0.6))
            await asked.until(lambda: "draft" not in node.tasks())
            stt.held.set()
            await asked.until(lambda: "transcribe" not in node.tasks())
            await caller.hear(pause(0.7))
            await caller.until("voiceedge.turn")
            nothing, known = stt.told
            assert nothing == ""
            assert known


async def test_hanging_up_while_a_pause_is_being_understood_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(following, "INTERVAL_S", 60.0)
    stt, asked = Remembering(), Asked()
    with running_node(replace(fake_engines(), stt=stt)) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            stt.held.clear()
            await caller.hear(speech(0.6) + pause(0.2) + speech(0.6))
            await asked.until(lambda: stt.began == 1)
            await asked.until(lambda: "draft" not in node.tasks())
        stt.held.set()
        await asked.until(lambda: not node.tasks() & {"transcribe", "follow"})
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]


async def test_a_node_that_has_much_to_do_makes_no_hypotheses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Compute, "load", FOLLOWS_BELOW)
    stt = Remembering()
    with running_node(replace(fake_engines(), stt=stt)) as node:
        async with calling(node.url) as caller:
            await speaks(caller)
            assert stt.told == [""]
            [turn] = caller.of("voiceedge.turn")
            assert turn["facts"]["followed_ms"] == 0


async def test_what_hypotheses_cost_is_told():
    stt = FakeStt(so_far, 0.02)
    with running_node(replace(fake_engines(), stt=stt)) as node:
        async with calling(node.url) as caller:
            await speaks(caller)
            [turn] = caller.of("voiceedge.turn")
            assert turn["facts"]["followed_ms"] >= 20
