"""One table around a model of its learned columns: codecs, providers, what follows from other columns, checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synth_ops.artifacts import Snapshot
from synth_ops.errors import SampleError
from synth_ops.generators.coded_table.columns import Coded, Seen, encode, fit_codec, show, unseen
from synth_ops.generators.providers import TextShape, learn_shapes, provider_for
from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec, PresenceCodec
from synth_ops.generators.relational_trees.drawing.values import cast
from synth_ops.generators.relational_trees.learning.columns import find_subjects, threshold
from synth_ops.generators.relational_trees.learning.state import SOURCE
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import Maker, TableStructure, as_provided, structure
from synth_ops.generators.relational_trees.units import is_numeric
from synth_ops.metadata import Kind, Relation, Rule, Table
from synth_ops.sql import connect, quote, register, relation_sql

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_FILE = "table.json"
_BATCH_ROWS = 50_000
_MOST_DRAWN = 60
"""A check that fewer than one row in so many meets is given up."""

Draw = Callable[[int, int], "pd.DataFrame"]
"""Rows of a model: how many, and the number of the batch, which decides chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableModel:
    """What is kept of a table beside the model.

    Attributes:
        rows: In the snapshot.
        schema: Of its Parquet files.
        columns: How each column is coded, but for those that follow from others.
        shapes: What providers may know of a text column.
    """

    rows: int
    schema: pa.Schema
    columns: Mapping[str, Coded]
    shapes: Mapping[str, TextShape]

    def save(self, folder: Path) -> None:
        """Write it into a folder, as JSON."""
        document = {
            "rows": self.rows,
            "schema": self.schema.serialize().to_pybytes().hex(),
            "columns": {name: coded.to_json() for name, coded in self.columns.items()},
            "shapes": {name: shape.to_json() for name, shape in self.shapes.items()},
        }
        (folder / _FILE).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TableModel:
        """Read what `save` wrote."""
        document = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(
            rows=document["rows"],
            schema=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(document["schema"]))),
            columns={name: Coded.from_json(coded) for name, coded in document["columns"].items()},
            shapes={name: TextShape.from_json(shape) for name, shape in document["shapes"].items()},
        )


def categories_of(snapshot: Snapshot) -> tuple[dict[str, int], int]:
    """How many labels each column of the one table of a snapshot would have; and how many columns are numbers."""
    (table,), (data,) = snapshot.metadata.tables, snapshot.tables.values()
    (made,) = structure(snapshot.metadata, {table.name: data.rows}, {table.name: pq.read_schema(data.files[0])})
    with connect() as connection:
        register(connection, snapshot.tables, SOURCE)
        subjects = find_subjects(connection, snapshot.metadata, table.name)
    found, numbers = {}, 0
    for column in made.learned:
        values = pa.concat_tables([pq.read_table(file, columns=[column.name]) for file in data.files]).column(0)
        if is_numeric(values.type) and column.kind is not Kind.CATEGORICAL:
            numbers += 1
            continue
        codec = fit_codec(values, column.kind, subjects, threshold(table.name, column.name))
        if isinstance(codec, CategoryCodec | NumberCodec):
            found[column.name] = codec.size
    return found, numbers


def learn_tables(snapshot: Snapshot) -> dict[str, tuple[TableModel, Seen]]:
    """Code every column of every table, but for those that a foreign key fills, and that follow from others.

    Returns:
        By table, what to keep and what a model is to learn.
    """
    metadata = snapshot.metadata
    schemas = {name: pq.read_schema(data.files[0]) for name, data in snapshot.tables.items()}
    rows = {name: data.rows for name, data in snapshot.tables.items()}
    with connect() as connection:
        register(connection, snapshot.tables, SOURCE)
        return {
            each.table.name: _learn_table(connection, snapshot, each) for each in structure(metadata, rows, schemas)
        }


def _learn_table(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, made: TableStructure
) -> tuple[TableModel, Seen]:
    table, data = made.table, snapshot.tables[made.table.name]
    subjects = find_subjects(connection, snapshot.metadata, table.name)
    rows = pa.concat_tables([pq.read_table(file) for file in data.files])
    left_out = {rule.column for rule in followed(table)}
    left_out |= {name for name, maker in made.makers.items() if maker is Maker.REFERENCE}
    columns: dict[str, Coded] = {}
    seen = Seen()
    for place, column in enumerate(table.columns):
        if column.name in left_out:
            continue
        values, k = rows.column(column.name), threshold(table.name, column.name)
        learned = made.makers[column.name] is Maker.LEARNED
        codec = fit_codec(values, column.kind, subjects, k) if learned else PresenceCodec()
        columns[column.name], codes = encode(codec, values)
        show(place, columns[column.name], codes, values, seen, stream(0, "sdv", table.name, column.name))
    provided = [column for column in table.columns if _is_provided(columns.get(column.name))]
    described = Table(name=table.name, path=table.path, columns=tuple(map(as_provided, provided)))
    shapes = learn_shapes(connection, relation_sql(data), described) if provided else {}
    return TableModel(rows=data.rows, schema=rows.schema, columns=columns, shapes=shapes), seen


