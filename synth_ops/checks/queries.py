"""Whether queries behave on the copy as on the source: F3 of the gate, on generated queries and on users' own."""

from __future__ import annotations

import math
import os
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.comparison import is_nested, number_sql
from synth_ops.checks.limits import judged
from synth_ops.checks.statistics import Z
from synth_ops.checks.suites import reference_name
from synth_ops.checks.views import COPY, SOURCE, Views, learned_columns, measured, subjects_of, view_sql
from synth_ops.errors import RecipeError
from synth_ops.metadata import Column, ForeignKey, Table
from synth_ops.ports import Threshold

QUERY_ERROR, OWN_QUERY_ERROR = "fidelity.query_error", "fidelity.own_query_error"
QUERY_LIMITS: Mapping[str, Threshold] = {
    QUERY_ERROR: Threshold(warn=1.2, block=2.0),
    OWN_QUERY_ERROR: Threshold(warn=1.2, block=2.0),
}
_A_PATH, _MOST = 6, 120
_FEWEST_ROWS, _GROUPS, _TRIES = 50, 10, 4
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPath:
    """A table, or a reference from one to another.

    Attributes:
        name: For people.
        key: The reference; None for the table alone.
        columns: What may be asked about: the alias, the table and the column.
    """

    name: str
    table: Table
    key: ForeignKey | None = None
    columns: Sequence[tuple[str, Table, Column]]

    def rows(self, schema: str) -> str:
        """What is selected from on one side: the table is `c`, its parent `p`."""
        own = f"{view_sql(schema, self.table.name)} c"
        if self.key is None:
            return own
        match = " AND ".join(
            f"c.{sql.quote(here)} = p.{sql.quote(there)}"
            for here, there in zip(self.key.columns, self.key.parent_columns, strict=True)
        )
        return f"{own} JOIN {view_sql(schema, self.key.parent)} p ON {match}"


def load_queries(files: Sequence[Path]) -> dict[str, str]:
    """Read users' own queries, by the file's name (with its folder, where names repeat) and their place in it.

    Raises:
        RecipeError: A file can't be read, or holds something else than SELECTs.
    """
    import sqlglot
    from sqlglot import expressions

    queries: dict[str, str] = {}
    for label, file in _labelled(files):
        try:
            statements = sqlglot.parse(file.read_text(encoding="utf-8"), dialect="duckdb")
        except (OSError, UnicodeDecodeError):
            raise RecipeError(f"can't read queries {file}", "check `gate.queries` in the recipe") from None
        except sqlglot.errors.SqlglotError:
            raise RecipeError(f"queries {file} are not SQL", "DuckDB's dialect is meant") from None
        for number, statement in enumerate(filter(None, statements), start=1):
            if not isinstance(statement, expressions.Query):
                raise RecipeError(f"queries {file}: statement {number} is no SELECT", "the gate only reads")
            queries[f"{label} #{number}"] = statement.sql(dialect="duckdb")
    return queries


