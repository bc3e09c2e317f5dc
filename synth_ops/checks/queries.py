"""Whether queries behave on the copy as on the source: F3 of the gate, on generated queries and on users' own."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.comparison import is_nested, number_sql
from synth_ops.checks.limits import judged
from synth_ops.checks.suites import reference_name
from synth_ops.checks.views import COPY, SOURCE, Views, failed, learned_columns, subjects_of, view_sql
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
class _Path:
    """A table, or a reference from one to another.

    Attributes:
        name: For people.
        rows: What is selected from, with `{schema}` in place of the schema; the table is `c`, its parent `p`.
        columns: What may be asked about: the alias, the table and the column.
    """

    name: str
    table: Table
    rows: str
    columns: Sequence[tuple[str, Table, Column]]


def load_queries(files: Sequence[Path]) -> dict[str, str]:
    """Read users' own queries, by the file's name and their place in it.

    Raises:
        RecipeError: A file can't be read, or holds something else than SELECTs.
    """
    import sqlglot
    from sqlglot import expressions

    queries: dict[str, str] = {}
    for file in files:
        try:
            statements = sqlglot.parse(file.read_text(encoding="utf-8"), dialect="duckdb")
        except (OSError, UnicodeDecodeError):
            raise RecipeError(f"can't read queries {file}", "check `gate.queries` in the recipe") from None
        except sqlglot.errors.SqlglotError:
            raise RecipeError(f"queries {file} are not SQL", "DuckDB's dialect is meant") from None
        for number, statement in enumerate(filter(None, statements), start=1):
            if not isinstance(statement, expressions.Query):
                raise RecipeError(f"queries {file}: statement {number} is no SELECT", "the gate only reads")
            queries[f"{file.name} #{number}"] = statement.sql(dialect="duckdb")
    return queries


def query_errors(views: Views, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """F3: how far the row counts of queries are off: q-error, the larger count divided by the smaller.

    For each table and each reference some queries are made up, by the seed: filters, joins with filters on either
    side, and the counts of the commonest groups of a join. Those of few rows are left out. Counts are compared per row
    of the table, so that a larger or smaller copy is not wrong.
    """
    paths = [path for path in _paths(views) if path.columns]
    found: list[tuple[_Path, list[float], float]] = []
    for path in paths[: _MOST // _A_PATH]:
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
    return [*judged(_evidence("all queries", everything, ""), limits[QUERY_ERROR]), *evidence]


def own_query_errors(views: Views, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """The same for users' own queries: the number of rows that each gives on either side."""
    evidence: list[Evidence] = []
    for name, query in views.context.queries.items():
        started = time.perf_counter()
        try:
            counts = []
            for schema in (SOURCE, COPY):
                views.connection.execute(f"SET search_path = '{schema}'")
                counts.append(views.number(f"SELECT count(*) FROM ({query})"))
        except duckdb.Error as error:  # the text may hold values
            evidence.append(failed(check=OWN_QUERY_ERROR, subject=name, reason=type(error).__name__))
            continue
        finally:
            views.connection.execute(f"SET search_path = '{COPY}'")
        measured = Evidence(
            check=OWN_QUERY_ERROR,
            subject=name,
            value=_q_error(*counts),
            n=int(counts[0]),
            detail=f"{counts[0]:,.0f} rows from the source, {counts[1]:,.0f} from the copy",
            reference=1.0,
            seconds=time.perf_counter() - started,
        )
        evidence += judged(measured, limits[OWN_QUERY_ERROR], allowance=3 / math.sqrt(counts[0] + 1))
    return evidence


def _paths(views: Views) -> Iterator[_Path]:
    for table in views.metadata.tables:
        if views.context.snapshot.tables[table.name].rows < _FEWEST_ROWS or table.name not in views.copy:
            continue
        own = [("c", table, column) for column in _asked(table)]
        yield _Path(name=table.name, table=table, rows=f"{{schema}}.{sql.quote(table.name)} c", columns=own)
        for key in table.foreign_keys:
            if key.parent in views.copy:
                parent = views.metadata.table(key.parent)
                theirs = [("p", parent, column) for column in _asked(parent)]
                yield _Path(
                    name=reference_name(table, key),
                    table=table,
                    rows=_join(table, key),
                    columns=[*theirs, *own] if theirs else [],
                )


