import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.ring import Ring


def numbered(start, stop):
    """Audio whose samples are their own numbers."""
    return np.arange(start, stop, dtype=np.float32)


@given(
    chunks=st.lists(st.integers(0, 25), max_size=12),
    start=st.integers(-5, 200),
    length=st.integers(-5, 40),
)
def test_a_sample_is_found_by_its_number_for_as_long_as_it_is_kept(chunks, start, length):
    ring = Ring(10, 1.0)
    for size in chunks:
        ring.push(numbered(ring.end, ring.end + size))
    total = sum(chunks)
    assert (ring.begin, ring.end) == (max(0, total - 10), total)
    kept = [n for n in range(start, start + length) if ring.begin <= n < ring.end]
    assert ring.read(start, start + length).tolist() == kept


def test_what_was_read_is_a_copy():
    ring = Ring(10, 1.0)
    ring.push(numbered(0, 10))
    before = ring.read(0, 10)
    ring.push(numbered(10, 20))
    assert before.tolist() == list(range(10))


def test_a_chunk_longer_than_the_ring_leaves_its_end():
    ring = Ring(10, 1.0)
    ring.push(numbered(0, 7))
    ring.push(numbered(7, 40))
    assert ring.read(0, 100).tolist() == list(range(30, 40))


@given(chunks=st.lists(st.integers(0, 30), max_size=12))
def test_memory_is_taken_as_audio_comes_and_keeps_what_is_there(chunks):
    ring = Ring(1, 40.0)  # of which 15 s are taken at once
    for size in chunks:
        ring.push(numbered(ring.end, ring.end + size))
    total = sum(chunks)
    assert ring.read(0, total).tolist() == list(range(max(0, total - 40), total))
