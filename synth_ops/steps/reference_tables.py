"""Tables that the recipe wants copied as they are: declared at the snapshot, put into every copy.

A generator makes rows of its own for them, too, which the other tables' rows refer to. Those references are moved: to
the real row in the same place, where the generator keeps as many rows; around and around where it does not.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import duckdb

from synth_ops import sql
from synth_ops.artifact_io import table_folder, write_table
from synth_ops.artifacts import TableData
from synth_ops.errors import RecipeError
from synth_ops.metadata import ForeignKey, Metadata, Rule, Table, subject_path

_ASIDE = "reference"
_PLACE = "__synth_ops_place"
_Place = tuple[str, tuple[str, ...]]
"""Some columns of a table."""


def declare(metadata: Metadata, wanted: Collection[str]) -> Metadata:
    """Mark the tables that come as they are; rules that tie others' rows to theirs are given up.

    Raises:
        RecipeError: One of them holds persons or what belongs to them, or refers to a table that is made anew.
    """
    problems = [
        f"table {name!r} {why}"
        for name in wanted
        if name in metadata.table_names
        for why in _obstacles(metadata, metadata.table(name), wanted)
    ]
    if problems:
        raise RecipeError(
            f"`copy: true` is for reference tables: {'; '.join(problems)}",
            "leave it out, exclude columns, or say `subject: false` of a table that holds no persons",
        )
    return dataclasses.replace(
        metadata,
        tables=tuple(
            dataclasses.replace(
                table,
                copied=table.name in wanted,
                rules=tuple(rule for rule in table.rules if not _reaches(table, rule, wanted)),
            )
            for table in metadata.tables
        ),
    )


def put_in(
    folder: Path, metadata: Metadata, snapshot: Mapping[str, TableData], drawn: Mapping[str, TableData]
) -> dict[str, TableData]:
    """Replace what a generator made of copied tables by their real rows, and move the references to them.

    Args:
        folder: Where the copy is made; `drawn` lies below it.
    """
    tables = dict(drawn)
    copied = [table for table in metadata.tables if table.copied]
    for table in metadata.tables:
        moves = [move for parent in copied for move in _moves(metadata, parent, table.name)]
        if moves and not table.copied and drawn[table.name].files:
            tables[table.name] = _moved(folder / _ASIDE, metadata, table, moves, snapshot, drawn)
    for table in copied:
        tables[table.name] = _as_it_is(folder / _ASIDE, table, snapshot[table.name])
    for name, data in drawn.items():
        for file in data.files if tables[name] is not data else ():
            file.unlink()
    return tables


def _obstacles(metadata: Metadata, table: Table, wanted: Collection[str]) -> Iterator[str]:
    if table.subject:
        yield "holds persons"
    elif subject_path(metadata, table.name) is not None:
        yield "holds what belongs to persons"
    for key in table.foreign_keys:
        if key.parent not in wanted and key.parent != table.name:
            yield f"refers to {key.parent!r}, which is made anew"


def _reaches(table: Table, rule: Rule, wanted: Collection[str]) -> bool:
    """Whether a rule ties rows that are made anew to rows that come as they are."""
    parents = {key.parent for key in table.foreign_keys if key.columns == rule.through}
    others = {*parents, rule.child} - {""}
    return any((other in wanted) != (table.name in wanted) or other in wanted for other in others)


def _moves(metadata: Metadata, parent: Table, child: str) -> list[tuple[Table, tuple[str, ...], tuple[str, ...]]]:
    """The columns of a table that hold keys of another, over any number of references: with those that they mean."""
    found: dict[_Place, tuple[str, ...]] = {}
    waiting: list[tuple[str, dict[str, str]]] = []

    def refer(table: Table, key: ForeignKey, meaning: Mapping[str, str]) -> None:
        through = {c: meaning[p] for c, p in zip(key.columns, key.parent_columns, strict=True) if p in meaning}
        place = (table.name, tuple(through))
        if set(meaning) <= set(key.parent_columns) and place not in found and table.name != parent.name:
            found[place] = tuple(through.values())
            waiting.append((table.name, through))

    for table, key in metadata.children(parent.name):
        refer(table, key, {column: column for column in key.parent_columns})
    while waiting:
        name, meaning = waiting.pop()
        for table, key in metadata.children(name):
            refer(table, key, meaning)
    return [(parent, columns, means) for (name, columns), means in found.items() if name == child]


def _moved(
    folder: Path,
    metadata: Metadata,
    table: Table,
    moves: list[tuple[Table, tuple[str, ...], tuple[str, ...]]],
    snapshot: Mapping[str, TableData],
    drawn: Mapping[str, TableData],
) -> TableData:
    """A table whose references mean real rows."""
    real = {column: f"own.{sql.quote(column)}" for column in table.column_names}
    joins = []
    with sql.connect() as connection:
        for number, (parent, columns, means) in enumerate(moves):
            _pair(connection, f"moves_{number}", means, drawn[parent.name], snapshot[parent.name])
            alias, kinds = f"m{number}", {c: metadata.table(table.name).column(c).type for c in columns}
            pairs = list(zip(columns, means, strict=True))
            same = " AND ".join(
                f"CAST({alias}.{sql.quote('from ' + mean)} AS {kinds[column]}) = own.{sql.quote(column)}"
                for column, mean in pairs
            )
            joins.append(f"LEFT JOIN moves_{number} AS {alias} ON {same}")
            for column, mean in pairs:
                moved = f"CAST({alias}.{sql.quote('to ' + mean)} AS {kinds[column]})"
                real[column] = f"CASE WHEN {alias}.{_PLACE} IS NULL THEN {real[column]} ELSE {moved} END"
        listed = ", ".join(f"{value} AS {sql.quote(column)}" for column, value in real.items())
        reader = connection.sql(
            f"SELECT {listed} FROM {sql.relation_sql(drawn[table.name])} AS own {' '.join(joins)} "
            "ORDER BY own.file_index, own.file_row_number"
        ).to_arrow_reader()
        return write_table(folder, table.name, reader.schema, reader)


def _pair(
    connection: duckdb.DuckDBPyConnection, name: str, columns: tuple[str, ...], made: TableData, real: TableData
) -> None:
    """A table of the keys that a generator made, each beside the real one in its place."""

    def numbered(data: TableData, word: str) -> str:
        keys = ", ".join(f"{sql.quote(column)} AS {sql.quote(f'{word} {column}')}" for column in columns)
        place = f"row_number() OVER (ORDER BY file_index, file_row_number) - 1 AS {_PLACE}"
        return f"(SELECT {keys}, {place} FROM {sql.relation_sql(data)})"

    first = sql.columns_sql(f"from {column}" for column in columns)  # a key that is repeated must not repeat rows
    connection.execute(
        f"CREATE TABLE {name} AS SELECT DISTINCT ON ({first}) * FROM {numbered(made, 'from')} AS made "
        f"JOIN {numbered(real, 'to')} AS real ON real.{_PLACE} = made.{_PLACE} % {max(real.rows, 1)}"
    )


def _as_it_is(folder: Path, table: Table, data: TableData) -> TableData:
    there = table_folder(folder, table.name)
    there.mkdir(parents=True, exist_ok=True)
    files = tuple(there / f"part-{place:05}.parquet" for place in range(len(data.files)))
    for source, file in zip(data.files, files, strict=True):
        shutil.copyfile(source, file)
    return TableData(rows=data.rows, files=files)
