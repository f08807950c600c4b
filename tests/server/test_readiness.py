from types import SimpleNamespace

import pytest

from tests.server.test_admission import measure
from voiceedge.server.admission import Admission
from voiceedge.server.capacity import Capacity
from voiceedge.server.readiness import readiness

WHOLE, BROKEN = SimpleNamespace(missing=frozenset()), SimpleNamespace(missing=frozenset({"stt"}))


@pytest.fixture
def admission():
    return Admission(1, capacity=Capacity(2.0))


def test_a_node_that_has_all_its_engines_and_time_is_ready(admission):
    assert readiness(WHOLE, admission) == "ready"


def test_a_full_node_is_ready_and_refuses_by_itself(admission):
    with admission.session():
        assert readiness(WHOLE, admission) == "ready"


def test_a_node_that_lacks_an_engine_loads_it_anew(admission):
    assert readiness(BROKEN, admission) == "loading"


def test_a_busy_node_says_so_whatever_it_lacks_until_it_is_calm(admission):
    measure(admission, 3.0)
    assert (readiness(WHOLE, admission), readiness(BROKEN, admission)) == ("busy", "busy")
    measure(admission, 0.5, begin=100)
    assert readiness(WHOLE, admission) == "ready"


def test_a_node_that_stops_says_so_even_when_it_is_busy_and_lacks_an_engine(admission):
    measure(admission, 3.0)
    admission.drain()
    assert (readiness(WHOLE, admission), readiness(BROKEN, admission)) == ("draining", "draining")
