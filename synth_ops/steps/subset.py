"""Read a part of a database in which every reference still holds.

Only key columns are looked at first: DuckDB works out from them which rows hang together. Then each table is read once,
as a stream, and the rows that belong to the part pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth_ops.errors import RecipeError, SynthOpsError
from synth_ops.metadata import ForeignKey, Metadata, Table, generation_order
from synth_ops.ports import Progress, ProgressListener, SourceSession
from synth_ops.recipe import Recipe, SubsetRecipe
from synth_ops.sql import connect, quote

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_KEPT = quote("__synth_ops_kept")
_BATCH_ROWS = 65_536
Read = Callable[[Table], "pa.RecordBatchReader"]


@contextlib.contextmanager
def part_of(
    metadata: Metadata, recipe: Recipe, session: SourceSession, progress: ProgressListener
) -> Iterator[tuple[Read, list[str]]]:
    """How to read each table so that only the rows of the recipe's part come.

    A row that refers to one that a `where` leaves out is left out with it. Of a `subset`, the root's rows are drawn at
    random; rows that refer to a row of the part belong to it, however many references away; whatever these refer to
    comes as well, but nothing more that belongs to it. Tables that no reference joins to the root come whole.

    Yields:
        A way to read, and what there is to say of the part, a line each.

    Raises:
        RecipeError: The subset's root has no key.
        SourceError: The source can't be read.
    """
    conditions = {name: table.where for name, table in recipe.tables.items() if table.where and not table.exclude}
    filtered = _and_their_children(metadata, conditions)
    part = _Part(metadata=metadata, session=session, conditions=conditions)
    if not recipe.subset and filtered == set(conditions):
        yield part.whole, []
        return
    joined = _joined_to(metadata, recipe.subset.root) if recipe.subset else set()
    with connect(threads=1) as connection:  # one thread: rows stay in their order
        connection.execute("CREATE SCHEMA keys")
        concerned = [table for table in metadata.tables if table.name in filtered | joined and part.keys(table)]
        for number, table in enumerate(concerned):
            progress(Progress(step="snapshot", item=f"keys of {table.name}", done=number, total=len(concerned)))
            part.load(connection, table)
        part.leave_out(connection, filtered)
        warnings = part.draw(connection, recipe.subset, joined) if recipe.subset else []
        narrowed = {table.name for table in concerned}
        yield lambda table: part.read(connection, table) if table.name in narrowed else part.whole(table), warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Which rows of each table come, told by the values of its key columns, which schema `keys` holds."""

    metadata: Metadata
    session: SourceSession
    conditions: Mapping[str, str]

    def keys(self, table: Table) -> list[str]:
        """The columns that refer or are referred to, and the primary key."""
        used = {*table.primary_key, *(column for key in table.foreign_keys for column in key.columns)}
        used.update(column for _, key in self.metadata.children(table.name) for column in key.parent_columns)
        return [column for column in table.column_names if column in used]

    def whole(self, table: Table) -> pa.RecordBatchReader:
        """All rows that its own condition lets pass."""
        return self.session.read(table, self.conditions.get(table.name, ""))

    def load(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Read the key columns."""
        keys = set(self.keys(table))
        columns = tuple(column for column in table.columns if column.name in keys)
        with _from_source(self.whole(dataclasses.replace(table, columns=columns))) as rows:
            connection.register("incoming", rows)
            connection.execute(f"CREATE TABLE {_keys(table.name)} AS SELECT DISTINCT *, true AS {_KEPT} FROM incoming")
            connection.unregister("incoming")

    def leave_out(self, connection: duckdb.DuckDBPyConnection, filtered: set[str]) -> None:
        """Drop the rows that refer to what is not there, until none does."""
        links = [(table, key) for table, key in self._links() if key.parent in filtered]
        changed = bool(links)
        while changed:
            changed = False
            for table, key in links:
                known = " AND ".join(f"child.{quote(column)} IS NOT NULL" for column in key.columns)
                changed |= _count(
                    connection,
                    f"DELETE FROM {_keys(table.name)} AS child WHERE {known} AND NOT EXISTS "
                    f"(SELECT 1 FROM {_keys(key.parent)} AS parent WHERE {self._match(table, key)})",
                )

    def draw(self, connection: duckdb.DuckDBPyConnection, subset: SubsetRecipe, joined: set[str]) -> list[str]:
        """Keep some rows of the root, what belongs to them, and what all these refer to."""
        root = self.metadata.table(subset.root)
        if not root.primary_key:
            raise RecipeError(f"the subset's root {root.name!r} has no primary key", "declare one in the recipe")
        for name in joined:
            connection.execute(f"UPDATE {_keys(name)} SET {_KEPT} = false")
        total = connection.execute(f"SELECT count(*) FROM {_keys(root.name)}").fetchall()[0][0]
        wanted = subset.rows or max(1, round(total * (subset.share or 0)))
        drawn = f"hash({', '.join(quote(column) for column in root.primary_key)}), rowid"
        connection.execute(
            f"UPDATE {_keys(root.name)} SET {_KEPT} = true WHERE rowid IN "
            f"(SELECT rowid FROM {_keys(root.name)} ORDER BY {drawn} LIMIT {int(wanted)})"
        )
        self._keep_what_belongs(connection, root.name)
        self._keep_what_is_needed(connection, joined)
        return [
            f"no row of table {name!r} is in the subset"
            for name in self.metadata.table_names
            if name in joined
            and connection.execute(f"SELECT count(*) > 0 AND NOT bool_or({_KEPT}) FROM {_keys(name)}").fetchall()[0][0]
        ]

    def read(self, connection: duckdb.DuckDBPyConnection, table: Table) -> pa.RecordBatchReader:
        """The rows whose keys are kept, in the source's order."""
        import pyarrow as pa

        same = " AND ".join(
            f"kept.{quote(name)} IS NOT DISTINCT FROM incoming.{quote(name)}" for name in self.keys(table)
        )
        source = self.whole(table)

        def batches() -> Iterator[pa.RecordBatch]:
            cursor = connection.cursor()
            # the stream must be what probes: the other way round its order would be lost
            cursor.execute("SET disabled_optimizers = 'build_side_probe_side,join_order'")
            with _from_source(source) as rows:
                cursor.register("incoming", rows)
                kept = f"(FROM {_keys(table.name)} WHERE {_KEPT}) AS kept"
                joined = f"SELECT incoming.* FROM incoming SEMI JOIN {kept} ON {same}"
                yield from cursor.sql(joined).to_arrow_reader(_BATCH_ROWS)

        cast = (batch.cast(source.schema) for batch in batches())
        return pa.RecordBatchReader.from_batches(source.schema, cast)

    def _keep_what_belongs(self, connection: duckdb.DuckDBPyConnection, root: str) -> None:
        """Rows of later tables that refer to a kept one; a reference that closes a cycle says nothing of belonging."""
        order, deferred = generation_order(self.metadata)
        below = {root}
        for table in map(self.metadata.table, order):
            for key in table.foreign_keys:
                if key.parent in below and table.name not in (key.parent, root) and (table.name, key) not in deferred:
                    self._keep(connection, table.name, key.parent, self._match(table, key), kept="parent", new="child")
                    below.add(table.name)

    def _keep_what_is_needed(self, connection: duckdb.DuckDBPyConnection, joined: set[str]) -> None:
        """The parents of kept rows, and theirs; in cycles until nothing is new."""
        links = [(table, key) for table, key in self._links() if table.name in joined]
        changed = True
        while changed:
            changed = False
            for table, key in reversed(links):
                match = self._match(table, key)
                changed |= self._keep(connection, key.parent, table.name, match, kept="child", new="parent")

    def _keep(
        self, connection: duckdb.DuckDBPyConnection, table: str, other: str, match: str, *, kept: str, new: str
    ) -> bool:
        return _count(
            connection,
            f"UPDATE {_keys(table)} AS {new} SET {_KEPT} = true WHERE NOT {new}.{_KEPT} AND EXISTS "
            f"(SELECT 1 FROM {_keys(other)} AS {kept} WHERE {kept}.{_KEPT} AND {match})",
        )

    def _links(self) -> list[tuple[Table, ForeignKey]]:
        """Every foreign key with its table, parents first."""
        tables = map(self.metadata.table, generation_order(self.metadata)[0])
        return [(table, key) for table in tables for key in table.foreign_keys]

    def _match(self, table: Table, key: ForeignKey) -> str:
        parent = self.metadata.table(key.parent)
        pairs = []
        for column, other in zip(key.columns, key.parent_columns, strict=True):
            as_text = "" if table.column(column).type == parent.column(other).type else "::VARCHAR"
            pairs.append(f"child.{quote(column)}{as_text} = parent.{quote(other)}{as_text}")
        return " AND ".join(pairs)


def _and_their_children(metadata: Metadata, names: Iterable[str]) -> set[str]:
    """These tables, and those that refer to one of them, however many references away."""
    found = set(names)
    waiting = list(found)
    while waiting:
        new = {child.name for child, _ in metadata.children(waiting.pop())} - found
        found |= new
        waiting += new
    return found


def _joined_to(metadata: Metadata, root: str) -> set[str]:
    """The tables that references join to a table, in either direction, and itself."""
    found, waiting = {root}, [root]
    while waiting:
        name = waiting.pop()
        near = {child.name for child, _ in metadata.children(name)}
        near |= {key.parent for key in metadata.table(name).foreign_keys}
        waiting += near - found
        found |= near
    return found


@contextlib.contextmanager
def _from_source(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatchReader]:
    """A stream for DuckDB to read, which lets the source's own errors pass and not DuckDB's words for them."""
    import duckdb
    import pyarrow as pa

    failures: list[SynthOpsError] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except SynthOpsError as error:
            failures.append(error)
            raise

    try:
        yield pa.RecordBatchReader.from_batches(reader.schema, batches())
    except duckdb.Error:
        if failures:
            raise failures[0] from None
        raise


def _keys(table: str) -> str:
    return f"keys.{quote(table)}"


def _count(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    """Whether a statement changed a row."""
    return bool(connection.execute(statement).fetchall()[0][0])
