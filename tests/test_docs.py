"""The documents say what the code does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.nodes import running_node
from voiceedge.config import Config
from voiceedge.conversation.state import table
from voiceedge.engines.fake import fake_engines
from voiceedge.session import hear, outbox, voice

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
DEFAULTS = {"home": "the user's cache", "instructions": "a friendly voice assistant", "trace_file": "none"}


def test_the_state_table_is_the_code():
    shown = re.search(r"<!-- states -->\n(.*?)\n<!-- /states -->", ARCHITECTURE, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == table()


@pytest.mark.parametrize(
    "bound",
    [
        f"{hear.KEPT_S} s at 16 kHz",
        f"| {outbox.MAX_AUDIO_S:.0f} s |",
        f"| {outbox.MAX_EVENTS:,} events |",
        f"| {outbox.STALL_S:.0f} s |",
        f"| {voice.LEAD_S:.0f} s |",
    ],
)
def test_the_bounds_of_the_queues_are_the_codes(bound: str):
    assert bound in ARCHITECTURE


def test_the_readmes_client_runs(tmp_path: Path):
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    with running_node(fake_engines()) as node:
        script = tmp_path / "client.py"
        script.write_text(code.group(1).replace("localhost:8080", f"127.0.0.1:{node.port}"), encoding="utf-8")
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


def test_the_scripts_and_files_that_the_readme_names_exist():
    for name in re.findall(r"(?:\./)?(scripts/\w+|docs/[\w./]+|[A-Z]+\.md)", README):
        assert (ROOT / name).exists(), name


def settings_table() -> str:
    """docs/settings.md's table, out of the docstrings of Config."""
    fields = ast.parse((ROOT / "voiceedge" / "config.py").read_text(encoding="utf-8"))
    config = next(node for node in fields.body if isinstance(node, ast.ClassDef) and node.name == "Config")
    rows = ["| setting | environment | default | what it does |", "|---|---|---|---|"]
    for field, doc in pairwise(config.body):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(field.target, ast.Name):
            name = field.target.id
            default = DEFAULTS.get(name, f"`{getattr(Config(), name)}`")
            text = " ".join(ast.literal_eval(doc.value).split())
            rows.append(f"| `{name}` | `VOICEEDGE_{name.upper()}` | {default} | {text} |")
    return "\n".join(rows)


def test_every_setting_is_documented():
    shown = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert settings_table() in shown
    for name in Config.__struct_fields__:
        assert f"| `{name}` |" in shown
