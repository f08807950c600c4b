"""A node in this process, on a real port, for tests that talk over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from voiceedge.config import Config
from voiceedge.engines import Engines
from voiceedge.engines.renewal import LoadStage
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.server.admin import Admin
from voiceedge.server.admission import Admission, make_admission
from voiceedge.server.app import Shown, build_app
from voiceedge.server.doors import make_door
from voiceedge.server.feed import Feed
from voiceedge.server.judging import Judge, read_budget
from voiceedge.server.knocking import Knocking
from voiceedge.server.live import Live
from voiceedge.server.serving import Server, bind
from voiceedge.server.socket import Sockets
from voiceedge.server.throttle import Throttling
from voiceedge.server.tls import tls_context
from voiceedge.session.node import Node, make_node


@dataclass
class RunningNode:
    port: int
    node: Node
    admission: Admission
    server: Server
    turns: list[TurnTraced]
    feed: Feed
    secure: str = ""
    """"s" for a node with TLS."""
    loop: asyncio.AbstractEventLoop | None = None
    waits: Sequence[tuple[str, float]] = ()
    """For what clients were made to wait, and for how many seconds."""

    @property
    def url(self) -> str:
        return f"ws{self.secure}://127.0.0.1:{self.port}/v1/realtime"

    @property
    def http(self) -> str:
        return f"http{self.secure}://127.0.0.1:{self.port}"

    def tasks(self) -> set[str]:
        """Names of the tasks that are alive in the node's loop."""
        assert self.loop is not None
        return {task.get_name() for task in asyncio.all_tasks(self.loop)}

    def stop(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.server._asked_to_stop, "test")


@contextmanager
def running_node(engines: Engines, *, load: LoadStage | None = None, **settings: object) -> Iterator[RunningNode]:
    """Serve `engines` on a free port of loopback until the block is left; `load` loads them anew if they fail."""
    config = Config(port=0, **settings)
    turns: list[TurnTraced] = []
    live = Live(read_budget(config.budget))
    judge = Judge(live.budget, live.report, lambda _, turn: turns.append(turn))
    node = make_node(config, engines, 2, judge.report, load=load)
    admission = make_admission(config)
    door = make_door(config)
    waits: list[tuple[str, float]] = []
    sockets = Sockets(node, admission, door, throttling=Throttling(config, lambda *wait: waits.append(wait)))
    tls = tls_context(config)
    feed = Feed(live, lambda: sockets.sessions, admission, node, cores=2, drain_s=config.drain_s)
    shown = Shown(Admin(config.admin_key, door.proxies), feed.endpoint)
    app = build_app(node, sockets, admission, door, shown)
    knocking = Knocking(door.proxies, closed=lambda: admission.refused("idle"))
    server = Server(app, sockets, admission, tls, drain_s=config.drain_s, knocking=knocking)
    bound = bind(config.host, config.port)
    running = RunningNode(bound.getsockname()[1], node, admission, server, turns, feed, "s" if tls else "", waits=waits)
    started = threading.Event()

    async def serve() -> None:
        running.loop = asyncio.get_running_loop()
        started.set()
        try:
            await server.serve(sockets=[bound])
        finally:
            await admission.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="node")
    bound.listen()  # so that a client that comes before uvicorn is ready waits in the backlog
    thread.start()
    started.wait()
    try:
        yield running
    finally:
        running.stop()
        thread.join(20)
        node.compute.close()
        assert not thread.is_alive(), "the node did not stop"
