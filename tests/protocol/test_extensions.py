import json

from tests.protocol.oracle import validate
from tests.protocol.samples import sample
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.server_events import encode


def test_a_trace_is_an_event_of_our_own_that_stock_clients_skip():
    text = encode(sample(TurnTraced))
    validate(text)
    assert json.loads(text)["type"] == "voiceedge.turn"
