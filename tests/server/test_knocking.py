"""Whoever knocks and waits makes room for who comes after, and nobody for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.server.address import read_proxies
from voiceedge.server.knocking import IN_ALL, OF_ONE, Knocking

HERE, ELSEWHERE = ("192.0.2.1", 4711), ("192.0.2.2", 4711)


class Door:
    """One that knocks."""

    def __init__(self) -> None:
        self.is_closed = False

    def abort(self) -> None:
        self.is_closed = True


def knock(knocking: Knocking, count: int, peer=HERE) -> list[Door]:
    doors = [Door() for _ in range(count)]
    for door in doors:
        knocking.begin(door, peer)
    return doors


def closed(doors: list[Door]) -> int:
    return sum(door.is_closed for door in doors)


def test_the_oldest_of_an_address_goes_for_a_new_one_and_nobody_elses():
    told: list[None] = []
    knocking = Knocking(closed=lambda: told.append(None))
    other = knock(knocking, 1, ELSEWHERE)
    mine = knock(knocking, OF_ONE)
    assert closed(mine + other) == 0
    knock(knocking, 2)
    assert [door.is_closed for door in mine[:3]] == [True, True, False]
    assert closed(mine + other) == len(told) == 2


@pytest.mark.parametrize(
    ("descriptors", "most"), [(256, 128), (1024, 512), (1_000_000, IN_ALL), (None, IN_ALL)], ids=str
)
def test_all_together_have_half_of_the_descriptors_and_never_more_than_stated(descriptors, most):
    knocking = Knocking(descriptors=descriptors)
    doors = [
        door for number in range(most + 1) for door in knock(knocking, 1, (f"10.0.{number // 250}.{number % 250}", 1))
    ]
    assert doors[0].is_closed
    assert closed(doors) == 1
    assert len(knocking) == most


def test_who_is_gone_or_a_session_is_not_counted():
    knocking = Knocking()
    for door in knock(knocking, OF_ONE):
        knocking.end(door)
        knocking.end(door)
    assert len(knocking) == 0
    assert closed(knock(knocking, OF_ONE)) == 0
    assert knocking._of.keys() == {HERE[0]}


def test_who_has_been_answered_is_the_youngest_again():
    knocking = Knocking()
    first, second, *_ = knock(knocking, OF_ONE)
    knocking.begin(first, HERE)
    knock(knocking, 1)
    assert (first.is_closed, second.is_closed) == (False, True)


def test_a_network_of_ipv6_is_one_address():
    knocking = Knocking()
    doors = [door for number in range(OF_ONE + 1) for door in knock(knocking, 1, (f"2001:db8::{number:x}", 1, 0, 0))]
    assert closed(doors) == 1


def test_a_named_proxy_brings_many_and_one_without_an_address_is_nobodys():
    knocking = Knocking(read_proxies("192.0.2.1"))
    assert closed(knock(knocking, 2 * OF_ONE) + knock(knocking, 2 * OF_ONE, None)) == 0
    assert len(knocking) == 4 * OF_ONE


def test_it_is_said_once(caplog):
    knock(Knocking(), OF_ONE + 5)
    assert len(caplog.records) == 1
    assert "192.0.2" not in caplog.text


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40), st.integers(0, 3)), max_size=300))
def test_what_is_counted_is_what_is_open(steps):
    knocking, doors, ended = Knocking(descriptors=20), [Door() for _ in range(41)], set()
    for begins, number, address in steps:
        door = doors[number]
        if begins and not door.is_closed:
            knocking.begin(door, (f"192.0.2.{address}", 1))
            ended.discard(door)
        else:
            knocking.end(door)
            ended.add(door)
        assert all(door not in knocking._all for door in doors if door.is_closed or door in ended)
        assert len(knocking) <= 10
        assert sum(map(len, knocking._of.values())) == len(knocking)
