"""A node in this process, wired as `voiceedge serve` does it: trace file, metrics, live view and recorder."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from voiceedge.cli_serve import _recorder
from voiceedge.config import Config
from voiceedge.engines import Engines
from voiceedge.engines.loading import thread_plan
from voiceedge.machine import machine
from voiceedge.server.about import FAKE_MODELS, About
from voiceedge.server.admin import Admin
from voiceedge.server.admission import make_admission
from voiceedge.server.app import Shown, build_app
from voiceedge.server.build import Build
from voiceedge.server.doors import make_door
from voiceedge.server.feed import Feed
from voiceedge.server.logs import Lines
from voiceedge.server.seeing import seeing, watched
from voiceedge.server.serving import Server, bind
from voiceedge.server.socket import Sockets
from voiceedge.session.compute import Compute
from voiceedge.session.node import make_node


@dataclass
class WholeNode:
    port: int
    compute: Compute

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def logged(form: str, level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """What the process logs meanwhile, as the node would write it: all of it, of whatever library."""
    stream = io.StringIO()
    handler, root, own = Lines(form, stream), logging.getLogger(), logging.getLogger("voiceedge")
    before = root.level, own.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    own.setLevel(level)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])


@contextmanager
def whole_node(engines: Engines, **settings: object) -> Iterator[WholeNode]:
    """Serve `engines` on a free port of loopback until the block is left; then all is written."""
    config = Config(port=0, **settings)
    door, admission = make_door(config), make_admission(config)
    with seeing(config, Build("1.2.3", "nano", {}, {})) as seen, _recorder(config) as recorder:
        node = make_node(config, engines, 2, seen.report, seen.metrics.step)
        seen.metrics.watch(admission, node.compute)
        sockets = Sockets(node, admission, door, seen.spans, recorder=recorder)
        feed = Feed(seen.live, lambda: sockets.sessions, admission, node, cores=2)
        facts = machine()
        about = About(config, admission, FAKE_MODELS, facts.facts(), thread_plan(facts.whole_cores))
        shown = Shown(Admin(config.admin_key, door.proxies), feed.endpoint, seen.metrics.endpoint, about.endpoint)
        server = Server(build_app(node, sockets, admission, door, shown), sockets, admission)
        bound = bind(config.host, config.port)
        bound.listen()
        loop: list[asyncio.AbstractEventLoop] = []
        started = threading.Event()

        async def serve() -> None:
            loop.append(asyncio.get_running_loop())
            started.set()
            try:
                await watched(server.serve(sockets=[bound]), seen.metrics)
            finally:
                await admission.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="node")
        thread.start()
        started.wait()
        try:
            yield WholeNode(bound.getsockname()[1], node.compute)
        finally:
            loop[0].call_soon_threadsafe(server._asked_to_stop, "test")
            thread.join(20)
            node.compute.close()
            assert not thread.is_alive(), "the node did not stop"
