import pytest

from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeFailed
from voiceedge.session.warming import PHRASE, warm_up


def test_every_engine_has_worked_before_the_node_is_ready():
    heard = []

    def hear(audio):
        heard.append(len(audio))
        return PHRASE

    engines = fake_engines(text=hear, slots=1)
    speeds = warm_up(engines, "Be kind.")
    assert len(heard) == 2
    assert speeds.heard == PHRASE
    assert speeds.phrase_s > 1
    assert engines.llm.free_slots == 1


def test_an_engine_that_cannot_work_is_found_before_anybody_connects():
    for stage in ("vad", "end_of_turn", "stt", "llm", "tts"):
        with pytest.raises(FakeFailed, match=stage):
            warm_up(fake_engines(fail_at={stage}), "")
