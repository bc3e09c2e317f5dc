"""Fresh real people in the place of a copy: half of a snapshot's subjects stand for the source, others for its copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synth_ops import sql
from synth_ops.artifact_io import write_table
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, SyntheticCopy, TableData
from synth_ops.checks.leaks import folded_sql, guarded_columns
from synth_ops.checks.rarity import subject_ends
from synth_ops.checks.views import COPY, SOURCE, is_text, learned_columns, subjects_of, value_sql, view_sql
from synth_ops.errors import RecipeError
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Table, generation_order
from synth_ops.ports import Audit
from synth_ops.steps.holdout import FEWEST_SUBJECTS, plan_split, side_metadata, split

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_FRESH = "fresh"
_SHOWN = "__synth_ops_shown"
_OTHER = "other"
_NO_REF = "0" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Two parts of a snapshot with no subject in common.

    Attributes:
        snapshot: The one part, as the source.
        fresh: The other one, as it is, in the place of a copy.
        copy: The same as any copy would show it: without what fewer than k subjects of the source share.
        audit: The source in two halves, and people of the other part as the audit's copy.
        split: The tables whose rows belong to subjects; the others are the same on both sides.
        seed: By which subjects were dealt out.
    """

    snapshot: Snapshot
    fresh: SyntheticCopy
    copy: SyntheticCopy
    audit: Audit
    split: tuple[str, ...]
    seed: int

    def rows(self, tables: Mapping[str, TableData], name: str) -> pa.Table:
        """All rows of a table; a side holds no more of one than an audit does."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pa.concat_tables([pq.read_table(file, partitioning=None) for file in tables[name].files])


def deal(snapshot: Snapshot, folder: Path, seed: int) -> People:
    """Deal a snapshot's subjects out: to the source, and to what stands for its copy.

    Args:
        snapshot: The real data.
        folder: Where the Parquet files go.
        seed: Another one deals in another way.

    Raises:
        RecipeError: No table has subjects enough.
    """
    plan = plan_split(snapshot.metadata, f"controls {seed}")
    if not plan.roots:
        raise RecipeError(
            f"no table has the {FEWEST_SUBJECTS} rows of its own that a test of the gate needs", "use a larger source"
        )
    sides = split(snapshot, plan, folder / "sides")
    source = dataclasses.replace(
        snapshot, metadata=_held_together(side_metadata(plan.metadata, sides.train)), tables=sides.train
    )
    others = dataclasses.replace(source, tables=sides.holdout)
    fresh, copy = (
        SyntheticCopy(
            ref=ArtifactRef(kind=ArtifactKind.COPY, id=_NO_REF),
            model=ArtifactRef(kind=ArtifactKind.MODEL, id=_NO_REF),
            snapshot=snapshot.ref,
            metadata=source.metadata,
            tables=tables,
            seed=seed,
            scale=1.0,
        )
        for tables in _copies(source, others.tables, plan.tables, folder, seed)
    )
    audit = _audit(source, others, folder, seed)
    return People(snapshot=source, fresh=fresh, copy=copy, audit=audit, split=plan.tables, seed=seed)


def _audit(source: Snapshot, others: Snapshot, folder: Path, seed: int) -> Audit:
    plan = plan_split(source.metadata, f"audit of controls {seed}")
    if not plan.roots:
        return Audit(persons=plan.persons)
    inner, outer = split(source, plan, folder / "audit"), split(others, plan, folder / "fresh")
    return Audit(
        metadata=side_metadata(plan.metadata, inner.train),
        train=inner.train,
        holdout=inner.holdout,
        copy=outer.train,
        split=plan.tables,
        subjects=inner.subjects,
        persons=plan.persons,
    )


def _held_together(metadata: Metadata) -> Metadata:
    """Without the references that may lead out of a side and can't be empty there."""
    _, deferred = generation_order(metadata)

    def kept(table: Table, key: ForeignKey) -> bool:
        return not _leads_out(deferred, table, key) or not set(key.columns) & _fixed(table, key)

    return Metadata(
        tables=tuple(
            dataclasses.replace(table, foreign_keys=tuple(key for key in table.foreign_keys if kept(table, key)))
            for table in metadata.tables
        )
    )


