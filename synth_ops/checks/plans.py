"""Whether a server plans queries on the copy as it does on the source: F3 of the gate, where both are PostgreSQL's."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.limits import judged
from synth_ops.checks.queries import QueryPath, common_values, query_paths
from synth_ops.checks.statistics import Z
from synth_ops.checks.views import SOURCE, Views, failed, view_sql
from synth_ops.errors import SynthOpsError
from synth_ops.metadata import Column, Table
from synth_ops.ports import StagedCopy, Threshold

PLAN_SHAPE, OWN_PLAN_SHAPE = "fidelity.plan_shape", "fidelity.own_plan_shape"
PLAN_LIMITS: Mapping[str, Threshold] = {
    PLAN_SHAPE: Threshold(warn=0.8, at_most=False),
    OWN_PLAN_SHAPE: Threshold(warn=1.0, at_most=False),
}
_MOST_PATHS, _FEWEST_ROWS, _SHOWN = 40, 50, 3
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
_DIGITS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """A query in PostgreSQL's dialect, and the table or reference that it is about."""

    path: str
    text: str


def plan_shapes(views: Views, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """F3: the share of queries whose plans have the same shape on both servers: scans, joins, and their order.

    For each table and each reference, or for forty of them drawn by the seed: a filter, the first rows by the key, a
    join with a filter on the parent, its groups, and the children of one parent; and users' own queries, each by
    itself. Nothing runs. Where there is no such server on either side, there is no such evidence.
    """
    context = views.context
    if context.stage is None or context.source_shapes is None:
        return []
    queries = list(_queries(views))
    own = dict(_own_queries(context.queries))
    if not queries and not own:
        return []
    try:
        staged = context.stage()
        texts = [*(each.text for each in queries), *own.values()]
        shapes = list(zip(context.source_shapes(texts), staged.shapes(texts), strict=True))
    except SynthOpsError as error:
        return [failed(check=PLAN_SHAPE, subject="all queries", reason=error.message, severity=Severity.WARNING)]
    made, users = shapes[: len(queries)], shapes[len(queries) :]
    return [*_together(queries, made, staged, limits), *_each(list(own), users, limits)]


def _together(
    queries: Sequence[_Query], shapes: Sequence[tuple[str, str]], staged: StagedCopy, limits: Mapping[str, Threshold]
) -> list[Evidence]:
    planned = [(query, *pair) for query, pair in zip(queries, shapes, strict=True) if all(pair)]
    if not planned:
        return []
    other = [query.path for query, real, copied in planned if real != copied]
    n, share = len(planned), 1 - len(other) / len(planned)
    noise = math.sqrt((share * (1 - share) + 1 / n) / (n + 1))
    worst = sorted(dict.fromkeys(other), key=lambda path: -other.count(path))[:_SHOWN]
    detail = f"{n - len(other)} of {n} queries are planned alike on {len(staged.tables)} staged tables"
    evidence = Evidence(
        check=PLAN_SHAPE,
        subject="all queries",
        value=share,
        n=n,
        ci_low=max(share - Z * noise, 0.0),
        ci_high=min(share + Z * noise, 1.0),
        detail=f"{detail}; otherwise: {', '.join(worst)}" if worst else detail,
        reference=1.0,
    )
    return judged(evidence, limits[PLAN_SHAPE], noise=noise, laxest=0.0)


def _each(
    names: Sequence[str], shapes: Sequence[tuple[str, str]], limits: Mapping[str, Threshold]
) -> Iterator[Evidence]:
    for name, (real, copied) in zip(names, shapes, strict=True):
        if not real or not copied:
            continue  # in words that this server does not have; DuckDB has counted its rows
        detail = real if real == copied else f"from the source: {real}; from the copy: {copied}"
        evidence = Evidence(
            check=OWN_PLAN_SHAPE, subject=name, value=float(real == copied), n=1, detail=detail, reference=1.0
        )
        yield from judged(evidence, limits[OWN_PLAN_SHAPE])


def _queries(views: Views) -> Iterator[_Query]:
    everything = list(query_paths(views))
    asked = everything
    if len(everything) > _MOST_PATHS:
        chance = random.Random(f"{views.context.seed}/plans")  # noqa: S311  no secret
        asked = [everything[place] for place in sorted(chance.sample(range(len(everything)), _MOST_PATHS))]
    for path in asked:
        chance = random.Random(f"{views.context.seed}/plans/{path.name}")  # noqa: S311  no secret
        yield from (_Query(path=path.name, text=text) for text in _of_path(views, path, chance))


def _of_path(views: Views, path: QueryPath, chance: random.Random) -> Iterator[str]:
    """Queries over one path: the table is `c`, its parent `p`."""
    table, own = path.table, f"{sql.quote(path.table.name)} c"
    theirs = [each for each in path.columns if each[0] == ("p" if path.key else "c")]
    condition = next((found for each in _shuffled(theirs, chance) if (found := _condition(views, *each, chance))), "")
    if path.key is None:
        if condition:
            yield f"SELECT * FROM {own} WHERE {condition}"
        if table.primary_key:
            yield f"SELECT * FROM {own} ORDER BY {sql.columns_sql(table.primary_key, 'c')} LIMIT 20"
        return
    pairs = list(zip(path.key.columns, path.key.parent_columns, strict=True))
    match = " AND ".join(f"c.{sql.quote(here)} = p.{sql.quote(there)}" for here, there in pairs)
    joined = f"{own} JOIN {sql.quote(path.key.parent)} p ON {match}"
    grouped = sql.columns_sql(path.key.parent_columns, "p")
    if condition:
        yield f"SELECT * FROM {joined} WHERE {condition}"
        yield f"SELECT {grouped}, count(*) FROM {joined} WHERE {condition} GROUP BY {grouped}"
    yield f"SELECT {grouped}, count(*) FROM {joined} GROUP BY {grouped}"
    if len(pairs) == 1:
        here, there = map(sql.quote, pairs[0])
        one = f"(SELECT max({there}) FROM {sql.quote(path.key.parent)})"
        yield f"SELECT * FROM {joined} WHERE p.{there} = {one} AND c.{here} = {one}"


def _shuffled(columns: Sequence[tuple[str, Table, Column]], chance: random.Random) -> list[tuple[str, Table, Column]]:
    return chance.sample(list(columns), len(columns))


def _condition(views: Views, alias: str, table: Table, column: Column, chance: random.Random) -> str:
    """A filter as an application writes it: on the column itself, that an index or a statistic may serve."""
    name = f"{alias}.{sql.quote(column.name)}"
    if table.rows < _FEWEST_ROWS:
        return ""
    if sql.is_text(column.type):
        found = views.connection.execute(common_values(views, table, column)).fetchall()
        return f"{name} = {sql.literal(str(chance.choice(found)[0]))}" if found else ""
    if sql.is_number(column.type):
        ends = _ends(views, table, f"CAST({sql.quote(column.name)} AS DOUBLE)", chance)
        return f"{name} BETWEEN {ends[0]:.15g} AND {ends[1]:.15g}" if ends else ""
    if sql.is_time(column.type):
        ends = _ends(views, table, f"epoch({sql.quote(column.name)})", chance)
        days = [f"DATE '1970-01-01' + {int(end // 86_400)}" for end in ends]
        return f"{name} BETWEEN {days[0]} AND {days[1]}" if ends else ""
    return ""


def _ends(views: Views, table: Table, number: str, chance: random.Random) -> list[float]:
    """Two quantiles of the source, rounded to a thousandth of what lies between all: nobody's own value."""
    low, high = sorted(chance.sample(_SHARES, 2))
    numbers = f"SELECT {number} AS v FROM {view_sql(SOURCE, table.name)}"
    query = f"SELECT quantile_cont(v, [{_SHARES[0]}, {low}, {high}, {_SHARES[-1]}]) FROM ({numbers}) WHERE isfinite(v)"
    found = views.row(query)[0]
    if not found or found[0] == found[-1]:
        return []
    step = 10.0 ** math.floor(math.log10((found[-1] - found[0]) / _DIGITS))
    return [round(end / step) * step for end in found[1:3]]


def _own_queries(queries: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Users' own queries in PostgreSQL's dialect, as far as they can be said in it."""
    import sqlglot

    for name, query in queries.items():
        try:
            yield name, sqlglot.transpile(query, read="duckdb", write="postgres")[0]
        except sqlglot.errors.SqlglotError:
            continue
