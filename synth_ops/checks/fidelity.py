"""Whether the copy looks like the source: columns, pairs of columns, children per parent, rows, queries."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from synth_ops import sql
from synth_ops.artifacts import Evidence
from synth_ops.checks.comparison import ComparedColumn, compare
from synth_ops.checks.distances import Distance, histogram_distance, pair, rare_share, total_variation
from synth_ops.checks.families import FAMILY_LIMITS, SIBLING_LIKENESS, sibling_likeness
from synth_ops.checks.limits import judged
from synth_ops.checks.plans import PLAN_LIMITS, PLAN_SHAPE, plan_shapes
from synth_ops.checks.queries import QUERY_ERROR, QUERY_LIMITS, own_query_errors, query_errors
from synth_ops.checks.rows import open_databases
from synth_ops.checks.separation import SEPARATION, SEPARATION_LIMITS, separation
from synth_ops.checks.suites import reference_name
from synth_ops.checks.views import COPY, SOURCE, Views, limit, measured, open_views, view_sql
from synth_ops.metadata import ForeignKey, Table
from synth_ops.ports import CheckContext, Threshold

_COLUMN, _MEAN_COLUMN = "fidelity.column_distance", "fidelity.mean_column_distance"
_PAIR, _MEAN_PAIR = "fidelity.pair_distance", "fidelity.mean_pair_distance"
_CARDINALITY = "fidelity.cardinality"
_PAIRS, _SHOWN_PAIRS = 60, 5
_MOST_RARE = 0.1


class FidelityCheck:
    """Compares distributions on up to 100,000 rows a table, drawn by the seed, with an allowance for sampling noise."""

    name = "fidelity"
    version = "5"
    thresholds: Mapping[str, Threshold] = {
        _COLUMN: Threshold(warn=0.15, block=0.5),
        _MEAN_COLUMN: Threshold(block=0.20),
        _PAIR: Threshold(warn=0.25),
        _MEAN_PAIR: Threshold(block=0.30),
        _CARDINALITY: Threshold(warn=0.90, at_most=False),
        **SEPARATION_LIMITS,
        **FAMILY_LIMITS,
        **QUERY_LIMITS,
        **PLAN_LIMITS,
    }

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Measure every table that has learned columns, and every reference."""
        evidence: list[Evidence] = []
        with open_views(context) as views:
            for table in views.metadata.tables:
                if not context.snapshot.tables[table.name].rows:
                    continue
                columns = partial(self._columns, views, table)
                evidence += measured(columns, check=_MEAN_COLUMN, subject=table.name, table=table.name)
                for key in table.foreign_keys:
                    children, name = partial(self._cardinality, views, table, key), reference_name(table, key)
                    evidence += measured(children, check=_CARDINALITY, subject=name, table=table.name)
            limits = {**self.thresholds, **context.thresholds}
            evidence.extend(measured(partial(query_errors, views, limits), check=QUERY_ERROR, subject="all queries"))
            evidence.extend(own_query_errors(views, limits))
            evidence.extend(_on_rows(context, limits))
            evidence.extend(measured(partial(plan_shapes, views, limits), check=PLAN_SHAPE, subject="all queries"))
        return [replace(each, seed=context.seed) for each in evidence]

    def _columns(self, views: Views, table: Table) -> list[Evidence]:
        compared = compare(views, table)
        if not compared.columns:
            return []
        context, defaults = views.context, self.thresholds
        single = [(f"{table.name}.{each.name}", each.distance) for each in compared.columns]
        pairs = [
            (f"{table.name}({one.name}, {other.name})", distance)
            for one, other in _chosen_pairs(compared.columns, f"{context.seed}/{table.name}")
            if (distance := total_variation(pair(one.coded, other.coded), compared.size))
        ]
        worst = sorted(pairs, key=lambda named: named[1].allowance - named[1].value)[:_SHOWN_PAIRS]
        evidence = [
            *_judged(_COLUMN, single, limit(context, defaults, _COLUMN)),
            *_mean(_MEAN_COLUMN, table.name, single, limit(context, defaults, _MEAN_COLUMN)),
            *_judged(_PAIR, worst, limit(context, defaults, _PAIR)),
        ]
        if pairs:
            evidence += _mean(_MEAN_PAIR, table.name, pairs, limit(context, defaults, _MEAN_PAIR))
        return evidence

    def _cardinality(self, views: Views, table: Table, key: ForeignKey) -> list[Evidence]:
        source, copy = (_children(views, schema, table, key) for schema in (SOURCE, COPY))
        distance = histogram_distance(source, copy)
        evidence = Evidence(
            check=_CARDINALITY,
            subject=reference_name(table, key),
            value=1 - distance.value,
            n=distance.n,
            ci_low=1 - distance.high,
            ci_high=1 - distance.low,
            detail="children per parent, none included: 1 - Kolmogorov-Smirnov distance",
            reference=1.0,
        )
        threshold = limit(views.context, self.thresholds, _CARDINALITY)
        return judged(evidence, threshold, allowance=distance.allowance, laxest=0.0)


def _on_rows(context: CheckContext, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """What looks at rows as such, and at those of one parent."""
    evidence: list[Evidence] = []
    tables = [name for name in context.snapshot.metadata.table_names if name in context.copy.tables]
    with open_databases(
        context.snapshot.metadata, source=context.snapshot.tables, copy=context.copy.tables
    ) as databases:
        for name in tables:
            evidence += measured(partial(separation, databases, name, limits), check=SEPARATION, table=name)
            table = context.snapshot.metadata.table(name)
            for key in table.foreign_keys:
                alike, subject = partial(sibling_likeness, databases, table, key, limits), reference_name(table, key)
                evidence += measured(alike, check=SIBLING_LIKENESS, subject=subject, table=name)
    return evidence


def _chosen_pairs(columns: Sequence[ComparedColumn], seed: str) -> list[tuple[ComparedColumn, ComparedColumn]]:
    """Pairs of those columns that hold few rare values: what replaces these stands in no relation to the rest."""
    usable = [column for column in columns if rare_share(column.coded) <= _MOST_RARE]
    pairs = list(itertools.combinations(usable, 2))
    return pairs if len(pairs) <= _PAIRS else random.Random(seed).sample(pairs, _PAIRS)  # noqa: S311  no secret


def _judged(check: str, distances: Sequence[tuple[str, Distance]], threshold: Threshold) -> list[Evidence]:
    return [
        each for subject, distance in distances for each in _allowing(check, subject, distance, distance.n, threshold)
    ]


def _mean(check: str, subject: str, distances: Sequence[tuple[str, Distance]], threshold: Threshold) -> list[Evidence]:
    # columns of one sample hang together: their mean is no surer than each of them
    parts = [(each.value, each.allowance, each.margin, each.bias) for _, each in distances]
    value, allowance, margin, bias = (sum(part) / len(distances) for part in zip(*parts, strict=True))
    mean = Distance(value=value, allowance=allowance, n=len(distances), margin=margin, bias=bias)
    return _allowing(check, subject, mean, mean.n, threshold)


def _allowing(check: str, subject: str, distance: Distance, n: int, threshold: Threshold) -> list[Evidence]:
    detail = f"the limit allows {distance.allowance:.3f} for sampling noise"
    evidence = Evidence(
        check=check,
        subject=subject,
        value=distance.value,
        n=n,
        ci_low=distance.low,
        ci_high=distance.high,
        detail=detail,
        reference=0.0,
    )
    return judged(evidence, threshold, allowance=distance.allowance)


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
