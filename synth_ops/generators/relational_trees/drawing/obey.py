"""Make rows obey the rules that were found in the source: carried values, sums, and what is never below what."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.bases import as_integers
from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec
from synth_ops.generators.relational_trees.drawing.checks import breaking_rows
from synth_ops.generators.relational_trees.drawing.parents import group_codes, see_through
from synth_ops.generators.relational_trees.drawing.state import Made, TableDrawing
from synth_ops.generators.relational_trees.drawing.values import cast, chunked, put
from synth_ops.generators.relational_trees.drawing.variables import redraw
from synth_ops.generators.relational_trees.names import column_name, reference_name
from synth_ops.generators.relational_trees.references import match_rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.units import to_floats_or_integers
from synth_ops.metadata import Column, ForeignKey, Relation, Rule, Table
from synth_ops.sql import ROW, connect, quote

_ROUNDS = 4
_DAY_US = 86_400_000_000
_ATTEMPT = 200
"""Where the numbers of attempts start, so that their draws differ from those for keys and checks."""


def carry(drawing: TableDrawing, key: ForeignKey) -> None:
    """Take over what rows have from the parents that a foreign key refers to, and what refers by that."""
    made, parent = drawing.made, drawing.parent(key)
    parents = made.parents[made.number(key)]
    index, loose = pa.array(parents, mask=parents < 0), np.flatnonzero(parents < 0)
    for rule in carried(made.structure.table, key, parent.structure.table):
        if rule.inputs[0] not in parent.columns:
            continue  # a reference of the parent's that is filled when a cycle is closed
        maker, arrow_type = made.model.makers[rule.column], made.model.schema.field(rule.column).type
        values = cast(parent.columns[rule.inputs[0]].take(index), arrow_type)
        if rule.column in made.columns:
            values = put(values, loose, made.columns[rule.column].take(pa.array(loose)))
        elif len(loose) or maker is Maker.PROVIDED:
            continue  # the rest is made first
        empty = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        if len(empty) and rule.column in made.structure.table.required:
            if rule.column not in made.columns:
                continue
            values = put(values, empty, made.columns[rule.column].take(pa.array(empty)))
        _set(made, rule.column, values)
        if maker is Maker.REFERENCE:
            drawing.fixed.add(rule.column)


def obey(drawing: TableDrawing) -> None:
    """Carry, compute and order, and take back in each row what a CHECK would forbid."""
    made = drawing.made
    if not made.structure.table.rules or not made.rows:
        return
    before = dict(made.columns)
    for key in (made.structure.primary, *made.structure.references):
        if key is not None:
            carry(drawing, key)
    _refer_again(drawing, before)
    _compute(made)
    _order(drawing)
    _compute(made)
    _take_back(made, before)


def _compute(made: Made) -> None:
    """Fill every column that others of its row determine, those first that determine others in turn."""
    for rule in in_turn(made.structure.table):
        if {rule.column, *rule.inputs} <= made.columns.keys():
            values = _evaluate(rule, made.structure.table.column(rule.column), made)
            _set(made, rule.column, values)


def in_turn(table: Table) -> list[Rule]:
    """The rules that determine a column from its row, each after those that determine what it is computed from."""
    waiting = [r for r in table.rules if r.relation is Relation.EQUALS and not (r.through or r.child)]
    ordered: list[Rule] = []
    while waiting:
        open_columns = {rule.column for rule in waiting}
        ready = [rule for rule in waiting if not open_columns & (set(rule.inputs) - {rule.column})]
        ordered += ready or waiting  # a circle stays in the order in which it was found
        waiting = [rule for rule in waiting if rule not in ready] if ready else []
    return ordered


def add_up(drawing: TableDrawing, child: Made) -> None:
    """Fill the columns of a table that are sums, counts or extremes of a child's rows."""
    parent = drawing.made
    before = dict(parent.columns)
    for rule in parent.structure.table.rules:
        if rule.child != child.structure.table.name or rule.column not in parent.columns:
            continue
        key = next(key for key in child.structure.table.foreign_keys if key.columns == rule.child_key)
        _set(parent, rule.column, _aggregate(rule, parent, child, child.parents[child.number(key)]))
    _compute(parent)
    _order(drawing)
    _compute(parent)
    _take_back(parent, before)


