"""What a table in the making knows of its parents: how many children they want, and their codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import rule_inputs
from synth_ops.generators.relational_trees.drawing.values import chunked
from synth_ops.generators.relational_trees.model import Quota
from synth_ops.generators.relational_trees.names import ROLE, children_name, role_name, through
from synth_ops.generators.relational_trees.references import BROKEN, FIRST_GROUP, NULL, ORPHAN, Rows, match_rows
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import ForeignKey


def has_key(parent: Made, key: ForeignKey) -> npt.NDArray[np.bool_]:
    """Which rows of a parent a foreign key can refer to: those whose unique columns are not NULL."""
    found = np.ones(parent.rows, dtype=bool)
    for name in key.parent_columns:
        found &= parent.columns[name].is_valid().to_numpy(zero_copy_only=False)
    return found


def quotas(drawing: TableDrawing, parent: Made, number: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Children wanted by each parent row."""
    quota: Quota = drawing.made.model.references[number].quota
    if not len(quota.codec.low):
        return np.full(parent.rows, quota.mean)
    if quota.target is None:
        codes = parent.codes[children_name(drawing.name, number)]
    else:
        inputs = [parent_codes(drawing, parent, name, number) for name in quota.target.inputs]
        codes = quota.target.block.draw(inputs, parent.rows, generator)
    return quota.codec.units(codes, generator).astype(np.float64)


def parent_codes(drawing: TableDrawing, parent: Made, name: str, number: int) -> Codes:
    """A variable of the parent's rows, its group among them; 0 for all where it was not kept."""
    if name == role_name(drawing.name, number):
        return roles(drawing, parent, number)
    return parent.codes[name] if name in parent.codes else np.zeros(parent.rows, np.int32)


def roles(drawing: TableDrawing, parent: Made, number: int) -> Codes:
    """The group of each parent row, plus one."""
    group_of = drawing.made.model.references[number].group_of
    if group_of:
        return np.asarray(group_of, dtype=np.int32)[np.arange(parent.rows) % len(group_of)] + 1
    return parent.codes.get(role_name(drawing.name, number), np.ones(parent.rows, np.int32))


def group_codes(drawing: TableDrawing, number: int, parents: Rows) -> Codes:
    """The code of a reference to each of some parent rows."""
    key = drawing.made.structure.table.foreign_keys[number]
    theirs = roles(drawing, drawing.parent(key), number)
    codes = np.where(parents >= 0, (theirs[np.maximum(parents, 0)] if len(theirs) else 0) - 1 + FIRST_GROUP, NULL)
    codes[parents == BROKEN] = ORPHAN
    return codes.astype(np.int32)


def see_through(drawing: TableDrawing, number: int) -> None:
    """Fill the parent's variables that blocks of this table need, for the parents chosen."""
    made = drawing.made
    parent = drawing.parent(made.structure.table.foreign_keys[number])
    parents = made.parents[number]
    prefix = through(number, "")
    wanted = {name for target in made.model.targets for name in (*target.inputs, *rule_inputs(target))}
    for name in {name for name in wanted if name.startswith(prefix)}:
        codes = parent_codes(drawing, parent, name[len(prefix) :], number)
        seen = codes[np.maximum(parents, 0)] if len(codes) else np.zeros(len(parents), np.int32)
        made.codes[name] = np.where(parents >= 0, seen, 0).astype(np.int32)


def keep_identity(drawing: TableDrawing) -> None:
    """A lookup's rows stand for the real ones: same group in every foreign key that refers to them."""
    for target in drawing.made.model.targets:
        for name in target.inputs:
            if name.startswith(ROLE) and name not in drawing.made.codes:
                _, number, child = name.split("|", 2)
                group_of = drawing.models[child].references[int(number)].group_of
                drawing.made.codes[name] = np.asarray(group_of, np.int32)[: drawing.made.rows] + 1


def strata(drawing: TableDrawing, key: ForeignKey, rows: Rows) -> tuple[Rows | None, Rows | None]:
    """Numbers for the values that child rows and parents must share, because another key filled those columns."""
    shared = [pair for pair in zip(key.columns, key.parent_columns, strict=True) if pair[0] in drawing.fixed]
    if not shared:
        return None, None
    parent = drawing.parent(key)
    ours = [chunked(drawing.made.columns[child].take(pa.array(rows))) for child, _ in shared]
    theirs = [chunked(parent.columns[name]) for _, name in shared]
    representative = match_rows(theirs, theirs)
    return match_rows(ours, theirs), representative
