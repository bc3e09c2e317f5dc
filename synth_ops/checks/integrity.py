"""Whether the copy keeps every constraint: keys, references, NOT NULL, CHECK, types, row counts, and users' suites."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import duckdb

from synth_ops import sql
from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.compile import Measure, compile_expectation
from synth_ops.checks.engine import ServerTable, run_suite, severity_of, subject_of
from synth_ops.checks.limits import judged
from synth_ops.checks.suites import (
    ROW_BAND,
    Suite,
    export_suites,
    load_suites,
    orphans_sql,
    reference_name,
    refuse_misplaced,
    replaces_builtin,
    suite_for,
    table_of,
)
from synth_ops.checks.views import COPY, SOURCE, Views, failed, limit, measured, open_views, view_sql
from synth_ops.errors import SynthOpsError
from synth_ops.metadata import ForeignKey, Orphans, Table
from synth_ops.ports import CheckContext, Threshold

__all__ = ["IntegrityCheck", "export_suites", "load_suites", "suite_for"]

_ROW_COUNT, _ORPHANS = "integrity.row_count", "integrity.kept_orphans"
_SUITE_ROWS = 200_000
_MEMORY_LIMIT = "128MB"
"""Enough to count violations in; the hash table of a long table's keys waits on disk."""


class IntegrityCheck:
    """Runs the built-in suite of every table, or the user's in its place, as one DuckDB query a table."""

    name = "integrity"
    version = "2"
    thresholds: Mapping[str, Threshold] = {_ROW_COUNT: Threshold(block=ROW_BAND), _ORPHANS: Threshold(block=0.02)}

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Count the violations of every constraint.

        Raises:
            RecipeError: A suite is about a table or column that does not exist.
        """
        refuse_misplaced(context.suites, context.snapshot.metadata)
        with open_views(context, memory_limit=_MEMORY_LIMIT) as views:
            evidence = [
                replace(each, table=table.name) for table in views.metadata.tables for each in self._table(views, table)
            ]
        return [*evidence, *_surplus_tables(context)]

    def _table(self, views: Views, table: Table) -> Iterator[Evidence]:
        if table.name not in views.copy:
            yield failed(check="integrity.columns", subject=table.name, reason="the copy has no such table")
            return
        own = [suite for suite in views.context.suites.values() if table_of(suite) == table.name]
        if not any(replaces_builtin(suite) for suite in own):
            rows, band = views.context.snapshot.tables[table.name].rows, views.context.thresholds.get(_ROW_COUNT)
            own.insert(0, suite_for(table, rows, band.block if band else None, views.context.copy.scale))
        for suite in own:
            yield from _run(views, table, suite)
        yield _types(views, table)
        for key in table.foreign_keys:
            if key.orphans is Orphans.KEEP:
                threshold = limit(views.context, self.thresholds, _ORPHANS)
                subject = reference_name(table, key)
                kept = partial(_kept_orphans, views, table, key, threshold)
                yield from measured(kept, check=_ORPHANS, subject=subject)
        if table.unsupported_checks:
            yield Evidence(
                check="integrity.check",
                subject=table.name,
                value=float(table.unsupported_checks),
                n=table.unsupported_checks,
                maximum=0.0,
                severity=Severity.WARNING,
                detail="CHECKs of the source that could not be read, so that nothing verifies them",
            )


def _run(views: Views, table: Table, suite: Suite) -> Iterator[Evidence]:
    """Everything in DuckDB that can be; a user's own suite where the copy's server can be asked, there."""
    place, missed = (None, "") if replaces_builtin(suite) else _staged(views, table)
    expectations: Sequence[Mapping[str, Any]] = suite["expectations"]
    if place:
        found = _run_on_server(views, table, expectations, place)
        yield from (each for each in found if math.isfinite(each.value))
        # what is said in DuckDB's words, or for an alias of the batch, is run as it is where there is no server
        pairs = zip(expectations, found, strict=True)
        expectations = [each for each, evidence in pairs if not math.isfinite(evidence.value)]
        missed = "the target's server could not run it"
    started = time.perf_counter()
    view, columns = view_sql(COPY, table.name), list(views.copy[table.name])
    compiled = [
        (each, compile_expectation(each, table=table.name, view=view, columns=columns)) for each in expectations
    ]
    measures = [measure for _, measure in compiled if measure]
    rows, values = _measure(views, view, measures)
    seconds = (time.perf_counter() - started) / max(len(measures), 1)
    for measure, value in zip(measures, values, strict=True):
        yield Evidence(
            check=measure.check,
            subject=measure.subject,
            value=value,
            n=rows,
            minimum=measure.minimum,
            maximum=measure.maximum,
            severity=measure.severity,
            seconds=seconds,
            detail="could not be measured" if math.isnan(value) else missed,
        )
    yield from _run_natively(views, table, [each for each, measure in compiled if not measure], missed)


def _staged(views: Views, table: Table) -> tuple[ServerTable | None, str]:
    """Where the copy's table stands in the target, aside; and why it does not, where it could have."""
    context = views.context
    if context.stage is None:
        return None, ""
    try:
        staged = context.stage()
    except SynthOpsError as error:
        return None, f"not in the target, as it could not be loaded there: {error.message}"
    if table.name not in staged.tables:
        return None, "not in the target, whose own table stays"
    rows = context.copy.tables[table.name].rows
    return ServerTable(url=staged.url, place=staged.tables[table.name], rows=rows), ""