def carried(table: Table, key: ForeignKey, parent: Table) -> list[Rule]:
    """The rules by which columns are taken over through a foreign key; of another reference, all columns or none."""
    rules = [rule for rule in table.rules if rule.through == key.columns and rule.relation is Relation.EQUALS]
    sources = {rule.column: rule.inputs[0] for rule in rules}
    apart: set[str] = set()
    for other in table.foreign_keys:
        above = tuple(sources.get(name, "") for name in other.columns)
        if not any(each.columns == above and each.parent == other.parent for each in parent.foreign_keys):
            apart |= set(other.columns)
    return [rule for rule in rules if rule.column not in apart]


def _set(made: Made, column: str, values: pa.Array) -> None:
    made.columns[column] = values
    codec = made.model.codecs.get(column)
    if made.model.makers[column] is not Maker.LEARNED or column in made.model.bases:
        return
    if isinstance(codec, NumberCodec):
        made.codes[column_name(column)] = codec.encode(chunked(values))
    elif isinstance(codec, CategoryCodec):
        made.codes[column_name(column)] = codec.encode(chunked(values.cast(pa.string())))


def _evaluate(rule: Rule, column: Column, made: Made) -> pa.Array:
    rows = pa.table({name: made.columns[name] for name in dict.fromkeys((*rule.inputs, rule.column))})
    current = quote(rule.column)
    value = f"try_cast({_rounded(rule)} AS {column.type})"
    known = f"({rule.expression}) IS NOT NULL"
    if rule.strict and column.nullable:
        value = f"CASE WHEN {known} THEN coalesce({value}, {current}) END"
    else:
        value = f"CASE WHEN {known} AND {current} IS NOT NULL THEN coalesce({value}, {current}) ELSE {current} END"
    with connect() as connection:
        connection.register("made", rows)
        result = connection.sql(f"SELECT {value} AS v FROM made").to_arrow_table().column(0)
    return cast(result, made.model.schema.field(rule.column).type)


def _aggregate(rule: Rule, parent: Made, child: Made, parents: npt.NDArray[np.int64]) -> pa.Array:
    column = parent.structure.table.column(rule.column)
    rows = pa.table({ROW: pa.array(parents), **{name: child.columns[name] for name in rule.inputs}})
    empty = "current" if rule.empty is None else f"try_cast({rule.empty!r} AS {column.type})"
    if rule.empty is None and rule.strict and column.nullable:
        empty = "NULL"
    with connect() as connection:
        connection.register("below", rows)
        connection.register("above", pa.table({"current": parent.columns[rule.column], "row": np.arange(parent.rows)}))
        result = connection.sql(
            f"SELECT CASE WHEN b.{ROW} IS NULL THEN {empty} ELSE coalesce(b.v, current) END AS v FROM above LEFT JOIN "
            f"(SELECT {ROW}, try_cast({_rounded(rule)} AS {column.type}) AS v FROM below WHERE {ROW} >= 0 "
            f"GROUP BY {ROW}) b ON b.{ROW} = above.row ORDER BY above.row"
        ).to_arrow_table()
    return cast(result.column(0), parent.model.schema.field(rule.column).type)


def _rounded(rule: Rule) -> str:
    if not rule.tolerance:
        return rule.expression
    decimals = max(0, round(-math.log10(2 * rule.tolerance)))
    return f"round({rule.expression}, {decimals})"


def _refer_again(drawing: TableDrawing, before: dict[str, pa.Array]) -> None:
    """References whose columns were taken over refer to whom these name."""
    made = drawing.made
    for key in made.structure.references:
        if not any(made.columns[name] is not before.get(name) for name in key.columns if name in made.columns):
            continue
        number = made.number(key)
        made.parents[number] = match_rows(
            [chunked(made.columns[name]) for name in key.columns],
            [chunked(drawing.parent(key).columns[name]) for name in key.parent_columns],
        )
        made.codes[reference_name(number)] = group_codes(drawing, number, made.parents[number])
        see_through(drawing, number)


def _order(drawing: TableDrawing) -> None:
    """Draw again what is below its bound; in the end, move it there."""
    made = drawing.made
    rules = [rule for rule in made.structure.table.rules if rule.relation is Relation.AT_LEAST]
    movable = _movable(made)
    for attempt in range(_ROUNDS):
        again: dict[str, npt.NDArray[np.bool_]] = {}
        for rule in rules:
            broken, name = _below(drawing, rule), _mover(rule, movable)
            if name is not None and broken.any():
                again[name] = again.get(name, np.zeros(made.rows, dtype=bool)) | broken
        if not again:
            return
        for number, (name, rows) in enumerate(again.items()):
            attempts = _ATTEMPT + attempt * len(rules) + number
            redraw(drawing, np.flatnonzero(rows), [name], attempts, kept=made.structure.table.determined)
    for _ in rules:
        moved = [_move(drawing, rule, movable) for rule in rules]
        if not any(moved):
            return


