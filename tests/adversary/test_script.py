"""scripts/adversary runs: what it finds is for a quiet machine, and not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adversary.library import ATTACKS

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "adversary"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_every_attack_is_listed():
    done = subprocess.run([sys.executable, SCRIPT, "--list"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in ATTACKS)


@pytest.mark.slow
def test_an_attack_is_carried_out_beside_honest_sessions_and_measured(tmp_path: Path):
    figures = tmp_path / "figures.json"
    command = [sys.executable, SCRIPT, "--only", "unmasked-frame", "--seconds", "2", "--json", figures]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode in {0, 1}, done.stderr  # how slow it was is the machine's affair as well
    (found,) = json.loads(figures.read_text("utf-8"))
    assert set(found["answers"]) == {"close 1002"}
    (window, *_) = found["windows"]
    assert window["quiet"]["turns"] > 0
    assert window["attacked"]["turns"] > 0
    assert window["attacked"]["failed"] == window["lost"] == window["errors"] == 0
    assert window["attacker_cores"] > 0
