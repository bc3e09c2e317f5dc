"""What may be wrong with a copy, planted into one that is not, and the check that is meant to see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synth_ops import sql
from synth_ops.artifact_io import write_table
from synth_ops.artifacts import TableData
from synth_ops.checks.families import likeness_of_siblings
from synth_ops.checks.leaks import folded_sql, guarded_columns, secret_sql
from synth_ops.checks.memorisation import views_of
from synth_ops.checks.rarity import referred_rows, subject_ends
from synth_ops.checks.rows import open_databases
from synth_ops.checks.views import COPY, SOURCE, Views, is_text, learned_columns, open_views, subjects_of, view_sql
from synth_ops.controls.people import People
from synth_ops.metadata import Column, ForeignKey, Orphans, Table, generation_order
from synth_ops.ports import CheckContext

if TYPE_CHECKING:
    import pyarrow as pa

_COPIED_SHARE, _COPIED_SHARE_OF_FEW, _FLIPPED_SHARE = 0.1, 0.5, 0.3
_FEW_SUBJECTS = 100
_TELLING_COLUMNS, _TELLING_SHARE = 3, 0.9
_FEWEST_ROWS = 50
_MEMORISED = ("privacy.dcr_share", "privacy.nndr_ratio", "privacy.membership_auc", "privacy.membership_tpr")


class NotApplicableError(Exception):
    """A schema, or its data, has no room for a fault; the text says why, in names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A copy with a fault.

    Attributes:
        context: What the checks are given.
        table: Where the fault is.
    """

    context: CheckContext
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """What a fault is planted into.

    Attributes:
        people: Fresh real people, that pass.
        context: What the checks are given of them.
        folder: Where changed tables are written.
        random: For anything drawn.
    """

    people: People
    context: CheckContext
    folder: Path
    random: np.random.Generator

    def tables(self) -> Iterator[Table]:
        """Those whose rows belong to the subjects, with rows on both sides, the largest first."""
        split = [self.people.snapshot.metadata.table(name) for name in self.people.split]
        split.sort(key=lambda table: (-table.rows, table.name))
        for table in split:
            if min(table.rows, self.people.copy.tables[table.name].rows) >= _FEWEST_ROWS:
                yield table

    def with_copy(self, name: str, rows: pa.Table) -> Planted:
        """The copy with other rows in one table; the audit's copy stays, and need not be judged again."""
        tables = {**self.people.copy.tables, name: self._written(name, rows)}
        copy = dataclasses.replace(self.people.copy, tables=tables)
        return Planted(context=dataclasses.replace(self.context, copy=copy, audit=None), table=name)

    def with_audit(self, tables: Mapping[str, TableData]) -> Planted:
        """Another copy of the audit's."""
        audit = dataclasses.replace(self.people.audit, copy=tables)
        return Planted(context=dataclasses.replace(self.context, audit=audit), table="")

    def _written(self, name: str, rows: pa.Table) -> TableData:
        return write_table(self.folder, name, rows.schema, [rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to be wrong.

    Attributes:
        name: For people.
        meant: The measures that are meant to see it: one of them has to block.
        plant: Raises `NotApplicableError` where there is no room for it.
    """

    name: str
    meant: tuple[str, ...]
    plant: Callable[[Bed], Planted]


def copied_rows(bed: Bed) -> Planted:
    """A tenth of the rows of a table hold what real ones do; half of them, where they are of few subjects."""
    for table in bed.tables():
        names = [column.name for column in learned_columns(table)]
        source, copy = bed.people.rows(bed.people.snapshot.tables, table.name), _copy_of(bed, table)
        if len(names) < _TELLING_COLUMNS or _share_of_distinct(bed, table, names) < _TELLING_SHARE:
            continue
        few = _count_of_subjects(bed, table) < _FEW_SUBJECTS
        count = min(int((_COPIED_SHARE_OF_FEW if few else _COPIED_SHARE) * copy.num_rows), source.num_rows)
        there = bed.random.choice(copy.num_rows, count, replace=False)
        taken = bed.random.choice(source.num_rows, count, replace=False)
        for name in names:
            copy = _with_cells(copy, name, there, source.column(name).take(taken))
        return bed.with_copy(table.name, copy)
    raise NotApplicableError("no table has learned columns enough to tell its rows apart")


def learned_by_heart(bed: Bed) -> Planted:
    """The generator gives back the rows that it learned from."""
    _refuse_too_few(bed)
    return bed.with_audit(bed.people.audit.train)


def flipped_rows(bed: Bed) -> Planted:
    """The same with 30 % of the cells taken from other rows."""
    _refuse_too_few(bed)
    audit = bed.people.audit
    tables = dict(audit.train)
    for name in audit.split:
        rows = bed.people.rows(tables, name)
        for column in learned_columns(audit.metadata.table(name)):
            flipped = np.flatnonzero(bed.random.random(rows.num_rows) < _FLIPPED_SHARE)
            others = bed.random.integers(0, max(rows.num_rows, 1), len(flipped))
            rows = _with_cells(rows, column.name, flipped, rows.column(column.name).take(others))
        tables[name] = bed._written(name, rows)  # noqa: SLF001
    return bed.with_audit(tables)


def wrong_parents(bed: Bed) -> Planted:
    """The rows of a child table are dealt out to the same parents anew."""
    with open_views(bed.context) as views:
        for table, key in _references(bed):
            if not likeness_of_siblings(views, table, key):
                continue
            rows = _copy_of(bed, table)
            order = bed.random.permutation(rows.num_rows)
            for name in key.columns:
                place = rows.column_names.index(name)
                rows = rows.set_column(place, rows.field(place), rows.column(name).take(order))
            return bed.with_copy(table.name, rows)
    raise NotApplicableError("of no reference are there fifty parents whose rows are more alike than others")


def shifted_column(bed: Bed) -> Planted:
    """The numbers of a column are too high by the range of nine tenths of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for table in bed.tables():
        if _count_of_subjects(bed, table) < _FEWEST_ROWS:
            continue
        numbers = [column for column in learned_columns(table) if sql.is_number(column.type)]
        for column in sorted(numbers, key=lambda each: -_distinct(bed, table, [each.name])):
            rows = _copy_of(bed, table)
            values = rows.column(column.name).cast(pa.float64(), safe=False)
            low, high = pc.quantile(values, [0.05, 0.95]).to_pylist()
            if low is None or not low < high:
                continue
            shifted = pc.add(values, round(high - low) or high - low)
            place, field = rows.column_names.index(column.name), rows.schema.field(column.name)
            try:
                changed = (
                    pc.round(shifted).cast(field.type)
                    if pa.types.is_integer(field.type)
                    else shifted.cast(field.type, safe=False)
                )
            except pa.ArrowInvalid:
                continue  # its type has no room for them
            return bed.with_copy(table.name, rows.set_column(place, field, changed))
    raise NotApplicableError(f"no learned column holds different numbers of {_FEWEST_ROWS} subjects")


def orphan(bed: Bed) -> Planted:
    """A parent is missing."""
    with open_views(bed.context) as views:
        for table, key in _references(bed):
            parent = bed.people.snapshot.metadata.table(key.parent)
            if key.orphans is Orphans.KEEP or parent.name not in bed.people.split:
                continue
            names = sql.columns_sql(key.parent_columns)
            referred = f"SELECT {sql.columns_sql(key.columns)} FROM {view_sql(COPY, table.name)}"
            parents = view_sql(COPY, parent.name)
            gone = f"SELECT {names} FROM {parents} WHERE ({names}) IN ({referred}) ORDER BY ALL LIMIT 1"
            rows = views.connection.sql(f"SELECT * FROM {parents} WHERE ({names}) NOT IN ({gone})").to_arrow_table()
            planted = bed.with_copy(parent.name, rows.cast(_copy_of(bed, parent).schema))
            return dataclasses.replace(planted, table=table.name)
    raise NotApplicableError("no reference from one table of the subjects to another has to hold")


def duplicate_key(bed: Bed) -> Planted:
    """A row comes twice."""
    import pyarrow as pa

    for table in bed.tables():
        if table.keys:
            rows = _copy_of(bed, table)
            whole = np.flatnonzero(np.all([rows.column(name).is_valid().to_numpy() for name in table.keys[0]], axis=0))
            if len(whole):
                return bed.with_copy(table.name, pa.concat_tables([rows, rows.take(whole[:1])]))
    raise NotApplicableError("no table of the subjects has a key")


def leaked_value(bed: Bed) -> Planted:
    """One real e-mail address, number or text stands in the copy."""
    with open_views(bed.context) as views:
        found = [(table, column) for table in bed.tables() for column in guarded_columns(table)]
        keys = {(table.name, name) for table, _ in found for key in table.keys for name in key}
        found.sort(key=lambda each: ((each[0].name, each[1].name) in keys, each[1].kind.value))
        for table, column in found:
            value, name = folded_sql(column.name, "t"), sql.quote(column.name)
            copied = f"SELECT {value} FROM {view_sql(COPY, table.name)} t WHERE {name} IS NOT NULL"
            known = f"SELECT *, {value} AS v FROM {view_sql(SOURCE, table.name)} t WHERE {name} IS NOT NULL"
            planted = _planted_cell(
                bed,
                views,
                table,
                column,
                f"SELECT {name} FROM ({known}) WHERE {secret_sql(column)} AND v NOT IN ({copied}) "
                f"ORDER BY length(v) DESC, v LIMIT 1",
            )
            if planted:
                return planted
    raise NotApplicableError("no column holds personal values, or texts, that are long enough to be a secret")


def memorised_outlier(bed: Bed) -> Planted:
    """The greatest number of all stands in the copy."""
    k = sql.K_SUBJECTS
    with open_views(bed.context) as views:
        for table in bed.tables():
            in_keys = {name for key in table.keys for name in key}
            for column in learned_columns(table):
                if not sql.is_number(column.type) or column.name in in_keys:
                    continue
                ends = subject_ends(bed.people.snapshot.metadata, table, [column])
                highest = f"SELECT max(high0) AS v, max(high0, {k})[{k}] AS kth, count(low0) AS n FROM ({ends})"
                planted = _planted_cell(
                    bed, views, table, column, f"SELECT v FROM ({highest}) WHERE v > kth AND n >= {3 * k}"
                )
                if planted:
                    return planted
    raise NotApplicableError("no learned number is greater than those of four other subjects")


def rare_category(bed: Bed) -> Planted:
    """A category of one person stands in the copy."""
    with open_views(bed.context) as views:
        for table in bed.tables():
            in_keys = {name for key in table.keys for name in key}
            for column in learned_columns(table):
                if is_text(column) and column.name not in in_keys:
                    planted = _planted_cell(bed, views, table, column, _category_of_one(views, table, column))
                    if planted:
                        return planted
    raise NotApplicableError("no category is one subject's alone")


def _category_of_one(views: Views, table: Table, column: Column) -> str:
    """A query for a value that one subject alone has, the copy does not, no CHECK lists, and not many refer to."""
    name = sql.quote(column.name)
    text = f"CAST({name} AS VARCHAR)"
    rows, subjects = subjects_of(views.metadata, table.name)
    public = referred_rows(views.metadata, table, f"CAST(p.{name} AS VARCHAR)")
    known = " UNION ALL ".join(
        [f"SELECT {text} AS v FROM {view_sql(COPY, table.name)}", *(f"SELECT v FROM ({each})" for each in public)]
    )
    listed = sql.literal(" ".join(check.expression for check in table.checks))
    return (
        f"SELECT any_value({name}) AS v FROM {rows} WHERE {text} NOT IN (SELECT v FROM ({known}) WHERE v IS NOT NULL) "
        f"AND NOT contains({listed}, {text}) GROUP BY {name} HAVING {subjects} = 1 ORDER BY v LIMIT 1"
    )


def _planted_cell(bed: Bed, views: Views, table: Table, column: Column, query: str) -> Planted | None:
    """The copy with the value that a query gives, in one row; None where it gives none."""
    found = views.connection.sql(query).to_arrow_table().column(0).drop_null()
    if not len(found):
        return None
    rows = _copy_of(bed, table)
    there = bed.random.integers(0, rows.num_rows, 1)
    return bed.with_copy(
        table.name, _with_cells(rows, column.name, there, found.cast(rows.schema.field(column.name).type))
    )


def _with_cells(rows: pa.Table, name: str, there: Any, values: Any) -> pa.Table:
    """The same rows with other values in some places of a column."""
    import pyarrow as pa

    place, field = rows.column_names.index(name), rows.schema.field(name)
    places = np.arange(rows.num_rows)
    places[there] = rows.num_rows + np.arange(len(there))
    both = pa.chunked_array([*rows.column(name).chunks, *pa.chunked_array(values).chunks], type=field.type)
    return rows.set_column(place, field, both.take(places))


def _references(bed: Bed) -> Iterator[tuple[Table, ForeignKey]]:
    """Those that hold the rows of a subject together, of the largest tables first."""
    _, deferred = generation_order(bed.people.snapshot.metadata)
    for table in bed.tables():
        for key in table.foreign_keys:
            if key.parent != table.name and (table.name, key) not in deferred:
                yield table, key


def _copy_of(bed: Bed, table: Table) -> pa.Table:
    return bed.people.rows(bed.people.copy.tables, table.name)


def _distinct(bed: Bed, table: Table, names: list[str]) -> int:
    rows = bed.people.rows(bed.people.snapshot.tables, table.name).select(names)
    return int(rows.group_by(names).aggregate([]).num_rows)


def _count_of_subjects(bed: Bed, table: Table) -> int:
    with open_views(bed.context) as views:
        rows, subjects = subjects_of(views.metadata, table.name)
        return int(views.number(f"SELECT {subjects} FROM {rows}"))


def _share_of_distinct(bed: Bed, table: Table, names: list[str]) -> float:
    return _distinct(bed, table, names) / table.rows


def _refuse_too_few(bed: Bed) -> None:
    audit = bed.people.audit
    if not audit.subjects:
        raise NotApplicableError("there are too few subjects to hold some out")
    with open_databases(audit.metadata, train=audit.train, holdout=audit.holdout, audit=audit.copy) as databases:
        if not any(views_of(databases, audit, root) for root in audit.subjects):
            raise NotApplicableError("there are too few learned columns to know anybody by")


FAULTS = (
    Fault(name="copied rows", meant=("privacy.identical_rows",), plant=copied_rows),
    Fault(name="rows learned by heart", meant=_MEMORISED, plant=learned_by_heart),
    Fault(
        name="learned by heart, 30 % flipped",
        meant=_MEMORISED,
        plant=flipped_rows,
    ),
    Fault(name="children of wrong parents", meant=("fidelity.sibling_likeness",), plant=wrong_parents),
    Fault(name="a shifted column", meant=("fidelity.column_distance",), plant=shifted_column),
    Fault(name="an orphan", meant=("integrity.foreign_key",), plant=orphan),
    Fault(name="a duplicate key", meant=("integrity.primary_key", "integrity.unique"), plant=duplicate_key),
    Fault(name="a leaked value", meant=("privacy.leaked_values",), plant=leaked_value),
    Fault(name="a memorised outlier", meant=("privacy.extremes",), plant=memorised_outlier),
    Fault(name="a category of one subject", meant=("privacy.rare_categories",), plant=rare_category),
)
"""In the order in which they are planted."""
