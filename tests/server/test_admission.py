import logging
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.config import Config
from voiceedge.errors import LimitReached, Overloaded
from voiceedge.server.address import UNKNOWN
from voiceedge.server.admission import Admission, make_admission
from voiceedge.server.capacity import SUSTAINED_S, Capacity
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.quotas import OwnCounts, Quotas


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


# ── of one address ────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_has_so_many_sessions_and_leaves_the_others_theirs():
    admission = Admission(4, per_address=2)
    with admission.session(ANYBODY, "192.0.2.1"), admission.session(ANYBODY, "192.0.2.1"):
        with pytest.raises(LimitReached, match="one address") as refused, admission.session(ANYBODY, "192.0.2.1"):
            pass
        assert (refused.value.wire_code, refused.value.retry_after_s > 0) == ("address_limit_reached", True)
        with admission.session(ANYBODY, "192.0.2.2"):
            assert admission.sessions == 3
    with admission.session(ANYBODY, "192.0.2.1"):
        assert admission.refusals["address_full"] == 1


@pytest.mark.parametrize(("per_address", "address"), [(0, "192.0.2.1"), (1, UNKNOWN)])
def test_by_default_and_where_it_is_unknown_an_address_limits_nobody(per_address, address):
    admission = Admission(3, per_address=per_address)
    with admission.session(ANYBODY, address), admission.session(ANYBODY, address), admission.session(ANYBODY, address):
        assert admission.sessions == 3


people = st.tuples(st.sampled_from(["shop", "bank", "cafe"]), st.sampled_from(["192.0.2.1", "192.0.2.2"]))


@given(st.lists(st.tuples(people, st.booleans()), max_size=60))
def test_whoever_comes_and_goes_no_limit_is_ever_broken_and_no_place_is_lost(steps):
    admission, held = Admission(5, per_address=3), []
    for (tenant, address), comes in steps:
        if comes:
            place = ExitStack()
            with suppress(LimitReached, Overloaded):
                place.enter_context(admission.session(Grant(tenant=tenant, subject="s", sessions=2), address))
                held.append((tenant, address, place))
        elif held:
            held.pop(0)[2].close()
        assert admission.sessions == len(held) <= 5
        assert max([sum(one[0] == who for one in held) for who in ("shop", "bank", "cafe")]) <= 2
        assert max([sum(one[1] == where for one in held) for where in ("192.0.2.1", "192.0.2.2")]) <= 3
    for *_, place in held:
        place.close()
    assert (admission.sessions, len(admission._tenants), len(admission._addresses)) == (0, 0, 0)


# ── busy ──────────────────────────────────────────────────────────────────────────────────────────────────


def measure(admission, load, begin=0.0):
    for tick in range(int(SUSTAINED_S * 4) + 2):
        admission.measured(begin + tick / 4, load, 0.001)


def test_a_busy_node_takes_nobody_keeps_those_it_has_and_takes_others_when_it_is_calm(caplog):
    caplog.set_level(logging.INFO)
    admission = Admission(8, capacity=Capacity(2.0))
    with admission.session():
        assert not admission.is_busy
        measure(admission, 3.0)
        assert admission.is_busy
        with pytest.raises(Overloaded, match="busy") as refused, admission.session():
            pass
        assert refused.value.retry_after_s > 0
        assert (admission.sessions, admission.refusals["busy"]) == (1, 1)
        measure(admission, 0.5, begin=100)
        assert not admission.is_busy
        with admission.session():
            assert admission.sessions == 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


# ── quotas ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_is_taken_out_of_its_tenants_hour_and_who_has_none_left_is_counted():
    admission = Admission(8, quotas=Quotas({"sessions": 1}, OwnCounts()))
    shop = Grant(tenant="shop", subject="s")
    assert await admission.quota(shop, "192.0.2.1") is not None
    with pytest.raises(LimitReached):
        await admission.quota(shop, "192.0.2.1")
    assert admission.refusals["quota"] == 1


async def test_without_limits_there_is_no_quota():
    assert await Admission(8).quota(ANYBODY, "192.0.2.1") is None
    admission = make_admission(Config())
    assert await admission.quota(ANYBODY, "192.0.2.1") is None
    await admission.close()


def test_the_settings_are_heeded():
    admission = make_admission(Config(max_sessions=3, sessions_per_address=1, busy_load=0.5))
    with admission.session(ANYBODY, "192.0.2.1"):
        with pytest.raises(LimitReached), admission.session(ANYBODY, "192.0.2.1"):
            pass
        measure(admission, 0.6)
        assert (admission.max_sessions, admission.is_busy) == (3, True)
