"""The limits that docs/protocol.md and ARCHITECTURE.md state are the code's."""

import pytest

from tests.documents import ROOT
from voiceedge.config import Config
from voiceedge.conversation import history, speakable
from voiceedge.engines import constraint, renewal, schema, tool_calls
from voiceedge.protocol import client_events, items, session_config, validation
from voiceedge.server import bad_keys, capacity, frames, giving_up, knocking, request, serving, shared_counts, throttle
from voiceedge.session import compute, context, hear, outbox, session, silence, transcribing

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
HELD = ARCHITECTURE.split("## What is held against abuse\n", 1)[1].split("\n## ", 1)[0]
KIBIBYTE = 1024
MEBIBYTE = 1024 * 1024
CONFIG = Config()


@pytest.mark.parametrize(
    "stated",
    [
        f"| {client_events.MAX_MESSAGE_CHARACTERS // MEBIBYTE} MiB; above it only ASCII |",
        f"| {client_events.MAX_MESSAGE_VALUES:,}; {validation.MAX_VALUES:,} in a session, item or response |",
        f"| nesting | {validation.MAX_DEPTH} |",
        f"| keys, ids | {validation.MAX_KEY_CHARACTERS} characters |",
        f"| keys, ids | {client_events.MAX_ID_CHARACTERS} characters |",
        f"| audio of an append | {client_events.MAX_AUDIO_BYTES // MEBIBYTE} MiB |",
        f"in `input` of a response | {hear.KEPT_S} s |",
        f"| {transcribing.MOST_WAITING} utterances, {hear.KEPT_S} s a session |",
        f"| {items.MAX_ITEM_BYTES // MEBIBYTE} MiB of memory, speech left out |",
        f"| {CONFIG.max_items:,} (`max_items`) and {history.MAX_BYTES // MEBIBYTE} MiB of memory |",
        f"| {session_config.MAX_SESSION_BYTES // KIBIBYTE} KiB of JSON |",
        f"less {context.ROOM_TO_TALK} tokens |",
        (
            f"| {constraint.MOST_TOOLS}, each with a schema of {schema.LARGEST_SCHEMA:,} characters, "
            f"{schema.DEEPEST_SCHEMA} levels, {schema.MOST_REFERENCES} references |"
        ),
        f"`$ref` beside others) | {schema.MOST_PATTERNS} |",
        f"| calls of one answer | {tool_calls.MOST_CALLS} |",
        f"| {silence.MOST_IN_A_ROW} in a row |",
        f"| `session_s` ({CONFIG.session_s}) |",
        f"| `idle_s` ({CONFIG.idle_s}):",
        f"more than {session.LARGE_MESSAGE:,} characters",
    ],
)
def test_a_limit_of_the_protocol_is_the_codes(stated):
    assert stated in PROTOCOL


