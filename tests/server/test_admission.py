from contextlib import suppress

import pytest

from voiceedge.errors import LimitReached, Overloaded
from voiceedge.server.admission import Admission
from voiceedge.server.grant import Grant


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


def test_refusals_are_counted_by_reason():
    admission = Admission(1)
    with admission.session():
        for _ in range(2):
            with pytest.raises(Overloaded), admission.session():
                pass
        admission.drain()
        with pytest.raises(Overloaded), admission.session():
            pass
    admission.refused("unauthorised")
    assert {reason: n for reason, n in admission.refusals.items() if n} == {"full": 2, "draining": 1, "unauthorised": 1}


def test_a_tenant_has_so_many_sessions_and_leaves_the_others_theirs():
    admission = Admission(3)
    shop, bank = Grant(tenant="shop", subject="a", sessions=1), Grant(tenant="bank", subject="b", sessions=2)
    with admission.session(shop):
        for _ in range(2):
            with pytest.raises(LimitReached, match="All 1 sessions of shop") as refused, admission.session(shop):
                pass
        assert (refused.value.wire_code, refused.value.retry_after_s > 0) == ("session_limit_reached", True)
        with admission.session(bank), admission.session(bank):
            assert admission.sessions == 3
            with pytest.raises(Overloaded), admission.session(Grant(tenant="else", subject="c")):
                pass
    assert admission.sessions == 0
    with admission.session(shop):
        assert admission.sessions == 1
    assert admission.refusals["tenant_full"] == 2
