"""The parts of the documents that are made out of the code: `python -m tests.documents` writes them anew."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

from voiceedge.config import Config
from voiceedge.conversation.state import table

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = {"home": "the user's cache", "instructions": "a friendly voice assistant"}


def settings_table() -> str:
    """docs/settings.md's table, out of the docstrings of Config."""
    fields = ast.parse((ROOT / "voiceedge" / "config.py").read_text(encoding="utf-8"))
    config = next(node for node in fields.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    rows = ["| setting | environment | default | what it does |", "|---|---|---|---|"]
    for field, doc in pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(field.target, ast.Name):
            name = field.target.id
            default = DEFAULTS.get(name) or _shown(getattr(Config(), name))
            text = " ".join(ast.literal_eval(doc.value).split())
            rows.append(f"| `{name}` | `VOICEEDGE_{name.upper()}` | {default} | {text} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    return "none" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def write() -> None:
    """Bring docs/settings.md and ARCHITECTURE.md up to date."""
    settings = ROOT / "docs" / "settings.md"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text[: text.index("| setting |")] + settings_table() + "\n", encoding="utf-8")
    architecture = ROOT / "ARCHITECTURE.md"
    text = architecture.read_text(encoding="utf-8")
    states = f"<!-- states -->\n{table()}\n<!-- /states -->"
    marked = re.compile("<!-- states -->.*<!-- /states -->", re.DOTALL)
    architecture.write_text(marked.sub(lambda _: states, text), encoding="utf-8")


if __name__ == "__main__":
    write()
