from voiceedge.config import Config
from voiceedge.session.bounds import bounds_of


def test_bounds_are_the_settings_of_the_same_names():
    config = Config(session_s=1, idle_s=2, answer_s=3, session_tokens=4, max_items=15)
    bounds = bounds_of(config)
    assert [getattr(bounds, name) for name in bounds.__slots__] == [getattr(config, name) for name in bounds.__slots__]
