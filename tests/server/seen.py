"""A node in this process that is looked at as `voiceedge serve` looks at one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.server.admin import Admin
from voiceedge.server.admission import Admission
from voiceedge.server.app import Shown, build_app
from voiceedge.server.auth import Door
from voiceedge.server.build import Build
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.feed import Feed
from voiceedge.server.seeing import Seeing, seeing, watched
from voiceedge.server.serving import Server, bind
from voiceedge.server.socket import Sockets
from voiceedge.session.node import make_node
from voiceedge.trace import SEGMENTS

MODELS = {"stt": "whisper", "llm": "smol", "tts": "hibari"}


@dataclass
class SeenNode:
    port: int
    see: Seeing
    turns: list[TurnTraced] = field(default_factory=list)
    steps: list[tuple[str, float, float, int]] = field(default_factory=list)

    def report(self, session_id: str, turn: TurnTraced) -> None:
        self.turns.append(turn)
        self.see.report(session_id, turn)

    def observe(self, name: str, waited_s: float, ran_s: float, rows: int) -> None:
        self.steps.append((name, waited_s, ran_s, rows))
        self.see.metrics.step(name, waited_s, ran_s, rows)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def seen_node(**settings: object) -> Iterator[SeenNode]:
    """Serve fake engines on a free port of loopback until the block is left; then everything has been reported."""
    config = Config(port=0, **settings)
    with seeing(config, Build("1.2.3", "nano", MODELS, {"llm": 5_000})) as see:
        bound = bind(config.host, config.port)
        bound.listen()
        running = SeenNode(bound.getsockname()[1], see)
        node = make_node(config, fake_engines(slots=4), 2, running.report, running.observe)
        admission = Admission(config.max_sessions)
        see.metrics.watch(admission, node.compute)
        door = Door(ClientSecrets(None))
        sockets = Sockets(node, admission, door, see.spans)
        feed = Feed(see.live, lambda: sockets.sessions, admission, node, cores=2)
        shown = Shown(Admin(None), feed.endpoint, see.metrics.endpoint)
        server = Server(build_app(node, sockets, admission, door, shown), sockets, admission)
        loop: list[asyncio.AbstractEventLoop] = []
        started = threading.Event()

        async def serve() -> None:
            loop.append(asyncio.get_running_loop())
            started.set()
            await watched(server.serve(sockets=[bound]), see.metrics)

        thread = threading.Thread(target=lambda: asyncio.run(serve()), name="node")
        thread.start()
        started.wait()
        try:
            yield running
        finally:
            loop[0].call_soon_threadsafe(server._asked_to_stop, "test")
            thread.join(20)
            node.compute.close()
            assert not thread.is_alive(), "the node did not stop"


def a_turn(**changes: object) -> TurnTraced:
    """A turn that was drafted and is heard after 612 ms."""
    fields = {
        "turn": 3,
        "response_id": "resp_1",
        "item_id": "item_1",
        "status": "completed",
        "total_ms": 612.0,
        "marks_ms": {
            "stt_started": 100.0,
            "stt_final": 150.0,
            "wait_over": 200.0,
            "endpoint": 210.0,
            "llm_started": 151.0,
            "llm_first_token": 200.0,
            "llm_first_clause": 400.0,
            "llm_done": 700.0,
            "tts_first_audio": 600.0,
            "first_audio_out": 612.0,
        },
        "critical_path": tuple(TracedSegment(name, 612.0 / len(SEGMENTS)) for name in SEGMENTS),
        "facts": {"prefill_tokens": 12, "cached_tokens": 100, "completion_tokens": 20, "work_ms": 300, "wasted_ms": 40},
        "zero_at": 1_795_473_791.25,
    }
    return TurnTraced(**{**fields, **changes})
