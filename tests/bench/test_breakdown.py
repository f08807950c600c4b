import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.rows import row
from voiceedge.bench.breakdown import PERCENTILES, breakdown
from voiceedge.bench.wire import PathSegment


def turn(client_ms, wait_ms=100.0):
    path = (PathSegment("wait", wait_ms), PathSegment("llm", 200.0))
    return row("a", client_ms, server_v2v_ms=wait_ms + 200.0, critical_path=path)


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=40))
def test_the_parts_add_up_to_the_mean_of_the_same_turns(times_ms):
    for one in breakdown([turn(ms) for ms in times_ms]):
        assert sum(one.legs_ms.values()) == pytest.approx(one.client_v2v_ms, abs=1e-6)


def test_it_is_made_of_the_turns_next_to_the_percentile():
    slow = [turn(1000.0 + n, wait_ms=900.0) for n in range(20)]
    found = {one.percentile: one for one in breakdown([turn(300.0 + n) for n in range(80)] + slow)}
    assert tuple(found) == PERCENTILES
    assert found[50].legs_ms["wait"] == pytest.approx(100.0)
    assert found[95].legs_ms["wait"] == pytest.approx(900.0)
    assert (found[95].turns, found[95].client_v2v_ms) == (11, pytest.approx(1014.0))


def test_a_percentile_among_failed_turns_is_made_of_nothing():
    found = {one.percentile: one for one in breakdown([turn(300.0)] * 8 + [row("a", None)] * 2)}
    assert (found[50].turns, found[75].turns) == (3, 2)
    assert (found[95].turns, found[95].client_v2v_ms, found[95].legs_ms) == (0, None, {})


def test_a_node_that_tells_no_path_has_no_breakdown():
    assert breakdown([row("a", critical_path=())]) == ()
    assert breakdown([]) == ()
