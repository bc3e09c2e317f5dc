"""SDMetrics' reports are a check that runs where it is named: its scores are SDMetrics' own, and tell good from bad."""

from __future__ import annotations

import dataclasses

import pytest

from synth_ops.artifacts import Severity
from synth_ops.checks.engine import judge
from synth_ops.checks.sdmetrics import SDMetricsCheck
from synth_ops.errors import UnknownPluginError
from synth_ops.recipe import parse_recipe
from synth_ops.registry import PluginKind, chosen
from synth_ops.run import preflight
from synth_ops.store import Store
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import SMALL_WAREHOUSE


def scores(context):
    return {(each.check, each.subject): each.value for each in SDMetricsCheck().evaluate(context)}


def moved(rows):
    place = SMALL_WAREHOUSE.table("order_lines").column_names.index("quantity")
    rows["order_lines"] = [(*row[:place], 900, *row[place + 1 :]) for row in rows["order_lines"]]


def test_a_column_that_moved_costs_its_table_its_score(tmp_path):
    clean, other = scores(check_context(tmp_path / "clean")), scores(check_context(tmp_path / "other", moved))
    quality = ("sdmetrics.quality", "order_lines")
    assert clean[quality] > 0.9
    assert other[quality] < clean[quality] - 0.2
    assert other["sdmetrics.diagnostic", "order_lines"] < 1 == clean["sdmetrics.diagnostic", "order_lines"]
    assert other["sdmetrics.quality", "orders"] == clean["sdmetrics.quality", "orders"]


def test_low_scores_warn_and_do_not_block(tmp_path):
    outcomes = judge(SDMetricsCheck().evaluate(check_context(tmp_path, moved)))
    unmet = [outcome.evidence for outcome in outcomes if not outcome.passed]
    assert unmet
    assert {(each.table, each.severity) for each in unmet} == {("order_lines", Severity.WARNING)}


def test_an_empty_table_is_not_measured_and_does_not_pass(tmp_path):
    outcomes = judge(SDMetricsCheck().evaluate(check_context(tmp_path, lambda rows: rows["returns"].clear())))
    assert [o.evidence.detail for o in outcomes if not o.passed] == ["could not be measured: the copy has no rows"]


def test_the_score_is_sdmetrics_own(tmp_path):
    from sdmetrics.single_column import TVComplement

    context, table = check_context(tmp_path), SMALL_WAREHOUSE.table("returns")
    real, copied = (read_frame(each.tables["returns"]) for each in (context.snapshot, context.copy))
    expected = TVComplement.compute(real[learned(table)].astype(str), copied[learned(table)].astype(str))
    assert scores(context)["sdmetrics.quality", "returns"] == pytest.approx(expected, abs=1e-9)


def read_frame(data):
    import pandas as pd

    return pd.concat([pd.read_parquet(file) for file in data.files])


def learned(table):
    from synth_ops.checks.views import learned_columns

    (column,) = learned_columns(table)
    return column.name


def test_it_runs_where_the_recipe_names_it(tmp_path):
    import duckdb

    assert "sdmetrics" not in chosen(PluginKind.CHECK, ())
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS id")
    recipe = parse_recipe({"source": "a.duckdb", "target": "b.duckdb", "gate": {"also": ["sdmetrics"]}}).at(tmp_path)
    assert "sdmetrics" in preflight(recipe, store=Store(tmp_path / "store"))["checks"]
    unknown = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"also": ("sdmetric",)})})
    with pytest.raises(UnknownPluginError, match="did you mean 'sdmetrics'"):
        preflight(unknown, store=Store(tmp_path / "store"))


def test_its_evidence_has_the_seed_and_the_time(tmp_path):
    for each in SDMetricsCheck().evaluate(dataclasses.replace(check_context(tmp_path), seed=5)):
        assert (each.seed, each.seconds > 0, each.n > 0) == (5, True, True)
