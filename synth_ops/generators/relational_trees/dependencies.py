"""Functional dependencies: columns that others determine, found in the data with their support, and kept exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.tree import Codes

_SCREENING_ROWS = 2_000
_FEWEST_ROWS = 40
_MOST_PAIRED = 14
_MOST_SHARE_OF_ROWS = 1 / 3
_WIDEST_KEY = 2**40

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """What determines a variable.

    Attributes:
        inputs: The one or two variables that determine it.
        sizes: Their numbers of codes.
        keys: Combinations of their codes that were seen, in order.
        values: The target's code for each.
    """

    inputs: tuple[str, ...]
    sizes: tuple[int, ...]
    keys: Keys
    values: Codes

    def apply(self, codes: Sequence[Codes]) -> Codes:
        """The determined code of every row; -1 where the combination was never seen."""
        key = _combine(codes, self.sizes)
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where(self.keys[place] == key, self.values[place], -1).astype(np.int32)


def find_dependency(
    target: Variable, pool: Mapping[str, Variable], k: int, pooled: frozenset[str] = frozenset()
) -> Dependency | None:
    """One variable, or else two, that determine the target in every row; None where there are none.

    Combinations that fewer than k rows share are left out of the rule, and it must stand for more than chance: there
    are at least three rows a combination. What is pooled in one code, as few share it, says nothing against a rule.

    Args:
        pool: What may determine it.
        k: The fewest rows behind a combination that is kept.
        pooled: Those whose last code stands for many values that few share: what each of them determines is not known.
    """
    known = np.flatnonzero(target.codes >= 0)
    if len(known) < _FEWEST_ROWS or _is_constant(target.codes[known]):
        return None
    few = known[:: max(len(known) // _SCREENING_ROWS, 1)]
    candidates = [name for name, each in pool.items() if not _is_constant(each.codes[few])]
    for name in candidates:
        rule = _rule(target, pool, (name,), known, few, k, pooled)
        if rule:
            return rule
    finest = sorted(candidates, key=lambda name: -_explained(target, pool[name], few))[:_MOST_PAIRED]
    for names in combinations(finest, 2):
        rule = _rule(target, pool, names, known, few, k, pooled)
        if rule:
            return rule
    return None


def determined(
    variables: Mapping[str, Variable], k: int, pooled: frozenset[str] = frozenset()
) -> dict[str, list[Dependency]]:
    """For each variable, the rules by which single finer ones determine it, the coarsest of those first.

    Args:
        k, pooled: See `find_dependency`.
    """
    by_size = sorted(variables, key=lambda name: (variables[name].size, name))
    rules: dict[str, list[Dependency]] = {}
    for place, name in enumerate(by_size):
        target = variables[name]
        known = np.flatnonzero(target.codes >= 0)
        if len(known) < _FEWEST_ROWS or _is_constant(target.codes[known]):
            continue
        few = known[:: max(len(known) // _SCREENING_ROWS, 1)]
        finer = [other for other in by_size[place + 1 :] if variables[other].size > target.size]
        found = (_rule(target, variables, (other,), known, few, k, pooled) for other in finer)
        rules[name] = [rule for rule in found if rule]
    return {name: found for name, found in rules.items() if found}


def _rule(
    target: Variable,
    pool: Mapping[str, Variable],
    names: tuple[str, ...],
    known: Keys,
    few: Keys,
    k: int,
    pooled: frozenset[str],
) -> Dependency | None:
    sizes = tuple(pool[name].size for name in names)
    if np.prod(sizes, dtype=np.float64) * target.size > _WIDEST_KEY:
        return None
    told = np.ones(len(target.codes), dtype=bool)
    for name in pooled.intersection(names):
        told &= pool[name].codes < pool[name].size - 1
    for rows in (few[told[few]], known[told[known]]):
        inputs = [np.maximum(pool[name].codes[rows], 0) for name in names]
        pairs, counts = np.unique(_combine(inputs, sizes) * target.size + target.codes[rows], return_counts=True)
        keys = pairs // target.size
        if (keys[1:] == keys[:-1]).any():
            return None
    if len(keys) > len(rows) * _MOST_SHARE_OF_ROWS:
        return None
    if len(rows) < len(known) and _may_be_chance(target.codes[rows], len(keys)):
        return None
    kept = counts >= k
    if not kept.any():
        return None
    return Dependency(inputs=names, sizes=sizes, keys=keys[kept], values=(pairs[kept] % target.size).astype(np.int32))


def _explained(target: Variable, candidate: Variable, rows: Keys) -> float:
    """The share of rows that have the most frequent target code of their candidate code."""
    pairs, counts = np.unique(
        np.maximum(candidate.codes[rows], 0).astype(np.int64) * target.size + target.codes[rows], return_counts=True
    )
    owners = pairs // target.size
    starts = np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]]))
    return float(np.maximum.reduceat(counts, starts).sum() / len(rows) - len(starts) / len(rows))


def _may_be_chance(codes: Codes, keys: int) -> bool:
    """Whether few of the rows would have had another code than those with the same key, were there no rule."""
    if not len(codes):
        return True
    most = int(np.unique(codes, return_counts=True)[1].max())
    return (len(codes) - keys) * (1 - most / len(codes)) < _FEWEST_ROWS


def _combine(codes: Sequence[Codes], sizes: Sequence[int]) -> Keys:
    key = np.zeros(len(codes[0]), dtype=np.int64)
    for each, size in zip(codes, sizes, strict=True):
        key = key * size + each
    return key


def _is_constant(codes: Codes) -> bool:
    return not len(codes) or bool((codes == codes[0]).all())
