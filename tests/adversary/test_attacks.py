"""Every attack of the library in a small version, against a node in this process: what it answers, and what is left.

How long anything takes is not judged here: `scripts/adversary` does that, with honest sessions beside it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.adversary.attack import Attack, Kind, carry_out
from tests.adversary.credentials import Credentials
from tests.adversary.library import ATTACKS
from tests.adversary.target import Target
from tests.adversary.wire import trusting
from tests.certificates import self_signed
from tests.e2e.caller import calling
from tests.e2e.faults import Faults, settled
from tests.e2e.nodes import RunningNode, running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.server import request, serving
from voiceedge.server import socket as server_socket
from voiceedge.session import outbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="uses addresses of loopback that only Linux has")

CREDENTIALS = Credentials.make()
SOME = {"connects": 50, "hasty-churn": 20, "churn": 6}
"""Attempts of attacks that are about their number; of all others one of each variant."""
FLOOD = 100
PATIENCE_S = 20.0


class Prey:
    """A node that is attacked, and what its engines have done."""

    def __init__(self, node: RunningNode, faults: Faults) -> None:
        self.node, self.faults = node, faults

    async def is_attacked(self, attack: Attack) -> None:
        """Carry out a small version of an attack, and see that the node is as it was."""
        target = Target(self.node.port, CREDENTIALS, bool(self.node.secure), FLOOD, 0.02, PATIENCE_S)
        steps = self.faults.taken.copy()
        answers = await carry_out(attack, target, attempts=SOME.get(attack.name, len(attack.variants)))
        assert not attack.unexpected(answers), answers
        await settled(self.node, sessions=0)
        if not attack.is_in:
            assert self.faults.taken == steps
        await self.is_served()

    async def is_served(self) -> None:
        """Somebody honest is answered as ever."""
        headers = {"Authorization": f"Bearer {CREDENTIALS.honest_key}"}
        secure: dict[str, Any] = {"ssl": trusting()} if self.node.secure else {}
        async with calling(self.node.url, additional_headers=headers, **secure) as caller:
            await caller.update(output_modalities=["text"])
            await caller.send("response.create")
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
        await settled(self.node, sessions=0)


@contextmanager
def prey(folder: Path, kind: Kind) -> Iterator[Prey]:
    """A node of this kind, until the block is left."""
    settings: dict[str, Any] = {} if kind == "open" else CREDENTIALS.settings(folder)
    if kind == "tls":
        settings["tls_certificate"], settings["tls_key"] = self_signed(folder)
    faults = Faults()
    with running_node(faults.engines(fake_engines(slots=8)), max_sessions=6, **settings) as node:
        yield Prey(node, faults)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prey]:
    with prey(tmp_path_factory.mktemp("keys"), "keys") as one:
        yield one


def _names(*kinds: Kind, is_slow: bool = False) -> list[str]:
    return [name for name, attack in ATTACKS.items() if attack.node in kinds and attack.is_slow == is_slow]


@pytest.mark.parametrize("name", _names("keys"))
async def test_a_node_that_asks_for_keys_withstands(name: str, keys: Prey):
    await keys.is_attacked(ATTACKS[name])


@pytest.mark.parametrize("name", _names("open", "tls"))
async def test_a_node_of_another_kind_withstands(name: str, tmp_path: Path):
    with prey(tmp_path, ATTACKS[name].node) as one:
        await one.is_attacked(ATTACKS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", _names("keys", "tls", is_slow=True))
async def test_who_takes_his_time_is_given_up(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What takes seconds takes tenths of seconds here."""
    for module, limit in ((request, "REQUEST_S"), (serving, "HANDSHAKE_S"), (outbox, "STALL_S")):
        monkeypatch.setattr(module, limit, 0.4)
    monkeypatch.setattr(server_socket, "CLOSE_S", 0.2)
    monkeypatch.setattr(serving, "UNREAD_S", 1)
    monkeypatch.setattr(serving, "PING_EVERY_S", 0.1)
    with prey(tmp_path, ATTACKS[name].node) as one:
        one.node.server.config.ws_ping_timeout = 0.3
        await one.is_attacked(ATTACKS[name])


async def test_who_begins_a_hundred_handshakes_takes_no_place(keys: Prey):
    """Places are for those who have been let in: half a handshake holds nothing but its socket."""
    target = Target(keys.node.port, CREDENTIALS, patience_s=PATIENCE_S)
    waiting = asyncio.create_task(carry_out(ATTACKS["unfinished-head"], target, attempts=100))
    for _ in range(3):
        await keys.is_served()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