def followed(table: Table) -> list[Rule]:
    """The rules by which a column is worked out from others of its row, each from columns that are drawn."""
    found: dict[str, Rule] = {}
    keys = {name for key in table.keys for name in key}
    for rule in table.rules:
        here = rule.relation is Relation.EQUALS and not rule.through and not rule.child
        needed = {name for each in found.values() for name in each.inputs}
        drawn = rule.column not in (keys | needed | found.keys()) and not set(rule.inputs) & found.keys()
        if here and rule.strict and drawn and rule.column not in rule.inputs:
            found[rule.column] = rule
    return list(found.values())


def kept_conditions(table: Table) -> list[str]:
    """What every row must meet, as SQL conditions that may be NULL: its checks, and its rules about order."""
    orders = [
        f"{quote(rule.column)} >= ({rule.expression})"
        for rule in table.rules
        if rule.relation is Relation.AT_LEAST and not rule.through and not rule.child
    ]
    return [*(f"({check.expression})" for check in table.checks), *orders]


def draw_table(model: TableModel, table: Table, draw: Draw, *, seed: int, rows: int) -> Iterator[pa.Table]:
    """A copy of a table, in batches.

    Raises:
        SampleError: Too few of the rows that the model makes meet the table's checks.
    """
    conditions, missing, first, batch = kept_conditions(table), rows, 0, 0
    made = Providers(model, table, seed, rows)
    while missing > 0:
        size = min(_BATCH_ROWS, missing if not batch else max(2 * missing, 1_000))
        columns = values_of(draw(size, batch), made, first, size, stream(seed, "sdv", table.name, batch))
        whole = pa.table([columns[name] for name in model.schema.names], schema=model.schema)
        kept = _kept(whole, table, conditions)[:missing]
        first, batch, missing = first + size, batch + 1, missing - kept.num_rows
        if first > _MOST_DRAWN * max(rows, 1_000) and missing:
            raise SampleError(
                f"table {table.name!r}: too few of the rows that are made meet its checks",
                "use `generator: relational_trees`, which keeps to them",
            )
        yield kept


def values_of(
    drawn: pd.DataFrame, made: Providers, first: int, size: int, key: np.random.Generator
) -> dict[str, pa.Array]:
    """The columns of some rows, but for those that a foreign key fills.

    Args:
        drawn: What a model made of them.
        first: The number of the first row, which decides what providers make.
    """
    model, table = made.model, made.table
    columns: dict[str, pa.Array] = {}
    for name, coded in model.columns.items():
        arrow_type = model.schema.field(name).type
        values = unseen(model.schema.get_field_index(name), coded, drawn, size, arrow_type, key)
        if _is_provided(coded):
            absent = values.to_numpy(zero_copy_only=False) == 0
            there = cast(made.of(name).values(first, size), arrow_type)
            hidden = pa.array(np.arange(size), mask=absent)
            values = there if name in table.required or not absent.any() else there.take(hidden)
        columns[name] = cast(values, arrow_type)
    for rule in followed(table):
        with connect() as connection:
            connection.register("rows", pa.table({name: columns[name] for name in rule.inputs}))
            kind = table.column(rule.column).type
            worked_out = connection.sql(f"SELECT TRY_CAST({rule.expression} AS {kind}) AS it FROM rows")
            columns[rule.column] = cast(worked_out.to_arrow_table().column(0), model.schema.field(rule.column).type)
    return columns


def _kept(rows: pa.Table, table: Table, conditions: Sequence[str]) -> pa.Table:
    """The rows that meet every condition; NULL does."""
    if not conditions:
        return rows
    with connect() as connection:
        connection.register(table.name, rows)
        met = " AND ".join(f"({condition}) IS NOT FALSE" for condition in conditions)
        here = connection.sql(f"SELECT {met} AS met FROM {quote(table.name)}").to_arrow_table().column(0)
    return rows.filter(here)


def _is_provided(coded: Coded | None) -> bool:
    return coded is not None and not isinstance(coded.codec, CategoryCodec | NumberCodec)


class Providers:
    """Who makes the values of a table that are not learned, each made once."""

    def __init__(self, model: TableModel, table: Table, seed: int, rows: int) -> None:
        self.model, self.table, self._seed, self._rows = model, table, seed, rows
        self._made: dict[str, Any] = {}

    def of(self, name: str) -> Any:
        """The provider of a column."""
        if name not in self._made:
            self._made[name] = provider_for(
                as_provided(self.table.column(name)),
                self.model.shapes.get(name),
                seed=self._seed,
                table=self.table.name,
                unique=any(name in key for key in self.table.keys),
                rows=self._rows,
            )
        return self._made[name]
