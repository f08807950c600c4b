import pytest

from voiceedge.engines.fake_defects import FakeDelays, planted
from voiceedge.errors import ConfigError


def test_a_defect_is_planted_by_the_name_of_the_engines():
    assert planted("fake") == FakeDelays()
    assert planted("fake:llm+200") == FakeDelays(llm_first_token_s=0.2)
    assert planted("fake:stt+50,tts+1,end_of_turn+7") == FakeDelays(end_of_turn_s=0.007, stt_s=0.05, tts_s=0.001)


@pytest.mark.parametrize("engines", ["fake:llm", "fake:ears+200", "fake:llm+-5", "fake:llm+0.2", "fake:vad+1"])
def test_what_is_no_defect_is_refused(engines):
    with pytest.raises(ConfigError, match="is no delay"):
        planted(engines)
