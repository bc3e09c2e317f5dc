"""Rows are given to parents by group and quota: quotas hold whatever groups the rows ask for."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.generators.relational_trees.references import Candidates, choose


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(0, 400), st.integers(1, 6))
@settings(deadline=None)
def test_parents_of_pooled_groups_get_what_they_want(seed, parents, rows, groups):
    generator = np.random.default_rng(seed)
    of_parent = np.repeat(np.arange(groups, dtype=np.int32), 2)[generator.integers(0, 2 * groups, parents)]
    quotas = generator.integers(1, 9, parents).astype(float)
    wanted = generator.integers(0, groups, rows).astype(np.int32)
    chosen = choose(Candidates(groups=of_parent, quotas=quotas), wanted, None, generator)
    members = np.bincount(of_parent, minlength=groups)
    alone = members == 1
    got, asked = (np.bincount(each, minlength=groups) for each in (of_parent[chosen], wanted))
    if (members > 1).any():
        assert (got[alone] == asked[alone]).all()
    pooled = ~alone[of_parent]
    left = rows - asked[alone].sum()
    due = quotas[pooled] * left / max(quotas[pooled].sum(), 1)
    counts = np.bincount(chosen, minlength=parents)[pooled]
    # rounded for the group first, and then for the parent
    assert (np.abs(counts - due) <= 2 + due * 0.5 / np.maximum(due, 1)).all() or not pooled.any()


def test_as_few_rows_as_possible_get_a_parent_of_another_group():
    generator = np.random.default_rng(0)
    of_parent = np.array([0, 0, 1, 1, 1, 1], np.int32)
    wanted = np.repeat(np.array([0, 1], np.int32), [60, 60])
    chosen = choose(Candidates(groups=of_parent, quotas=np.full(6, 3.0)), wanted, None, generator)
    assert np.bincount(chosen).tolist() == [20] * 6
    assert (of_parent[chosen] != wanted).sum() == 20
    assert (of_parent[chosen[60:]] == 1).all()


def test_a_group_that_nobody_is_in_is_everybodys():
    generator = np.random.default_rng(0)
    candidates = Candidates(groups=np.zeros(4, np.int32), quotas=np.array([1.0, 1.0, 2.0, 4.0]))
    chosen = choose(candidates, np.full(80, 3, np.int32), None, generator)
    assert np.bincount(chosen).tolist() == [10, 10, 20, 40]
