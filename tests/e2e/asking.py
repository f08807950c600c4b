"""A question, the answer to it, and the end."""

from __future__ import annotations

from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import Caller

QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."


async def asks(caller: Caller, text: str = QUESTION) -> None:
    content = [{"type": "input_text", "text": text}]
    await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await caller.send("response.create")


async def is_answered(caller: Caller) -> None:
    done = (await caller.until("response.done"))["response"]
    assert done["status"] == "completed", done["status_details"]


async def closed(caller: Caller) -> int | None:
    """Read to the end and return the close code."""
    try:
        while True:
            await caller.socket.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else None
