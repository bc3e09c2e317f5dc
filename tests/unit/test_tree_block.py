"""Trees find what a target depends on; blocks draw it again from what they remember, which is never a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.generators.relational_trees.block import Block, BlockSettings, Variable, fit_block
from synth_ops.generators.relational_trees.tree import Clusters, Tree, grow
from synth_ops.sql import K_SUBJECTS

ROWS = 20_000


def generator(seed=0):
    return np.random.default_rng(seed)


def variable(codes, size=None, *, ordered=False):
    codes = np.asarray(codes, np.int32)
    return Variable(codes=codes, size=size or int(codes.max(initial=0)) + 1, ordered=ordered)


def alone(inputs):
    return Clusters(of=np.empty(0, np.int32), sharing=np.zeros(len(inputs), np.float32))


def shares(codes, size):
    return np.bincount(codes, minlength=size) / max(len(codes), 1)


@given(st.integers(1, 400), st.integers(2, 60), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_no_leaf_is_smaller_than_asked(rows, min_leaf, seed):
    random = generator(seed)
    inputs = random.integers(0, 8, (3, rows)).astype(np.uint8)
    targets = (inputs[:1].T + random.normal(size=(rows, 1))).astype(np.float32)
    tree = grow(inputs, targets, alone(inputs), min_leaf=min_leaf, penalty=0.0)
    leaves = tree.apply(inputs)
    assert (tree.feature[leaves] < 0).all()
    if len(tree.feature) > 1:
        assert np.bincount(leaves)[np.unique(leaves)].min() >= min_leaf


def test_a_tree_splits_where_the_target_changes():
    inputs = np.arange(256, dtype=np.uint8).repeat(40)[None]
    targets = (inputs[0] > 99).astype(np.float32)[:, None]
    tree = grow(inputs, targets, alone(inputs), min_leaf=20, penalty=1.0)
    assert (tree.feature[0], tree.threshold[0]) == (0, 99)
    assert len(tree.feature) == 3
    leaves = tree.apply(inputs)
    assert len(set(leaves[targets[:, 0] > 0]) & set(leaves[targets[:, 0] == 0])) == 0


def test_noise_is_not_split_on():
    inputs = generator(1).integers(0, 256, (5, 4000)).astype(np.uint8)
    targets = generator(2).normal(size=(4000, 1)).astype(np.float32)
    assert len(grow(inputs, targets, alone(inputs), min_leaf=50, penalty=30.0).feature) == 1


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("size", [2, 12, 300])
def test_a_block_draws_what_depends_on_its_inputs_as_it_was(ordered, size):
    given_codes = generator(3).integers(0, 6, ROWS)
    drift = generator(4).integers(0, max(size // 6, 1), ROWS)
    target = variable((given_codes * size // 6 + drift) % size, size, ordered=ordered)
    block = fit_block(target, [variable(given_codes)], BlockSettings(min_leaf=50, alpha=1.0), generator())
    drawn = block.draw([given_codes.astype(np.int32)], ROWS, generator(9))
    for code in range(6):
        there = given_codes == code
        distance = np.abs(shares(target.codes[there], size) - shares(drawn[there], size)).sum() / 2
        assert distance < 0.15


def test_a_block_without_inputs_draws_shares_almost_exactly():
    target = variable([0] * 100 + [1] * 800 + [2] * 100)
    block = fit_block(target, [], BlockSettings(), generator())
    drawn = block.draw([], 1000, generator(5))
    assert np.abs(np.bincount(drawn) - [100, 800, 100]).max() <= 1


def test_the_same_randomness_draws_the_same():
    codes = generator(6).integers(0, 9, 5000)
    block = fit_block(variable(codes), [variable(codes // 3)], BlockSettings(), generator())
    given_codes = [(codes // 3).astype(np.int32)]
    one, again, other = (block.draw(given_codes, 5000, generator(seed)) for seed in (1, 1, 2))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


def test_unknown_rows_are_not_learned_from():
    codes = np.array([-1] * 500 + [2] * 500)
    block = fit_block(variable(codes, 4), [variable(np.arange(1000) % 3)], BlockSettings(), generator())
    assert set(block.draw([np.zeros(50, np.int32)], 50, generator())) == {2}


def test_a_block_of_nothing_draws_code_0():
    block = fit_block(variable([], 3), [variable([], 2)], BlockSettings(), generator())
    assert block.draw([np.zeros(5, np.int32)], 5, generator()).tolist() == [0] * 5


def test_only_codes_that_were_seen_are_drawn():
    codes = generator(7).choice([1, 5, 8], 3000)
    block = fit_block(variable(codes, 10), [variable(generator(8).integers(0, 40, 3000))], BlockSettings(), generator())
    strange = generator(9).integers(0, 40, 3000).astype(np.int32)
    assert set(block.draw([strange], 3000, generator())) <= {1, 5, 8}


def test_leaves_are_small_only_where_rows_agree():
    group = generator(7).integers(0, 100, ROWS)
    noise = generator(8).integers(0, 100, ROWS)
    told = fit_block(variable(group), [variable(group), variable(noise)], BlockSettings(), generator())
    free = fit_block(variable(noise), [variable(group)], BlockSettings(), generator())
    assert (told.tree.feature < 0).sum() >= 100
    assert (free.tree.feature < 0).sum() < 20


@pytest.mark.parametrize("known", [False, True], ids=["rows alone", "rows of subjects"])
def test_what_tells_subjects_apart_by_chance_is_not_split_on(known):
    """A thousand subjects of twenty rows that are alike: a trait of theirs seems to tell what the rows are."""
    subjects = np.repeat(np.arange(1000, dtype=np.int32), 20)
    level = generator(1).normal(size=1000)[subjects] + generator(2).normal(size=ROWS) / 2
    trait = variable(generator(3).integers(0, 200, 1000)[subjects], ordered=True)
    block = fit_block(
        variable(np.digitize(level, np.linspace(-2, 2, 40)), ordered=True),
        [trait],
        BlockSettings(),
        generator(),
        subjects if known else None,
    )
    assert (len(block.tree.feature) == 1) == known


def test_what_differs_within_subjects_is_split_on():
    subjects = np.repeat(np.arange(1000, dtype=np.int32), 20)
    cause = generator(1).integers(0, 40, ROWS)
    level = generator(2).normal(size=1000)[subjects] + cause / 10
    effect = variable(np.digitize(level, np.linspace(-2, 6, 80)), ordered=True)
    block = fit_block(effect, [variable(cause, ordered=True)], BlockSettings(), generator(), subjects)
    drawn = block.draw([cause.astype(np.int32)], ROWS, generator())
    assert np.corrcoef(drawn, cause)[0, 1] == pytest.approx(np.corrcoef(effect.codes, cause)[0, 1], abs=0.05)


def test_more_rows_ask_for_more_evidence():
    """On noise, ten times the rows do not give ten times the leaves."""
    noise = generator(8).random(10 * ROWS)
    other = generator(9).integers(0, 200, 10 * ROWS)
    few, many = (
        fit_block(
            variable((noise[:rows] * 200).astype(int), ordered=True),
            [variable(other[:rows], ordered=True)],
            BlockSettings(),
            generator(),
        )
        for rows in (ROWS, 10 * ROWS)
    )
    assert (many.tree.feature < 0).sum() <= (few.tree.feature < 0).sum() + 5


def test_a_leaf_is_believed_where_its_rows_agree():
    """Of two leaves of the same size, the one whose rows all differ leaves more to its ancestors."""
    side = np.repeat([0, 1], 1000)
    codes = np.where(side == 0, 5, 10 + np.arange(2000) % 200)
    block = fit_block(variable(codes, ordered=True), [variable(side)], BlockSettings(evidence=0.0), generator())
    agreeing, differing = (
        block.backoff[block.histogram_of[block.tree.apply(np.full((1, 1), code, np.uint8))[0]]]
        for code in block.bins[[0, 1]]
    )
    assert agreeing < 0.01
    assert differing > 0.1


def test_a_block_remembers_no_more_than_counts_in_leaves():
    codes = generator(7).integers(0, 50, 3000)
    settings_ = BlockSettings(min_leaf=100)
    block = fit_block(variable(codes, 50), [variable(generator(8).integers(0, 40, 3000))], settings_, generator())
    totals = block.cumulative[block.starts[1:] - 1]
    assert totals.min() >= 75
    assert totals.max() == 3000


def of_a_group(codes, counts, *, between):
    """A block of all codes from 0 to 99, the even ones three times as often; input 1 leads to a group's histogram."""
    every = np.where(np.arange(100) % 2, 10, 30)
    return Block(
        tree=Tree(
            feature=np.array([0, -1, -1], np.int16),
            threshold=np.zeros(3, np.uint8),
            left=np.array([1, 0, 0], np.int32),
            parent=np.array([-1, 0, 0], np.int32),
        ),
        bins=np.array([0, 1], np.uint8),
        bin_starts=np.array([0, 2]),
        histogram_of=np.array([0, 0, 1], np.int32),
        next_histogram=np.array([-1, 0], np.int32),
        backoff=np.zeros(2, np.float32),
        starts=np.array([0, 100, 100 + len(codes)]),
        codes=np.concatenate([np.arange(100), codes]).astype(np.int32),
        cumulative=np.concatenate([np.cumsum(every), np.cumsum(counts)]),
        between=between,
    )


