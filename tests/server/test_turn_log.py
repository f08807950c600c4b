import json
import logging
from pathlib import Path

import pytest

from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.server.turn_log import TurnLog, readable

TURN = TurnTraced(
    turn=3,
    response_id="resp_1",
    item_id="item_1",
    status="completed",
    total_ms=612.4,
    marks_ms={"endpoint": 230.0},
    critical_path=(TracedSegment("wait", 230.2), TracedSegment("stt", 381.8), TracedSegment("queue", 0.4)),
    facts={"prefill_tokens": 12},
)


def test_the_line_names_the_total_and_the_segments_that_made_it():
    assert readable(TURN) == "turn 3 completed: 612 ms voice-to-voice = wait 230 + stt 382"


def test_a_turn_without_audio_says_so():
    silent = TurnTraced(
        turn=1,
        response_id="r",
        item_id=None,
        status="failed",
        total_ms=None,
        marks_ms={},
        critical_path=(),
        facts={},
    )
    assert readable(silent) == "turn 1 failed, no audio"


def test_each_turn_is_one_json_line(tmp_path: Path):
    path = tmp_path / "turns.jsonl"
    with TurnLog(path) as turn_log:
        turn_log.report("sess_1", TURN)
        turn_log.report("sess_1", TURN)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 2
    assert lines[0]["session"] == "sess_1"
    assert lines[0]["critical_path"][1] == {"segment": "stt", "ms": 381.8}
    assert "event_id" not in lines[0]


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path):
    path = tmp_path / "turns.jsonl"
    for _ in range(2):
        with TurnLog(path) as turn_log:
            turn_log.report("s", TURN)
    assert len(path.read_text().splitlines()) == 2


def test_a_full_disk_costs_the_line_and_not_the_conversation(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING), TurnLog(Path("/dev/full")) as turn_log:
        turn_log.report("s", TURN)
    assert "cannot be written" in caplog.text


def test_a_file_that_cannot_be_opened_is_the_operators_to_know(tmp_path: Path):
    with pytest.raises(ConfigError, match="Cannot write the trace file"), TurnLog(tmp_path / "no" / "such" / "folder"):
        pass
