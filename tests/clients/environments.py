"""One environment for each client, of pinned versions, outside the checkout: they contradict each other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(os.environ.get("REALTIME_CLIENTS") or Path.home() / ".cache/voiceedge-clients")
"""Not named VOICEEDGE_…: the node takes those for its settings and refuses unknown ones."""
INSTALL_S = 600
READY = "ready"
"""File that is there once everything has been installed."""


class NotInstalled(Exception):
    """A client's environment could not be made here."""


@dataclass(frozen=True)
class Client:
    """A client of the matrix; its folder here holds its pins and its script."""

    name: str
    shown: str
    """Package, as its users call it."""
    needs_tls: bool = False

    @property
    def folder(self) -> Path:
        return HERE / self.name

    @property
    def is_node(self) -> bool:
        return (self.folder / "package.json").exists()

    @property
    def pins(self) -> list[Path]:
        names = ["package.json", "package-lock.json"] if self.is_node else ["requirements.txt"]
        return [self.folder / name for name in names]

    @property
    def environment(self) -> Path:
        """Named by its pins, so that a new version is a new folder."""
        text = b"".join(path.read_bytes() for path in self.pins)
        return HOME / f"{self.name}-{sha256(text).hexdigest()[:12]}"

    @property
    def is_ready(self) -> bool:
        return (self.environment / READY).exists()

    def install(self) -> None:
        """Make the environment if it is not there.

        Raises:
            NotInstalled: says why.
        """
        if self.is_ready:
            return
        shutil.rmtree(self.environment, ignore_errors=True)
        self.environment.mkdir(parents=True)
        if self.is_node:
            for path in self.pins:
                shutil.copy(path, self.environment)
            _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], self.environment)
        else:
            _run([sys.executable, "-m", "venv", "."], self.environment)
            _run(["bin/python", "-m", "pip", "install", "-q", "--no-deps", "-r", str(self.pins[0])], self.environment)
        (self.environment / READY).touch()

    def command(self) -> list[str]:
        """What runs the client's script, from `environment` as the working folder."""
        if not self.is_node:
            return ["bin/python", str(self.folder / "talk.py")]
        for script in (self.folder / "talk.mjs", HERE / "shared" / "scenarios.mjs"):
            shutil.copy(script, self.environment)  # modules are looked up from where a script is
        return ["node", "talk.mjs"]


CLIENTS = (
    Client("openai-python", "openai (Python)"),
    Client("openai-agents", "openai-agents (Python)"),
    Client("pipecat", "pipecat-ai"),
    Client("livekit", "livekit-agents"),
    Client("openai-agents-js", "@openai/agents (Node)"),
    Client("openai-node", "openai (Node)", needs_tls=True),
)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    except FileNotFoundError as error:
        raise NotInstalled(f"{command[0]} is not here") from error
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{command[0]} took longer than {INSTALL_S} s") from error
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise NotInstalled(f"{' '.join(command[:3])} ended with {done.returncode}: {''.join(last)[:200]}")
