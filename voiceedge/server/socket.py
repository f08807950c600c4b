"""One WebSocket: the handshake before, the session between, the close code after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, suppress

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voiceedge.errors import CallerError, InvalidRequest, Overloaded
from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.server.admission import Admission
from voiceedge.server.auth import identify
from voiceedge.server.client_secrets import ClientSecrets, Unauthorised
from voiceedge.server.opening import opening_config
from voiceedge.server.refusals import bad_request, overloaded, unauthorised
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
CLOSE_S = 15.0
"""How long a client that has stopped reading may take to take its close code; then the connection is given up."""
GOODBYE_S = 3.0
"""The same when the node stops."""


class Sockets:
    """Serves the WebSockets of one node, and ends them when the node stops."""

    def __init__(self, node: Node, admission: Admission, client_secrets: ClientSecrets) -> None:
        self._node = node
        self._admission = admission
        self._client_secrets = client_secrets
        self._open: dict[WebSocket, Session] = {}

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from handshake to close."""
        with ExitStack() as place:
            try:
                config = self._open_for(socket)
                place.enter_context(self._admission.session())
            except Unauthorised as error:
                await socket.send_denial_response(unauthorised(error))
                return
            except CallerError as error:
                await socket.send_denial_response(bad_request(error))
                return
            except Overloaded as error:
                await socket.send_denial_response(overloaded(error))
                return
            await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in _offered(socket) else None)
            await self._converse(socket, config)

    async def drain(self, patience_s: float) -> None:
        """Close every socket with 1001 once its running answer has come to its end, but wait no longer than that."""
        async with asyncio.TaskGroup() as goodbyes:
            for socket, session in self._open.items():
                goodbyes.create_task(_say_goodbye(socket, session, patience_s), name="goodbye")

    def _open_for(self, socket: WebSocket) -> SessionConfig:
        """Decide what the session begins with, or refuse the handshake.

        Raises:
            CallerError: the URL or the client secret asks for what is not served (400).
            Unauthorised: the client secret is not good (401).
        """
        if "call_id" in socket.query_params:
            raise InvalidRequest(
                "Calls over WebRTC or SIP are not served here: omit call_id.",
                code="unsupported_parameter",
                param="call_id",
            )
        identity = identify(socket.headers, _offered(socket), self._client_secrets)
        return opening_config(
            self._node,
            identity.session,
            expires_at=epoch_s() + SESSION_S,
            model=socket.query_params.get("model"),
            transcribes=socket.query_params.get("intent") == "transcription",
        )

    async def _converse(self, socket: WebSocket, config: SessionConfig) -> None:
        outbox = Outbox()
        log.info("session %s opened", config.id)
        code, reason = NORMAL, ""
        try:
            session = Session(self._node, config, outbox, wants_trace=socket.query_params.get("trace") == "1")
            self._open[socket] = session
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(outbox.drain(_sender(socket)), name="writer")
                await session.run(_messages(socket))
                writer.cancel()  # nobody reads any more
        except* SlowReader as slow:
            code, reason = POLICY_VIOLATION, str(_first(slow))
        except* (WebSocketDisconnect, ConnectionError):
            log.debug("session %s: the client went away", config.id)
        except* Exception:
            log.exception("session %s failed", config.id)
            code, reason = INTERNAL_ERROR, "The session failed."
        finally:
            self._open.pop(socket, None)
        log.info("session %s closed (%d%s)", config.id, code, f", {reason}" if reason else "")
        await _close(socket, code, reason, patience_s=CLOSE_S)


async def _messages(socket: WebSocket) -> AsyncIterator[str | bytes]:
    """Text frames until the client is gone. A binary frame is read as text: the protocol has no other."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        yield text if text is not None else message["bytes"]


async def _say_goodbye(socket: WebSocket, session: Session, patience_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await session.finish()
    await _close(socket, GOING_AWAY, "The node is shutting down.", patience_s=GOODBYE_S)


def _sender(socket: WebSocket) -> Callable[[ServerEvent], Awaitable[None]]:
    if socket.headers.get("openai-beta") != "realtime=v1":
        return lambda event: _send(socket, encode(event))

    async def send_legacy(event: ServerEvent) -> None:
        if (text := encode_legacy(event)) is not None:
            await _send(socket, text)

    return send_legacy


async def _send(socket: WebSocket, text: str) -> None:
    try:
        await socket.send_text(text)
    except RuntimeError as error:  # closed meanwhile, by the drain or by uvicorn (a message too large, no pong)
        raise ConnectionError("the socket is closed") from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """An error of the group, whichever of the session's tasks raised it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _close(socket: WebSocket, code: int, reason: str, *, patience_s: float) -> None:
    if socket.client_state is WebSocketState.DISCONNECTED or socket.application_state is WebSocketState.DISCONNECTED:
        return
    try:
        async with asyncio.timeout(patience_s):  # it waits until the client has read what was sent before
            await socket.close(code, reason)
    except (RuntimeError, ConnectionError, WebSocketDisconnect):
        log.debug("the client closed first")
    except TimeoutError:
        log.debug("the client has not taken its close code")


def _offered(socket: WebSocket) -> list[str]:
    """The client's subprotocols. One of them may hold a key: only `realtime` is ever named in the answer."""
    offered: list[str] = socket.scope.get("subprotocols", [])
    return offered
