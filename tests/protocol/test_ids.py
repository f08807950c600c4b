import pytest

from voiceedge.protocol import ids


@pytest.mark.parametrize(
    ("make", "prefix"),
    [
        (ids.item_id, "item_"),
        (ids.response_id, "resp_"),
        (ids.event_id, "event_"),
        (ids.session_id, "sess_"),
        (ids.call_id, "call_"),
        (ids.conversation_id, "conv_"),
    ],
)
def test_every_id_is_new_says_its_kind_and_fits_openais_32_characters(make, prefix):
    made = {make() for _ in range(100)}
    assert len(made) == 100
    assert all(name.startswith(prefix) and len(name) <= 32 for name in made)
