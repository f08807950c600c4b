"""One WebSocket: the handshake before, the session between, the close code after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voiceedge.errors import CallerError, Forbidden, InvalidRequest, KeysUnavailable, Overloaded, Unauthorised
from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.server_events import Error, ErrorDetails, ServerEvent, encode
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.server.admission import Admission
from voiceedge.server.auth import REVOKED, Door
from voiceedge.server.grant import Grant
from voiceedge.server.handshake import ROUND_TRIP
from voiceedge.server.opening import opening_config
from voiceedge.server.refusals import refuse
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox, SlowReader
from voiceedge.session.session import Session
from voiceedge.trace import epoch_s

log = logging.getLogger(__name__)

SUBPROTOCOL = "realtime"
SESSION_S = 60 * 60
"""Longest session (OpenAI's limit); what a token or a key says may be shorter. The client sees it as `expires_at`."""
GUARD_S = 10.0
"""How often a session is asked whether its key is still good."""
TOO_LONG = "Your session hit its maximum duration."
NORMAL, GOING_AWAY, POLICY_VIOLATION, INTERNAL_ERROR = 1000, 1001, 1008, 1011
"""Close codes (RFC 6455, 7.4.1)."""
CLOSE_S = 15.0
"""How long a client that has stopped reading may take to take its close code; then the connection is given up."""
GOODBYE_S = 3.0
"""The same when the node stops."""


class Witness(Protocol):
    """Is told of every session. Costs microseconds, and never raises."""

    def opened(self, session_id: str, headers: Mapping[str, str]) -> None:
        """A session begins; `headers` of its handshake, by lower-case name."""
        ...

    def closed(self, session_id: str, code: int) -> None:
        """It is over, with this close code."""
        ...


class Sockets:
    """Serves the WebSockets of one node, and ends them when the node stops."""

    def __init__(self, node: Node, admission: Admission, door: Door, witness: Witness | None = None) -> None:
        self._node = node
        self._witness = witness
        self._admission = admission
        self._door = door
        self._open: dict[WebSocket, Session] = {}

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Sessions that are open, in the order they came."""
        return tuple(self._open.values())

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from handshake to close."""
        with ExitStack() as place:
            try:
                grant = await self._grant(socket)
                place.enter_context(self._admission.session(grant))
                config = self._open_for(socket, grant)
            except (CallerError, Overloaded, KeysUnavailable) as error:
                await socket.send_denial_response(refuse(error))
                return
            await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in _offered(socket) else None)
            await self._converse(socket, config, grant)

    async def drain(self, patience_s: float) -> None:
        """Close every socket with 1001 once its running answer has come to its end, but wait no longer than that."""
        async with asyncio.TaskGroup() as goodbyes:
            for socket, session in self._open.items():
                goodbyes.create_task(_say_goodbye(socket, session, patience_s), name="goodbye")

    async def _grant(self, socket: WebSocket) -> Grant:
        """Find out who is there.

        Raises:
            Unauthorised, Forbidden, KeysUnavailable: as `Door.grant`; counted.
        """
        try:
            return await self._door.grant(socket.headers, _offered(socket))
        except Unauthorised:
            self._admission.refused("unauthorised")
            raise
        except Forbidden:
            self._admission.refused("forbidden")
            raise
        except KeysUnavailable:
            self._admission.refused("auth_unavailable")
            raise

    async def _guard(self, grant: Grant) -> None:
        """Run for as long as the session's grant is good.

        Raises:
            Unauthorised: it was taken away.
        """
        while self._door.is_good(grant):  # noqa: ASYNC110 - files do not tell when they change
            await asyncio.sleep(GUARD_S)
        raise Unauthorised(REVOKED, code="token_revoked")

    def _open_for(self, socket: WebSocket, grant: Grant) -> SessionConfig:
        """Decide what the session begins with.

        Raises:
            CallerError: the URL, the token or the client secret asks for what is not served; counted.
        """
        try:
            if "call_id" in socket.query_params:
                raise InvalidRequest(
                    "Calls over WebRTC or SIP are not served here: omit call_id.",
                    code="unsupported_parameter",
                    param="call_id",
                )
            return opening_config(
                self._node,
                grant.updates,
                expires_at=_ends_at(grant),
                model=socket.query_params.get("model"),
                transcribes=socket.query_params.get("intent") == "transcription",
            )
        except CallerError:
            self._admission.refused("bad_request")
            raise

    async def _converse(self, socket: WebSocket, config: SessionConfig, grant: Grant) -> None:
        outbox = Outbox()
        log.info("session %s opened", config.id)
        if self._witness is not None:
            self._witness.opened(config.id, socket.headers)
        code, reason = NORMAL, ""
        try:
            session = Session(
                self._node,
                config,
                outbox,
                wants_trace=socket.query_params.get("trace") == "1",
                network=socket.scope["state"][ROUND_TRIP],
            )
            self._open[socket] = session
            async with asyncio.TaskGroup() as tasks:
                writer = tasks.create_task(outbox.drain(_sender(socket)), name="writer")
                guard = tasks.create_task(self._guard(grant), name="guard")
                if await _is_cut_off(session, socket, config.wire.expires_at - epoch_s()):
                    code, reason = GOING_AWAY, TOO_LONG
                    await _say_last(outbox, "session_expired", TOO_LONG)
                guard.cancel()
                writer.cancel()  # nobody reads any more
        except* SlowReader as slow:
            code, reason = POLICY_VIOLATION, str(_first(slow))
        except* Unauthorised as lost:
            code, reason = POLICY_VIOLATION, str(_first(lost))
        except* (WebSocketDisconnect, ConnectionError):
            log.debug("session %s: the client went away", config.id)
        except* Exception:
            log.exception("session %s failed", config.id)
            code, reason = INTERNAL_ERROR, "The session failed."
        finally:
            self._open.pop(socket, None)
            if self._witness is not None:
                self._witness.closed(config.id, code)
        log.info("session %s closed (%d%s)", config.id, code, f", {reason}" if reason else "")
        await _close(socket, code, reason, patience_s=CLOSE_S)


def _ends_at(grant: Grant) -> int:
    """When the session ends at the latest, seconds since 1970."""
    now = epoch_s()
    limits = (now + SESSION_S, grant.ends_at, None if grant.seconds is None else now + grant.seconds)
    return min(limit for limit in limits if limit is not None)


async def _is_cut_off(session: Session, socket: WebSocket, seconds: float) -> bool:
    """Run a session until its client is gone, or for so long: say whether it was that."""
    limit = asyncio.timeout(max(seconds, 0.0))
    try:
        async with limit:
            await session.run(_messages(socket))
    except TimeoutError:
        if not limit.expired():
            raise
    return limit.expired()


async def _say_last(outbox: Outbox, code: str, message: str) -> None:
    """Tell the client why it is about to be closed, if it reads."""
    outbox.put(Error(error=ErrorDetails(type="invalid_request_error", code=code, message=message)))
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await outbox.flushed()


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
