import json
import logging
import os
from io import FileIO
from pathlib import Path

import pytest
from msgspec import structs

from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.server import turn_log as module
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


def test_the_line_says_what_is_over_budget():
    over = {"over_budget": "stt", "over_budget_ms": 381.8, "over_budget_limit_ms": 300.0}
    assert readable(structs.replace(TURN, facts=over)) == f"{readable(TURN)}; over budget: stt 382 ms of 300"


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


def test_a_disk_that_stays_full_is_complained_of_once_until_it_can_be_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    full = [False]

    class Disk(FileIO):
        def write(self, line: bytes) -> int:
            if full[0]:
                raise OSError(28, "No space left on device")
            return super().write(line)

    monkeypatch.setattr(module, "FileIO", Disk)
    path = tmp_path / "turns.jsonl"
    with caplog.at_level(logging.WARNING), TurnLog(path) as turn_log:
        for is_full in (False, True, True, True, False, True, False):
            full[0] = is_full
            turn_log.report("s", TURN)
    complaints = [record.getMessage() for record in caplog.records]
    assert [complaint.split(",")[0] for complaint in complaints] == [
        "the trace file cannot be written",
        "the trace file is written again; 3 turns are missing",
        "the trace file cannot be written",
        "the trace file is written again; 1 turns are missing",
    ]
    assert len(path.read_text().splitlines()) == 3


def test_a_file_that_cannot_be_opened_is_the_operators_to_know(tmp_path: Path):
    with pytest.raises(ConfigError, match="Cannot write the trace file"), TurnLog(tmp_path / "no" / "such" / "folder"):
        pass


# ── rotation ──────────────────────────────────────────────────────────────────────────────────────────────


def line_bytes(tmp_path: Path) -> int:
    path = tmp_path / "one.jsonl"
    with TurnLog(path) as turn_log:
        turn_log.report("s", TURN)
    return path.stat().st_size


def numbers(path: Path) -> list[str]:
    return sorted(file.name.removeprefix(path.name) for file in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize(
    ("turns", "files"), [(2, [""]), (3, ["", ".1"]), (5, ["", ".1", ".2"]), (20, ["", ".1", ".2"])]
)
def test_a_file_that_is_full_is_put_aside_and_the_oldest_goes(tmp_path: Path, turns: int, files: list[str]):
    max_bytes = 2 * line_bytes(tmp_path)
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=max_bytes, max_files=3) as turn_log:
        for _ in range(turns):
            turn_log.report("s", TURN)
    assert numbers(path) == files
    for file in tmp_path.glob("turns.jsonl*"):
        assert file.stat().st_size <= max_bytes
        for line in file.read_bytes().splitlines():
            json.loads(line)


def test_the_newest_turns_are_kept_in_their_order(tmp_path: Path):
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=2 * line_bytes(tmp_path), max_files=3) as turn_log:
        for number in range(1, 10):  # numbers of one digit: lines of one length
            turn_log.report(str(number), TURN)
    kept = [tmp_path / f"turns.jsonl{number}" for number in (".2", ".1", "")]
    sessions = [json.loads(line)["session"] for file in kept for line in file.read_text().splitlines()]
    assert sessions == ["5", "6", "7", "8", "9"]


def test_one_file_alone_is_begun_anew(tmp_path: Path):
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=line_bytes(tmp_path), max_files=1) as turn_log:
        for _ in range(3):
            turn_log.report("s", TURN)
    assert numbers(path) == [""]
    assert len(path.read_text().splitlines()) == 1


def test_what_is_in_the_file_at_the_start_counts(tmp_path: Path):
    size = line_bytes(tmp_path)
    path = tmp_path / "turns.jsonl"
    for _ in range(3):
        with TurnLog(path, max_bytes=2 * size, max_files=2) as turn_log:
            turn_log.report("s", TURN)
    assert numbers(path) == ["", ".1"]


def test_a_line_that_is_longer_than_a_file_may_be_has_one_for_itself(tmp_path: Path):
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=1, max_files=2) as turn_log:
        turn_log.report("s", TURN)
        turn_log.report("s", TURN)
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("turns.jsonl", "turns.jsonl.1")] == [1, 1]


def test_what_cannot_be_put_aside_is_written_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    size = line_bytes(tmp_path)
    path = tmp_path / "turns.jsonl"
    (tmp_path / "turns.jsonl.1" / "in the way").mkdir(parents=True)
    with caplog.at_level(logging.WARNING), TurnLog(path, max_bytes=size, max_files=2) as turn_log:
        for _ in range(3):
            turn_log.report("s", TURN)
    assert "cannot be put aside" in caplog.text
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_only_half_fits_on_the_disk_is_taken_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    class Nearly(FileIO):
        """A disk with room for ten more bytes, from the second line on."""

        def write(self, line: bytes) -> int:
            return super().write(line if self.tell() == 0 else line[:10])

    monkeypatch.setattr(module, "FileIO", Nearly)
    path = tmp_path / "turns.jsonl"
    with caplog.at_level(logging.WARNING), TurnLog(path) as turn_log:
        turn_log.report("s", TURN)
        turn_log.report("s", TURN)
    assert "No space left" in caplog.text
    (line,) = path.read_bytes().splitlines()
    assert json.loads(line)["session"] == "s"


def test_a_pipe_is_written_and_never_put_aside(tmp_path: Path):
    reader, writer = os.pipe()
    with TurnLog(Path(f"/dev/fd/{writer}"), max_bytes=1, max_files=2) as turn_log:
        turn_log.report("s", TURN)
        turn_log.report("s", TURN)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as lines:
        assert len(lines.readlines()) == 2


def test_after_a_disk_that_was_full_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    size = line_bytes(tmp_path)
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=size, max_files=2) as turn_log:
        turn_log.report("s", TURN)
        with monkeypatch.context() as full:
            full.setattr(module, "FileIO", _no_file)
            turn_log.report("s", TURN)  # put aside, and no new one can be begun
        turn_log.report("s", TURN)
    assert len(path.read_text().splitlines()) == 1


def test_no_file_that_was_put_aside_is_lost_while_no_new_one_can_be_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    size = line_bytes(tmp_path)
    path = tmp_path / "turns.jsonl"
    with TurnLog(path, max_bytes=size, max_files=4) as turn_log:
        for number in range(3):
            turn_log.report(str(number), TURN)
        with monkeypatch.context() as full:
            full.setattr(module, "FileIO", _no_file)
            for _ in range(5):
                turn_log.report("lost", TURN)
        turn_log.report("4", TURN)
    kept = [tmp_path / f"turns.jsonl{number}" for number in (".3", ".2", ".1", "")]
    assert [json.loads(file.read_text())["session"] for file in kept] == ["0", "1", "2", "4"]


def _no_file(*_: object) -> FileIO:
    raise OSError(28, "No space left on device")
