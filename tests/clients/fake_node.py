"""The node that the clients talk to when no weights are wanted: exact words, at once.

It says how much of the conversation it was shown, so that a client's script can tell whether its context arrived.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.nodes import RunningNode, running_node
from voiceedge.engines import Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_calls import act
from voiceedge.engines.fake_llm import Said

STORY = " ".join(f"This is sentence number {number} of a long story." for number in range(1, 41))


def answer(prompt: Prompt) -> Said:
    """A story for storytellers, calls for those who have tools, else a count of what was shown."""
    if prompt.tools and (acted := act(prompt)):
        return acted
    said = [message.text for message in prompt.messages if message.role == "user"]
    if any("storyteller" in message.text for message in prompt.messages if message.role == "system"):
        return STORY
    if not said:
        return "Hello, I am listening."
    answers = sum(message.role == "assistant" for message in prompt.messages)
    return f"You said {len(said)} things and I said {answers}."


@contextmanager
def fake_node(**settings: object) -> Iterator[RunningNode]:
    """Serve fakes on a free port of loopback."""
    engines = fake_engines(answer=answer, slots=16, context_tokens=4096)
    with running_node(engines, max_sessions=16, **settings) as node:
        yield node


if __name__ == "__main__":
    import sys

    with fake_node() as node:
        sys.stdout.write(f"{node.http}\n")
        sys.stdout.flush()
        sys.stdin.read()