def _movable(made: Made) -> set[str]:
    keys = {name for key in made.structure.table.keys for name in key}
    learned = {name for name, maker in made.model.makers.items() if maker is Maker.LEARNED}
    return learned - made.structure.table.determined - keys - made.model.ranks.keys()


def _mover(rule: Rule, movable: set[str]) -> str | None:
    candidates = [rule.column] if rule.through else [rule.column, *rule.inputs]
    return next((name for name in candidates if name in movable), None)


def _below(drawing: TableDrawing, rule: Rule) -> npt.NDArray[np.bool_]:
    bound = _bound(drawing, rule)
    if bound is None or rule.column not in drawing.made.columns:
        return np.zeros(drawing.made.rows, dtype=bool)
    value, limit = (_comparable(values) for values in (drawing.made.columns[rule.column], bound))
    below: npt.NDArray[np.bool_] = pc.fill_null(pc.less(value, limit), False).to_numpy(zero_copy_only=False)
    return below


def _move(drawing: TableDrawing, rule: Rule, movable: set[str]) -> bool:
    made, name, bound = drawing.made, _mover(rule, movable), _bound(drawing, rule)
    rows = np.flatnonzero(_below(drawing, rule))
    if name is None or bound is None or not len(rows):
        return False
    source, up = (bound, True) if name == rule.column else (made.columns[rule.column], False)
    replacement = _nearest(source.take(pa.array(rows)), made.columns[name].type, up=up)
    inside = np.arange(len(rows)) if up else np.flatnonzero(_in_range(made, name, replacement))
    _set(made, name, put(made.columns[name], rows[inside], replacement.take(pa.array(inside))))
    return bool(len(inside))


def _in_range(made: Made, column: str, values: pa.Array) -> npt.NDArray[np.bool_]:
    """Which values lie where k subjects of the source have some: a rule is no reason to leave that.

    But for what is raised to its bound, which tells of the bound's column alone.
    """
    codec, base = made.model.codecs[column], made.model.bases.get(column)
    if base is not None:
        units, low, high = as_integers(values).to_numpy(zero_copy_only=False), base.lowest, base.highest
    elif isinstance(codec, NumberCodec) and len(codec.low):
        units, _ = to_floats_or_integers(chunked(values), codec.scale, continuous=codec.continuous)
        low, high = codec.low.min(), codec.high.max()
    else:
        return np.ones(len(values), dtype=bool)
    inside: npt.NDArray[np.bool_] = (units >= low) & (units <= high)
    return inside


def _nearest(values: pa.Array, arrow_type: pa.DataType, *, up: bool) -> pa.Array:
    """Values of another type: where it is coarser, the next one above or below."""
    if values.type == arrow_type:
        return values
    if pa.types.is_date32(arrow_type):
        days = _comparable(values).to_numpy(zero_copy_only=False) / _DAY_US
        whole = (np.ceil(days) if up else np.floor(days)).astype(np.int32)
        return pa.array(whole, mask=values.is_null().to_numpy(zero_copy_only=False)).cast(arrow_type)
    if pa.types.is_temporal(arrow_type):
        return values.cast(arrow_type, safe=False)
    numbers = _comparable(values)
    if pa.types.is_integer(arrow_type):
        numbers = pc.ceil(numbers) if up else pc.floor(numbers)
    return cast(numbers, arrow_type)


def _bound(drawing: TableDrawing, rule: Rule) -> pa.Array | None:
    made, name = drawing.made, rule.inputs[0]
    if not rule.through:
        return made.columns.get(name)
    key = next(key for key in made.structure.table.foreign_keys if key.columns == rule.through)
    parents = made.parents.get(made.number(key))
    if parents is None or key in made.structure.self_references:
        return None
    bound = drawing.parent(key).columns.get(name)
    return None if bound is None else bound.take(pa.array(parents, mask=parents < 0))


def _comparable(values: pa.Array) -> pa.Array:
    if pa.types.is_temporal(values.type):
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    return values.cast(pa.float64(), safe=False)


def _take_back(made: Made, before: dict[str, pa.Array]) -> None:
    changed: Sequence[str] = [name for name, values in made.columns.items() if values is not before.get(name, values)]
    if not changed:
        return
    rows = np.flatnonzero(breaking_rows(made))
    for name in changed if len(rows) else ():
        _set(made, name, put(made.columns[name], rows, before[name].take(pa.array(rows))))
