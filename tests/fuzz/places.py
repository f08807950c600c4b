"""Where inputs lie: those of a search in its own folder, those that are kept in the repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fuzz.target import Target
from tests.fuzz.targets import folder_name
from tests.fuzz.trial import name_of

HERE = Path(__file__).resolve().parent
KEPT_BYTES = 4096
"""Of a target's corpus in the repository: what leads to new places, the shortest first."""
KEPT_FILES = 48


def corpus_of(target: Target) -> Path:
    """Inputs that lead to different places in the code."""
    return HERE / "corpus" / folder_name(target)


def regressions_of(target: Target) -> Path:
    """Inputs that once broke it, each named after what was wrong."""
    return HERE / "regressions" / folder_name(target)


def kept_inputs(target: Target) -> dict[str, bytes]:
    """All that is replayed for a target, by where it comes from."""
    found = {f"seed {number}": seed for number, seed in enumerate(target.seeds)}
    for folder in (corpus_of(target), regressions_of(target)):
        if folder.is_dir():
            found |= {f"{folder.parent.name}/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    return found


class Places:
    """Of one target's search."""

    def __init__(self, output: Path, target: Target) -> None:
        folder = output / folder_name(target)
        self._target = target
        self.corpus = folder / "corpus"
        self.seeds = folder / "seeds"
        self.crashes = folder / "crashes"
        self.progress = folder / "progress.json"
        self.dictionary = folder / "words"
        self.log = folder / "log"
        self.committed = [folder for folder in (corpus_of(target), regressions_of(target)) if folder.is_dir()]

    def make(self) -> None:
        """Make the folders, and write down where the search begins."""
        for folder in (self.corpus, self.seeds, self.crashes):
            folder.mkdir(parents=True, exist_ok=True)
        for seed in self._target.seeds:
            (self.seeds / name_of(seed)).write_bytes(seed[: self._target.max_bytes])
        words = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in self._target.words)
        self.dictionary.write_text("".join(f'"{word}"\n' for word in words), encoding="ascii")

    def told(self) -> dict[str, Any]:
        """What the worker last said; nothing yet where it has only begun."""
        try:
            told: dict[str, Any] = json.loads(self.progress.read_text("utf-8"))
        except (OSError, ValueError):  # it is being written just now
            return {}
        return told

    def broken(self) -> list[Path]:
        """Inputs that broke the target, or the process."""
        if not self.crashes.is_dir():
            return []
        return sorted(path for path in self.crashes.iterdir() if path.suffix != ".txt")
