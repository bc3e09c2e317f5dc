"""SDMetrics' own quality and diagnostic reports, beside our numbers: F4 of the gate, in the extra `sdv`."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sdmetrics.reports import DiagnosticReport, QualityReport

from synth_ops import sql
from synth_ops.artifacts import Evidence
from synth_ops.checks.comparison import is_nested, number_sql
from synth_ops.checks.limits import judged
from synth_ops.checks.views import COPY, SOURCE, Views, failed, learned_columns, limit, open_views
from synth_ops.errors import refuse_interruption
from synth_ops.metadata import Column, Table
from synth_ops.ports import CheckContext, Threshold

if TYPE_CHECKING:
    import pandas as pd

_QUALITY, _DIAGNOSTIC = "sdmetrics.quality", "sdmetrics.diagnostic"
_ROWS = 10_000


class SDMetricsCheck:
    """The scores that SDMetrics gives each table's learned columns, from 0 to 1, on up to 10,000 rows a side.

    They are for comparison with what others publish, and warn where they are low; the gate's own measures block.
    """

    name = "sdmetrics"
    version = "1"
    thresholds: Mapping[str, Threshold] = {
        _QUALITY: Threshold(warn=0.75, at_most=False),
        _DIAGNOSTIC: Threshold(warn=0.9, at_most=False),
    }

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Score every table that has learned columns."""
        evidence: list[Evidence] = []
        with open_views(context) as views:
            for table in views.metadata.tables:
                columns = [each for each in learned_columns(table) if not is_nested(each)]
                if not columns or not context.snapshot.tables[table.name].rows:
                    continue
                started = time.perf_counter()
                try:
                    found = list(self._scores(views, table, columns))
                except Exception as error:  # noqa: BLE001  whatever pandas raises; its text may hold values
                    refuse_interruption(error)
                    reason = type(error).__name__
                    found = [failed(check=_QUALITY, table=table.name, reason=reason)]
                seconds = (time.perf_counter() - started) / max(len(found), 1)
                evidence += [replace(each, table=table.name, seconds=seconds, seed=context.seed) for each in found]
        return evidence

    def _scores(self, views: Views, table: Table, columns: Sequence[Column]) -> Iterator[Evidence]:
        real, copied = (_frame(views, schema, table, columns) for schema in (SOURCE, COPY))
        if copied.empty:
            yield failed(check=_QUALITY, table=table.name, reason="the copy has no rows")
            return
        described = {each.name: {"sdtype": _sdtype(each)} for each in columns}
        metadata = {
            "tables": {table.name: {"primary_key": sql.ROW, "columns": {sql.ROW: {"sdtype": "id"}, **described}}},
            "relationships": [],
        }
        for check, report in ((_QUALITY, QualityReport()), (_DIAGNOSTIC, DiagnosticReport())):
            with _quiet():
                report.generate({table.name: real}, {table.name: copied}, metadata, verbose=False)
                scores: Mapping[str, float] = dict(report.get_properties().itertuples(index=False, name=None))
                score = float(report.get_score())
            detail = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if math.isfinite(value))
            evidence = Evidence(
                check=check, subject=table.name, value=score, n=len(copied), detail=detail, reference=1.0
            )
            yield from judged(evidence, limit(views.context, self.thresholds, check))


def _frame(views: Views, schema: str, table: Table, columns: Sequence[Column]) -> pd.DataFrame:
    """The columns as SDMetrics takes them, with the number of the row for a key."""
    values = ", ".join(f"{_value(each)} AS {sql.quote(each.name)}" for each in columns)
    rows = views.sample_sql(schema, table.name, _ROWS)
    query = f"SELECT row_number() OVER () AS {sql.quote(sql.ROW)}, {values} FROM ({rows})"
    frame: pd.DataFrame = views.connection.execute(query).df()
    return frame


def _value(column: Column) -> str:
    if sql.is_time(column.type):
        return f"TRY_CAST({sql.quote(column.name)} AS TIMESTAMP)"
    return number_sql(column) or f"CAST({sql.quote(column.name)} AS VARCHAR)"


def _sdtype(column: Column) -> str:
    if sql.is_time(column.type):
        return "datetime"
    return "numerical" if number_sql(column) else "categorical"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and no log lines: both may show values."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
