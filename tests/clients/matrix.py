"""The client matrix: every unmodified client against a node, scenario by scenario. `scripts/clients --help`."""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.certificates import self_signed
from tests.clients.conversations import AGENTS, hold
from tests.clients.environments import CLIENTS, HERE, Client, NotInstalled
from tests.clients.fake_node import fake_node
from tests.speech import RATE_HZ, say
from voiceedge.audio.pcm import to_pcm16

SCENARIOS = (
    "greeting",
    "speech",
    "second turn",
    "tool turn",
    "barge-in",
    "push-to-talk",
    "text",
    "transcription",
    "no reply",
    "reconnect",
)
SENTENCES = {
    "question": "What is the capital of France?",
    "followup": "And how many people live there?",
    "story": "Tell me a long story about a fox and a bear.",
    "stop": "Please stop telling me this story now.",
}
CLIENT_S = 300
"""All scenarios of one client; they take about a minute."""
READY_S = 120
CONVERSATIONS = 100
NO_SCENARIO, NOT_INSTALLED, PASSED, FAILED = "—", "·", "✓", "✗"


@dataclass(frozen=True)
class Address:
    """Where a node is for a client."""

    url: str
    certificate: Path | None = None
    """What has to be trusted there, of a node with TLS."""

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables of the client's process."""
        trust = {} if self.certificate is None else {"NODE_EXTRA_CA_CERTS": str(self.certificate)}
        return {**os.environ, "PYTHONPATH": str(HERE / "shared"), **trust}


@dataclass
class Result:
    """What one client's script printed."""

    client: Client
    versions: dict[str, str] = field(default_factory=dict)
    scenarios: dict[str, dict[str, object]] = field(default_factory=dict)
    problem: str = ""
    """Why there are no scenarios, or fewer than were asked for."""

    @property
    def failures(self) -> dict[str, object]:
        return {name: line["note"] for name, line in self.scenarios.items() if not line["ok"]}

    @property
    def has_passed(self) -> bool:
        return bool(self.scenarios) and not self.failures and not self.problem

    def cell(self, scenario: str) -> str:
        if not self.scenarios and self.problem:
            return NOT_INSTALLED
        if scenario not in self.scenarios:
            return NO_SCENARIO
        return PASSED if self.scenarios[scenario]["ok"] else FAILED


