"""How many rows a table has, and under which parents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from synth_ops.generators.relational_trees.drawing.parents import (
    group_codes,
    has_key,
    keep_identity,
    quotas,
    see_through,
)
from synth_ops.generators.relational_trees.drawing.references import fill_reference
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import ROUNDS
from synth_ops.generators.relational_trees.names import reference_name
from synth_ops.generators.relational_trees.references import BROKEN, NO_PARENT, Rows
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.metadata import ForeignKey, Orphans


def lay_rows(drawing: TableDrawing) -> None:
    """Decide how many rows there are, and their primary parents."""
    made, primary = drawing.made, drawing.made.structure.primary
    if primary is None:
        made.rows = len(drawing.part)
    else:
        _lay_children(drawing, primary)
    if made.structure.lookup:
        keep_identity(drawing)


def _lay_children(drawing: TableDrawing, key: ForeignKey) -> None:
    made, number = drawing.made, drawing.made.number(key)
    reference, parent, total = made.model.references[number], drawing.parent(key), len(drawing.part)
    loose = {NO_PARENT: 0, BROKEN: 0}
    if not any(name in made.structure.table.required for name in key.columns):
        loose[NO_PARENT] = round(total * reference.null_share)
    if key.orphans is Orphans.KEEP:
        loose[BROKEN] = round(total * reference.broken_share)
    counts = _children_per_parent(drawing, key, number, total - sum(loose.values()))
    order = np.repeat(np.arange(parent.rows), counts)
    parents = np.concatenate([order, *(np.full(count, row) for row, count in loose.items())]).astype(np.int64)
    made.rows = len(parents)
    made.parents[number] = parents
    made.codes[reference_name(number)] = group_codes(drawing, number, parents)
    see_through(drawing, number)
    fill_reference(drawing, key)


def _children_per_parent(drawing: TableDrawing, key: ForeignKey, number: int, total: int) -> Rows:
    """As drawn for each parent, then corrected to the wanted total where chance left it."""
    parent = drawing.parent(key)
    if not parent.rows or total <= 0:
        return np.zeros(parent.rows, np.int64)
    generator = drawing.stream("cardinality", number)
    if drawing.name in drawing.plan.shared:  # all shards draw the same numbers, and take a part of each
        quota = quotas(drawing, parent, number, stream(drawing.sampling.seed, drawing.name, "cardinality", number))
        quota /= drawing.plan.count
    else:
        quota = quotas(drawing, parent, number, generator)
    counts = np.floor(quota + generator.random(parent.rows)).astype(np.int64)
    keyed = has_key(parent, key)
    most = np.where(keyed, _most_children(drawing, key, total, max(int(keyed.sum()), 1)), 0)
    counts = np.clip(counts, 0, most)
    missing = total - int(counts.sum())
    if missing > 0:
        counts = _give_more(counts, quota, missing, most, generator)
    elif missing < 0:
        ranked = np.repeat(np.arange(parent.rows), counts)
        counts -= np.bincount(generator.choice(ranked, -missing, replace=False), minlength=parent.rows)
    return counts


def _give_more(
    counts: Rows,
    quota: npt.NDArray[np.float64],
    missing: int,
    most: Rows,
    generator: np.random.Generator,
) -> Rows:
    for _ in range(ROUNDS):
        room = np.flatnonzero(counts < most)
        if missing <= 0 or not len(room):
            break
        weights = quota[room] + 1e-3
        more = np.bincount(generator.choice(room, missing, p=weights / weights.sum()), minlength=len(counts))
        given = np.minimum(counts + more, most) - counts
        counts = counts + given
        missing -= int(given.sum())
    return counts


def _most_children(drawing: TableDrawing, key: ForeignKey, total: int, parents: int) -> int:
    """One where the foreign key is a key itself; else what k parents have at least, if that is enough for all."""
    if drawing.made.structure.is_single(key):
        return 1
    high = drawing.made.model.references[drawing.made.number(key)].quota.codec.high
    shared = int(high.max()) if len(high) else 0
    return shared if shared * parents >= total else 2 * -(-total // parents)
