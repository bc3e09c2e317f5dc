"""Whether the copy gives real people away: values (P0), what few share (P1), rows (P2), and whom it learned from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from synth_ops.artifacts import Evidence, Severity
from synth_ops.checks.holdout import HOLDOUT_LIMITS, held_out
from synth_ops.checks.identical_rows import IDENTICAL_ROWS, IDENTITY_LIMITS, identical_rows
from synth_ops.checks.leaks import LEAK_LIMITS, column_leaks, guarded_columns, person_leaks
from synth_ops.checks.rarity import RARITY_LIMITS, extremes, kept_columns, rare_categories
from synth_ops.checks.views import Views, failed, is_text, measured, open_views
from synth_ops.metadata import Table
from synth_ops.ports import CheckContext, Threshold

_Measurement = tuple[str, str, Callable[[], Sequence[Evidence]]]


class PrivacyCheck:
    """Compares the copy with the source, and the audit's copy with both halves of it; only numbers leave it."""

    name = "privacy"
    version = "5"
    thresholds: Mapping[str, Threshold] = {**LEAK_LIMITS, **RARITY_LIMITS, **IDENTITY_LIMITS, **HOLDOUT_LIMITS}

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Measure every table that the copy holds."""
        evidence: list[Evidence] = []
        with open_views(context) as views:
            for table in views.metadata.tables:
                if table.name not in views.copy or table.name not in views.source:
                    evidence.append(
                        failed(check=IDENTICAL_ROWS, table=table.name, reason="the table can't be read on both sides")
                    )
                    continue
                if table.copied:
                    evidence.append(_declared(table, context.copy.tables[table.name].rows))
                    continue
                for check, subject, measure in self._measurements(views, table):
                    found = measured(measure, check=check, subject=subject, table=table.name)
                    evidence.extend(replace(each, seed=context.seed) for each in found)
        return [*evidence, *held_out(context, {**self.thresholds, **context.thresholds})]

    def _measurements(self, views: Views, table: Table) -> list[_Measurement]:
        limits = {**self.thresholds, **views.context.thresholds}
        measurements: list[_Measurement] = [
            (
                "privacy.leaked_values",
                f"{table.name}.{column.name}",
                partial(column_leaks, views, table, column, limits),
            )
            for column in guarded_columns(table)
        ]
        measurements.append(("privacy.value_overlap", table.name, partial(person_leaks, views, table, limits)))
        measurements += [
            (
                "privacy.rare_categories",
                f"{table.name}.{column.name}",
                partial(rare_categories, views, table, column, limits),
            )
            for column in kept_columns(views, table)
            if is_text(column)
        ]
        measurements.append(("privacy.extremes", table.name, partial(extremes, views, table, limits)))
        measurements.append((IDENTICAL_ROWS, table.name, partial(identical_rows, views, table, limits)))
        return measurements


def _declared(table: Table, rows: int) -> Evidence:
    """What the report says of a table that the recipe wants copied as it is."""
    return Evidence(
        check="privacy.copied_rows",
        subject=table.name,
        value=float(rows),
        n=rows,
        severity=Severity.INFO,
        detail="copied as they are: the recipe says `copy: true`",
        table=table.name,
    )