@contextmanager
def speech() -> Iterator[Path]:
    """A folder with the sentences, spoken by the default voice."""
    with tempfile.TemporaryDirectory() as name:
        for sentence, text in SENTENCES.items():
            with wave.open(f"{name}/{sentence}.wav", "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes(to_pcm16(say(text)))
        yield Path(name)


@contextmanager
def real_node(profile: str, certificate: Path | None = None, key: Path | None = None) -> Iterator[str]:
    """`voiceedge serve` with real models, as its users start it; yields its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voiceedge.cli", "serve", "--profile", profile, "--port", str(port)]
    url, trust = f"http://127.0.0.1:{port}", None
    if certificate is not None:
        command += ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        url, trust = f"https://127.0.0.1:{port}", ssl.create_default_context(cafile=certificate)
    node = subprocess.Popen([*command, "--log-level", "warning"], stdout=subprocess.DEVNULL)
    try:
        for _ in range(READY_S * 5):
            if node.poll() is not None:
                sys.exit(f"the node ended with {node.returncode}")
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=1, context=trust).close()
                break
            except OSError:
                time.sleep(0.2)
        yield url
    finally:
        node.terminate()
        node.wait(30)


@contextmanager
def serving(clients: Sequence[Client], profile: str | None) -> Iterator[Callable[[Client], Address]]:
    """Serve as these clients need it, with TLS for who speaks only that; yields where each finds its node.

    `profile` names the real models; None is fakes.
    """
    with ExitStack() as stack:

        def start(certificate: Path | None = None, key: Path | None = None) -> str:
            if profile is not None:
                return stack.enter_context(real_node(profile, certificate, key))
            return stack.enter_context(fake_node(tls_certificate=certificate, tls_key=key)).http

        addresses = {}
        if any(not client.needs_tls for client in clients):
            addresses[False] = Address(start())
        if any(client.needs_tls for client in clients):
            certificate, key = self_signed(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            addresses[True] = Address(start(certificate, key), certificate)
        yield lambda client: addresses[client.needs_tls]


def run(client: Client, address: Address, sentences: Path, *, fake: bool, only: str = "") -> Result:
    """Run a client's script against a node."""
    result = Result(client)
    command = [*client.command(), "--node", address.url, "--speech", str(sentences), "--only", only]
    process = subprocess.Popen(
        [*command, "--fake"] if fake else command,
        cwd=client.environment,
        env=address.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said, complaints = process.communicate(timeout=CLIENT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        said, complaints = process.communicate()
        result.problem = f"stopped after {CLIENT_S} s"
    for line in map(json.loads, said.splitlines()):
        result.versions |= line.pop("versions", {})
        if "scenario" in line:
            result.scenarios[line.pop("scenario")] = line
    if process.returncode and not result.problem:
        result.problem = f"ended with {process.returncode}: {complaints.strip().splitlines()[-1:]}"
    return result


def table(results: list[Result]) -> str:
    """The matrix in Markdown."""
    rows = [["", *(result.client.shown for result in results)]]
    rows.append(["version", *(next(iter(result.versions.values()), "") for result in results)])
    rows += [[scenario, *(result.cell(scenario) for result in results)] for scenario in SCENARIOS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/clients", description="Run unmodified clients against a node.")
    parser.add_argument("clients", nargs="*", help=f"some of: {', '.join(client.name for client in CLIENTS)}")
    parser.add_argument("--real", action="store_true", help="real models instead of fakes")
    parser.add_argument("--profile", default="nano", help="of the real models")
    parser.add_argument("--scenarios", default="", help="some, separated by commas")
    parser.add_argument("--conversations", type=int, help="at random moments; 100 beside all scenarios on fakes")
    parser.add_argument("--seed", type=int, default=1, help="of the first conversation")
    parser.add_argument("--install", action="store_true", help="make the environments and stop")
    asked = parser.parse_args()
    unknown = set(asked.clients) - {client.name for client in CLIENTS}
    if unknown:
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    results = [Result(client) for client in CLIENTS if not asked.clients or client.name in asked.clients]
    for result in results:
        try:
            _say(f"{result.client.name}: {'ready' if result.client.is_ready else 'installing'}")
            result.client.install()
        except NotInstalled as error:
            result.problem = f"cannot be installed here: {error}"
            _say(f"{result.client.name}: {result.problem}")
    went_well = True
    if not asked.install:
        results = _run_all(results, asked.scenarios, asked.profile if asked.real else None)
        _tell(results)
        wanted = 0 if asked.scenarios or asked.real else CONVERSATIONS
        count = wanted if asked.conversations is None else asked.conversations
        if count and any(result.client == AGENTS and AGENTS.is_ready for result in results):
            went_well = _converse(count, asked.seed)
    sys.exit(not went_well or any(result.failures or result.problem for result in results))


def _tell(results: list[Result]) -> None:
    sys.stdout.write(f"\n{table(results)}\n\n")
    for result in results:
        for scenario, note in result.failures.items():
            sys.stdout.write(f"{FAILED} {result.client.name}, {scenario}: {note}\n")
        if result.problem:
            sys.stdout.write(f"{NOT_INSTALLED} {result.client.name}: {result.problem}\n")


def _converse(count: int, seed: int) -> bool:
    """Hold conversations and tell what came of them; whether all went well."""
    _say(f"{AGENTS.name}: {count} conversations")
    with speech() as sentences:
        tally = hold(count, seed, sentences)
    sys.stdout.write(f"\n{tally.summary()}\n")
    return tally.has_passed


def _run_all(results: list[Result], only: str, profile: str | None) -> list[Result]:
    here = [result.client for result in results if not result.problem]
    if profile == "nano" and not only:
        only = ",".join(name for name in SCENARIOS if name != "tool turn")  # its LLM has never seen a function
    with speech() as sentences, serving(here, profile) as address_of:
        done = []
        for result in results:
            if not result.problem:
                _say(f"{result.client.name}: running")
                result = run(result.client, address_of(result.client), sentences, fake=profile is None, only=only)  # noqa: PLW2901
            done.append(result)
    return done


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    main()
