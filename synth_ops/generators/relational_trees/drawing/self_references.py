"""Give rows a parent in their own table: acyclic, where the data is."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.drawing.parents import has_key, quotas
from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, chunked
from synth_ops.generators.relational_trees.names import depth_name
from synth_ops.generators.relational_trees.references import NO_PARENT, Candidates, Rows, choose, match_rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.metadata import ForeignKey


def refer_to_itself(drawing: TableDrawing, key: ForeignKey) -> None:
    """Give every row a parent one level up: acyclic, where the data is."""
    made, number = drawing.made, drawing.made.number(key)
    filled = made.structure.filled_by(key)
    first_attempt = {name for name in filled if made.model.makers[name] is Maker.REFERENCE}
    made.columns = {name: values for name, values in made.columns.items() if name not in first_attempt}
    own = made.parents[number] = _climb(drawing, key, number)
    if filled <= made.structure.table.required:
        own[own < 0] = np.flatnonzero(own < 0)
    index = pa.array(own, mask=own < 0)
    for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
        if name not in made.columns:
            arrow_type = made.model.schema.field(name).type
            made.columns[name] = cast(made.columns[parent_name].take(index), arrow_type)


def _climb(drawing: TableDrawing, key: ForeignKey, number: int) -> Rows:
    """A parent for every row, depth by depth: of the level above, else of any above; NO_PARENT for roots."""
    made = drawing.made
    depths = made.codes.get(depth_name(number), np.zeros(made.rows, np.int32)).copy()
    if not (depths == 0).any() and made.rows:
        depths[0] = 0
    generator, single = drawing.stream("self", number), made.structure.is_single(key)
    wanted = np.ones(made.rows) if single else np.maximum(quotas(drawing, made, number, generator), 1e-3)
    ours, theirs = _strata(made, key)
    keyed, looped = has_key(made, key), made.model.deepest[number] < 0
    own = np.full(made.rows, NO_PARENT, np.int64)
    for depth in range(1, int(depths.max(initial=0)) + 1):
        rows = np.flatnonzero(depths == depth)
        above = np.flatnonzero(keyed if looped else keyed & (depths < depth))
        nearest = above if looped or not len(above) else above[depths[above] == depths[above].max()]
        for level in (nearest, above):
            pool = np.setdiff1d(level, own) if single else level
            waiting = rows[own[rows] < 0][: len(pool) if single else None]
            if not len(waiting) or not len(pool):
                continue
            candidates = Candidates(
                groups=np.zeros(len(pool), np.int32),
                quotas=wanted[pool],
                strata=None if theirs is None else theirs[pool],
            )
            strata = None if ours is None else ours[waiting]
            found = choose(candidates, np.zeros(len(waiting), np.int32), strata, generator)
            own[waiting] = np.where(found >= 0, pool[np.maximum(found, 0)], NO_PARENT)
    return own


def _strata(made: Made, key: ForeignKey) -> tuple[Rows | None, Rows | None]:
    """Numbers for the values that a row and its parent must share, because other keys filled those columns."""
    shared = [pair for pair in zip(key.columns, key.parent_columns, strict=True) if pair[0] in made.columns]
    if not shared:
        return None, None
    theirs = [chunked(made.columns[name]) for _, name in shared]
    ours = [chunked(made.columns[name]) for name, _ in shared]
    return match_rows(ours, theirs), match_rows(theirs, theirs)
