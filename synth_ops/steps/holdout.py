"""Half of the subjects to learn from, the other half to compare with: split once, by a keyed hash, before any fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops import sql
from synth_ops.artifact_io import write_table
from synth_ops.artifacts import Snapshot, TableData
from synth_ops.metadata import ForeignKey, Metadata, generation_order, subject_path
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

TRAIN, HOLDOUT = 1, 2
FEWEST_SUBJECTS = 20
"""Of fewer there is no half that could show anything; what they wrote is not split either."""
MOST_ROWS = 25_000
"""A side, of the largest table that is split: a model of so many rows shows what one of all of them would."""
_SALT = "synth-ops holdout"
_SIDES = "sides"
_ROW, _SIDE = "__synth_ops_row", "__synth_ops_side"
_HASH, _PLACE = "__synth_ops_hash", "__synth_ops_place"
"""Beside a user's own columns nothing of ours has a plainer name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """What is split.

    Attributes:
        roots: The tables whose rows are dealt out: those of persons or, where the database has none, those that
            nothing refers to.
        tables: The roots and all tables whose rows belong to theirs, parents first.
        metadata: Of the tables that matter: those, and whatever they refer to, which is not split.
        persons: Whether the roots hold persons.
        salt: Another one deals the subjects out in another way.
    """

    roots: tuple[str, ...]
    tables: tuple[str, ...]
    metadata: Metadata
    persons: bool
    salt: str = _SALT


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Two parts of a snapshot, with no subject in common; what belongs to nobody is in both.

    Attributes:
        subjects: How many a side, by root.
    """

    train: Mapping[str, TableData]
    holdout: Mapping[str, TableData]
    subjects: Mapping[str, int]


def plan_split(metadata: Metadata, salt: str = _SALT) -> SplitPlan:
    """Choose what to split.

    Of several tables of persons only those are split that share no row: an encounter is its patient's, and the doctors
    stay whole. The table goes first that more tables belong to.
    """
    persons = any(table.subject for table in metadata.tables)
    reach = {name: _reach(metadata, name) for name in metadata.table_names}
    if persons:
        owners = [path[-1].parent for name in metadata.table_names if (path := subject_path(metadata, name))]
        candidates = [table for table in metadata.tables if table.subject]
        candidates.sort(key=lambda table: (-owners.count(table.name), -table.rows, table.name))
    else:
        referred = {key.parent for table in metadata.tables for key in table.foreign_keys if key.parent != table.name}
        candidates = [table for table in metadata.tables if table.name not in referred and not table.copied]
    roots: list[str] = []
    for table in candidates:
        alone = not any({table.name, other} <= names for names in reach.values() for other in roots)
        if table.rows >= FEWEST_SUBJECTS and alone:
            roots.append(table.name)
    order, _ = generation_order(metadata)
    split = [name for name in order if reach[name] & set(roots)]
    kept = {name for one in split for name in reach[one]}
    tables = tuple(
        dataclasses.replace(table, foreign_keys=tuple(key for key in table.foreign_keys if key.parent in kept))
        for table in metadata.tables
        if table.name in kept
    )
    chosen = Metadata(tables=tables)
    return SplitPlan(roots=tuple(roots), tables=tuple(split), metadata=chosen, persons=persons, salt=salt)


def split(snapshot: Snapshot, plan: SplitPlan, folder: Path) -> Sides:
    """Deal the subjects out, and write the rows of either side below `folder`.

    A row whose references lead to both sides is in neither. A reference inside a table, or one that closes a cycle, may
    lead out of a side; it then is a broken one.

    Args:
        snapshot: The data.
        plan: What `plan_split` made of its metadata.
        folder: Where the Parquet files go.
    """
    sides: dict[int, dict[str, TableData]] = {TRAIN: {}, HOLDOUT: {}}
    subjects: dict[str, int] = {}
    with sql.connect() as connection:
        connection.execute(f"CREATE SCHEMA {_SIDES}")
        for name in plan.tables:
            if name in plan.roots:
                _deal_out(connection, snapshot, plan, name)
            else:
                _follow(connection, snapshot, plan, name)
            place = _places(connection, name)
            for side, tables in sides.items():
                tables[name] = _written(snapshot.tables[name], name, place == side, folder / str(side))
            if name in plan.roots:
                subjects[name] = min(tables[name].rows for tables in sides.values())
        whole = dict(_whole(connection, snapshot, plan, folder))
    return Sides(train={**sides[TRAIN], **whole}, holdout={**sides[HOLDOUT], **whole}, subjects=subjects)


