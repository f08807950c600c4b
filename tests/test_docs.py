"""The documents say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT, settings_tables
from tests.e2e.nodes import running_node
from voiceedge.config import Config
from voiceedge.conversation.state import table
from voiceedge.engines.fake import fake_engines
from voiceedge.protocol import server_events
from voiceedge.protocol.client_events import ClientEvent
from voiceedge.session import hear, outbox, voice

README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


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
    for name in re.findall(r"(?:\./)?(scripts/\w+|docs/[\w./-]+|[A-Z]+\.md)", README):
        assert (ROOT / name).exists(), name


def test_every_setting_is_documented():
    shown = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert settings_tables() in shown
    for name in Config.__struct_fields__:
        assert f"| `{name}` |" in shown


PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def server_event_names() -> list[str]:
    events = [kind for kind in vars(server_events).values() if isinstance(kind, type)]
    tags = [event.__struct_config__.tag for event in events if issubclass(event, server_events.ServerEvent)]
    return [tag for tag in tags if isinstance(tag, str) and tag.islower()]


@pytest.mark.parametrize(
    "name", [*(kind.__struct_config__.tag for kind in ClientEvent.__args__), *server_event_names(), "voiceedge.turn"]
)
def test_every_event_is_documented(name: str):
    assert f"`{name}`" in PROTOCOL


def error_codes() -> set[str]:
    """Every code that the source can put on the wire."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "voiceedge").rglob("*.py"))
    codes = set(re.findall(r'(?:\bcode|wire_code)="?(?: = )?"([a-z_]+)"', source))
    codes |= set(re.findall(r'wire_code = "([a-z_]+)"', source))
    for verb in re.findall(r'self\._find\([\w.]+, "(\w+)"\)', source):
        codes.add(f"item_{verb}_invalid_item_id")
    return codes


def test_every_error_code_is_documented():
    codes = error_codes()
    assert {"invalid_value", "engine_failed", "item_delete_invalid_item_id"} <= codes
    assert {code for code in codes if f"`{code}`" not in PROTOCOL} == set()
