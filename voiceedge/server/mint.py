"""Client secrets over HTTP: GA's `client_secrets`, and what the beta had for it.

No answer of the node names another origin as allowed (CORS). A secret is fetched by the server that knows the real key
and handed to its page, so no page of another site has a reason to read one; WebSockets need no such leave.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voiceedge.errors import CallerError, InvalidRequest
from voiceedge.protocol.legacy import encode_legacy, session_from_beta
from voiceedge.protocol.server_events import SessionCreated
from voiceedge.protocol.session_config import Kind, SessionConfig
from voiceedge.protocol.validation import converted
from voiceedge.server.auth import identify
from voiceedge.server.client_secrets import ClientSecret, ClientSecrets, Unauthorised
from voiceedge.server.opening import opening_config
from voiceedge.server.refusals import bad_request, refusal, unauthorised
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

    def __init__(self, node: Node, client_secrets: ClientSecrets) -> None:
        self._node = node
        self._client_secrets = client_secrets

    async def client_secrets(self, request: Request) -> Response:
        """Answer `POST /v1/realtime/client_secrets`."""
        return await self._answer(request, self._make)

    async def beta_session(self, request: Request) -> Response:
        """Answer the beta's `POST /v1/realtime/sessions`."""
        return await self._answer(request, lambda body: self._make_beta(body, "realtime"))

    async def beta_transcription_session(self, request: Request) -> Response:
        """Answer the beta's `POST /v1/realtime/transcription_sessions`."""
        return await self._answer(request, lambda body: self._make_beta(body, "transcription"))

    async def _answer(self, request: Request, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
        try:
            self._require_lasting_key(request)
            return JSONResponse(make(_decoded(await _body(request))), headers=NO_STORE)
        except BodyTooLong as error:
            return refusal(413, error.wire_code, str(error))
        except Unauthorised as error:
            return unauthorised(error)
        except CallerError as error:
            return bad_request(error)

    def _require_lasting_key(self, request: Request) -> None:
        """Refuse a client secret: who could trade it for a fresh one would never lose access."""
        if identify(request.headers, (), self._client_secrets).is_ephemeral:
            raise Unauthorised("A client secret opens sessions; it makes no further secrets.")

    def _make(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = converted(body, SecretRequest, "")
        secret, config = self._sign(asked.session or {}, asked.expires_after)
        return {"value": secret.value, "expires_at": secret.expires_at, "session": config.echo()}

    def _make_beta(self, body: dict[str, Any], kind: Kind) -> dict[str, Any]:
        asked = converted(body, BetaRequest, "").client_secret or BetaSecret()
        settings = {key: value for key, value in session_from_beta(body).items() if key != "client_secret"}
        secret, config = self._sign({**settings, "type": kind}, asked.expires_after)
        event = encode_legacy(SessionCreated(session=config.echo()))
        assert event is not None
        session = _JSON_OBJECT.decode(event)["session"]
        return {**session, "client_secret": {"value": secret.value, "expires_at": secret.expires_at}}

    def _sign(self, settings: dict[str, Any], lifetime: ExpiresAfter | None) -> tuple[ClientSecret, SessionConfig]:
        config = opening_config(self._node, settings, expires_at=0)  # as OpenAI says it of one that has not begun
        return self._client_secrets.make(settings, (lifetime or ExpiresAfter()).seconds), config


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
