"""Rows of one table in several databases as numbers: for distances, for classifiers, with the subject of each row."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.checks.comparison import is_nested, number_sql
from synth_ops.checks.nearest import Points
from synth_ops.checks.views import learned_columns
from synth_ops.metadata import Column, ForeignKey, Metadata, Relation, Rule, Table, path_to, subject_path
from synth_ops.rules.queries import violations_sql

Matrix = npt.NDArray[np.float64]
Subjects = npt.NDArray[np.uint64]
_MISSING_RANK = -0.5
_MOST_COLUMNS = 60
_FEWEST_OWNERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The same columns in several databases.

    Attributes:
        names: Of the columns.
        categories: Which of them hold categories: their values are codes, in the order of the texts.
        values: A matrix a database, by its schema's name; NaN where a value is missing.
        subjects: Whom each row belongs to, by schema.
    """

    names: tuple[str, ...]
    categories: npt.NDArray[np.bool_]
    values: Mapping[str, Matrix]
    subjects: Mapping[str, Subjects]

    def only(self, kept: npt.NDArray[np.bool_]) -> Rows:
        """Some of the columns."""
        return Rows(
            names=tuple(name for name, each in zip(self.names, kept, strict=True) if each),
            categories=self.categories[kept],
            values={schema: matrix[:, kept] for schema, matrix in self.values.items()},
            subjects=self.subjects,
        )

    def points(self) -> tuple[dict[str, Points], npt.NDArray[np.bool_]]:
        """Numbers as ranks among all databases, categories as codes; the number of the most values stands first."""
        schemas = list(self.values)
        together = np.vstack([self.values[schema] for schema in schemas])
        distinct = []
        for column in range(together.shape[1]):
            values = together[:, column]
            known = ~np.isnan(values)
            different, place, counts = np.unique(values[known], return_inverse=True, return_counts=True)
            distinct.append(len(different))
            if not self.categories[column] and len(different):
                middle = (np.cumsum(counts) - counts / 2) / counts.sum()
                together[known, column] = middle[place]
            together[~known, column] = _MISSING_RANK
        order = np.lexsort((-np.array(distinct), self.categories))
        together = together[:, order].astype(np.float32)
        sizes = np.cumsum([len(self.values[schema]) for schema in schemas])[:-1]
        return dict(zip(schemas, np.split(together, sizes), strict=True)), self.categories[order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """Several databases of one shape in one DuckDB, a schema each."""

    connection: Any
    metadata: Metadata
    schemas: tuple[str, ...]

    def rows(
        self,
        table: str,
        root: str | None = None,
        most: int | None = None,
        without: Collection[str] = (),
        path: tuple[ForeignKey, ...] | None = None,
    ) -> Rows:
        """The learned columns of a table.

        Args:
            table: Its name.
            root: The table whose rows are the subjects; those of `owners` when left out.
            most: About how many rows a database, of subjects drawn by their hash.
            without: Columns to leave out.
            path: The foreign keys to the subjects, if it is not the usual path that is meant.
        """
        columns = [column for column in _usable(self.metadata, table) if column.name not in without]
        names = tuple(column.name for column in columns)
        selected = ", ".join(
            f"{number_sql(column) or f'CAST({sql.quote(column.name)} AS VARCHAR)'} AS c{number}"
            for number, column in enumerate(columns)
        )
        selected = f", {selected}" if selected else ""
        tables = {}
        for schema in self.schemas:
            owned = self._owned(schema, table, root, path)
            few = f" WHERE {_drawn(self.connection, owned, most)}" if most else ""
            query = f"SELECT coalesce({sql.SUBJECT}, 0) AS s{selected} FROM ({owned}){few}"
            tables[schema] = self.connection.sql(query).to_arrow_table()
        return _encoded(names, np.array([not number_sql(each) for each in columns], dtype=bool), tables)

    def carried(self, table: str) -> frozenset[str]:
        """The columns that every row, in every database, has from a row of another table: they are judged there."""
        described = self.metadata.table(table)
        return frozenset(
            rule.column
            for rule in described.rules
            if rule.through and rule.relation is Relation.EQUALS and not self._broken(described, rule)
        )

    def profiles(self, root: str, tables: Sequence[str], most: int | None = None) -> Rows:
        """Every subject with its own columns, and what its rows in other tables amount to.

        Aggregated as in SyntheRela's C2ST-Agg (Hudovernik et al., 2024), with the extremes: the number of rows; of
        numbers the mean, the least and the greatest; of categories how many there are. The first sixty of these.

        Args:
            root: The table of the subjects.
            tables: The others, whose rows belong to them.
            most: About how many subjects a database.
        """
        own = self.rows(root, root, most)
        wanted = list(self._aggregates(root, tables))
        wanted.sort(key=lambda each: each[0])
        wanted = wanted[: max(_MOST_COLUMNS - len(own.names), len(tables))]
        values = {schema: [matrix] for schema, matrix in own.values.items()}
        for table in dict.fromkeys(table for _, table, _ in wanted):
            expressions = [expression for _, of, expression in wanted if of == table]
            selected = ", ".join(f"CAST({each} AS DOUBLE) AS a{number}" for number, each in enumerate(expressions))
            for schema in self.schemas:
                query = f"SELECT {sql.SUBJECT} AS s, {selected} FROM ({self._owned(schema, table, root)}) GROUP BY 1"
                found = self.connection.sql(f"{query} HAVING {sql.SUBJECT} IS NOT NULL ORDER BY 1").fetchnumpy()
                keys = np.asarray(found.pop("s"), dtype=np.uint64)
                columns: list[Matrix] = [
                    np.ma.filled(np.ma.asarray(each, dtype=float), np.nan) for each in found.values()
                ]
                values[schema].append(_looked_up(own.subjects[schema], keys, np.column_stack(columns)))
        names = tuple(f"{table}: {expression}" for _, table, expression in wanted)
        return Rows(
            names=(*own.names, *names),
            categories=np.concatenate([own.categories, np.zeros(len(names), dtype=bool)]),
            values={schema: np.column_stack(parts) for schema, parts in values.items()},
            subjects=own.subjects,
        )

    def owners(self, schema: str, table: str, rows: Subjects) -> Subjects:
        """The person to whom each row of a table belongs, or else the row of its largest parent.

        Args:
            schema: The database.
            table: The table's name.
            rows: Their primary keys' hashes.
        """
        metadata, path = self.metadata, self._path_to_owners(table) or ()
        own = sql.columns_sql(metadata.table(table).primary_key)
        query = f"SELECT hash({own}) AS k, {sql.SUBJECT} AS s FROM ({sql.subjects_sql(metadata, table, schema, path)})"
        found = self.connection.sql(
            f"SELECT k, any_value(s) AS s FROM ({query}) GROUP BY k ORDER BY k"
        ).to_arrow_table()
        known = found.column("s").is_valid().to_numpy()
        keys_, owners = (found.column(name).fill_null(0).to_numpy()[known].astype(np.uint64) for name in ("k", "s"))
        place = np.minimum(np.searchsorted(keys_, rows), max(len(keys_) - 1, 0))
        if not len(keys_):
            return rows
        return np.where(keys_[place] == rows, owners[place], rows)

    def _aggregates(self, root: str, tables: Sequence[str]) -> Iterator[tuple[int, str, str]]:
        """How early each one is wanted, its table, and its SQL."""
        for table in tables:
            if table == root or path_to(self.metadata, table, root) is None:
                continue
            yield 0, table, "count(*)"
            for column in _usable(self.metadata, table):
                number = number_sql(column)
                if not number:
                    yield 1, table, f"count(DISTINCT {sql.quote(column.name)})"
                    continue
                yield from (
                    (priority, table, f"{how}({number})") for priority, how in ((1, "avg"), (2, "max"), (3, "min"))
                )

    def _broken(self, table: Table, rule: Rule) -> bool:
        queries = [violations_sql(table, rule, schema=schema) for schema in self.schemas]
        return any(self.connection.execute(f"SELECT EXISTS ({query})").fetchone()[0] for query in queries)

    def _path_to_owners(self, table: str) -> tuple[ForeignKey, ...] | None:
        """To the person, or else to the largest parent; None for a table whose rows stand for themselves."""
        path = subject_path(self.metadata, table)
        keys = [key for key in self.metadata.table(table).foreign_keys if key.parent != table]
        keys = [key for key in keys if self.metadata.table(key.parent).rows >= _FEWEST_OWNERS]
        if path is not None or not keys:
            return path
        return (max(keys, key=lambda key: self.metadata.table(key.parent).rows),)

    def _owned(self, schema: str, table: str, root: str | None, path: tuple[ForeignKey, ...] | None = None) -> str:
        """A query for a table's rows with their subjects; by the usual path, who is nobody's stands for itself."""
        if root is not None or path is not None:
            path = path_to(self.metadata, table, root) if root is not None else path
            return sql.subjects_sql(self.metadata, table, schema, path)
        described = self.metadata.table(table)
        owned = sql.subjects_sql(self.metadata, table, schema, self._path_to_owners(table))
        own = sql.columns_sql(described.primary_key or described.column_names)
        subject = f"coalesce(CAST({sql.SUBJECT} AS UBIGINT), hash({own}))"
        return f"SELECT * REPLACE ({subject} AS {sql.SUBJECT}) FROM ({owned})"


@contextlib.contextmanager
def open_databases(metadata: Metadata, **databases: Mapping[str, TableData]) -> Iterator[Databases]:
    """Open several databases side by side, each in the schema that it is given as."""
    with sql.connect() as connection:
        for schema, tables in databases.items():
            sql.register(connection, tables, schema)
        yield Databases(connection=connection, metadata=metadata, schemas=tuple(databases))


def _usable(metadata: Metadata, table: str) -> list[Column]:
    return [column for column in learned_columns(metadata.table(table)) if not is_nested(column)]


def _drawn(connection: Any, owned: str, most: int) -> str:
    """A condition that keeps about so many rows, all of a subject or none."""
    ((total,),) = connection.execute(f"SELECT count(*) FROM ({owned})").fetchall()
    return "true" if total <= most else f"hash({sql.SUBJECT}, 1) % {total} < {most}"


def _encoded(names: tuple[str, ...], categories: npt.NDArray[np.bool_], tables: Mapping[str, Any]) -> Rows:
    import pyarrow as pa

    columns: list[Matrix] = []
    for number, category in enumerate(categories):
        parts = [each.column(f"c{number}") for each in tables.values()]
        together = pa.chunked_array([chunk for part in parts for chunk in part.chunks], type=parts[0].type)
        columns.append(_codes(together) if category else together.to_numpy().astype(float))
    sizes = [each.num_rows for each in tables.values()]
    matrix = np.column_stack(columns) if columns else np.empty((sum(sizes), 0))
    values, subjects = {}, {}
    for (schema, each), part in zip(tables.items(), np.split(matrix, np.cumsum(sizes)[:-1]), strict=True):
        owners = each.column("s").to_numpy().astype(np.uint64)
        order = np.lexsort((*part.T, owners))  # a join may give rows in any order, and what is drawn must not change
        values[schema], subjects[schema] = part[order], owners[order]
    return Rows(names=names, categories=categories, values=values, subjects=subjects)


def _codes(texts: Any) -> Matrix:
    """The place of each text among all of them; NaN where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.unique(texts.drop_null())
    ordered = known.take(pc.sort_indices(known)) if len(known) else known
    places = pc.index_in(texts, value_set=pa.array(ordered))
    codes: Matrix = places.to_numpy().astype(float)
    return codes


def _looked_up(wanted: Subjects, keys: Subjects, values: Matrix) -> Matrix:
    """The row of each wanted key; NaN where there is none."""
    found = np.full((len(wanted), values.shape[1]), np.nan)
    if len(keys):
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        known = keys[place] == wanted
        found[known] = values[place[known]]
    return found
