"""Which parent a row refers to: parents in groups by how their children look, and quotas within each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.tree import Codes, Floats

NULL, ORPHAN, FIRST_GROUP = 0, 1, 2
"""Codes of a reference: none, one that the source breaks, and from here on the groups."""
NO_PARENT, BROKEN = -1, -2
"""Row numbers that stand for no parent."""
MOST_GROUPS = 64
MOST_SINGLE_PARENTS = 512
_PROFILE_SHARES = 12
_DIRECTIONS = 12

Rows = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float64]


def match_rows(child: Sequence[pa.ChunkedArray], parent: Sequence[pa.ChunkedArray]) -> Rows:
    """The first parent row with the same values, for every child row.

    NO_PARENT stands where any value is NULL, BROKEN where no parent has the values.

    Args:
        child: The columns of the foreign key.
        parent: The columns they refer to, in the same order.
    """
    rows = len(child[0])
    null = np.zeros(rows, dtype=bool)
    child_key, parent_key = np.zeros(rows, np.int64), np.zeros(len(parent[0]), np.int64)
    for ours, theirs in zip(child, parent, strict=True):
        null |= pc.is_null(ours).to_numpy(zero_copy_only=False)
        values = pc.unique(theirs if ours.type == theirs.type else theirs.cast(pa.string()))
        looked_up = ours if ours.type == theirs.type else ours.cast(pa.string())
        span = len(values) + 1
        child_key = child_key * span + _index(looked_up, values)
        parent_key = parent_key * span + _index(
            theirs if ours.type == theirs.type else theirs.cast(pa.string()), values
        )
        _, dense = np.unique(np.concatenate([parent_key, child_key]), return_inverse=True)
        parent_key, child_key = dense[: len(parent_key)].astype(np.int64), dense[len(parent_key) :].astype(np.int64)
    first = np.full(int(max(parent_key.max(initial=-1), child_key.max(initial=-1))) + 1, BROKEN, dtype=np.int64)
    first[parent_key[::-1]] = np.arange(len(parent_key) - 1, -1, -1)
    found = first[child_key] if rows else np.empty(0, np.int64)
    found[null] = NO_PARENT
    return found


def _index(column: pa.ChunkedArray, values: pa.Array) -> Rows:
    found = pc.index_in(column, value_set=values)
    result: Rows = pc.fill_null(found, len(values)).to_numpy(zero_copy_only=False).astype(np.int64)
    return result


def group_parents(
    parent_of: Rows, parents: int, child: Sequence[Variable], *, k: int, single: bool
) -> tuple[Codes, int, Floats | None]:
    """Put parents into groups whose children look alike.

    Args:
        parent_of: Each child row's parent.
        parents: How many parents there are.
        child: The child's variables.
        k: The fewest parents in a group, or children of a parent that makes a group of its own.
        single: Whether a parent may be a group of its own (reference data about nobody).

    Returns:
        The group of every parent; how many groups there are; and, where some are more alike than others, where each
        lies; shape (groups, dimensions).
    """
    if not parents:
        return np.zeros(0, np.int32), 1, None
    known = parent_of >= 0
    counts = np.bincount(parent_of[known], minlength=parents)
    if single and int((counts >= k).sum()) <= MOST_SINGLE_PARENTS:
        groups = np.zeros(parents, dtype=np.int32)
        own = np.flatnonzero(counts >= k)
        groups[own] = np.arange(1, len(own) + 1)
        return groups, len(own) + 1, None
    profiles = _profiles(parent_of[known], parents, counts, [(v, v.codes[known]) for v in child])
    deviation = profiles.std(axis=0)
    scaled = (profiles - profiles.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    groups, count = _divide(scaled, max(k, parents // 4000), MOST_GROUPS)
    return groups, count, _centres(scaled, groups, count)


def _profiles(
    parent_of: Rows, parents: int, counts: Rows, child: Sequence[tuple[Variable, Codes]]
) -> npt.NDArray[np.float32]:
    """What the children of each parent are like: their number, mean ranks, shares of frequent categories."""
    columns = [np.log1p(counts).astype(np.float64)]
    divisor = np.maximum(counts, 1)
    most = max(1, 48 // max(len(child), 1))
    for described, codes in child:
        frequency = np.bincount(codes, minlength=described.size)
        if described.ordered:
            rank = (np.cumsum(frequency) - frequency / 2) / max(len(codes), 1)
            columns.append(np.bincount(parent_of, weights=rank[codes], minlength=parents) / divisor)
            continue
        frequent = np.argsort(-frequency, kind="stable")[: min(_PROFILE_SHARES, most, described.size - 1)]
        columns.extend(np.bincount(parent_of[codes == code], minlength=parents) / divisor for code in frequent)
    return np.column_stack(columns).astype(np.float32)


def _centres(scaled: npt.NDArray[np.float32], groups: Codes, count: int) -> npt.NDArray[np.float32]:
    """Where each group lies, along the directions in which groups differ most."""
    sizes = np.bincount(groups, minlength=count)
    centres = np.column_stack([np.bincount(groups, weights=column, minlength=count) / sizes for column in scaled.T])
    middle = (centres * sizes[:, None]).sum(axis=0) / sizes.sum()
    _, _, directions = np.linalg.svd((centres - middle) * np.sqrt(sizes)[:, None], full_matrices=False)
    found: npt.NDArray[np.float32] = (centres @ directions[:_DIRECTIONS].T).astype(np.float32)
    return found


def _divide(scaled: npt.NDArray[np.float32], smallest: int, most: int) -> tuple[Codes, int]:
    """Split the group of the largest variance at the mean of its most varying column, again and again."""
    members = [np.arange(len(scaled))]
    spread = [_spread(scaled[members[0]])]
    while len(members) < most:
        widest = int(np.argmax([total for total, _ in spread]))
        total, column = spread[widest]
        if total <= 0:
            break
        values = scaled[members[widest], column]
        low = values <= values.mean()
        if min(int(low.sum()), int((~low).sum())) < smallest:
            spread[widest] = (0.0, column)
            continue
        left, right = members[widest][low], members[widest][~low]
        members[widest] = left
        members.append(right)
        spread[widest] = _spread(scaled[left])
        spread.append(_spread(scaled[right]))
    groups = np.zeros(len(scaled), dtype=np.int32)
    for number, rows in enumerate(members):
        groups[rows] = number
    return groups, len(members)


def _spread(values: npt.NDArray[np.float32]) -> tuple[float, int]:
    if len(values) < 2:  # noqa: PLR2004
        return 0.0, 0
    squares = values.var(axis=0)
    return float(squares.sum() * len(values)), int(np.argmax(squares))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The parents that rows may be given to.

    Attributes:
        groups: The group of each parent row.
        quotas: How many children each is to have, up to a common factor.
        strata: What a child has to agree with its parent on (values of shared key columns), as a number; None if free.
    """

    groups: Codes
    quotas: Weights
    strata: Rows | None = None