@given(st.sets(st.integers(0, 99), min_size=1, max_size=30), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_few_rows_of_a_number_say_between_which_others_it_lies(seen, seed):
    group = np.array(sorted(seen))
    ask = [np.ones(500, np.int32)]
    drawn = of_a_group(group, np.ones(len(group), int), between=True).draw(ask, 500, generator(seed))
    numbers = group[group > 0]
    assert ((drawn == 0) <= (0 in seen)).all()  # NULL is no number
    if len(numbers):
        assert numbers.min() <= drawn[drawn > 0].min(initial=numbers.min())
        assert drawn.max() <= numbers.max()
    assert set(of_a_group(group, np.full(len(group), K_SUBJECTS), between=True).draw(ask, 500, generator())) <= seen
    assert set(of_a_group(group, np.ones(len(group), int), between=False).draw(ask, 500, generator())) <= seen


def test_which_number_between_two_it_is_all_rows_say():
    block = of_a_group(np.array([11, 51, 91]), np.ones(3, int), between=True)
    drawn = block.draw([np.ones(60_000, np.int32)], 60_000, generator())
    found = np.bincount(drawn, minlength=100)
    assert (found[11:92] > 0).all()
    assert (found[:11] == 0).all()
    # the ends of a group are themselves in half of their draws; between them the even codes come three times as often
    assert found[11] / 60_000 == pytest.approx(1 / 6, abs=0.01)
    assert found[12:51:2].sum() / found[13:51:2].sum() == pytest.approx(3 * 20 / 19, rel=0.05)
    assert abs(found[11:51].sum() - found[52:92].sum()) < 0.02 * 60_000


def test_numbers_next_to_each_other_are_drawn_as_they_were_seen():
    block = of_a_group(np.arange(40, 44), np.array([4, 1, 2, 1]), between=True)
    found = np.bincount(block.draw([np.ones(40_000, np.int32)], 40_000, generator()), minlength=100)
    assert found[40:44] / 40_000 == pytest.approx([4 / 8, 1 / 8, 2 / 8, 1 / 8], abs=0.01)
