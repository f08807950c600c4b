"""One WebSocket: the handshake before, the session between, the close code after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voiceedge.errors import Overloaded
from voiceedge.protocol import ids
from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.protocol.session_config import default_session
from voiceedge.server.admission import Admission
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox, SlowReader
from voiceedge.session.session import Session
from voiceedge.trace import epoch_s

log = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
SESSION_S = 60 * 60
"""Stated to the client as `expires_at` (OpenAI's limit)."""
NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1001, 1008, 1011
"""Close codes (RFC 6455, 7.4.1)."""


class Sockets:
    """Serves the WebSockets of one node, and ends them when the node stops."""

    def __init__(self, node: Node, admission: Admission) -> None:
        self._node = node
        self._admission = admission
        self._open: dict[Session, WebSocket] = {}

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from handshake to close."""
        if (refusal := _unserved(socket)) is not None:
            await socket.send_denial_response(refusal)
            return
        with ExitStack() as place:
            try:
                place.enter_context(self._admission.session())
            except Overloaded as error:
                await socket.send_denial_response(_overloaded(error))
                return
            await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in _offered(socket) else None)
            await self._converse(socket)

    async def drain(self, patience_s: float) -> None:
        """Let the running answers come to their end, but not for ever, then close every socket with 1001."""
        answers = [asyncio.create_task(session.finish(), name="drain") for session in self._open]
        if answers:
            await asyncio.wait(answers, timeout=patience_s)
        for answer in answers:
            answer.cancel()
        for socket in list(self._open.values()):
            await _close(socket, GOING_AWAY, "The node is shutting down.")

    async def _converse(self, socket: WebSocket) -> None:
        outbox = Outbox()
        transcribes = socket.query_params.get("intent") == "transcription"
        config = default_session(
            session_id=ids.session_id(),
            names=self._node.names,
            expires_at=epoch_s() + SESSION_S,
            model=socket.query_params.get("model"),
            kind="transcription" if transcribes else "realtime",
            instructions="" if transcribes else self._node.instructions,
        )
        session = Session(self._node, config, outbox, wants_trace=socket.query_params.get("trace") == "1")
        self._open[session] = socket
        log.info("session %s opened", config.id)
        code, reason = NORMAL, ""
        try:
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(outbox.drain(_sender(socket)), name="writer")
                await session.run(_messages(socket))
                writer.cancel()  # nobody reads any more
        except* SlowReader as slow:
            code, reason = POLICY_VIOLATION, str(slow.exceptions[0])
        except* (WebSocketDisconnect, ConnectionError):
            log.debug("session %s: the client went away", config.id)
        except* Exception:
            log.exception("session %s failed", config.id)
            code, reason = INTERNAL_ERROR, "The session failed."
        finally:
            del self._open[session]
        log.info("session %s closed (%d%s)", config.id, code, f", {reason}" if reason else "")
        await _close(socket, code, reason)


async def _messages(socket: WebSocket) -> AsyncIterator[str | bytes]:
    """Text frames until the client is gone. A binary frame is read as text: the protocol has no other."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        yield text if text is not None else message["bytes"]


def _sender(socket: WebSocket) -> Callable[[ServerEvent], Awaitable[None]]:
    if socket.headers.get("openai-beta") != "realtime=v1":
        return lambda event: socket.send_text(encode(event))

    async def send_legacy(event: ServerEvent) -> None:
        if (text := encode_legacy(event)) is not None:
            await socket.send_text(text)

    return send_legacy


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    if socket.client_state is WebSocketState.DISCONNECTED or socket.application_state is WebSocketState.DISCONNECTED:
        return
    try:
        await socket.close(code, reason)
    except (RuntimeError, ConnectionError):
        log.debug("the client closed first")


def _offered(socket: WebSocket) -> list[str]:
    """The client's subprotocols. One of them may hold a key: only `realtime` is ever named in the answer."""
    offered: list[str] = socket.scope.get("subprotocols", [])
    return offered


def _unserved(socket: WebSocket) -> JSONResponse | None:
    if "call_id" in socket.query_params:
        return refusal(400, "unsupported_parameter", "Calls over WebRTC or SIP are not served here: omit call_id.")
    return None


def _overloaded(error: Overloaded) -> JSONResponse:
    return refusal(503, str(error.wire_code), str(error), {"Retry-After": str(error.retry_after_s)})


def refusal(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal in the shape of OpenAI's HTTP errors."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"error": {"type": kind, "code": code, "message": message, "param": None}}
    return JSONResponse(body, status, headers)
