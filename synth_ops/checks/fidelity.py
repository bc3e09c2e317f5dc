"""Whether the copy looks like the source: single columns, pairs of columns, children per parent."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.distances import (
    Coded,
    Distance,
    binned,
    categorised,
    histogram_distance,
    kolmogorov_smirnov,
    pair,
    total_variation,
)
from synth_ops.checks.suites import reference_name
from synth_ops.checks.views import COPY, SOURCE, Views, learned_columns, limit, measured, open_views, view_sql
from synth_ops.metadata import Column, ForeignKey, Kind, Table
from synth_ops.ports import CheckContext

_COLUMN, _MEAN_COLUMN = "fidelity.column_distance", "fidelity.mean_column_distance"
_PAIR, _MEAN_PAIR = "fidelity.pair_distance", "fidelity.mean_pair_distance"
_CARDINALITY = "fidelity.cardinality"
_MIN_ROWS = 5
_CATEGORIES, _PAIR_CELLS, _PAIRS, _SHOWN_PAIRS = 100, 10, 60, 5
_NUMBER_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U", "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN")
_TIME_TYPES = ("DATE", "TIME", "INTERVAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """One column: how far it is off, and how it stands in pairs."""

    name: str
    distance: Distance
    coded: Coded


class FidelityCheck:
    """Compares distributions on up to 100,000 rows a table, drawn by the seed, with an allowance for sampling noise."""

    name = "fidelity"
    version = "1"
    thresholds: Mapping[str, float] = {
        _COLUMN: 0.15,
        _MEAN_COLUMN: 0.20,
        _PAIR: 0.25,
        _MEAN_PAIR: 0.30,
        _CARDINALITY: 0.90,
    }

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Measure every table that has learned columns, and every reference."""
        evidence: list[Evidence] = []
        with open_views(context) as views:
            for table in views.metadata.tables:
                if not context.snapshot.tables[table.name].rows:
                    continue
                found = measured(
                    lambda table=table: self._columns(views, table),  # type: ignore[misc]
                    check=_MEAN_COLUMN,
                    subject=table.name,
                )
                evidence.extend(found)
                for key in table.foreign_keys:
                    found = measured(
                        lambda table=table, key=key: [self._cardinality(views, table, key)],  # type: ignore[misc]
                        check=_CARDINALITY,
                        subject=reference_name(table, key),
                    )
                    evidence.extend(found)
        return [replace(each, seed=context.seed) for each in evidence]

    def _columns(self, views: Views, table: Table) -> list[Evidence]:
        started = time.perf_counter()
        columns = learned_columns(table)
        if not columns:
            return []
        samples = [_sample(views, schema, table, columns) for schema in (SOURCE, COPY)]
        compared = [
            (column, _compare(views, table, column, *(sample.column(column.name) for sample in samples)))
            for column in columns
        ]
        found = [measure for _, measure in compared if measure]
        if not found:
            return []
        context, defaults = views.context, self.thresholds
        single = [(f"{table.name}.{each.name}", each.distance) for each in found]
        pairs = [
            (f"{table.name}({one.name}, {other.name})", distance)
            for one, other in _chosen_pairs(found, f"{context.seed}/{table.name}")
            if (distance := total_variation(pair(one.coded, other.coded)))
        ]
        worst = sorted(pairs, key=lambda named: named[1].allowance - named[1].value)[:_SHOWN_PAIRS]
        evidence = [
            *_judged(_COLUMN, single, limit(context, defaults, _COLUMN)),
            _mean(_MEAN_COLUMN, table.name, single, limit(context, defaults, _MEAN_COLUMN)),
            *_judged(_PAIR, worst, limit(context, defaults, _PAIR)),
        ]
        if pairs:
            evidence.append(_mean(_MEAN_PAIR, table.name, pairs, limit(context, defaults, _MEAN_PAIR)))
        seconds = (time.perf_counter() - started) / len(evidence)
        return [replace(each, seconds=seconds) for each in evidence]

    def _cardinality(self, views: Views, table: Table, key: ForeignKey) -> Evidence:
        source, copy = (_children(views, schema, table, key) for schema in (SOURCE, COPY))
        distance = histogram_distance(source, copy)
        return Evidence(
            check=_CARDINALITY,
            subject=reference_name(table, key),
            value=1 - distance.value,
            n=distance.n,
            minimum=max(limit(views.context, self.thresholds, _CARDINALITY) - distance.allowance, 0.0),
            severity=Severity.WARNING,
            detail="children per parent, none included: 1 - Kolmogorov-Smirnov distance",
        )


