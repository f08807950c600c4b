"""What a session does with its WebSocket: texts in, events out, and a close code that is taken or given up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.server.frames import LINE, Line
from voiceedge.session.allowance import Allowance

log = logging.getLogger(__name__)

Messages = AsyncIterator[str | bytes]
"""What a client sends."""
Send = Callable[[ServerEvent], Awaitable[None]]
"""Sends an event to it."""

SUBPROTOCOL = "realtime"


def offered(socket: WebSocket) -> list[str]:
    """The client's subprotocols. One of them may hold a key: only `realtime` is ever named in the answer."""
    names: list[str] = socket.scope.get("subprotocols", [])
    return names


async def accept(socket: WebSocket) -> None:
    """Upgrade the connection."""
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered(socket) else None)


async def messages(socket: WebSocket, allowance: Allowance) -> Messages:
    """Texts until the client is gone, as fast as it may send them. A binary frame is read as text: there is no other.

    Raises:
        LimitReached: see `Allowance.message`.
    """
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        data: str | bytes = text if text is not None else message["bytes"]
        await allowance.message(len(data))  # what is not ASCII counts as its characters, which is near enough
        yield data


def line(socket: WebSocket) -> Line:
    """What is known of the connection."""
    found: Line = socket.scope["state"][LINE]
    return found


async def rest(socket: WebSocket, seconds: float) -> None:
    """Wait, but no longer than the connection lasts."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await line(socket).gone.wait()


def sender(socket: WebSocket) -> Send:
    """How events are sent to this client: by their own names, or by the beta's where it asked for these."""
    if socket.headers.get("openai-beta") != "realtime=v1":
        return lambda event: _send(socket, encode(event))

    async def send_legacy(event: ServerEvent) -> None:
        if (text := encode_legacy(event)) is not None:
            await _send(socket, text)

    return send_legacy


async def close(socket: WebSocket, code: int, reason: str, *, patience_s: float) -> None:
    """Say goodbye, if nobody has; give up who does not take it."""
    if socket.client_state is WebSocketState.DISCONNECTED or socket.application_state is WebSocketState.DISCONNECTED:
        return
    try:
        async with asyncio.timeout(patience_s):  # it waits until the client has read what was sent before
            await socket.close(code, reason)
    except (RuntimeError, ConnectionError, WebSocketDisconnect):
        log.debug("the client closed first")
    except TimeoutError:
        log.debug("the client has not taken its close code")


async def _send(socket: WebSocket, text: str) -> None:
    try:
        await socket.send_text(text)
    except RuntimeError as error:  # closed meanwhile, by the drain or by uvicorn (a message too large, no pong)
        raise ConnectionError("the socket is closed") from error
