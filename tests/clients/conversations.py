"""Conversations at random moments through openai-agents, many against one node: nothing invalid, hung or lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.clients.environments import CLIENTS, HERE, Client
from tests.e2e.nodes import RunningNode, running_node
from voiceedge.audio.pcm import PCM
from voiceedge.engines import Prompt
from voiceedge.engines.fake import FakeTts, fake_engines
from voiceedge.engines.fake_calls import act
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.fake_llm import Said

AGENTS: Client = next(client for client in CLIENTS if client.name == "openai-agents")
AT_ONCE = 6
CONVERSATION_S = 30
"""More than one takes, with its share of the time of those at once."""
DELAYS = FakeDelays(end_of_turn_s=0.01, stt_s=0.05, llm_first_token_s=0.05, llm_token_s=0.01, tts_s=0.02)
SECONDS_A_WORD = 0.15
STORY = " ".join(f"This is sentence number {number} of a story." for number in range(1, 9))


@dataclass
class Tally:
    """What came of all conversations."""

    conversations: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    """By seed."""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    problem: str = ""

    def add(self, line: dict[str, Any]) -> None:
        self.conversations += 1
        if not line["ok"]:
            self.failures[line["seed"]] = line["note"]
        for name in ("moves", "responses"):
            self.counts.setdefault(name, Counter()).update(line[name])
        self.counts.setdefault("other", Counter()).update({key: line[key] for key in ("events", "tools", "truncated")})

    @property
    def has_passed(self) -> bool:
        return bool(self.conversations) and not self.failures and not self.problem

    def summary(self) -> str:
        lines = [f"{self.conversations} conversations, {len(self.failures)} of them failed"]
        for name, counts in self.counts.items():
            lines.append(f"{name}: " + ", ".join(f"{kind} {count}" for kind, count in counts.most_common()))
        lines += [f"seed {seed}: {note}" for seed, note in sorted(self.failures.items())]
        return "\n".join([*lines, *([self.problem] if self.problem else [])])


def heard(audio: PCM) -> str:
    """By the length of what was said: about the tool or not."""
    return "What is the capital of France?" if len(audio) // 1_600 % 2 else "Please go on with it."


def answer(prompt: Prompt) -> Said:
    """Calls and their results, a story, or a sentence."""
    if acted := act(prompt):
        return ("Let me look that up for you.", *acted) if isinstance(acted, tuple) else acted
    last = next((message.text for message in reversed(prompt.messages) if message.role == "user"), "")
    return STORY if "story" in last or "go on" in last.lower() else "That is all that I can say about it, I am afraid."


@contextmanager
def conversing_node() -> Iterator[RunningNode]:
    """A node of fakes that take their time."""
    engines = fake_engines(DELAYS, text=heard, answer=answer, slots=AT_ONCE + 4, context_tokens=4096)
    engines = replace(engines, tts=FakeTts(delay_s=DELAYS.tts_s, seconds_per_word=SECONDS_A_WORD))
    with running_node(engines, max_sessions=AT_ONCE + 2) as node:
        yield node


def hold(count: int, first_seed: int, sentences: Path) -> Tally:
    """Hold so many conversations, a few at a time."""
    tally = Tally()
    with conversing_node() as node:
        arguments = ["--node", node.http, "--speech", str(sentences), "--at-once", str(AT_ONCE)]
        seeds = f"{first_seed}-{first_seed + count - 1}"
        paths = f"{HERE / 'shared'}{os.pathsep}{HERE.parents[1]}"
        process = subprocess.Popen(
            ["bin/python", str(AGENTS.folder / "conversations.py"), *arguments, "--seeds", seeds],
            cwd=AGENTS.environment,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said, complaints = process.communicate(timeout=60 + CONVERSATION_S * count / AT_ONCE)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaints = process.communicate()
            tally.problem = "stopped: the conversations took too long"
    for line in said.splitlines():
        tally.add(json.loads(line))
    if process.returncode and not tally.problem:
        tally.problem = f"ended with {process.returncode}: {complaints.strip().splitlines()[-1:]}"
    if tally.conversations < count and not tally.problem:
        tally.problem = f"only {tally.conversations} of {count} conversations came to an end"
    return tally
