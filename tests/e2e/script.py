"""A node whose language model says what a test has written down, and the client's side of text turns and calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.caller import Caller
from tests.e2e.nodes import RunningNode, running_node
from voiceedge.engines import Call, Message, Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.fake_llm import Said

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PARIS = Call("get_weather", '{"city": "Paris"}')
ROME = Call("get_weather", '{"city": "Rome"}')
LONG_CALL = Call("get_weather", '{"city": "' + "Llanfair" * 40 + '"}')
STORY = " ".join(f"This is sentence number {n} of a long story." for n in range(40))


class Script:
    """What the model says, answer by answer, and what it was shown. The last answer stays."""

    def __init__(self) -> None:
        self._next: deque[Said] = deque()
        self.prompts: list[Prompt] = []
        self.broken: set[Any] = set()
        """Engines that raise from now on."""

    def begin(self, *answers: Said) -> None:
        self.prompts.clear()
        self.broken.clear()
        self._next = deque(answers)

    def answer(self, prompt: Prompt) -> Said:
        self.prompts.append(prompt)
        return self._next.popleft() if len(self._next) > 1 else self._next[0]

    def shown(self, number: int = -1) -> list[Message]:
        """What the model was shown of the conversation, without the session's instructions."""
        return list(self.prompts[number].messages[1:])

    @contextmanager
    def node(self, delays: FakeDelays | None = None, **settings: Any) -> Iterator[RunningNode]:
        engines = fake_engines(delays, answer=self.answer, slots=8, fail_at=self.broken, context_tokens=4096)
        with running_node(engines, max_sessions=6, **settings) as node:
            yield node


async def write(caller: Caller, text: str, **fields: Any) -> dict[str, Any]:
    """Put a message of the user into the conversation."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content, **fields.pop("item", {})}
    await caller.send("conversation.item.create", item=item, **fields)
    return await caller.until("conversation.item.done")


async def respond(caller: Caller, **response: Any) -> dict[str, Any]:
    """Ask for a response and read up to its end."""
    await caller.send("response.create", response=response)
    return (await caller.until("response.done"))["response"]


async def returns(caller: Caller, call: dict[str, Any], output: str) -> dict[str, Any]:
    """Send a function's output back."""
    item = {"type": "function_call_output", "call_id": call["call_id"], "output": output}
    await caller.send("conversation.item.create", item=item)
    return await caller.until("conversation.item.done")


async def is_refused(caller: Caller, code: str) -> dict[str, Any]:
    """The next event, but for what follows every response, is an error of this code."""
    event = await caller.next()
    if event["type"] == "rate_limits.updated":
        event = await caller.next()
    assert event["type"] == "error", event
    assert event["error"]["code"] == code, event
    return event["error"]