@pytest.mark.parametrize(
    "stated",
    [
        (
            f"| floods of bad keys | (fixed) | {bad_keys.BURST} an address, then one in {1 / bad_keys.PER_S:g} s; "
            f"{bad_keys.MAX_ADDRESSES:,} addresses |"
        ),
        f"| idle connections | `server/knocking`, `proxies` | {knocking.OF_ONE} an address, {knocking.IN_ALL:,} or",
        f"| `server/request` | {request.HEAD_BYTES // KIBIBYTE} KiB, {request.REQUEST_S:g} s |",
        f"| `HANDSHAKE_S`, `FAREWELL_S` | {serving.HANDSHAKE_S:g} s, {serving.FAREWELL_S:g} s |",
        (
            f"| `busy_load` | {CONFIG.busy_load} for {capacity.SUSTAINED_S:g} s; "
            f"again below {capacity.CALM * CONFIG.busy_load:g} |"
        ),
        f"| `sessions_per_address` | {CONFIG.sessions_per_address}, no limit |",
        f"`bytes_an_hour` | {CONFIG.bytes_an_hour}, no limit |",
        f"| `limits_store` | {shared_counts.STORE_S:g} s, then own count for {shared_counts.AWAY_S:g} s |",
        f"| `audio_speed`, `audio_ahead_s` | {CONFIG.audio_speed:g}, {CONFIG.audio_ahead_s:g} s |",
        f"| `message_rate` | {CONFIG.message_rate:g}/s, {throttle.MESSAGES_AHEAD_S:g} s of it at once |",
        (f"| `byte_rate` | {CONFIG.byte_rate / KIBIBYTE:g} KiB/s, {throttle.BYTES_AHEAD // MEBIBYTE} MiB at once |"),
        (
            f"| pings, pongs, empty fragments | (fixed) | {frames.FRAMES_A_SECOND:g}/s, "
            f"{frames.FRAMES_AHEAD:,.0f} at once |"
        ),
        f"tiny frames in one read | (fixed) | {frames.PIECE_BYTES // KIBIBYTE} KiB at a time |",
        f"| utterances without end | `AT_ONCE`, `MOST_WAITING` | {transcribing.AT_ONCE}, {transcribing.MOST_WAITING} |",
        f"| a wait without end | (fixed) | {throttle.LONGEST_WAIT_S:g} s, then 1008 |",
        f"| `session/outbox`, `LARGE_MESSAGE` | {outbox.STALL_S:g} s, then 1008; two large replies wait |",
        (
            f"| `MAX_DEPTH`, `MAX_MESSAGE_VALUES`, `MAX_VALUES` | {validation.MAX_DEPTH}, "
            f"{client_events.MAX_MESSAGE_VALUES:,}, {validation.MAX_VALUES:,} |"
        ),
        (
            "| `MAX_MESSAGE_CHARACTERS`, `MAX_ITEM_BYTES`, `MAX_SESSION_BYTES` | "
            f"{client_events.MAX_MESSAGE_CHARACTERS // MEBIBYTE} MiB, {items.MAX_ITEM_BYTES // MEBIBYTE} MiB, "
            f"{session_config.MAX_SESSION_BYTES // KIBIBYTE} KiB |"
        ),
        f"| `max_items`, `MAX_BYTES` | {CONFIG.max_items:,}, {history.MAX_BYTES // MEBIBYTE} MiB |",
        (
            f"| `LARGEST_SCHEMA`, `MOST_PATTERNS`, `LEXER_STATES` | {schema.LARGEST_SCHEMA // KIBIBYTE} KiB, "
            f"{schema.MOST_PATTERNS}, {constraint.LEXER_STATES:,} |"
        ),
        f"| `ROOM_TO_TALK` | context less {context.ROOM_TO_TALK} tokens |",
        f"| `idle_s` | {CONFIG.idle_s} |",
        f"| `session_s`, claims and keys: `seconds` | {CONFIG.session_s} |",
        f"| `max_answer_tokens`, `answer_s` | {CONFIG.max_answer_tokens}, {CONFIG.answer_s} s |",
        f"| `session_tokens` | {CONFIG.session_tokens}, no limit |",
        f"| `MOST_IN_A_ROW` | {silence.MOST_IN_A_ROW} |",
        (
            "| `LONGEST_WORD_CHARS`, `LONGEST_NUMBER_DIGITS` | "
            f"{speakable.LONGEST_WORD_CHARS}, {speakable.LONGEST_NUMBER_DIGITS} |"
        ),
        f"| `step_timeout_s` | {CONFIG.step_timeout_s:g} s |",
        f"| `MOST_HANGING` | {compute.MOST_HANGING}, exit {giving_up.UNWELL} |",
        f"| `FAILURES`, `PROVEN_S` | {renewal.FAILURES} in a row, {renewal.PROVEN_S:g} s |",
        f"| `log_level`, `log_format` | {CONFIG.log_level}, {CONFIG.log_format} |",
        f"| `record`, `record_consent` | {'off' if CONFIG.record is None else 'on'}, {CONFIG.record_consent} |",
        f"| `record_days`, `record_mb` | {CONFIG.record_days}, {CONFIG.record_mb} |",
    ],
)
def test_what_is_held_against_abuse_is_the_codes(stated):
    assert stated in HELD