def _leads_out(deferred: Any, table: Table, key: ForeignKey) -> bool:
    return key.parent == table.name or (table.name, key) in deferred


def _fixed(table: Table, key: ForeignKey) -> set[str]:
    """The columns that must have a value, or whose value something else depends on."""
    others = {name for other in table.foreign_keys if other != key for name in other.columns}
    return {*table.required, *others, *(name for each in table.keys for name in each)}


def _copies(
    source: Snapshot, others: Mapping[str, TableData], split_tables: tuple[str, ...], folder: Path, seed: int
) -> Iterator[dict[str, TableData]]:
    """Others' rows with no reference that leads out of them: as they are, and as any copy would show them.

    There no category and no extreme is one that fewer than k subjects have, and no free text is the source's.
    """
    metadata = source.metadata
    order, deferred = generation_order(metadata)
    whole = {name: data for name, data in others.items() if name not in split_tables}
    for place, prepare in (("fresh", _taken), ("copy", _prepare)):
        with sql.connect() as connection:
            sql.register(connection, source.tables, SOURCE)
            sql.register(connection, others, _FRESH)
            sql.register(connection, whole, COPY)
            random = np.random.default_rng(seed)
            for name in order:
                if name in split_tables:
                    prepare(connection, metadata, metadata.table(name), deferred, random)
            for name in split_tables:
                table = metadata.table(name)
                for key in table.foreign_keys:
                    if _leads_out(deferred, table, key):
                        connection.execute(_emptied(table, key))
            yield {**whole, **{name: _written(connection, name, others[name], folder / place) for name in split_tables}}