def _asked(table: Table) -> list[Column]:
    return [column for column in learned_columns(table) if not is_nested(column)]


def _join(table: Table, key: ForeignKey) -> str:
    match = " AND ".join(
        f"c.{sql.quote(here)} = p.{sql.quote(there)}"
        for here, there in zip(key.columns, key.parent_columns, strict=True)
    )
    return f"{{schema}}.{sql.quote(table.name)} c JOIN {{schema}}.{sql.quote(key.parent)} p ON {match}"


def _errors(views: Views, path: _Path) -> Iterator[float]:
    """The q-errors of some queries over one path."""
    chance = random.Random(f"{views.context.seed}/{path.name}")  # noqa: S311  no secret
    sizes = [
        views.number(f"SELECT count(*) FROM {path.rows.split(' JOIN ')[0].format(schema=schema)}")
        for schema in (SOURCE, COPY)
    ]
    if not all(sizes):
        yield math.inf
        return
    scale = sizes[1] / sizes[0]
    for number in range(_A_PATH):
        if number == _A_PATH - 1:
            yield from _group_errors(views, path, chance, scale)
            continue
        for _ in range(_TRIES):
            conditions = _conditions(views, path, chance, 1 + number % 2)
            query = f"SELECT count(*) FROM {path.rows} WHERE {' AND '.join(conditions)}" if conditions else ""
            expected = views.number(_on(query, SOURCE)) if query else 0.0
            if expected >= _FEWEST_ROWS:
                yield _q_error(expected * scale, views.number(_on(query, COPY)))
                break


def _on(query: str, schema: str) -> str:
    """A query on one side. Literals may hold braces, so the schema is not formatted in."""
    return query.replace("{schema}", sql.quote(schema))


def _conditions(views: Views, path: _Path, chance: random.Random, count: int) -> list[str]:
    chosen = chance.sample(list(path.columns[: len(path.columns)]), min(count, len(path.columns)))
    if path.rows.startswith("{schema}") and " JOIN " in path.rows:  # one of them about the parent
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
    values = [str(row[0]) for row in views.connection.execute(_common_values(views, table, column)).fetchall()]
    if not values:
        return ""
    picked = chance.sample(values, chance.randint(1, max(len(values) // 3, 1)))
    return f"CAST({alias}.{sql.quote(column.name)} AS VARCHAR) IN ({', '.join(map(sql.literal, picked))})"


def _common_values(views: Views, table: Table, column: Column) -> str:
    """A query for the commonest values that enough subjects share."""
    rows, subjects = subjects_of(views.metadata, table.name)
    text = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    known = f"SELECT {text} AS v, {sql.SUBJECT} FROM {rows} WHERE {sql.quote(column.name)} IS NOT NULL"
    return (
        f"SELECT v FROM ({known}) GROUP BY v HAVING {subjects} >= {sql.K_SUBJECTS} ORDER BY count(*) DESC, v "
        f"LIMIT {_GROUPS}"
    )


def _group_errors(views: Views, path: _Path, chance: random.Random, scale: float) -> Iterator[float]:
    """The median q-error of the counts of the commonest groups."""
    columns = [each for each in path.columns if not number_sql(each[2])]
    if not columns:
        return
    alias, table, column = chance.choice(columns)
    name = f"CAST({alias}.{sql.quote(column.name)} AS VARCHAR)"
    common = _common_values(views, table, column)
    query = f"SELECT {name} AS g, count(*) AS n FROM {path.rows} WHERE {name} IN ({common}) GROUP BY 1"
    real, copied = (dict(views.connection.execute(_on(query, schema)).fetchall()) for schema in (SOURCE, COPY))
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
    median = statistics.median(errors)
    return Evidence(
        check=QUERY_ERROR,
        subject=name,
        value=median,
        n=len(errors),
        detail=f"q-error of row counts: median of {len(errors)} queries; worst {max(errors):.3g}",
        table=table,
        reference=1.0,
    )
