import io
import itertools

import pytest
from rich.console import Console

from tests.bench.rows import MARKS_MS, PATH, row
from voiceedge.bench.rendering_turns import plain, transcript, turns, waterfall
from voiceedge.bench.wire import PathSegment


def printed(renderable, width=80):
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def bars(turn):
    lines = [line for line in printed(waterfall(turn)).splitlines() if any(sign in line for sign in "█░▏")]
    return {line[:16].strip(): line for line in lines}


def test_the_bars_of_a_turn_lie_one_behind_the_other():
    found = bars(row("a.wav"))
    assert list(found) == ["endpoint wait", "stt", "llm", "leading silence", "unexplained"]
    ends = [(min(map(line.find, "█▏"), key=lambda at: at if at >= 0 else 999), line) for line in found.values()]
    begins = [at for at, _ in ends]
    assert begins == sorted(begins)
    full = [line for line in found.values() if "█" in line]
    assert all(after.index("█") == before.rindex("█") + 1 for before, after in itertools.pairwise(full))


def test_what_ran_beside_the_wait_is_drawn_otherwise_and_counted():
    found = bars(row("a.wav", 250.0, server_v2v_ms=235.0, critical_path=PATH, marks_ms=MARKS_MS))
    for name, hidden_ms in (("stt", "50"), ("llm", "70"), ("tts", "15")):
        assert "░" in found[name]
        assert "█" not in found[name]
        assert found[name].split()[-2:] == ["0", hidden_ms]
    assert "░" not in found["endpoint wait"]


def test_a_turn_whose_parts_are_longer_than_the_whole_still_fits():
    found = printed(waterfall(row("a.wav", 300.0)))
    assert "-195" in found
    assert max(map(len, found.splitlines())) <= 80


def test_a_turn_that_took_no_time_at_all_can_be_drawn():
    path = (PathSegment("wait", 0.0),)
    assert "endpoint wait" in printed(waterfall(row("a", 0.0, server_v2v_ms=0.0, critical_path=path)))


def test_long_words_are_wrapped_below_themselves():
    lines = printed(transcript(1, row("a.wav", user_text="word " * 40)), 60).splitlines()
    assert [line[:11].strip() for line in lines[:4]] == ["1 a.wav", "user", "", ""]


def test_what_was_really_said_stands_beside_a_wrong_transcript():
    text = printed(transcript(1, row("a.wav", user_text="a red house", expected_text="half past two")))
    assert "said   half past two" in text
    assert "wrong  transcript wrong" in text


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "bell\x07", "two\nlines", "\x9b2J", "right\u202eto left"])
def test_words_from_elsewhere_do_not_steer_the_terminal(text):
    assert all(character.isprintable() for character in plain(text))
    shown = printed(transcript(1, row(text, user_text=text, agent_text=text, errors=(text,))))
    assert not set(shown) & set("\x1b\x07\x9b\u202e")
    assert "\x1b" not in printed(turns([row(text)]))