def _sample(views: Views, schema: str, table: Table, columns: Sequence[Column]) -> Any:
    expressions = ", ".join(
        f"{_number_sql(column) or _text_sql(column)} AS {sql.quote(column.name)}" for column in columns
    )
    return _arrow(views, f"SELECT {expressions} FROM ({views.sample_sql(schema, table.name)})")


def _number_sql(column: Column) -> str:
    """A column as floating-point numbers (times: microseconds); empty for categories."""
    name = sql.quote(column.name)
    if column.kind is Kind.CATEGORICAL:
        return ""
    if column.type.startswith(_TIME_TYPES):
        return f"CAST(epoch_us({name}) AS DOUBLE)"
    if column.type.startswith(_NUMBER_TYPES):
        return f"CAST({name} AS DOUBLE)"
    if column.kind is Kind.DATETIME:
        return f"CAST(epoch_us(TRY_CAST({name} AS TIMESTAMP)) AS DOUBLE)"
    return f"TRY_CAST({name} AS DOUBLE)"


def _text_sql(column: Column) -> str:
    return f"CAST({sql.quote(column.name)} AS VARCHAR)"


def _compare(views: Views, table: Table, column: Column, source: Any, copy: Any) -> _Measured | None:
    """None for a column whose values are all too rare to be learned."""
    if _number_sql(column):
        numbers, others = (each.to_numpy(zero_copy_only=False).astype(float) for each in (source, copy))
        if np.count_nonzero(~np.isnan(numbers)) < _MIN_ROWS and not np.isnan(numbers).all():
            return None
        distance: Distance | None = kolmogorov_smirnov(numbers, others)
        coded = binned(numbers, others, _PAIR_CELLS)
    else:
        known = _frequent_values(views, table, column)
        distance = total_variation(categorised(source, copy, known, _CATEGORIES))
        coded = categorised(source, copy, known, _PAIR_CELLS)
    return _Measured(name=column.name, distance=distance, coded=coded) if distance else None


def _frequent_values(views: Views, table: Table, column: Column) -> Any:
    """The values that enough of all the source's rows have, the most frequent first."""
    present = f"{sql.quote(column.name)} IS NOT NULL"
    values = f"SELECT {_text_sql(column)} AS v FROM {view_sql(SOURCE, table.name)} WHERE {present}"
    query = f"SELECT v FROM ({values}) GROUP BY v HAVING count(*) >= {_MIN_ROWS} ORDER BY count(*) DESC, v"
    return _arrow(views, query).column("v")


def _arrow(views: Views, query: str) -> Any:
    table: Any = views.connection.sql(query).to_arrow_table()
    return table.combine_chunks()


def _chosen_pairs(columns: Sequence[_Measured], seed: str) -> list[tuple[_Measured, _Measured]]:
    pairs = list(itertools.combinations(columns, 2))
    return pairs if len(pairs) <= _PAIRS else random.Random(seed).sample(pairs, _PAIRS)  # noqa: S311  no secret


def _judged(check: str, distances: Sequence[tuple[str, Distance]], maximum: float) -> list[Evidence]:
    return [
        Evidence(
            check=check,
            subject=subject,
            value=distance.value,
            n=distance.n,
            maximum=maximum + distance.allowance,
            severity=Severity.WARNING,
            detail=_allowed(distance.allowance),
        )
        for subject, distance in distances
    ]


def _mean(check: str, subject: str, distances: Sequence[tuple[str, Distance]], maximum: float) -> Evidence:
    allowance = sum(distance.allowance for _, distance in distances) / len(distances)
    return Evidence(
        check=check,
        subject=subject,
        value=sum(distance.value for _, distance in distances) / len(distances),
        n=len(distances),
        maximum=maximum + allowance,
        detail=_allowed(allowance),
    )


def _allowed(allowance: float) -> str:
    return f"the limit allows {allowance:.3f} for sampling noise"


def _children(views: Views, schema: str, table: Table, key: ForeignKey) -> dict[float, int]:
    """How many parents have so many children."""
    child, parent = view_sql(schema, table.name), view_sql(schema, key.parent)
    own, there = sql.columns_sql(key.columns), sql.columns_sql(key.parent_columns)
    match = " AND ".join(
        f"p.{sql.quote(one)} = c.{sql.quote(other)}" for one, other in zip(key.parent_columns, key.columns, strict=True)
    )
    query = (
        f"SELECT coalesce(c.{sql.ROW}, 0), count(*) FROM (SELECT DISTINCT {there} FROM {parent}) p "
        f"LEFT JOIN (SELECT {own}, count(*) AS {sql.ROW} FROM {child} GROUP BY {own}) c ON {match} GROUP BY 1"
    )
    return dict(views.connection.execute(query).fetchall())
