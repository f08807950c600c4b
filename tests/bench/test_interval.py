import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.interval import Interval, interval
from voiceedge.errors import ConfigError


@pytest.mark.parametrize(
    ("stated", "expected"), [("1..4", (1, 4)), ("0.3..1.2", (0.3, 1.2)), ("2", (2, 2)), ("0", (0, 0))]
)
def test_a_range_is_stated_in_a_word_and_says_itself_the_same_way(stated, expected):
    found = interval(stated)
    assert (found.low, found.high) == expected
    assert str(found) == stated


@pytest.mark.parametrize("stated", ["", "..", "1..", "..4", "4..1", "-1..1", "soon", "1..inf", "nan", "1...4"])
def test_what_is_no_range_is_refused(stated):
    with pytest.raises(ConfigError, match="no range of seconds"):
        interval(stated)


@given(st.integers(0, 2**32), st.floats(0, 10), st.floats(0, 10))
def test_what_is_drawn_lies_within(seed, low, width):
    drawn = Interval(low, low + width).draw(np.random.default_rng(seed))
    assert low <= drawn <= low + width
