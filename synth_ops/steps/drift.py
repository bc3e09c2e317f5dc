"""How the source's schema changed since the recipe's snapshot before, and whether the recipe lets that pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from synth_ops.errors import SourceError
from synth_ops.metadata import Column, Metadata
from synth_ops.recipe import Drift, Recipe
from synth_ops.sql import without_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference.

    Attributes:
        what: The name of the recipe's `drift` setting that decides it.
        table, column: Where; no column where the table itself came or went.
        line: The same in words.
    """

    what: str
    table: str
    column: str
    line: str


def changes(before: Metadata, after: Metadata) -> list[Change]:
    """Tables and columns that are new, gone or of another type, in the order of their tables."""
    return [*_of_tables(before, after), *_of_columns(before, after)]


def refuse(before: Metadata, after: Metadata, recipe: Recipe) -> None:
    """Stop before a row is read where the recipe does not let a change pass.

    A new table or column that the recipe's `tables` name is decided there.

    Raises:
        SourceError: With all such changes.
    """
    stopped = [
        change
        for change in changes(before, after)
        if getattr(recipe.drift, change.what) is Drift.FAIL and not _is_decided(change, recipe)
    ]
    if stopped:
        raise SourceError(
            f"the source's schema has changed: {'; '.join(change.line for change in stopped)}",
            f"name what is new under the recipe's `tables`, or set `drift: {{{stopped[0].what}: synthesise}}`",
        )


def _is_decided(change: Change, recipe: Recipe) -> bool:
    table = recipe.tables.get(change.table)
    if change.what == "new_table":
        return table is not None
    return change.what == "new_column" and table is not None and change.column in table.columns


def _of_tables(before: Metadata, after: Metadata) -> Iterator[Change]:
    for name in after.table_names:
        if name not in before.table_names:
            yield Change(what="new_table", table=name, column="", line=f"table {name!r} is new")
    for name in before.table_names:
        if name not in after.table_names:
            yield Change(what="removed_table", table=name, column="", line=f"table {name!r} is gone")


def _of_columns(before: Metadata, after: Metadata) -> Iterator[Change]:
    for table in after.tables:
        if table.name not in before.table_names:
            continue
        old = {column.name: column for column in before.table(table.name).columns}
        for column in table.columns:
            where = f"column {column.name!r} of table {table.name!r}"
            if column.name not in old:
                yield Change(what="new_column", table=table.name, column=column.name, line=f"{where} is new")
            elif _type(old[column.name]) != _type(column):
                was, now = (without_labels(_type(each)) for each in (old[column.name], column))
                line = f"{where} was {was} and is {now}" if was != now else f"{where} is {now} as before, with others"
                yield Change(what="changed_type", table=table.name, column=column.name, line=line)
        for name in old:
            if name not in table.column_names:
                line = f"column {name!r} of table {table.name!r} is gone"
                yield Change(what="removed_column", table=table.name, column=name, line=line)


def _type(column: Column) -> str:
    """As the source declares it; where it declares nothing, as it is stored."""
    return column.native_type or column.type
