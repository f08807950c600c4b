"""How much of an hour is used, and how long it takes until there is more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.server.windows import HOUR_S, MAX_NAMES, Windows

BEGUN = 1000 * HOUR_S


def taken(windows, amount, at=BEGUN, limit=100, name="a", **more):
    return windows.take(name, limit, amount, at, **more) == 0


def test_an_hour_holds_so_much_and_no_more():
    windows = Windows()
    assert taken(windows, 60)
    assert taken(windows, 40)
    assert not taken(windows, 0.001)
    assert taken(windows, 100, name="b")


def test_what_is_refused_is_not_counted():
    windows = Windows()
    assert taken(windows, 60)
    assert not taken(windows, 41)
    assert taken(windows, 40)


def test_of_what_was_used_already_the_rest_is_counted_where_not_all_is_left():
    windows = Windows()
    assert taken(windows, 60)
    assert not taken(windows, 300, drains=True)
    assert windows.use("a", BEGUN).counted == 100
    assert not taken(windows, 1)


def test_the_hour_before_counts_for_the_share_of_it_that_sixty_minutes_still_cover():
    windows = Windows()
    assert taken(windows, 100, BEGUN)
    assert not taken(windows, 1, BEGUN + HOUR_S)
    assert not taken(windows, 26, BEGUN + 1.25 * HOUR_S)
    assert taken(windows, 25, BEGUN + 1.25 * HOUR_S)
    assert taken(windows, 99, BEGUN + 9 * HOUR_S)


def test_a_narrower_limit_judges_the_same_use():
    windows = Windows()
    assert taken(windows, 50)
    assert not taken(windows, 1, limit=50)
    assert taken(windows, 50, limit=100)


def test_what_is_more_than_the_limit_never_fits():
    assert Windows().take("a", 10, 11, BEGUN) == HOUR_S


@pytest.mark.parametrize(
    ("amount", "at", "seconds"),
    [
        (1, 0, 1.01 * HOUR_S),
        (50, 0.5 * HOUR_S, HOUR_S),
        (100, 0.5 * HOUR_S, 1.5 * HOUR_S),
        (50, 1.2 * HOUR_S, 0.3 * HOUR_S),
    ],
)
def test_it_is_known_when_there_will_be_enough(amount, at, seconds):
    windows = Windows()
    windows.add("a", 100, BEGUN)
    assert windows.take("a", 100, amount, BEGUN + at) == pytest.approx(seconds)


uses = st.lists(st.tuples(st.floats(0, 2 * HOUR_S), st.floats(0, 150), st.booleans()), max_size=60)


@given(uses)
def test_what_counts_is_never_more_than_the_limit(steps):
    windows, at = Windows(), BEGUN
    for pause, amount, drains in steps:
        at += pause
        windows.take("a", 100, amount, at, drains=drains)
        assert windows.use("a", at).counted <= 100 + 1e-6


@given(uses, st.floats(0.01, 100))
def test_who_waits_as_told_gets_it(steps, amount):
    windows, at = Windows(), BEGUN
    for pause, used, drains in steps:
        at += pause
        windows.take("a", 100, used, at, drains=drains)
    wait_s = windows.use("a", at).wait_s(100, amount)
    assert 0 <= wait_s <= 2 * HOUR_S
    assert windows.use("a", at + wait_s + 0.001).wait_s(100 + 1e-6, amount) == 0


def test_names_without_end_take_no_memory_without_end():
    windows = Windows()
    for number in range(MAX_NAMES + 10):
        windows.add(str(number), 1, BEGUN)
    assert len(windows._counters) == MAX_NAMES
