from contextlib import suppress

import pytest

from voiceedge.errors import Overloaded
from voiceedge.server.admission import Admission


def test_a_place_is_given_back_however_the_session_ends():
    admission = Admission(1)
    with suppress(ZeroDivisionError), admission.session():
        assert admission.sessions == 1
        raise ZeroDivisionError
    assert admission.sessions == 0
    with admission.session():
        pass


def test_a_full_node_says_when_to_come_back():
    admission = Admission(1)
    with admission.session(), pytest.raises(Overloaded, match="All 1 sessions") as refused, admission.session():
        pass
    assert refused.value.retry_after_s > 0


def test_a_draining_node_takes_nobody_and_keeps_those_it_has():
    admission = Admission(2)
    with admission.session():
        admission.drain()
        assert admission.is_draining
        assert admission.sessions == 1
        with pytest.raises(Overloaded, match="shutting down"), admission.session():
            pass