def _run_on_server(
    views: Views, table: Table, expectations: Sequence[Mapping[str, Any]], place: ServerTable
) -> list[Evidence]:
    started = time.perf_counter()
    evidence = run_suite(expectations, place, table=table.name, detail="on the staged table, by the target's server")
    seconds = (time.perf_counter() - started) / max(len(evidence), 1)
    return [replace(each, seconds=seconds, seed=views.context.seed) for each in evidence]


def _measure(views: Views, view: str, measures: Sequence[Measure]) -> tuple[int, list[float]]:
    """The row count and every measure, in one query; one by one when that fails, so that only the culprit does.

    They then have more memory, too.
    """
    expressions = [measure.expression for measure in measures]
    try:
        count, *values = views.row(f"SELECT {', '.join(['count(*)', *expressions])} FROM {view}")
    except duckdb.Error:
        views.connection.execute(f"SET memory_limit = '{sql.MEMORY_LIMIT}'")
        return _count(views, view), [_value(views, view, expression) for expression in expressions]
    return count, [float(value) for value in values]


def _count(views: Views, view: str) -> int:
    count = _value(views, view, "count(*)")
    return 0 if math.isnan(count) else int(count)


def _value(views: Views, view: str, expression: str) -> float:
    try:
        return views.number(f"SELECT {expression} FROM {view}")
    except duckdb.Error:
        return math.nan


def _run_natively(views: Views, table: Table, expectations: Sequence[Mapping[str, Any]], missed: str) -> list[Evidence]:
    if not expectations:
        return []
    started = time.perf_counter()
    try:
        frame = views.connection.execute(views.sample_sql(COPY, table.name, _SUITE_ROWS)).df()
    except duckdb.Error as error:
        return [
            failed(
                check=f"suite.{each['type']}",
                subject=subject_of(table.name, each["kwargs"]),
                reason=type(error).__name__,
                severity=severity_of(each),
            )
            for each in expectations
        ]
    total = views.context.copy.tables[table.name].rows
    detail = "on all rows" if len(frame) >= total else f"on a sample of {len(frame)} of {total} rows"
    detail = "; ".join(each for each in (detail, missed) if each)
    evidence = run_suite(expectations, frame, table=table.name, detail=detail)
    seconds = (time.perf_counter() - started) / len(evidence)
    return [replace(each, seconds=seconds, seed=views.context.seed) for each in evidence]


def _types(views: Views, table: Table) -> Evidence:
    """How many columns have another type than in the snapshot."""
    wanted, actual = views.source.get(table.name, {}), views.copy[table.name]
    different = [
        f"{column.name} is {sql.without_labels(actual[column.name])}, "
        f"not {sql.without_labels(wanted.get(column.name, column.type))}"
        for column in table.columns
        if column.name in actual and actual[column.name] not in (wanted.get(column.name), column.type)
    ]
    return Evidence(
        check="integrity.type",
        subject=table.name,
        value=float(len(different)),
        n=len(table.columns),
        maximum=0.0,
        detail="; ".join(different),
    )


def _kept_orphans(views: Views, table: Table, key: ForeignKey, threshold: Threshold) -> list[Evidence]:
    """By how much the share of broken references differs from the source's."""
    shares, counts = [], []
    for schema in (COPY, SOURCE):
        child, parent = view_sql(schema, table.name), view_sql(schema, key.parent)
        present = " AND ".join(f"{sql.quote(name)} IS NOT NULL" for name in key.columns)
        orphans = views.number(f"SELECT count(*) FROM ({orphans_sql(key, child, parent)})")
        total = views.number(f"SELECT count(*) FROM {child} WHERE {present}")
        shares.append(orphans / total if total else 0.0)
        counts.append(int(total))
    evidence = Evidence(
        check=_ORPHANS,
        subject=reference_name(table, key),
        value=shares[0] - shares[1],
        n=counts[0],
        detail=f"broken references: {shares[0]:.2%} in the copy, {shares[1]:.2%} in the source",
    )
    return judged(evidence, threshold)


def _surplus_tables(context: CheckContext) -> list[Evidence]:
    surplus = sorted(set(context.copy.tables) - set(context.snapshot.metadata.table_names))
    if not surplus:
        return []
    detail = f"tables that the source does not have: {', '.join(surplus)}"
    return [
        Evidence(
            check="integrity.columns",
            subject="copy",
            value=float(len(surplus)),
            n=len(context.copy.tables),
            maximum=0.0,
            detail=detail,
        )
    ]