def choose(candidates: Candidates, groups: Codes, strata: Rows | None, generator: np.random.Generator) -> Rows:
    """A parent for every row: one of the wanted group, in proportion to the quotas.

    Where rows need not agree with their parent on anything, the quotas are met as exactly as whole numbers allow: rows
    for which a group of several parents has no room go to groups that have some.
    Where they do, and no parent of the group agrees, any parent that agrees is taken; where none does, NO_PARENT.

    Args:
        candidates: The parents.
        groups: The wanted group of every row.
        strata: What each row has to agree on, numbered as the candidates' are; None where nothing.
    """
    result = np.full(len(groups), NO_PARENT, dtype=np.int64)
    if not len(candidates.groups) or not len(groups):
        return result
    if strata is None or candidates.strata is None:
        groups = _settle(candidates, groups, generator)
        for group in np.unique(groups):
            rows = np.flatnonzero(groups == group)
            members = np.flatnonzero(candidates.groups == group)
            if not len(members):
                members = np.arange(len(candidates.groups))
            result[rows] = _apportion(members, candidates.quotas[members], len(rows), generator)
        return result
    finest = _draw_within(candidates.strata, candidates.groups, candidates.quotas, strata, groups, generator)
    rest = np.flatnonzero(finest < 0)
    if len(rest):
        nothing = np.zeros(len(candidates.groups), np.int32)
        finest[rest] = _draw_within(
            candidates.strata, nothing, candidates.quotas, strata[rest], np.zeros(len(rest), np.int32), generator
        )
    return finest


def _settle(candidates: Candidates, groups: Codes, generator: np.random.Generator) -> Codes:
    """The wanted groups, changed for as few rows as it takes that groups of several parents get what these want.

    Which parents a group has is drawn like any variable, more or fewer than there were; how many rows want it is not
    told of that. Without this, a group of few had to share what many had.
    """
    size = int(max(candidates.groups.max(), groups.max())) + 1
    members = np.bincount(candidates.groups, minlength=size)
    wanted = np.bincount(groups, minlength=size)
    pooled = members != 1
    room = np.where(pooled, np.bincount(candidates.groups, candidates.quotas, size), 0.0)
    if not room.sum():
        return groups
    running = np.concatenate([[0.0], np.cumsum(room)]) * (wanted[pooled].sum() / room.sum())
    offered = np.where(pooled, np.diff(np.floor(running + 0.5).astype(np.int64)), wanted)
    order = np.argsort(groups, kind="stable")
    order = order[np.lexsort((generator.random(len(order)), groups[order]))]
    first = np.concatenate([[0], np.cumsum(wanted)])[groups[order]]
    beyond = order[np.arange(len(order)) - first >= offered[groups[order]]]
    settled = groups.copy()
    free = np.repeat(np.arange(size), np.maximum(offered - wanted, 0))
    settled[beyond] = generator.permutation(free)[: len(beyond)]
    return settled


def _apportion(members: Rows, quotas: Weights, rows: int, generator: np.random.Generator) -> Rows:
    """Each member as often as its quota says, the fractions settled at random, in random order."""
    quotas = quotas if quotas.sum() > 0 else np.ones(len(members))
    order = generator.permutation(len(members))
    running = np.concatenate([[0.0], np.cumsum(quotas[order]) * (rows / quotas.sum())])
    running[-1] = rows
    edges: Rows = np.floor(running + generator.random()).astype(np.int64)
    counts: Rows = edges[1:] - edges[:-1]
    chosen = np.repeat(members[order], counts)
    return generator.permutation(chosen)


def _draw_within(
    strata: Rows,
    groups: Codes,
    quotas: Weights,
    wanted_strata: Rows,
    wanted_groups: Codes,
    generator: np.random.Generator,
) -> Rows:
    """A parent of the wanted stratum and group, drawn by quota; NO_PARENT where there is none."""
    span = int(max(groups.max(initial=0), wanted_groups.max(initial=0))) + 1
    key = strata * span + groups
    order = np.lexsort((generator.random(len(key)), key))
    ordered = key[order]
    weights = np.maximum(quotas[order], 1e-9)
    running = np.concatenate([[0.0], np.cumsum(weights)])
    wanted = wanted_strata * span + wanted_groups
    low, high = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
    found = high > low
    result = np.full(len(wanted), NO_PARENT, dtype=np.int64)
    start, end = running[low[found]], running[high[found]]
    place = np.searchsorted(running, start + generator.random(int(found.sum())) * (end - start), "right") - 1
    result[found] = order[np.clip(place, low[found], high[found] - 1)]
    return result
