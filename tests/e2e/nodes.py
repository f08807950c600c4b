"""A node in this process, on a real port, for tests that talk over real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from voiceedge.config import Config
from voiceedge.engines import Engines
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.server.admission import Admission
from voiceedge.server.app import build_app
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.serving import Server, bind
from voiceedge.server.socket import Sockets
from voiceedge.server.tls import tls_context
from voiceedge.session.node import Node, make_node


@dataclass
class RunningNode:
    port: int
    node: Node
    admission: Admission
    server: Server
    turns: list[TurnTraced]
    secure: str = ""
    """"s" for a node with TLS."""
    loop: asyncio.AbstractEventLoop | None = None

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
def running_node(engines: Engines, **settings: object) -> Iterator[RunningNode]:
    """Serve `engines` on a free port of loopback until the block is left."""
    config = Config(port=0, **settings)
    turns: list[TurnTraced] = []
    node = make_node(config, engines, 2, lambda _, turn: turns.append(turn))
    admission = Admission(config.max_sessions)
    client_secrets = ClientSecrets(config.secret)
    sockets = Sockets(node, admission, client_secrets)
    tls = tls_context(config)
    server = Server(build_app(node, sockets, admission, client_secrets), sockets, admission, tls)
    bound = bind(config.host, config.port)
    running = RunningNode(bound.getsockname()[1], node, admission, server, turns, "s" if tls else "")
    started = threading.Event()

    async def serve() -> None:
        running.loop = asyncio.get_running_loop()
        started.set()
        await server.serve(sockets=[bound])

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
