"""Headers that every answer has, so that a browser does nothing with it that it is not meant for."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NO_SENSORS = "camera=(), display-capture=(), geolocation=(), microphone=()"
"""Of Permissions-Policy: nothing that is served here needs any, but for the page that one talks into."""
EVERYWHERE = {
    "Cache-Control": "no-store",  # secrets, and figures that are old at once
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": NO_SENSORS,
    # not `no-referrer`: with that, browsers hide the origin of the page's own POST, and it would be refused
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""What an answer says if it says nothing else: it is shown nowhere, kept nowhere, and is what it says it is."""
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""A year, as browsers' preload lists ask for. Subdomains are not the node's to decide about."""
_LOCALHOST = b"localhost"
_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})
"""An answer begins: to a request, or to a handshake that is refused."""


class Headers:
    """Puts the headers that an answer lacks in front of it."""

    def __init__(self, app: ASGIApp, *, is_secure: bool) -> None:
        """Wrap `app`; `is_secure`: it is served over TLS, so that browsers may be told to ask for nothing else."""
        self._app = app
        self._plain = _encoded(EVERYWHERE)
        self._secure = _encoded(EVERYWHERE | HSTS) if is_secure else self._plain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a handshake."""
        # a browser that is told so of localhost asks nothing else on that machine over plain HTTP, for a year
        defaults = self._plain if _host(scope) == _LOCALHOST else self._secure

        async def send_complete(message: Message) -> None:
            if message["type"] in _STARTS:
                stated = list(message.get("headers", ()))
                names = {name.lower() for name, _ in stated}
                message["headers"] = stated + [(name, value) for name, value in defaults if name not in names]
            await send(message)

        await self._app(scope, receive, send_complete)


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _host(scope: Scope) -> bytes:
    """The name that the client asks for, without its port; empty without one."""
    hosts = (value for name, value in scope.get("headers", ()) if name == b"host")
    host: bytes = next(hosts, b"")
    return host.partition(b":")[0].lower()
