"""Keys made unique by moving values as little as possible."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.generators.relational_trees.unique import densify, identify, repeats, spread

values = st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=0, max_size=60)


@given(values)
@settings(deadline=None)
def test_rows_have_the_same_number_where_all_their_values_are_the_same(rows):
    columns = [pa.array([row[place] for row in rows], pa.int64()) for place in (0, 1)]
    key, null = identify(columns)
    assert not null.any()
    assert (key[:, None] == key[None, :]).tolist() == [[one == other for other in rows] for one in rows]


def test_a_row_with_a_null_is_marked():
    _, null = identify([pa.array([1, None, 1]), pa.array(["a", "b", None])])
    assert null.tolist() == [False, True, True]


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 2**32))
@settings(deadline=None)
def test_repeats_are_all_but_the_first(keys, seed):
    exempt = np.random.default_rng(seed).random(len(keys)) < 0.2
    found = repeats(np.array(keys, np.int64), exempt)
    seen = set()
    for key, free, repeated in zip(keys, exempt, found, strict=True):
        assert repeated == (not free and key in seen)
        seen |= set() if free else {key}


@given(values)
@settings(deadline=None, max_examples=200)
def test_spread_leaves_no_repeats_where_there_is_room(rows):
    group = np.array([row[0] for row in rows], np.int64)
    wanted = np.array([row[1] for row in rows], np.int64)
    room = int(np.bincount(group).max()) if len(group) else 0
    moved = spread(group, wanted, -20, max(20, -20 + room))
    assert len(set(zip(group.tolist(), moved.tolist(), strict=True))) == len(rows)
    assert ((moved >= -20) & (moved <= max(20, -20 + room))).all()


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 50)), max_size=60))
@settings(deadline=None)
def test_spread_moves_nothing_that_is_unique(rows):
    group = np.array([row[0] for row in rows], np.int64)
    wanted = np.array([row[1] for row in rows], np.int64)
    assert spread(group, wanted, 0, 50).tolist() == wanted.tolist()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(0, 2**32))
@settings(deadline=None)
def test_each_group_may_have_its_own_room(sizes, seed):
    """As many rows as there are values in every group: each value is taken exactly once."""
    generator = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    highest = np.repeat(np.array(sizes) - 1, sizes)
    moved = spread(group, generator.integers(0, highest + 1), 0, highest)
    for number, size in enumerate(sizes):
        assert sorted(moved[group == number].tolist()) == list(range(size))


def test_spread_bears_values_far_apart():
    wide = np.array([-(2**61), 2**61, 2**61, 0], np.int64)
    moved = spread(np.array([0, 0, 0, 1]), wide, -(2**61), 2**61 + 5)
    assert sorted(moved.tolist()) == [-(2**61), 0, 2**61, 2**61 + 1]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=50))
@settings(deadline=None)
def test_densify_keeps_equality_and_order(numbers):
    dense = densify(np.array(numbers, np.int64))
    assert sorted(set(dense.tolist())) == list(range(len(set(numbers))))
    assert np.argsort(dense, kind="stable").tolist() == np.argsort(np.array(numbers), kind="stable").tolist()
