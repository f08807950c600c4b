import sys

import pytest

from voiceedge.server.descriptors import most_descriptors

resource = pytest.importorskip("resource")


@pytest.fixture
def limits(monkeypatch):
    """The process's own, in name only."""
    kept = [(1024, 65_536)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: kept[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: kept.append(pair))
    return kept


def test_a_process_takes_what_it_may_have(limits):
    assert most_descriptors() == 65_536
    assert limits[-1] == (65_536, 65_536)


def test_where_there_is_no_limit_none_is_stated(limits):
    limits.append((1024, resource.RLIM_INFINITY))
    assert most_descriptors() is None


def test_a_system_that_gives_no_more_leaves_what_there_is(limits, monkeypatch):
    def refuse(*_):
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert most_descriptors() == 1024


def test_where_nothing_is_limited_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert most_descriptors() is None
