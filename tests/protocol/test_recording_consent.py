"""Whether a session may be recorded, and that its echo says what holds."""

import pytest

from voiceedge.errors import InvalidRequest
from voiceedge.protocol import ids
from voiceedge.protocol.legacy import session_to_beta
from voiceedge.protocol.session_config import LocalNames, default_session, merge


def session(records, kind="realtime"):
    names = LocalNames(model="m", transcription="t", voices=("v",), records=records)
    return default_session(session_id=ids.session_id(), names=names, expires_at=9, kind=kind)


YES, NO, NOTHING, NULL = {"record": True}, {"record": False}, {}, None


@pytest.mark.parametrize(
    ("records", "said", "is_recorded"),
    [
        (None, [], False),
        (None, [YES], False),
        ("client", [], False),
        ("client", [YES], True),
        ("client", [NO], False),
        ("client", [YES, NO], False),
        ("client", [YES, NULL], False),
        ("client", [YES, NOTHING], False),
        ("client", [NO, YES], True),
        ("operator", [], True),
        ("operator", [NO], False),
        ("operator", [YES], True),
        ("operator", [NO, NULL], True),
    ],
)
@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_who_agrees_is_recorded_and_the_echo_says_so(records, said, is_recorded, kind):
    config = session(records, kind)
    for one in said:
        config = merge(config, {"voiceedge": one})
    assert config.is_recorded == is_recorded
    if records is not None or said:
        assert config.echo()["voiceedge"] == {"record": is_recorded}
    else:
        assert "voiceedge" not in config.echo()


def test_other_settings_leave_consent_as_it_is():
    config = merge(merge(session("client"), {"voiceedge": YES}), {"instructions": "Be brief."})
    assert config.is_recorded


@pytest.mark.parametrize("said", [True, "yes", {"record": "true"}, {"record": 1}, {"record": None}, [YES]])
def test_consent_that_cannot_be_read_is_none_and_changes_nothing(said):
    before = merge(session("client"), {"voiceedge": YES})
    with pytest.raises(InvalidRequest) as refused:
        merge(before, {"voiceedge": said})
    assert refused.value.param.startswith("session.voiceedge")
    assert before.is_recorded
    with pytest.raises(InvalidRequest):
        merge(session("client"), {"voiceedge": said})


def test_clients_of_the_beta_are_told_as_well():
    config = merge(session("client"), {"voiceedge": YES})
    assert session_to_beta(config.echo())["voiceedge"] == {"record": True}
