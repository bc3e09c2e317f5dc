"""The assets: what they are to Dagster, what they retry, what they skip."""

from __future__ import annotations

import dagster as dg
import pytest

from synth_ops import __version__
from synth_ops.dagster import synthetic_assets
from synth_ops.errors import RecipeError


def test_the_graph_is_the_plan(refresh):
    defs = dg.Definitions(assets=synthetic_assets(refresh().file, name="night shift", key_prefix=["test", "shop"]))
    graph = defs.resolve_asset_graph()
    upstream = {
        key.path[-1]: [parent.path[-1] for parent in graph.get(key).parent_keys] for key in graph.get_all_asset_keys()
    }
    assert upstream == {"snapshot": [], "model": ["snapshot"], "copy": ["model"], "publication": ["copy"]}
    assert {tuple(key.path[:-1]) for key in graph.get_all_asset_keys()} == {("test", "shop")}
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == {"night_shift"}
    assert {graph.get(key).code_version for key in graph.get_all_asset_keys()} == {__version__}
    (check,) = graph.asset_check_keys
    assert (check.asset_key.path, check.name) == (["test", "shop", "copy"], "gate")
    assert graph.get(check).blocking


def test_a_recipe_that_cannot_be_read_is_an_error_at_once(tmp_path):
    with pytest.raises(RecipeError, match="can't read recipe"):
        synthetic_assets(tmp_path / "missing.yaml")


def test_a_second_night_with_nothing_changed_skips_all_work(refresh, dagster_instance):
    night = refresh()
    assets = synthetic_assets(night.recipe, store=str(night.store))
    runs = [dg.materialize(assets, instance=dagster_instance) for _ in range(2)]
    skipped = [
        [event.materialization.metadata["skipped"].value for event in run.get_asset_materialization_events()]
        for run in runs
    ]
    assert skipped == [[False] * 4, [True] * 4]


def test_metadata_counts_rows(refresh, dagster_instance):
    night = refresh()
    assets = synthetic_assets(night.file, store=str(night.store))
    result = dg.materialize(assets, selection=["shop/snapshot"], instance=dagster_instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["tables"].value["customers"] == 150
    assert metadata["dagster/row_count"].value == sum(metadata["tables"].value.values())


def test_an_asset_without_its_upstream_says_what_to_do(refresh, dagster_instance):
    night = refresh()
    assets = synthetic_assets(night.file, store=str(night.store))
    result = dg.materialize(assets, selection=["shop/model"], instance=dagster_instance, raise_on_error=False)
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data.description == (
        "shop/snapshot was never materialized (materialize it first)"
    )


def test_only_what_may_pass_by_itself_is_retried(refresh, dagster_instance, busy_database):
    attempts = {}
    for source in (busy_database.name, "gone.duckdb"):
        night = refresh(name=source.partition(".")[0], source=source)
        assets = synthetic_assets(night.file, store=str(night.store), retry_policy=dg.RetryPolicy(max_retries=1))
        selection = [f"{night.file.stem}/snapshot"]
        result = dg.materialize(assets, selection=selection, instance=dagster_instance, raise_on_error=False)
        assert not result.success
        attempts[night.file.stem] = 1 + sum(event.is_step_up_for_retry for event in result.all_events)
    assert attempts == {"busy": 2, "gone": 1}
