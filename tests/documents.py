"""The parts of the documents that are made out of the code: `python -m tests.documents` writes them anew."""

from __future__ import annotations

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

from voiceedge.config import Config
from voiceedge.conversation.state import table

ROOT = Path(__file__).resolve().parents[1]
HEAD = re.compile(r"    # ── (.+?) ─+$")
"""Above a group of settings."""
DEFAULTS = {"home": "the user's cache", "instructions": "a friendly voice assistant"}


@cache
def declared(path: str) -> frozenset[str]:
    """Names of the tests in a file of the tree; helpers are none."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


@cache
def settings_groups() -> dict[str, dict[str, str]]:
    """What each setting does, by the comment that it stands under in Config, and by its name."""
    source = (ROOT / "voiceedge" / "config.py").read_text(encoding="utf-8")
    config = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Config")
    heads = {number: head[1] for number, line in enumerate(source.splitlines(), 1) if (head := HEAD.match(line))}
    groups: dict[str, dict[str, str]] = {title: {} for title in heads.values()}
    for field, doc in pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(field.target, ast.Name):
            title = heads[max(number for number in heads if number < field.lineno)]
            groups[title][field.target.id] = " ".join(ast.literal_eval(doc.value).split())
    return groups


def settings_tables() -> str:
    """docs/settings.md's tables, out of the docstrings of Config."""
    return "\n\n".join(f"## {title}\n\n{_table(group)}" for title, group in settings_groups().items())


def _table(group: dict[str, str]) -> str:
    rows = ["| setting | environment | default | what it does |", "|---|---|---|---|"]
    for name, text in group.items():
        default = DEFAULTS.get(name) or _shown(getattr(Config(), name))
        rows.append(f"| `{name}` | `VOICEEDGE_{name.upper()}` | {default} | {text} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    return "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def write() -> None:
    """Bring docs/settings.md and ARCHITECTURE.md up to date."""
    settings = ROOT / "docs" / "settings.md"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text[: text.index("\n## ") + 1] + settings_tables() + "\n", encoding="utf-8")
    architecture = ROOT / "ARCHITECTURE.md"
    text = architecture.read_text(encoding="utf-8")
    states = f"<!-- states -->\n{table()}\n<!-- /states -->"
    marked = re.compile("<!-- states -->.*<!-- /states -->", re.DOTALL)
    architecture.write_text(marked.sub(lambda _: states, text), encoding="utf-8")


if __name__ == "__main__":
    write()
