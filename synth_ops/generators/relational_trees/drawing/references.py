"""Draw whom rows refer to: the group first, then a parent in it that agrees with what is filled already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.drawing.orphans import broken_values
from synth_ops.generators.relational_trees.drawing.parents import (
    group_codes,
    has_key,
    quotas,
    roles,
    see_through,
    strata,
)
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import draw_target
from synth_ops.generators.relational_trees.drawing.values import cast, chunked, put
from synth_ops.generators.relational_trees.names import reference_name, same_name
from synth_ops.generators.relational_trees.references import (
    BROKEN,
    FIRST_GROUP,
    NO_PARENT,
    NULL,
    ORPHAN,
    Candidates,
    Rows,
    choose,
    match_rows,
)
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.unique import densify, identify, spread
from synth_ops.metadata import ForeignKey, Orphans


def refer(drawing: TableDrawing, key: ForeignKey) -> None:
    """Draw the group, then a parent in it that agrees with the key columns which are filled already."""
    made, number = drawing.made, drawing.made.number(key)
    if drawing.fixed >= set(key.columns):
        made.parents[number] = match_rows(
            [chunked(made.columns[name]) for name in key.columns],
            [chunked(drawing.parent(key).columns[name]) for name in key.parent_columns],
        )
        if key.orphans is Orphans.REPAIR:
            drawing.drop(made.parents[number] == BROKEN)
        made.codes[reference_name(number)] = group_codes(drawing, number, made.parents[number])
        see_through(drawing, number)
        return
    name = reference_name(number)
    codes = made.codes[name] if name in made.codes else draw_target(drawing, drawing.targets[name])
    made.codes[name] = codes
    _settle_orphans(drawing, key, number)
    fresh, origin = _fresh_rows(drawing, number, codes)
    made.parents[number] = np.full(made.rows, NO_PARENT, np.int64)
    made.parents[number][fresh] = pick(drawing, key, number, codes[fresh], fresh, "pick")
    made.parents[number] = made.parents[number][origin]
    settle_without_parent(drawing, key, number)
    made.codes[name] = group_codes(drawing, number, made.parents[number])
    see_through(drawing, number)
    fill_reference(drawing, key)


def _fresh_rows(drawing: TableDrawing, number: int, codes: Codes) -> tuple[Rows, Rows]:
    """The rows that choose a parent of their own; and for every row, the one whose parent it has."""
    made, rows = drawing.made, np.arange(drawing.made.rows)
    repeats = made.codes.get(same_name(reference_name(number)))
    if repeats is None or made.order is None:
        return rows, rows
    repeated = (repeats == 1) & (made.order.before >= 0) & (codes >= FIRST_GROUP)
    repeated &= codes == codes[np.maximum(made.order.before, 0)]
    origin = np.where(repeated, made.order.before, rows)
    while (origin != origin[origin]).any():
        origin = origin[origin]
    return np.flatnonzero(~repeated), origin


def _settle_orphans(drawing: TableDrawing, key: ForeignKey, number: int) -> None:
    """As large a share of broken references as in the source, where they are kept: what is drawn may drift from it."""
    made, codes = drawing.made, drawing.made.codes[reference_name(number)]
    broken, whole = np.flatnonzero(codes == ORPHAN), np.flatnonzero(codes >= FIRST_GROUP)
    if key.orphans is not Orphans.KEEP or not len(whole):
        return
    missing = round(made.rows * made.model.references[number].broken_share) - len(broken)
    generator = drawing.stream("orphans", number)
    if missing > 0:
        codes[generator.choice(whole, min(missing, len(whole)), replace=False)] = ORPHAN
    elif missing < 0:
        mended = generator.choice(broken, -missing, replace=False)
        codes[mended] = codes[generator.choice(whole, -missing)]


def pick(drawing: TableDrawing, key: ForeignKey, number: int, codes: Codes, rows: Rows, purpose: str) -> Rows:
    """A parent for each of some rows, by the codes of their reference."""
    parent = drawing.parent(key)
    generator = drawing.stream(purpose, number)
    picked = np.full(len(rows), NO_PARENT, dtype=np.int64)
    picked[codes == ORPHAN] = BROKEN
    wanted = np.flatnonzero(codes >= FIRST_GROUP)
    child_strata, parent_strata = strata(drawing, key, rows[wanted])
    keyed = np.flatnonzero(has_key(parent, key))
    candidates = Candidates(
        groups=roles(drawing, parent, number)[keyed] - 1,
        quotas=quotas(drawing, parent, number, generator)[keyed],
        strata=None if parent_strata is None else parent_strata[keyed],
    )
    found = choose(candidates, codes[wanted] - FIRST_GROUP, child_strata, generator)
    picked[wanted[found >= 0]] = keyed[found[found >= 0]]
    return picked


def settle_without_parent(drawing: TableDrawing, key: ForeignKey, number: int) -> None:
    """Rows for which no parent agrees: NULL where the columns may be, else left out."""
    made = drawing.made
    lost = (made.parents[number] == NO_PARENT) & (made.codes[reference_name(number)] != NULL)
    free = [name for name in key.columns if name not in drawing.fixed and name not in made.structure.table.required]
    if free:
        made.codes[reference_name(number)][lost] = NULL
    else:
        drawing.drop(made.parents[number] == NO_PARENT)


def fill_reference(drawing: TableDrawing, key: ForeignKey) -> None:
    """The columns of a foreign key, from the parents chosen; those that another key filled stay as they are."""
    made, number = drawing.made, drawing.made.number(key)
    parents, parent = made.parents[number], drawing.parent(key)
    index = pa.array(parents, mask=parents < 0)
    broken = np.flatnonzero(parents == BROKEN)
    made_up = broken_values(drawing, key, number, len(broken)) if len(broken) else {}
    for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
        if name in drawing.fixed:
            continue
        values = cast(parent.columns[parent_name].take(index), made.model.schema.field(name).type)
        made.columns[name] = put(values, broken, made_up[name]) if name in made_up else values
        drawing.fixed.add(name)


def pick_again(drawing: TableDrawing, reference: ForeignKey, rows: Rows, attempt: int) -> None:
    """Draw other parents for some rows; what other foreign keys fill stays."""
    made, number = drawing.made, drawing.made.number(reference)
    drawing.fixed -= drawing.made.structure.filled_by(reference)
    codes = draw_target(drawing, drawing.targets[reference_name(number)], rows, f"again {attempt}")
    made.parents[number][rows] = pick(drawing, reference, number, codes, rows, f"pick again {attempt}")
    _refill(drawing, reference, number)


def spread_parents(drawing: TableDrawing, key: tuple[str, ...], reference: ForeignKey) -> None:
    """Move rows to the next parents that the rest of the key does not have yet and that agree with it."""
    made, number = drawing.made, drawing.made.number(reference)
    own = drawing.made.structure.filled_by(reference)
    drawing.fixed -= own
    chosen = np.flatnonzero(made.parents[number] >= 0)
    others = [made.columns[name].take(pa.array(chosen)) for name in key if name not in own]
    group = identify(others)[0] if others else np.zeros(len(chosen), np.int64)
    parents = drawing.parent(reference).rows
    _, theirs = strata(drawing, reference, chosen[:0])
    stratum = np.zeros(parents, np.int64) if theirs is None else theirs.copy()
    stratum[~has_key(drawing.parent(reference), reference)] = parents  # of their own: nobody moves there
    order = np.lexsort((drawing.stream("spread", number).permutation(parents), stratum))
    first = np.searchsorted(stratum[order], stratum, "left")
    last = np.searchsorted(stratum[order], stratum, "right") - 1
    place = np.empty(parents, np.int64)
    place[order] = np.arange(parents)
    held = made.parents[number][chosen]
    moved = spread(densify(group), place[held] - first[held], 0, last[held] - first[held])
    made.parents[number][chosen] = order[first[held] + moved]
    _refill(drawing, reference, number)


def _refill(drawing: TableDrawing, reference: ForeignKey, number: int) -> None:
    made = drawing.made
    made.codes[reference_name(number)] = group_codes(drawing, number, made.parents[number])
    see_through(drawing, number)
    fill_reference(drawing, reference)
    if any(name in made.structure.table.required for name in reference.columns):
        drawing.drop(made.parents[number] == NO_PARENT)
