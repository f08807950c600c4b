"""The limits that docs/protocol.md states are the code's."""

from pathlib import Path

import pytest

from voiceedge.config import Config
from voiceedge.conversation import history
from voiceedge.engines import constraint, schema, tool_calls
from voiceedge.protocol import client_events, items, session_config, validation
from voiceedge.session import context, hear, session, silence

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    "stated",
    [
        f"| {client_events.MAX_MESSAGE_CHARACTERS // MEBIBYTE} MiB; above it only ASCII |",
        f"| {client_events.MAX_MESSAGE_VALUES:,}; {validation.MAX_VALUES:,} in a session, item or response |",
        f"| nesting | {validation.MAX_DEPTH} |",
        f"| keys, ids | {validation.MAX_KEY_CHARACTERS} characters |",
        f"| keys, ids | {client_events.MAX_ID_CHARACTERS} characters |",
        f"| audio of an append | {client_events.MAX_AUDIO_BYTES // MEBIBYTE} MiB |",
        f"| {hear.KEPT_S} s a session |",
        f"| {items.MAX_ITEM_BYTES // MEBIBYTE} MiB of memory, speech left out |",
        f"| {Config().max_items:,} (`max_items`) and {history.MAX_BYTES // MEBIBYTE} MiB of memory |",
        f"| {session_config.MAX_SESSION_BYTES // 1024} KiB of JSON |",
        f"less {context.ROOM_TO_TALK} tokens |",
        (
            f"| {constraint.MOST_TOOLS}, each with a schema of {schema.LARGEST_SCHEMA:,} characters, "
            f"{schema.DEEPEST_SCHEMA} levels, {schema.MOST_REFERENCES} references |"
        ),
        f"`$ref` beside others) | {schema.MOST_PATTERNS} |",
        f"| calls of one answer | {tool_calls.MOST_CALLS} |",
        f"| {silence.MOST_IN_A_ROW} in a row |",
        f"| `session_s` ({Config().session_s}) |",
        f"| `idle_s` ({Config().idle_s}):",
        f"more than {session.LARGE_MESSAGE:,} characters",
    ],
)
def test_a_limit_on_the_page_is_the_codes(stated):
    assert stated in PAGE
