"""Refusals over HTTP, in the shape of OpenAI's errors: of a handshake before its upgrade, and of a request."""

from __future__ import annotations

from starlette.responses import JSONResponse

from voiceedge.errors import CallerError, Forbidden, KeysUnavailable, LimitReached, Overloaded, Unauthorised


def refusal(
    status: int, code: str, message: str, headers: dict[str, str] | None = None, *, param: str | None = None
) -> JSONResponse:
    """A refusal in the shape of OpenAI's HTTP errors."""
    kind = LimitReached.wire_type if status == 429 else "invalid_request_error"
    body = {
        "error": {"type": "server_error" if status >= 500 else kind, "code": code, "message": message, "param": param}
    }
    return JSONResponse(body, status, headers)


def refuse(error: CallerError | Overloaded | KeysUnavailable) -> JSONResponse:
    """Answer a handshake or a request that is refused."""
    status, headers = _status(error)
    return refusal(status, str(error.wire_code), str(error), headers, param=getattr(error, "param", None))


def _status(error: CallerError | Overloaded | KeysUnavailable) -> tuple[int, dict[str, str]]:
    match error:
        case Unauthorised():  # a client that is told 401 tries again with another key, if at all
            return 401, {"WWW-Authenticate": "Bearer"}
        case Forbidden():
            return 403, {}
        case LimitReached():
            return 429, {"Retry-After": str(error.retry_after_s)}
        case Overloaded() | KeysUnavailable():
            return 503, {"Retry-After": str(error.retry_after_s)}
        case _:
            return 400, {}
