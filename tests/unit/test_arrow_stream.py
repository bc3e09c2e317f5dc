"""Reading ahead: the order of the parts is kept, however many threads read them, and nothing of them stays behind."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.sources.arrow_stream import read_ahead


def batch(number):
    return pa.record_batch({"number": [number]})


def numbers(batches):
    return [each["number"][0].as_py() for each in batches]


def threads_at_work():
    return [thread for thread in threading.enumerate() if thread.name == "synth_ops read ahead"]


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4), max_size=8),
    slow=st.integers(0, 7),
    threads=st.integers(1, 3),
    depth=st.integers(1, 2),
)
def test_batches_come_in_the_order_of_their_parts(sizes, slow, threads, depth):
    def part(place, size):
        if place == slow:
            time.sleep(0.005)
        for number in range(size):
            yield batch(100 * place + number)

    parts = [part(place, size) for place, size in enumerate(sizes)]
    expected = [100 * place + number for place, size in enumerate(sizes) for number in range(size)]
    assert numbers(read_ahead(parts, threads=threads, depth=depth)) == expected
    assert threads_at_work() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_a_failure_comes_where_it_stands(threads):
    def failing():
        yield batch(2)
        raise ValueError("the third one can't be read")

    def whole(*those):
        yield from map(batch, those)

    seen = []
    with pytest.raises(ValueError, match="third"):
        seen.extend(numbers([each]) for each in read_ahead([whole(0, 1), failing(), whole(4)], threads=threads))
    assert seen == [[0], [1], [2]]
    assert threads_at_work() == []


@pytest.mark.parametrize("threads", [1, 2])
def test_who_leaves_early_leaves_nothing_behind(threads):
    closed = []

    def endless(place):
        try:
            while True:
                yield batch(place)
        finally:
            closed.append(place)

    batches = read_ahead([endless(place) for place in range(5)], threads=threads)
    assert numbers([next(batches)]) == [0]
    batches.close()
    assert threads_at_work() == []
    assert set(closed) == set(range(len(closed))), "those that were begun are closed"
    assert closed
