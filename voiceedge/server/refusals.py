"""Refusals over HTTP, in the shape of OpenAI's errors: of a handshake before its upgrade, and of a request."""

from __future__ import annotations

from starlette.responses import JSONResponse

from voiceedge.errors import CallerError, Overloaded
from voiceedge.server.client_secrets import Unauthorised


def refusal(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, *, param: str | None = None
) -> JSONResponse:
    """A refusal in the shape of OpenAI's HTTP errors."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    body = {"error": {"type": kind, "code": code, "message": message, "param": param}}
    return JSONResponse(body, status, headers)


def bad_request(error: CallerError) -> JSONResponse:
    """Answer a request that cannot be honoured."""
    return refusal(400, str(error.wire_code), str(error), param=error.param)


def unauthorised(error: Unauthorised) -> JSONResponse:
    """Answer a key that is not good; a client that is told 401 tries again with another one, if at all."""
    return refusal(401, str(error.wire_code), str(error), {"WWW-Authenticate": "Bearer"})


def overloaded(error: Overloaded) -> JSONResponse:
    """Answer when there is no room."""
    return refusal(503, str(error.wire_code), str(error), {"Retry-After": str(error.retry_after_s)})
