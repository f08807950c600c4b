"""Mistakes are free, floods are not, and what is remembered of them is bounded."""

from hypothesis import given
from hypothesis import strategies as st

from voiceedge.server.bad_keys import BURST, MAX_ADDRESSES, PER_S, BadKeys


def flooded(address="192.0.2.1", at=0.0):
    keys = BadKeys()
    while keys.wait_s(address, at) == 0:
        keys.count(address, at)
    return keys


def test_a_whole_office_may_bring_keys_that_have_just_run_out():
    keys = BadKeys()
    for _ in range(BURST):
        assert keys.wait_s("192.0.2.1", 0) == 0
        keys.count("192.0.2.1", 0)


def test_who_goes_on_has_to_wait_and_others_have_not():
    keys = flooded()
    assert 0 < keys.wait_s("192.0.2.1", 0) <= 1 / PER_S
    assert keys.wait_s("192.0.2.2", 0) == 0


def test_who_waits_as_told_may_try_again():
    keys = flooded(at=100.0)
    assert keys.wait_s("192.0.2.1", 100.0 + keys.wait_s("192.0.2.1", 100.0)) == 0


@given(st.lists(st.floats(0, 10), max_size=300))
def test_never_more_are_looked_at_than_the_bucket_holds_and_what_flows_in(pauses):
    keys, at, looked_at = BadKeys(), 0.0, 0
    for pause in pauses:
        at += pause
        if keys.wait_s("a", at) == 0:
            keys.count("a", at)
            looked_at += 1
    assert looked_at <= BURST + 1 + PER_S * at


def test_addresses_without_end_take_no_memory_without_end():
    keys = flooded("first")
    for number in range(MAX_ADDRESSES + 10):
        keys.count(str(number), 0)
    assert len(keys._addresses) == MAX_ADDRESSES
    assert keys.wait_s("first", 0) == 0


def test_to_ask_is_not_to_be_remembered():
    keys = BadKeys()
    keys.wait_s("192.0.2.1", 0)
    assert not keys._addresses
