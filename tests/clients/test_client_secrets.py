"""Unmodified clients as a browser runs them: a client secret instead of a key, in the subprotocols."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.clients.environments import CLIENTS
from tests.clients.matrix import serving

pytestmark = pytest.mark.clients
SCRIPT_S = 60


@pytest.mark.parametrize(
    ("name", "said"), [("openai-node", "realtime Be brief."), ("openai-agents-js", "realtime marin")]
)
def test_a_browsers_client_connects_with_a_client_secret(name: str, said: str):
    (client,) = [client for client in CLIENTS if client.name == name]
    if not client.is_ready:
        pytest.skip(f"scripts/clients --install {name}")
    shutil.copy(client.folder / "secret.mjs", client.environment)  # modules are looked up from where a script is
    with serving([client], None) as address_of:
        address = address_of(client)
        command = ["node", "secret.mjs", address.url]
        done = subprocess.run(
            command, cwd=client.environment, env=address.environ, capture_output=True, text=True, timeout=SCRIPT_S
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == said
