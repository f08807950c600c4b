import pytest

from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import InvalidRequest
from voiceedge.server.opening import opening_config
from voiceedge.session.node import make_node


@pytest.fixture(scope="module")
def node():
    node = make_node(Config(instructions="The node's own."), fake_engines(), 1, lambda *_: None)
    yield node
    node.compute.close()


def test_without_settings_it_is_the_nodes_own(node):
    config = opening_config(node, (), expires_at=7)
    assert (config.kind, config.instructions, config.wire.expires_at) == ("realtime", "The node's own.", 7)
    assert config.wire.model == node.names.model


def test_the_settings_are_merged_as_a_session_update(node):
    settings = {"type": "realtime", "instructions": "Be brief.", "audio": {"input": {"turn_detection": None}}}
    config = opening_config(node, (settings,), expires_at=0)
    assert config.instructions == "Be brief."
    assert config.turn_detection is None
    assert config.input_format.type == "audio/pcm"


def test_the_urls_model_wins_over_the_settings(node):
    settings = {"model": "gpt-realtime"}
    assert opening_config(node, (settings,), expires_at=0).wire.model == "gpt-realtime"
    assert opening_config(node, (settings,), expires_at=0, model="mine").wire.model == "mine"


TRANSCRIPTION = {"type": "transcription"}


@pytest.mark.parametrize(("settings", "url"), [(TRANSCRIPTION, False), ({}, True), (TRANSCRIPTION, True)])
def test_either_may_ask_for_a_transcription_session(node, settings, url):
    config = opening_config(node, (settings,), expires_at=0, transcribes=url)
    assert (config.kind, config.instructions) == ("transcription", "")


def test_a_url_that_contradicts_the_settings_is_refused(node):
    with pytest.raises(InvalidRequest, match="type 'transcription'"):
        opening_config(node, ({"type": "realtime"},), expires_at=0, transcribes=True)


def test_every_session_has_its_own_name(node):
    first, second = (opening_config(node, ({"id": "mine"},), expires_at=0).id for _ in range(2))
    assert len({first, second, "mine"}) == 3