def _written(connection: duckdb.DuckDBPyConnection, name: str, like: TableData, folder: Path) -> TableData:
    """A table in a fixed order, with the types of a file."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(like.files[0])
    rows = connection.sql(f"SELECT * FROM {view_sql(COPY, name)} ORDER BY ALL").to_arrow_table().cast(schema)
    return write_table(folder, name, schema, [rows])


def _taken(connection: duckdb.DuckDBPyConnection, _: Metadata, table: Table, *__: Any) -> None:
    """Make the table `copy."table"`: all rows as they are."""
    connection.execute(f"CREATE TABLE {view_sql(COPY, table.name)} AS SELECT * FROM {view_sql(_FRESH, table.name)}")


def _prepare(
    connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table, deferred: Any, random: np.random.Generator
) -> None:
    """Make the table `copy."table"`: rows whose parents are there, of what may be shown, that keep all CHECKs."""
    import pyarrow as pa

    hidden = _hidden(metadata, table)
    rows = connection.sql(_clipped(metadata, table, deferred, hidden)).to_arrow_table()
    for number, name in enumerate(hidden):
        shown = rows.column(f"{_SHOWN}{number}").to_numpy(zero_copy_only=False).astype(bool)
        there = np.flatnonzero(shown & rows.column(name).is_valid().to_numpy())
        places = np.arange(len(shown)).astype(object)
        places[~shown] = random.choice(there, int((~shown).sum())) if len(there) else None
        place = rows.column_names.index(name)
        values = rows.column(name).take(pa.array(places, pa.int64()))
        if name in table.required and pa.types.is_string(values.type):
            values = values.fill_null(_OTHER)
        rows = rows.set_column(place, rows.field(place), values)
    rows = rows.select(list(table.column_names))
    conditions = [f"({check.expression}) IS NOT FALSE" for check in table.checks]
    conditions += [f"{sql.quote(name)} IS NOT NULL" for name in hidden if name in table.required]
    connection.register("prepared", rows)
    connection.execute(f"CREATE TABLE {view_sql(COPY, table.name)} AS SELECT * FROM prepared{_where(conditions)}")
    connection.unregister("prepared")


def _hidden(metadata: Metadata, table: Table) -> dict[str, str]:
    """The learned texts outside of keys, and the condition that a value may be shown."""
    in_keys = {name for key in table.keys for name in key}
    texts = [each for each in learned_columns(table) if is_text(each) and each.name not in in_keys]
    return {column.name: _common(metadata, table, column) for column in texts}


def _clipped(metadata: Metadata, table: Table, deferred: Any, hidden: Mapping[str, str]) -> str:
    """A query for the other side's rows with numbers inside the k-th subjects', and whether each hidden value is shown.

    What is in a key can't be changed: a row goes whose key holds what only few have.
    """
    learned, in_keys = learned_columns(table), {name for key in table.keys for name in key}
    numbers = [column for column in learned if not is_text(column) and column.type != "BOOLEAN"]
    numbers = [column for column in numbers if column.name not in in_keys or "INT" not in column.type]
    conditions = [_found(key) for key in table.foreign_keys if not _leads_out(deferred, table, key)]
    conditions += [_common(metadata, table, each) for each in learned if is_text(each) and each.name in in_keys]
    flags = "".join(f", {condition} AS {_SHOWN}{place}" for place, condition in enumerate(hidden.values()))
    ends, inside = "", []
    if numbers:
        k = sql.K_SUBJECTS
        bounds = ", ".join(
            f"min(low{i}, {k})[{k}] AS low{i}, max(high{i}, {k})[{k}] AS high{i}" for i in range(len(numbers))
        )
        ends = f", (SELECT {bounds} FROM ({subject_ends(metadata, table, numbers)})) e"
    for place, column in enumerate(numbers):
        value, name = value_sql(column, "t"), sql.quote(column.name)
        if column.name in in_keys:
            conditions.append(f"({value} BETWEEN e.low{place} AND e.high{place}) IS NOT FALSE")
        else:
            inside.append(
                f"CASE WHEN {value} < e.low{place} THEN e.low{place} WHEN {value} > e.high{place} THEN e.high{place} "
                f"ELSE t.{name} END AS {name}"
            )
    free = [column for column in guarded_columns(table) if column.kind is not Kind.PII and sql.is_text(column.type)]
    inside += [_made_up(table, column) for column in free if column.name not in in_keys]
    replaced = f" REPLACE ({', '.join(inside)})" if inside else ""
    return f"SELECT t.*{replaced}{flags} FROM {view_sql(_FRESH, table.name)} t{ends}{_where(conditions)}"


def _where(conditions: list[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _common(metadata: Metadata, table: Table, column: Column) -> str:
    """Whether k subjects of the source have a text, too; nothing is as good as common."""
    rows, subjects = subjects_of(metadata, table.name)
    name = sql.quote(column.name)
    values = f"SELECT CAST({name} AS VARCHAR) AS v, {sql.SUBJECT} FROM {rows} WHERE {name} IS NOT NULL"
    known = f"SELECT v FROM ({values}) GROUP BY v HAVING {subjects} >= {sql.K_SUBJECTS}"
    return f"coalesce(CAST(t.{name} AS VARCHAR) IN ({known}), true)"


def _made_up(table: Table, column: Column) -> str:
    """Another text where the source has the same: a copy repeats no free one, be it ever so common."""
    name, value = sql.quote(column.name), folded_sql(column.name, "t")
    known = f"SELECT {folded_sql(column.name, 's')} FROM {view_sql(SOURCE, table.name)} s WHERE s.{name} IS NOT NULL"
    return f"CASE WHEN {value} IN ({known}) THEN md5(t.{name}) ELSE t.{name} END AS {name}"


def _found(key: ForeignKey) -> str:
    """Whether a row's parent is there; broken references that the source has, too, go with the rest."""
    empty = " OR ".join(f"t.{sql.quote(name)} IS NULL" for name in key.columns)
    match = _match(key, "t")
    return f"({empty} OR EXISTS (SELECT 1 FROM {view_sql(COPY, key.parent)} p WHERE {match}))"


def _emptied(table: Table, key: ForeignKey) -> str:
    columns = ", ".join(f"{sql.quote(name)} = NULL" for name in key.columns)
    missing = f"NOT EXISTS (SELECT 1 FROM {view_sql(COPY, key.parent)} p WHERE {_match(key, 't')})"
    return f"UPDATE {view_sql(COPY, table.name)} AS t SET {columns} WHERE {missing}"


def _match(key: ForeignKey, owner: str) -> str:
    pairs = zip(key.columns, key.parent_columns, strict=True)
    return " AND ".join(f"p.{sql.quote(there)} = {owner}.{sql.quote(here)}" for here, there in pairs)
