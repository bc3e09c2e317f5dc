"""Learn who refers to whom: groups of parents, quotas, depths, broken references, public keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import variable
from synth_ops.generators.relational_trees.learning.codecs import fit_number, support
from synth_ops.generators.relational_trees.learning.context import clusters_of, visible
from synth_ops.generators.relational_trees.learning.method import BlockMethod
from synth_ops.generators.relational_trees.learning.state import Learning, read_columns
from synth_ops.generators.relational_trees.learning.targets import learn_target
from synth_ops.generators.relational_trees.model import Quota, ReferenceModel
from synth_ops.generators.relational_trees.names import (
    COLUMN,
    QUOTA,
    children_name,
    depth_name,
    reference_name,
    role_name,
)
from synth_ops.generators.relational_trees.references import (
    BROKEN,
    FIRST_GROUP,
    NO_PARENT,
    NULL,
    ORPHAN,
    Rows,
    group_parents,
    match_rows,
)
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import ForeignKey, Kind, Orphans
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

_PUBLIC_FROM = 4 * K_SUBJECTS
_LONGEST_CODE = 6


def match_parents(connection: duckdb.DuckDBPyConnection, learning: Learning) -> None:
    """Find every row's parents."""
    table = learning.structure.table
    for number, key in enumerate(table.foreign_keys):
        child = read_columns(connection, table.name, key.columns)
        parent = read_columns(connection, key.parent, key.parent_columns)
        learning.parents[number] = match_rows(child, parent)


def learn_references(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Learning], learning: Learning, method: BlockMethod
) -> None:
    """Learn every foreign key of a table; its parents get a variable that says which group they are in."""
    table = learning.structure.table
    own = [
        Variable(codes=np.maximum(each.codes, 0), size=each.size, ordered=each.ordered)
        for name, each in learning.variables.items()
        if name.startswith(COLUMN)
    ]
    for number, key in enumerate(table.foreign_keys):
        parent, parent_of = tables[key.parent], learning.parents[number]
        if key in learning.structure.self_references:
            depths, deepest = _depths(parent_of)
            learning.deepest[number] = deepest
            learning.variables[depth_name(number)] = Variable(
                codes=depths, size=int(depths.max(initial=0)) + 1, ordered=True
            )
            groups, count = np.zeros(parent.rows, np.int32), 1
        else:
            groups, count, centres = group_parents(
                parent_of, parent.rows, own, k=K_SUBJECTS, single=parent.structure.lookup
            )
            places = None if centres is None else np.vstack([np.zeros_like(centres[:1]), centres])
            role = Variable(codes=groups + 1, size=count + 1, ordered=False, places=places)
            parent.variables[role_name(table.name, number)] = role
            codes = np.full(len(parent_of), NULL, np.int32)
            codes[parent_of >= 0] = groups[parent_of[parent_of >= 0]] + FIRST_GROUP
            broken = ORPHAN if key.orphans is Orphans.KEEP else -1
            codes[parent_of == BROKEN] = broken
            if any(name in table.required for name in key.columns):
                codes[codes == NULL] = -1
            learning.variables[reference_name(number)] = Variable(codes=codes, size=count + FIRST_GROUP, ordered=False)
        learning.references[number] = ReferenceModel(
            group_of=tuple(int(group) for group in groups) if parent.structure.lookup else (),
            quota=_learn_quota(tables, learning, number, parent_of, method),
            null_share=float((parent_of == NO_PARENT).mean()) if len(parent_of) else 0.0,
            broken_share=float((parent_of == BROKEN).mean()) if len(parent_of) else 0.0,
            broken_values=_broken_values(connection, learning, key, parent_of),
        )
        if parent.structure.lookup:
            _find_public_keys(connection, parent, learning, key, parent_of)


def _depths(parent_of: Rows) -> tuple[Codes, int]:
    """How far every row is from a row without a parent (0) or that is its own; loops get depth 0.

    Returns:
        The depths, and the deepest; -1 where the data has loops.
    """
    rows = np.arange(len(parent_of))
    root = (parent_of < 0) | (parent_of == rows)
    depths = np.zeros(len(parent_of), dtype=np.int32)
    above = np.where(root, rows, parent_of)
    climbing = ~root
    for _ in range(64):
        if not climbing.any():
            break
        depths[climbing] += 1
        climbing &= ~root[above]
        above = np.where(root[above], above, parent_of[np.maximum(above, 0)])
    looped = bool(climbing.any())
    depths[climbing] = 1
    return depths, -1 if looped else int(depths.max(initial=0))


def _learn_quota(
    tables: Mapping[str, Learning], learning: Learning, number: int, parent_of: Rows, method: BlockMethod
) -> Quota:
    """How many children there are: a variable of the parent, but where its rows are not drawn from what they are."""
    key, child = learning.structure.table.foreign_keys[number], learning.structure.table.name
    parent = tables[key.parent]
    counts = np.bincount(parent_of[parent_of >= 0], minlength=parent.rows)
    codec = fit_number(pa.chunked_array([pa.array(counts)]), parent.subjects, K_SUBJECTS)
    counted = variable(codec, codec.encode(pa.chunked_array([pa.array(counts)])))
    target = None
    if parent.structure.lookup or key in learning.structure.self_references:
        seen = visible(parent, role_name(child, number))
        inputs = {name: each for name, each in parent.variables.items() if name in seen}
        target = learn_target(f"{QUOTA}{number}|{child}", counted, inputs, method, clusters_of(tables, parent))
    else:
        parent.variables[children_name(child, number)] = counted
    return Quota(codec=codec, mean=float(counts.mean()) if len(counts) else 0.0, target=target)


def _broken_values(connection: duckdb.DuckDBPyConnection, learning: Learning, key: ForeignKey, parent_of: Rows) -> int:
    broken = pa.array(parent_of == BROKEN)
    if key.orphans is not Orphans.KEEP or not (parent_of == BROKEN).any():
        return 0
    values = read_columns(connection, learning.structure.table.name, [key.columns[-1]])[0]
    return max(1, int(pc.count_distinct(values.filter(broken)).as_py()))


def _find_public_keys(
    connection: duckdb.DuckDBPyConnection, parent: Learning, child: Learning, key: ForeignKey, parent_of: Rows
) -> None:
    """Short codes of reference data that many distinct subjects refer to are public: a test database keeps them."""
    if len(key.columns) != 1 or parent.makers[key.parent_columns[0]] is not Maker.PROVIDED:
        return
    column = key.parent_columns[0]
    if parent.structure.table.column(column).kind is not Kind.ID:
        return
    values = read_columns(connection, parent.structure.table.name, [column])[0]
    if not (pa.types.is_integer(values.type) or pa.types.is_string(values.type)):
        return
    _, shared_by = support(parent_of, parent.rows, child.subjects)
    short = pc.less_equal(pc.utf8_length(values.cast(pa.string())), _LONGEST_CODE)
    brief = pc.fill_null(short, fill_value=False).to_numpy(zero_copy_only=False)
    shared = np.flatnonzero((shared_by >= _PUBLIC_FROM) & brief)
    kept = parent.public_keys.setdefault(column, {})
    kept.update(zip(shared.tolist(), values.take(pa.array(shared)).to_pylist(), strict=True))