def _whole(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, plan: SplitPlan, folder: Path
) -> Iterator[tuple[str, TableData]]:
    """The tables that are not split; of large ones the rows that something refers to."""
    order, _ = generation_order(plan.metadata)
    for name in reversed(order):
        data = snapshot.tables[name]
        if name not in plan.tables and data.rows > MOST_ROWS:
            _keep_referred(connection, snapshot, plan, name)
            yield name, _written(data, name, _places(connection, name) == TRAIN, folder)
        elif name not in plan.tables:
            columns = _kept_columns(snapshot, plan, name)
            numbered = _numbered(data)
            connection.execute(
                f"CREATE TABLE {_SIDES}.{quote(name)} AS SELECT {columns}, {TRAIN} AS {_SIDE} FROM {numbered}"
            )
            yield name, data


def _keep_referred(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, plan: SplitPlan, name: str) -> None:
    found = []
    for child, key in plan.metadata.children(name):
        if child.name == name or key not in _followed(plan.metadata, child.name):
            continue
        match = " AND ".join(
            f"c.{quote(here)} = t.{quote(there)}" for here, there in zip(key.columns, key.parent_columns, strict=True)
        )
        rows = f"SELECT 1 FROM {_SIDES}.{quote(child.name)} c WHERE c.{_SIDE} > 0 AND {match}"
        found.append(f"EXISTS ({rows})")
    connection.execute(
        f"CREATE TABLE {_SIDES}.{quote(name)} AS SELECT {_kept_columns(snapshot, plan, name)}, "
        f"CASE WHEN {' OR '.join(found)} THEN {TRAIN} ELSE 0 END AS {_SIDE} FROM {_numbered(snapshot.tables[name])} t"
    )


def side_metadata(metadata: Metadata, tables: Mapping[str, TableData]) -> Metadata:
    """The metadata of one side: with its numbers of rows."""
    return Metadata(tables=tuple(dataclasses.replace(table, rows=tables[table.name].rows) for table in metadata.tables))


def _reach(metadata: Metadata, start: str) -> frozenset[str]:
    """A table and all that it refers to, directly or not."""
    found, stack = {start}, [start]
    while stack:
        for key in _followed(metadata, stack.pop()):
            if key.parent not in found:
                found.add(key.parent)
                stack.append(key.parent)
    return frozenset(found)


def _followed(metadata: Metadata, table: str) -> list[ForeignKey]:
    _, deferred = generation_order(metadata)
    keys = metadata.table(table).foreign_keys
    return [key for key in keys if key.parent != table and (table, key) not in deferred]


def _share(snapshot: Snapshot, plan: SplitPlan, table: str) -> float:
    """How many of the subjects that a table belongs to are on either side."""
    root = next(iter(_reach(plan.metadata, table) & set(plan.roots)))
    owned = [name for name in plan.tables if root in _reach(plan.metadata, name)]
    largest = max(snapshot.tables[name].rows for name in owned)
    return min(0.5, MOST_ROWS / largest)


def _numbered(data: TableData) -> str:
    """All rows with their number, whatever the order in which they are read."""
    order = "file_index, file_row_number"
    return f"(SELECT *, row_number() OVER (ORDER BY {order}) AS {_ROW} FROM {sql.relation_sql(data)})"


