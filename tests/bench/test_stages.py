from tests.bench.rows import MARKS_MS
from voiceedge.bench.stages import Stage, stages


def by_name(marks_ms):
    return {stage.segment: stage for stage in stages(marks_ms)}


def test_an_answer_that_was_there_before_the_endpoint_is_hidden_behind_the_wait():
    found = by_name(MARKS_MS)
    assert [found[name].hidden_ms for name in ("stt", "llm", "tts")] == [50.0, 70.0, 15.0]
    assert found["wait"] == Stage("wait", 0.0, 224.0, None)
    assert found["send"] == Stage("send", 232.0, 235.0, None)


def test_of_an_answer_that_came_later_the_wait_behind_its_beginning_is_hidden():
    found = by_name(MARKS_MS | {"tts_first_audio": 400.0, "llm_first_clause": 390.0, "first_audio_out": 401.0})
    assert found["wait"] == Stage("wait", 0.0, 224.0, 60.0)
    assert found["end_of_turn"] == Stage("end_of_turn", 224.0, 232.0, 224.0)
    assert [found[name].hidden_ms for name in ("stt", "llm", "tts")] == [0.0, 0.0, 0.0]
    assert found["send"].begin_ms == 400.0


def test_one_after_the_other_nothing_is_hidden():
    later = {"stt_started": 240.0, "stt_final": 300.0, "llm_first_clause": 390.0, "tts_first_audio": 400.0}
    found = by_name(MARKS_MS | later | {"first_audio_out": 401.0})
    assert all(stage.hidden_ms == 0.0 for stage in found.values())
    assert list(found) == ["wait", "end_of_turn", "stt", "llm", "tts", "send"]


def test_marks_that_were_not_reached_make_no_stage():
    assert stages({}) == ()
    assert [stage.segment for stage in stages({"stt_started": 5.0, "stt_final": 9.0, "endpoint": None})] == ["stt"]
