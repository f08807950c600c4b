"""Slots are taken and given back; shared prefixes are bounded."""

import mmap
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.engines.kv_slab import KvSlab, Prefix, PrefixCache, common_length, untouched
from voiceedge.errors import Overloaded


def slab(slots=3):
    return KvSlab(layers=2, slots=slots, kv_heads=2, capacity=8, head_dim=4)


def test_the_lowest_free_slot_is_taken_so_that_neighbours_stay_together():
    cache = slab()
    slots = [cache.take() for _ in range(3)]
    cache.give_back(slots[2])
    cache.give_back(slots[0])
    assert cache.take().index == 0


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * mmap.PAGESIZE


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is resident")
def test_the_first_tokens_of_a_slot_make_little_of_it_resident():
    big = KvSlab(layers=8, slots=2, kv_heads=4, capacity=4096, head_dim=64)
    before = resident_bytes()
    for rows in big.layers[0] + big.layers[-1]:
        rows[1, :, :16] = 1.0
    assert resident_bytes() - before < 1_000_000  # of 16.8 in these four arrays' slot


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_untouched_memory_is_zeros_that_can_be_written(shape):
    rows = untouched(tuple(shape))
    assert rows.shape == tuple(shape)
    assert rows.dtype == np.float32
    assert not rows.any()
    rows += 1.0
    assert rows.all()


def test_taking_more_than_there_are_is_overload_and_one_given_back_can_be_taken():
    cache = slab(1)
    slot = cache.take()
    slot.tokens.append(5)
    with pytest.raises(Overloaded) as raised:
        cache.take()
    assert raised.value.retry_after_s > 0
    cache.give_back(slot)
    assert cache.take().tokens == []


def test_no_slot_is_given_to_two_threads():
    cache = slab(64)
    with ThreadPoolExecutor(8) as pool:
        taken = [future.result().index for future in [pool.submit(cache.take) for _ in range(64)]]
    assert sorted(taken) == list(range(64))


def test_rows_are_held_by_one_at_a_time_whoever_has_the_slot():
    cache = slab(1)
    slot = cache.take()
    slot.tokens.extend([5, 6])
    assert cache.hold(0) == 2
    assert cache.hold(0) is None
    cache.give_back(slot)
    newcomer = cache.take()
    assert newcomer.rows.locked()  # who held them may still be writing
    cache.release(0)
    assert cache.hold(0) == 0


def test_a_full_slot_has_no_row_to_be_written_to():
    cache = slab(1)
    slot = cache.take()
    slot.tokens.extend([5] * cache.capacity)
    assert cache.hold(0) is None
    assert not slot.rows.locked()


def test_a_prefix_is_copied_exactly_and_only_where_it_belongs():
    cache = slab()
    first, second = cache.take(), cache.take()
    random = np.random.default_rng(0)
    for keys, values in cache.layers:
        keys[first.index] = random.normal(size=keys.shape[1:])
        values[first.index] = random.normal(size=values.shape[1:])
    prefix = Prefix((7, 8, 9), cache.copy_out(first, 3))
    cache.copy_in(second, prefix, 2)
    assert second.tokens == [7, 8]
    for rows in (array for layer in cache.layers for array in layer):
        assert np.array_equal(rows[second.index, :, :2], rows[first.index, :, :2])
        assert not rows[second.index, :, 2:].any()
        assert not rows[2].any()


def test_a_prefix_does_not_change_with_the_slot_that_it_was_taken_from():
    cache = slab()
    slot, other = cache.take(), cache.take()
    prefix = Prefix((7, 8), cache.copy_out(slot, 2))
    for keys, values in cache.layers:
        keys[slot.index] = values[slot.index] = 1
    cache.copy_in(other, prefix, 2)
    assert not any(array[other.index].any() for layer in cache.layers for array in layer)


def test_the_prefix_that_shares_the_most_is_found_and_the_longest_unused_goes():
    prefixes = PrefixCache(2)
    for tokens in ((1, 2), (1, 2, 3)):
        prefixes.add(Prefix(tokens, []))
    found, shared = prefixes.longest([1, 2, 9])
    assert (found.tokens[:2], shared) == ((1, 2), 2)
    prefixes.longest([1, 2, 3])
    prefixes.longest([1, 2])
    prefixes.add(Prefix((5,), []))
    assert prefixes.longest([8]) == (None, 0)
    assert sum(tokens in prefixes for tokens in ((1, 2), (1, 2, 3), (5,))) == 2
    assert (5,) in prefixes


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_the_common_length_is_where_both_part(one, other):
    common = common_length(one, other)
    assert one[:common] == other[:common]
    assert one[common : common + 1] != other[common : common + 1] or common == min(len(one), len(other))
