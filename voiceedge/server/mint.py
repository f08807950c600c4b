"""Client secrets over HTTP: GA's `client_secrets`, and what the beta had for it.

No answer of the node names another origin as allowed (CORS). A secret is fetched by the server that knows the real key
and handed to its page, so no page of another site has a reason to read one; WebSockets need no such leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from voiceedge.errors import CallerError, InvalidRequest, KeysUnavailable, Unauthorised
from voiceedge.protocol.legacy import encode_legacy, session_from_beta
from voiceedge.protocol.server_events import SessionCreated
from voiceedge.protocol.session_config import Kind, SessionConfig
from voiceedge.protocol.validation import converted
from voiceedge.server.auth import Door
from voiceedge.server.client_secrets import ClientSecret
from voiceedge.server.grant import Grant
from voiceedge.server.opening import opening_config
from voiceedge.server.refusals import refusal, refuse
from voiceedge.session.node import Node

MAX_BODY_BYTES = 64 * 1024
"""Many times what fits into a secret."""
NO_STORE = {"Cache-Control": "no-store"}
_JSON_OBJECT = msgspec.json.Decoder(dict[str, Any])


class ExpiresAfter(Struct, frozen=True):
    """How long a secret is good."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200)] = 600


class SecretRequest(Struct, frozen=True):
    """What `POST /v1/realtime/client_secrets` takes."""

    expires_after: ExpiresAfter | None = None
    session: dict[str, Any] | None = None


class BetaSecret(Struct, frozen=True):
    """`client_secret` of the beta's `POST /v1/realtime/sessions`."""

    expires_after: ExpiresAfter | None = None


class BetaRequest(Struct, frozen=True):
    """What is not a setting of the session in the beta's body."""

    client_secret: BetaSecret | None = None


class BodyTooLong(InvalidRequest):
    """More than `MAX_BODY_BYTES`."""

    wire_code = "request_too_large"


class Mint:
    """Answers those who want client secrets."""

    def __init__(self, node: Node, door: Door) -> None:
        self._node = node
        self._door = door

    async def client_secrets(self, request: Request) -> Response:
        """Answer `POST /v1/realtime/client_secrets`."""
        return await self._answer(request, self._make)

    async def beta_session(self, request: Request) -> Response:
        """Answer the beta's `POST /v1/realtime/sessions`."""
        return await self._answer(request, lambda grant, body: self._make_beta(grant, body, "realtime"))

    async def beta_transcription_session(self, request: Request) -> Response:
        """Answer the beta's `POST /v1/realtime/transcription_sessions`."""
        return await self._answer(request, lambda grant, body: self._make_beta(grant, body, "transcription"))

    async def _answer(self, request: Request, make: Callable[[Grant, dict[str, Any]], dict[str, Any]]) -> Response:
        try:
            grant = await self._lasting_grant(request)
            return JSONResponse(make(grant, _decoded(await _body(request))), headers=NO_STORE)
        except BodyTooLong as error:
            return refusal(413, error.wire_code, str(error))
        except (CallerError, KeysUnavailable) as error:
            return refuse(error)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it

    async def _lasting_grant(self, request: Request) -> Grant:
        """Refuse a client secret: who could trade it for a fresh one would never lose access."""
        grant = await self._door.grant(request.headers, address=self._door.proxies.client(request.scope))
        if grant.is_ephemeral:
            raise Unauthorised("A client secret opens sessions; it makes no further secrets.")
        return grant

    def _make(self, grant: Grant, body: dict[str, Any]) -> dict[str, Any]:
        asked = converted(body, SecretRequest, "")
        secret, config = self._sign(grant, asked.session or {}, asked.expires_after)
        return {"value": secret.value, "expires_at": secret.expires_at, "session": config.echo()}

    def _make_beta(self, grant: Grant, body: dict[str, Any], kind: Kind) -> dict[str, Any]:
        asked = converted(body, BetaRequest, "").client_secret or BetaSecret()
        settings = {key: value for key, value in session_from_beta(body).items() if key != "client_secret"}
        secret, config = self._sign(grant, {**settings, "type": kind}, asked.expires_after)
        event = encode_legacy(SessionCreated(session=config.echo()))
        assert event is not None
        session = _JSON_OBJECT.decode(event)["session"]
        return {**session, "client_secret": {"value": secret.value, "expires_at": secret.expires_at}}

    def _sign(
        self, grant: Grant, settings: dict[str, Any], lifetime: ExpiresAfter | None
    ) -> tuple[ClientSecret, SessionConfig]:
        """Hand on what somebody may do, with settings; never more than that."""
        handed_on = replace(grant, updates=(*grant.updates, settings) if settings else grant.updates)
        config = opening_config(self._node, handed_on.updates, expires_at=0)  # OpenAI's for one that has not begun
        return self._door.client_secrets.make(handed_on, (lifetime or ExpiresAfter()).seconds), config


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLong(f"The request's body is longer than {MAX_BODY_BYTES} bytes.")
    return bytes(body)


def _decoded(body: bytes) -> dict[str, Any]:
    """A JSON object; whatever its Content-Type says, and {} for nothing at all, as OpenAI takes it."""
    if not body:
        return {}
    try:
        return _JSON_OBJECT.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequest("The request's body is not a JSON object.") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest("The request's body is not valid JSON.", code="invalid_json") from error
