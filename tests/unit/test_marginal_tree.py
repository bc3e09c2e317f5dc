from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from synth_ops.generators.marginal_tree.chow_liu import ChowLiuBlocks, _binned
from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.conditional import fit_conditional
from synth_ops.generators.relational_trees.learning.context import information_beyond_chance
from synth_ops.generators.relational_trees.streams import stream


def variable(codes, size, *, ordered=True):
    return Variable(codes=np.asarray(codes, np.int32), size=size, ordered=ordered)


def shares(codes, size):
    return np.bincount(codes, minlength=size) / len(codes)


def test_codes_are_drawn_as_often_as_they_were_seen():
    codes = np.repeat([0, 3, 4, 9], [10, 700, 50, 240])
    table = fit_conditional(variable(codes, 10), [], alpha=5.0)
    drawn = table.draw([], 200_000, stream(1, "x"))
    assert shares(drawn, 10) == pytest.approx(shares(codes, 10), abs=0.004)
    assert set(drawn) == {0, 3, 4, 9}


@pytest.mark.parametrize("size", [3, 40, 2_000])
@pytest.mark.parametrize("ordered", [True, False])
def test_a_bin_has_its_own_distribution_and_a_part_of_the_whole(size, ordered):
    generator = np.random.default_rng(0)
    given = generator.integers(0, size, 60_000)
    target = np.where(generator.random(60_000) < 0.9, given % 3, generator.integers(0, 3, 60_000))
    table = fit_conditional(variable(target, 3), [variable(given, size, ordered=ordered)], alpha=1.0)
    drawn = table.draw([given.astype(np.int32)], len(given), stream(1, "x"))
    agree = np.mean(drawn == given % 3)
    assert agree == pytest.approx(0.93, abs=0.02) if size <= 256 else 0.3 < agree < 0.93
    assert shares(drawn, 3) == pytest.approx(shares(target, 3), abs=0.01)


def test_few_rows_tell_nothing_of_their_own():
    given = np.repeat([0, 1], [1_000, 5])
    table = fit_conditional(variable(given, 2), [variable(given, 2)], alpha=1.0)
    drawn = table.draw([np.ones(10_000, np.int32)], 10_000, stream(1, "x"))
    assert np.mean(drawn == 1) < 0.02


def test_nothing_to_learn_from():
    table = fit_conditional(variable([-1, -1], 4), [variable([0, 1], 2)], alpha=1.0)
    assert table.draw([np.array([0, 1, 7], np.int32)], 3, stream(1, "x")).tolist() == [0, 0, 0]


def chain(rows=20_000):
    """Variables of which each copies one before it, with more and more noise."""
    generator = np.random.default_rng(3)
    codes = {"column|a": generator.integers(0, 8, rows)}
    for name, source, noise in (("c", "a", 0.1), ("b", "c", 0.2), ("e", "b", 0.3), ("d", "a", 0.5), ("f", "e", 0.15)):
        other = generator.integers(0, 8, rows)
        codes[f"column|{name}"] = np.where(generator.random(rows) < noise, other, codes[f"column|{source}"])
    return {name: variable(each, 8) for name, each in sorted(codes.items())}


def test_the_tree_is_the_one_of_the_most_mutual_information():
    variables = chain()
    blocks = ChowLiuBlocks(alpha=1.0)
    order = blocks.order(list(variables), set(variables), variables, {})
    chosen = set()
    for place, name in enumerate(order[1:], start=1):
        (parent,) = blocks.choose(variables[name], {n: variables[n] for n in order[:place]}, stream(0, "x"))
        chosen.add(frozenset((name, parent)))
    weights = {
        frozenset(pair): information_beyond_chance(*(_binned(variables[name]) for name in pair))
        for pair in combinations(variables, 2)
    }
    assert chosen == kruskal(variables, weights)


def kruskal(names, weights):
    """The spanning tree of the most weight, edge by edge."""
    part = {name: name for name in names}
    tree = set()
    for edge in sorted(weights, key=lambda each: -weights[each]):
        one, other = (part[name] for name in edge)
        if one != other:
            tree.add(edge)
            part = {name: one if each == other else each for name, each in part.items()}
    return tree


def test_what_must_not_move_stays_before_the_rest():
    variables = chain() | {"depth|0": variable([0, 1], 2)}
    names = ["column|e", "column|a", "column|b", "column|c", "column|d", "column|f", "depth|0"]
    order = ChowLiuBlocks(alpha=1.0).order(names, {"column|b", "column|c", "column|d", "column|f"}, variables, {})
    assert order[:2] == ["column|e", "column|a"]
    assert order[-1] == "depth|0"
    assert sorted(order) == sorted(names)


def test_noise_is_no_parent():
    generator = np.random.default_rng(1)
    one, other = (variable(generator.integers(0, 20, 5_000), 20) for _ in range(2))
    assert ChowLiuBlocks(alpha=1.0).choose(one, {"x": other}, stream(0, "x")) == []
