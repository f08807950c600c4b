"""Unmodified clients talk to a node of fakes: those whose environment is here (`scripts/clients --install`)."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.conversations import AGENTS, hold
from tests.clients.environments import CLIENTS, Client
from tests.clients.matrix import Address, run, serving, speech

pytestmark = pytest.mark.clients
DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
SNIPPET_S = 60


@pytest.fixture(scope="module")
def address_of():
    with serving(CLIENTS, None) as address_of:
        yield address_of


@pytest.fixture(scope="module")
def sentences():
    with speech() as folder:
        yield folder


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    if not request.param.is_ready:
        pytest.skip(f"scripts/clients --install {request.param.name}")
    return request.param


@pytest.fixture
def address(client: Client, address_of: Callable[[Client], Address]) -> Address:
    return address_of(client)


def test_every_scenario_of_a_stock_client_succeeds(client: Client, address: Address, sentences: Path):
    result = run(client, address, sentences, fake=True)
    assert not result.failures
    assert result.has_passed, result.problem


def test_conversations_at_random_moments_lose_nothing(sentences: Path):
    if not AGENTS.is_ready:
        pytest.skip(f"scripts/clients --install {AGENTS.name}")
    tally = hold(12, secrets.randbelow(2**31), sentences)
    assert tally.has_passed, tally.summary()


def test_the_documents_snippet_runs(client: Client, address: Address):
    section = DOCUMENT.partition(f"\n## {client.shown}\n")[2]
    code = re.search(r"```(python|js)\n(.*?)```", section, re.DOTALL)
    assert code is not None
    script = client.environment / ("snippet.mjs" if client.is_node else "snippet.py")
    port = address.url.rpartition(":")[2]
    script.write_text(re.sub(r"localhost:\d+", f"127.0.0.1:{port}", code[2]), encoding="utf-8")
    command = ["node" if client.is_node else "bin/python", script.name]
    done = subprocess.run(
        command, cwd=client.environment, env=address.environ, capture_output=True, text=True, timeout=SNIPPET_S
    )
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
    if "print(" in code[2] or "console.log(" in code[2]:
        assert done.stdout.strip()