def query_errors(views: Views, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """F3: how far the row counts of queries are off: q-error, the larger count divided by the smaller.

    For each table and each reference, or for twenty of them drawn by the seed, some queries are made up, by the seed,
    too: filters, joins with filters on either side, and the counts of the commonest groups of a join. Those of few rows
    are left out. Counts are compared per row of the table, so that a larger or smaller copy is not wrong.
    """
    paths = [path for path in query_paths(views) if path.columns]
    asked = paths
    if len(paths) > _MOST // _A_PATH:
        chance = random.Random(f"{views.context.seed}/paths")  # noqa: S311  no secret
        asked = [paths[place] for place in sorted(chance.sample(range(len(paths)), _MOST // _A_PATH))]
    found: list[tuple[QueryPath, list[float], float]] = []
    for path in asked:
        started = time.perf_counter()
        errors = list(_errors(views, path))
        found.append((path, errors, time.perf_counter() - started))
    everything = [error for _, errors, _ in found for error in errors]
    if not everything:
        return []
    evidence = [
        replace(
            _evidence(path.name, errors, path.table.name),
            severity=Severity.INFO,
            seconds=seconds,
            seed=views.context.seed,
        )
        for path, errors, seconds in found
        if errors
    ]
    together = _evidence("all queries", everything, "")
    if len(asked) < len(paths):
        detail = f"{together.detail}; on {len(asked)} of {len(paths)} tables and references, drawn by the seed"
        together = replace(together, detail=detail)
    return [*judged(together, limits[QUERY_ERROR]), *evidence]


def own_query_errors(views: Views, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """The same for users' own queries: the number of rows that each gives on either side.

    In a smaller or larger copy rows of tables are as much fewer or more, and groups of rows are as many: what is nearer
    counts. Fewer than k rows are not told apart from each other.
    """
    evidence: list[Evidence] = []
    for name, query in views.context.queries.items():
        compared = partial(_own_query_error, views, name, query, limits)
        evidence += measured(compared, check=OWN_QUERY_ERROR, subject=name)
    return evidence


def _own_query_error(views: Views, name: str, query: str, limits: Mapping[str, Threshold]) -> list[Evidence]:
    try:
        counts = []
        for schema in (SOURCE, COPY):
            views.connection.execute(f"SET search_path = '{schema}'")
            counts.append(views.number(f"SELECT count(*) FROM ({query})"))
    finally:
        views.connection.execute(f"SET search_path = '{COPY}'")
    real, copied = (max(count, float(sql.K_SUBJECTS)) for count in counts)
    told = f"{real:,.0f}" if counts[0] >= sql.K_SUBJECTS else f"fewer than {sql.K_SUBJECTS}"
    expected = [real, max(real * views.context.copy.scale, float(sql.K_SUBJECTS))]
    found = Evidence(
        check=OWN_QUERY_ERROR,
        subject=name,
        value=min(_q_error(each, copied) for each in expected),
        n=int(counts[0]) if counts[0] >= sql.K_SUBJECTS else 0,
        detail=f"{told} rows from the source, {counts[1]:,.0f} from the copy",
        reference=1.0,
    )
    return judged(found, limits[OWN_QUERY_ERROR], allowance=3 / math.sqrt(min(expected) + 1))


def _labelled(files: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Files with a name each: their own or, where several have that one, with the folders in which they differ."""
    paths = {file: file.absolute() for file in files}
    for file, path in paths.items():
        alike = [each for each in paths.values() if each.name == path.name]
        yield (path.relative_to(os.path.commonpath(alike)).as_posix() if len(alike) > 1 else file.name), file


def query_paths(views: Views) -> Iterator[QueryPath]:
    """Every table with rows enough, and every reference that it has."""
    for table in views.metadata.tables:
        if views.context.snapshot.tables[table.name].rows < _FEWEST_ROWS or table.name not in views.copy:
            continue
        own = [("c", table, column) for column in _asked(table)]
        yield QueryPath(name=table.name, table=table, columns=own)
        for key in table.foreign_keys:
            if key.parent in views.copy:
                parent = views.metadata.table(key.parent)
                theirs = [("p", parent, column) for column in _asked(parent)]
                columns = [*theirs, *own] if theirs else []
                yield QueryPath(name=reference_name(table, key), table=table, key=key, columns=columns)


def _asked(table: Table) -> list[Column]:
    return [column for column in learned_columns(table) if not is_nested(column)]


def _errors(views: Views, path: QueryPath) -> Iterator[float]:
    """The q-errors of some queries over one path."""
    chance = random.Random(f"{views.context.seed}/{path.name}")  # noqa: S311  no secret
    tables = views.context.snapshot.tables, views.context.copy.tables
    rows, copied = (each[path.table.name].rows for each in tables)
    scale = copied / rows if copied else views.context.copy.scale  # of a table that is empty, all are missed
    for number in range(_A_PATH):
        if number == _A_PATH - 1:
            yield from _group_errors(views, path, chance, scale)
            continue
        for _ in range(_TRIES):
            conditions = _conditions(views, path, chance, 1 + number % 2)
            where = " AND ".join(conditions)
            expected = views.number(f"SELECT count(*) FROM {path.rows(SOURCE)} WHERE {where}") if where else 0.0
            if expected >= _FEWEST_ROWS:
                found = views.number(f"SELECT count(*) FROM {path.rows(COPY)} WHERE {where}")
                yield _q_error(expected * scale, found)
                break


def _conditions(views: Views, path: QueryPath, chance: random.Random, count: int) -> list[str]:
    chosen = chance.sample(list(path.columns), min(count, len(path.columns)))
    if path.key:  # one of them about the parent
        chosen[0] = chance.choice([each for each in path.columns if each[0] == "p"])
    return [condition for each in dict.fromkeys(chosen) if (condition := _condition(views, *each, chance))]


def _condition(views: Views, alias: str, table: Table, column: Column, chance: random.Random) -> str:
    """A filter that keeps a part of the source's rows; empty where the column offers none."""
    number = number_sql(column)
    if number and table.rows < _FEWEST_ROWS:
        return ""
    if number:
        low, high = sorted(chance.sample(_SHARES, 2))
        numbers = f"SELECT {number} AS v FROM {view_sql(SOURCE, table.name)}"
        query = f"SELECT quantile_cont(v, [{low}, {high}]) FROM ({numbers}) WHERE isfinite(v)"
        ends = views.row(query)[0]
        own = number.replace(sql.quote(column.name), f"{alias}.{sql.quote(column.name)}")
        return f"{own} BETWEEN {ends[0]!r} AND {ends[1]!r}" if ends else ""
    values = [str(row[0]) for row in views.connection.execute(common_values(views, table, column)).fetchall()]
    if not values:
        return ""
    picked = chance.sample(values, chance.randint(1, max(len(values) // 3, 1)))
    return f"CAST({alias}.{sql.quote(column.name)} AS VARCHAR) IN ({', '.join(map(sql.literal, picked))})"


def common_values(views: Views, table: Table, column: Column) -> str:
    """A query for the commonest values that enough subjects share."""
    rows, subjects = subjects_of(views.metadata, table.name)
    text = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    known = f"SELECT {text} AS v, {sql.SUBJECT} FROM {rows} WHERE {sql.quote(column.name)} IS NOT NULL"
    return (
        f"SELECT v FROM ({known}) GROUP BY v HAVING {subjects} >= {sql.K_SUBJECTS} ORDER BY count(*) DESC, v "
        f"LIMIT {_GROUPS}"
    )


def _group_errors(views: Views, path: QueryPath, chance: random.Random, scale: float) -> Iterator[float]:
    """The median q-error of the counts of the commonest groups."""
    columns = [each for each in path.columns if not number_sql(each[2])]
    if not columns:
        return
    alias, table, column = chance.choice(columns)
    name = f"CAST({alias}.{sql.quote(column.name)} AS VARCHAR)"
    common = common_values(views, table, column)
    real, copied = (
        dict(
            views.connection.execute(
                f"SELECT {name}, count(*) FROM {path.rows(schema)} WHERE {name} IN ({common}) GROUP BY 1"
            ).fetchall()
        )
        for schema in (SOURCE, COPY)
    )
    errors = [_q_error(n * scale, copied.get(group, 0)) for group, n in real.items() if n >= _FEWEST_ROWS]
    if errors:
        yield statistics.median(errors)


def _q_error(expected: float, found: float) -> float:
    """The larger count divided by the smaller; of nothing, as of one.

    >>> _q_error(100, 50)
    2.0
    """
    one, other = max(expected, 1.0), max(found, 1.0)
    return max(one / other, other / one)


def _evidence(name: str, errors: Sequence[float], table: str) -> Evidence:
    median, ordered = statistics.median(errors), sorted(errors)
    reach = math.ceil(Z * math.sqrt(len(ordered)) / 2)  # ranks around the middle, as a count of heads goes
    low, high = len(ordered) // 2 - reach, (len(ordered) - 1) // 2 + reach
    return Evidence(
        check=QUERY_ERROR,
        subject=name,
        value=median,
        n=len(errors),
        ci_low=ordered[max(low, 0)],
        ci_high=ordered[min(high, len(ordered) - 1)],
        detail=f"q-error of row counts: median of {len(errors)} queries; worst {max(errors):.3g}",
        table=table,
        reference=1.0,
    )
