"""The node's one port: the socket, what stands beside it, and the page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from voiceedge.server.admin import Admin, Endpoint
from voiceedge.server.admission import Admission
from voiceedge.server.auth import Door
from voiceedge.server.headers import NO_SENSORS
from voiceedge.server.mint import Mint
from voiceedge.server.readiness import readiness
from voiceedge.server.refusals import refusal
from voiceedge.server.socket import Sockets
from voiceedge.session.node import Node

WEB = Path(str(files("voiceedge") / "web"))
PAGE_HEADERS = {
    "Cache-Control": "no-cache",  # asked for again each time, so that a page never meets a node of another version
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}
"""Of the pages and their modules: they load nothing from elsewhere, and no other site may frame a microphone."""
TALKING = {"Permissions-Policy": NO_SENSORS.replace("microphone=()", "microphone=(self)")}
"""Of the page that one talks into, and of no other answer (`server/headers`)."""
WEBRTC = "WebRTC is not served here: connect a WebSocket to /v1/realtime (in the browser, choose that transport)."
NO_UPGRADE = "This is a WebSocket's address: connect with a Realtime client."


class PageFiles(StaticFiles):
    """The page's modules, with its headers."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Answer with a file, or with 304 when the browser has it."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(PAGE_HEADERS)
        return response


@dataclass(frozen=True, slots=True)
class Shown:
    """What a node shows of itself beside the conversations."""

    admin: Admin
    """Who may see all but `about`."""
    trace: Endpoint
    """`/trace/events`: the live view's data (`Feed.endpoint`)."""
    metrics: Endpoint | None = None
    """`/metrics`."""
    about: Endpoint | None = None
    """`/v1/node`: what the node is, for everybody, like `/readyz`: no key is asked for, and nothing of it is secret."""

    def routes(self) -> list[Route]:
        """Where it is found."""
        routes = [
            Route("/trace", self.admin.guard(_page("trace.html"))),
            Route("/trace/events", self.admin.guard(self.trace)),
        ]
        if self.metrics is not None:
            routes.append(Route("/metrics", self.admin.guard(self.metrics)))
        if self.about is not None:
            routes.append(Route("/v1/node", self.about))
        return routes


def build_app(node: Node, sockets: Sockets, admission: Admission, door: Door, shown: Shown | None = None) -> Starlette:
    """Wire the routes of a node whose engines are loaded and warm."""
    mint = Mint(node, door)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        state = readiness(node, admission)
        body: dict[str, Any] = {"status": state, "sessions": admission.sessions, "max_sessions": admission.max_sessions}
        if state == "loading":
            body["missing"] = sorted(node.missing)
        return JSONResponse(body, 200 if state == "ready" else 503)

    async def models(_: Request) -> Response:
        names = [node.names.model, *(name for name in node.engines.names.values() if name != node.names.model)]
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "voiceedge"} for name in names]
        return JSONResponse({"object": "list", "data": data})

    async def calls(_: Request) -> Response:
        return refusal(501, "webrtc_not_supported", WEBRTC)

    async def no_upgrade(_: Request) -> Response:
        return refusal(426, "upgrade_required", NO_UPGRADE, {"Upgrade": "websocket", "Connection": "Upgrade"})

    return Starlette(
        routes=[
            Route("/", _page("index.html", PAGE_HEADERS | TALKING)),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/v1/models", models),
            Route("/v1/realtime/client_secrets", mint.client_secrets, methods=["POST"]),
            Route("/v1/realtime/sessions", mint.beta_session, methods=["POST"]),
            Route("/v1/realtime/transcription_sessions", mint.beta_transcription_session, methods=["POST"]),
            Route("/v1/realtime/calls", calls, methods=["POST"]),
            Route("/v1/realtime", calls, methods=["POST"]),  # the beta's way to WebRTC
            Route("/v1/realtime", no_upgrade),
            WebSocketRoute("/v1/realtime", sockets.serve),
            *(shown.routes() if shown is not None else ()),
            Mount("/web", PageFiles(directory=WEB)),
        ]
    )


def _page(name: str, headers: dict[str, str] = PAGE_HEADERS) -> Endpoint:
    async def page(_: Request) -> Response:
        return FileResponse(WEB / name, headers=headers)

    return page
