"""Who comes in, before the upgrade: who is there, whether there is room, and what the session begins with."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from starlette.websockets import WebSocket

from voiceedge.errors import CallerError, Forbidden, InvalidRequest, KeysUnavailable, LimitReached, Unauthorised
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.server.admission import Admission
from voiceedge.server.auth import Door
from voiceedge.server.connection import offered
from voiceedge.server.grant import Grant
from voiceedge.server.logs import in_session
from voiceedge.server.opening import opening_config
from voiceedge.server.quotas import Quota
from voiceedge.session.node import Node
from voiceedge.trace import epoch_s


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who may come in."""

    grant: Grant
    config: SessionConfig
    """What their session begins with."""
    quota: Quota | None
    """What they may use in an hour; None where nothing of it is limited."""


class Entrance:
    """Lets a node's guests in, and counts those that it refuses."""

    def __init__(self, node: Node, admission: Admission, door: Door) -> None:
        self._node = node
        self._admission = admission
        self._door = door

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let in any more because the node is about to stop."""
        return self._admission.is_draining

    async def admit(self, socket: WebSocket, place: ExitStack) -> Guest:
        """Let somebody in; what they take up is given back when `place` is left.

        Raises:
            CallerError, KeysUnavailable: as `Door.grant`, or what is asked for is not served.
            LimitReached, Overloaded: as `Admission.session` and `Admission.quota`.
        """
        address = self._door.proxies.client(socket.scope)
        grant = await self._grant(socket, address)
        place.enter_context(self._admission.session(grant, address))
        config = self._open_for(socket, grant)
        place.enter_context(in_session(config.id))
        quota = await self._admission.quota(grant, address)
        return Guest(grant, config, quota)

    async def _grant(self, socket: WebSocket, address: str) -> Grant:
        """Find out who is there.

        Raises:
            Unauthorised, LimitReached, Forbidden, KeysUnavailable: as `Door.grant`; counted.
        """
        try:
            return await self._door.grant(socket.headers, offered(socket), address)
        except Unauthorised:
            self._admission.refused("unauthorised")
            raise
        except LimitReached:
            self._admission.refused("bad_keys")
            raise
        except Forbidden:
            self._admission.refused("forbidden")
            raise
        except KeysUnavailable:
            self._admission.refused("auth_unavailable")
            raise

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
                expires_at=_ends_at(grant, self._node.bounds.session_s),
                model=socket.query_params.get("model"),
                transcribes=socket.query_params.get("intent") == "transcription",
            )
        except CallerError:
            self._admission.refused("bad_request")
            raise


def _ends_at(grant: Grant, session_s: int) -> int:
    """When the session ends at the latest, seconds since 1970; what a token or a key says may be shorter."""
    now = epoch_s()
    limits = (now + session_s, grant.ends_at, None if grant.seconds is None else now + grant.seconds)
    return min(limit for limit in limits if limit is not None)
