"""One WebSocket: the handshake before, the session between, the close code after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from voiceedge.config import Config
from voiceedge.errors import (
    CallerError,
    Expired,
    KeysUnavailable,
    LimitReached,
    Overloaded,
    SlowReader,
    Unauthorised,
)
from voiceedge.protocol.server_events import error_event
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.server.admission import STOPPING, Admission
from voiceedge.server.auth import REVOKED, Door
from voiceedge.server.connection import Messages, Send, accept, close, line, messages, rest, sender
from voiceedge.server.entrance import Entrance, Guest
from voiceedge.server.grant import Grant
from voiceedge.server.memory import give_back
from voiceedge.server.refusals import refuse
from voiceedge.server.throttle import Throttling
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.session import Session
from voiceedge.trace import epoch_s

log = logging.getLogger(__name__)

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


class Follows(Protocol):
    """Records sessions that agree to it: `server/recording`, which is imported only where that is wanted."""

    def follow(
        self, config: Callable[[], SessionConfig], messages: Messages, send: Send
    ) -> AbstractContextManager[tuple[Messages, Send]]:
        """What is to be used in place of `messages` and `send`, for as long as a session lasts."""
        ...


class Sockets:
    """Serves the WebSockets of one node, and ends them when the node stops."""

    def __init__(
        self,
        node: Node,
        admission: Admission,
        door: Door,
        witness: Witness | None = None,
        throttling: Throttling | None = None,
        recorder: Follows | None = None,
    ) -> None:
        self._node = node
        self._throttling = throttling or Throttling(Config())
        self._recorder = recorder
        self._witness = witness
        self._door = door
        self._entrance = Entrance(node, admission, door)
        self._open: dict[WebSocket, Session] = {}

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Sessions that are open, in the order they came."""
        return tuple(self._open.values())

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from handshake to close."""
        with ExitStack() as place:
            try:
                guest = await self._entrance.admit(socket, place)
            except (CallerError, Overloaded, KeysUnavailable) as error:
                await socket.send_denial_response(refuse(error))
                return
            await accept(socket)
            if self._entrance.is_closed:  # since it let this one in, whom the drain has not seen
                await close(socket, GOING_AWAY, STOPPING, patience_s=GOODBYE_S)
                return
            await self._converse(socket, guest)
        give_back(collect=not self._open)  # here: as long as it converses, it holds the session

    async def drain(self, patience_s: float) -> None:
        """Close every socket with 1001 once its running answer has come to its end, but wait no longer than that."""
        async with asyncio.TaskGroup() as goodbyes:
            for socket, session in self._open.items():
                goodbyes.create_task(_say_goodbye(socket, session, patience_s), name="goodbye")

    def _recorded(self, session: Session, heard: Messages, send: Send) -> AbstractContextManager[tuple[Messages, Send]]:
        """Both ways of a session, past whoever records it."""
        if self._recorder is None:
            return nullcontext((heard, send))
        return self._recorder.follow(lambda: session.config, heard, send)

    async def _guard(self, grant: Grant) -> None:
        """Run for as long as the session's grant is good.

        Raises:
            Unauthorised: it was taken away.
        """
        while self._door.is_good(grant):  # noqa: ASYNC110 - files do not tell when they change
            await asyncio.sleep(GUARD_S)
        raise Unauthorised(REVOKED, code="token_revoked")

    async def _converse(self, socket: WebSocket, guest: Guest) -> None:
        config, outbox = guest.config, Outbox()
        log.info("session %s opened", config.id)
        if self._witness is not None:
            self._witness.opened(config.id, socket.headers)
        throttle = self._throttling.throttle(guest.quota, partial(rest, socket))
        code, reason = NORMAL, ""
        try:
            session = Session(
                self._node,
                config,
                outbox,
                wants_trace=socket.query_params.get("trace") == "1",
                network=line(socket).round_trip_s,
                allowance=throttle,
            )
            self._open[socket] = session
            with self._recorded(session, messages(socket, throttle), sender(socket)) as (heard, send):
                async with asyncio.TaskGroup() as tasks:
                    writer = tasks.create_task(outbox.drain(send), name="writer")
                    guard = tasks.create_task(self._guard(guest.grant), name="guard")
                    settling = tasks.create_task(throttle.settling(), name="quota")
                    code, reason = await _run(session, heard, outbox)
                    guard.cancel()
                    settling.cancel()
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
            self._throttling.on_wait("frames", line(socket).held_s)
        log.info("session %s closed (%d%s): %s", config.id, code, f", {reason}" if reason else "", throttle)
        await throttle.settle()
        await close(socket, code, reason, patience_s=CLOSE_S)


async def _run(session: Session, heard: Messages, outbox: Outbox) -> tuple[int, str]:
    """Run a session until its client is gone, its time is over, or it sends too much: close code and reason."""
    limit = asyncio.timeout(max(session.config.wire.expires_at - epoch_s(), 0.0))
    try:
        async with limit:
            await session.run(heard)
    except TimeoutError:
        if not limit.expired():
            raise
        await _say_last(outbox, Expired(TOO_LONG))
        return GOING_AWAY, TOO_LONG
    except ExceptionGroup as failed:
        if (ended := failed.subgroup((LimitReached, Expired))) is None:
            raise
        error = _first(ended)
        assert isinstance(error, CallerError)
        await _say_last(outbox, error)
        return GOING_AWAY if isinstance(error, Expired) else POLICY_VIOLATION, str(error)
    return NORMAL, ""


async def _say_last(outbox: Outbox, error: CallerError) -> None:
    """Tell the client why it is about to be closed, if it reads."""
    outbox.put(error_event(error))
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await outbox.flushed()


async def _say_goodbye(socket: WebSocket, session: Session, patience_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await session.finish()
    await close(socket, GOING_AWAY, STOPPING, patience_s=GOODBYE_S)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """An error of the group, whichever of the session's tasks raised it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