def _deal_out(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, plan: SplitPlan, name: str) -> None:
    """Put the subjects with the smallest hashes on one side, as many with the next ones on the other."""
    table, total = snapshot.metadata.table(name), snapshot.tables[name].rows
    key = [quote(column) for column in table.primary_key] if table.subject else []
    text = ", ".join(f"CAST({column} AS VARCHAR)" for column in key or [_ROW])
    digest = f"md5(concat_ws('/', {sql.literal(plan.salt)}, {sql.literal(name)}, {text}))"
    each = int(total * _share(snapshot, plan, name))
    columns = _kept_columns(snapshot, plan, name)
    hashed = f"SELECT {columns}, {digest} AS {_HASH} FROM {_numbered(snapshot.tables[name])}"
    ranked = f"SELECT *, row_number() OVER (ORDER BY {_HASH}, {_ROW}) AS {_PLACE} FROM ({hashed})"
    connection.execute(
        f"CREATE TABLE {_SIDES}.{quote(name)} AS SELECT * EXCLUDE ({_HASH}, {_PLACE}), CASE WHEN {_PLACE} <= {each} "
        f"THEN {TRAIN} WHEN {_PLACE} <= {2 * each} THEN {HOLDOUT} ELSE 0 END AS {_SIDE} FROM ({ranked})"
    )


def _follow(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, plan: SplitPlan, name: str) -> None:
    """Put each row where all rows are that it refers to; one that refers to nobody, where its own hash says."""
    keys = [key for key in _followed(snapshot.metadata, name) if key.parent in plan.tables]
    joins = "".join(_joined(key, number) for number, key in enumerate(keys))
    found = [f"p{number}.{_SIDE}" for number in range(len(keys))]
    share = _share(snapshot, plan, name)
    some_zero = " OR ".join(f"{side} = 0" for side in found)
    own = f"md5(concat_ws('/', {sql.literal(plan.salt)}, {sql.literal(name)}, t.{_ROW}))"
    # the first 8 of 32 hex digits, as a number below 1
    place = f"(('0x' || left({own}, 8))::BIGINT / 4294967296.0)"
    connection.execute(
        f"CREATE TABLE {_SIDES}.{quote(name)} AS SELECT {_kept_columns(snapshot, plan, name, 't')}, CASE "
        f"WHEN {some_zero} OR least({', '.join(found)}) <> greatest({', '.join(found)}) THEN 0 "
        f"ELSE coalesce({', '.join(found)}, CASE WHEN {place} < {share} THEN {TRAIN} "
        f"WHEN {place} < {2 * share} THEN {HOLDOUT} ELSE 0 END) END AS {_SIDE} "
        f"FROM {_numbered(snapshot.tables[name])} t{joins}"
    )


def _joined(key: ForeignKey, number: int) -> str:
    columns = sql.columns_sql(key.parent_columns)
    parent = f"(SELECT DISTINCT ON ({columns}) {columns}, {_SIDE} FROM {_SIDES}.{quote(key.parent)} ORDER BY {columns})"
    pairs = zip(key.columns, key.parent_columns, strict=True)
    match = " AND ".join(f"t.{quote(here)} = p{number}.{quote(there)}" for here, there in pairs)
    return f" LEFT JOIN {parent} p{number} ON {match}"


def _places(connection: duckdb.DuckDBPyConnection, name: str) -> Any:
    """On which side each row is, in the order of the rows."""
    return connection.execute(f"SELECT {_SIDE} FROM {_SIDES}.{quote(name)} ORDER BY {_ROW}").fetchnumpy()[_SIDE]


def _kept_columns(snapshot: Snapshot, plan: SplitPlan, name: str, prefix: str = "") -> str:
    """The number of the row, what others refer to it by, and what it refers to."""
    columns = {column for _, key in snapshot.metadata.children(name) for column in key.parent_columns}
    columns |= {column for key in plan.metadata.table(name).foreign_keys for column in key.columns}
    return sql.columns_sql([_ROW, *sorted(columns)], prefix)


def _written(data: TableData, name: str, kept: Any, folder: Path) -> TableData:
    """The rows that are kept, with the file's own types."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(data.files[0])
    return write_table(folder, name, schema, _filtered(data.files, kept))


def _filtered(files: Sequence[Path], kept: Any) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = 0
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches():
                yield batch.filter(pa.array(kept[start : start + batch.num_rows]))
                start += batch.num_rows
