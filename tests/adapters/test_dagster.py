"""The assets: what they are to Dagster, what they retry, what they skip."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster_duckdb import DuckDBResource

from synth_ops import __version__
from synth_ops.artifacts import ArtifactKind
from synth_ops.dagster import (
    AssetPart,
    Part,
    SynthOpsDatabase,
    SynthOpsStore,
    SynthOpsTranslator,
    synthetic_asset_specs,
    synthetic_assets,
)
from synth_ops.dagster.resources import url_of
from synth_ops.errors import ConfigError, RecipeError
from synth_ops.plan import STEPS
from synth_ops.run import report_url
from synth_ops.store import Store

ARTIFACTS = [step.makes.value for step in STEPS]


def graph_of(assets):
    return dg.Definitions(assets=assets).resolve_asset_graph()


def test_the_graph_is_the_plan_between_the_tables_of_both_ends(refresh):
    assets = synthetic_assets(
        refresh().file, name="night shift", key_prefix=["test", "shop"], tables=["orders", "snapshot"]
    )
    graph = graph_of(assets)
    upstream = {
        "/".join(key.path[2:]): {"/".join(parent.path[2:]) for parent in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert upstream == {
        "source/orders": set(),
        "source/snapshot": set(),
        "synth_ops/snapshot": {"source/orders", "source/snapshot"},
        "synth_ops/model": {"synth_ops/snapshot"},
        "synth_ops/copy": {"synth_ops/model"},
        "synth_ops/report": {"synth_ops/copy"},
        "synth_ops/publication": {"synth_ops/report"},
        "orders": {"synth_ops/report"},
        "snapshot": {"synth_ops/report"},
    }
    assert {tuple(key.path[:2]) for key in graph.get_all_asset_keys()} == {("test", "shop")}
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == {"night_shift"}
    made = [graph.get(key) for key in graph.get_all_asset_keys() if graph.get(key).is_executable]
    assert {node.code_version for node in made} == {__version__}
    assert {node.key.path[-2] for node in made} == {"synth_ops", "shop"}
    assert {key.asset_key.to_user_string() for key in graph.asset_check_keys} == {"test/shop/synth_ops/report"}
    assert {key.name for key in graph.asset_check_keys} >= {"integrity", "fidelity", "privacy", "gate"}
    assert all(graph.get(key).blocking for key in graph.asset_check_keys)


def test_specs_alone_draw_the_same_graph_without_execution(refresh):
    night = refresh()
    executed, drawn = (
        graph_of(assets(night.file, tables=["orders"])) for assets in (synthetic_assets, synthetic_asset_specs)
    )
    assert drawn.get_all_asset_keys() == executed.get_all_asset_keys()
    for key in drawn.get_all_asset_keys():
        assert drawn.get(key).parent_keys == executed.get(key).parent_keys
        assert not drawn.get(key).is_executable


class AsDbtAndDltName(SynthOpsTranslator):
    """Source tables are dbt models; the published ones a dbt source of another project; somebody owns them all."""

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        keys = {Part.SOURCE_TABLE: ["marts", part.table or ""], Part.TABLE: ["test_source", part.table or ""]}
        key = dg.AssetKey(keys.get(part.part, part.default.key.path))
        return part.default.replace_attributes(key=key, owners=["team:data"], group_name="mine")


def test_keys_compose_with_those_of_others(refresh):
    @dg.asset(key=["marts", "orders"])
    def dbt_model(): ...

    @dg.asset(deps=[["test_source", "orders"]])
    def tested(): ...

    drawn = synthetic_assets(refresh().file, tables=["orders"], translator=AsDbtAndDltName())
    graph = graph_of([dbt_model, tested, *(each for each in drawn if isinstance(each, dg.AssetsDefinition))])
    snapshot = graph.get(dg.AssetKey(["shop", "synth_ops", "snapshot"]))
    assert snapshot.parent_keys == {dbt_model.key}
    assert graph.get(tested.key).parent_keys == {dg.AssetKey(["test_source", "orders"])}
    assert snapshot.owners == ["team:data"]


def test_a_recipe_that_cannot_be_read_is_an_error_at_once(tmp_path):
    with pytest.raises(RecipeError, match="can't read recipe"):
        synthetic_assets(tmp_path / "missing.yaml")


def test_two_nights_and_what_the_ui_shows_of_them(refresh, dagster_instance):
    night = refresh()
    runs = []
    for _ in range(2):  # drawn again after the first night, as a code location is when it is loaded
        assets = synthetic_assets(night.recipe, store=str(night.store))
        runs.append(dg.materialize(assets, instance=dagster_instance))
    first, second = (
        {each.asset_key.path[-1]: each.materialization.metadata for each in run.get_asset_materialization_events()}
        for run in runs
    )
    assert [first[kind]["skipped"].value for kind in ARTIFACTS] == [False] * 5
    assert [second[kind]["skipped"].value for kind in ARTIFACTS] == [True] * 5
    assert set(first) == set(second)  # tables that nobody knew of at first are told as well

    assert first["snapshot"]["tables"].value["customers"] == 150
    assert first["snapshot"]["dagster/row_count"].value == sum(first["snapshot"]["tables"].value.values())
    report = first["report"]
    assert isinstance(report["fidelity.mean_column_distance"].value, float)
    assert report["report"].url == report_url(Store(night.store), night.only(ArtifactKind.REPORT))
    assert "passed its gate" in report["summary"].md_str
    for shown in (first, second):
        table = shown["customers"]
        assert table["dagster/row_count"].value == shown["publication"]["tables"].value["customers"]
        schema = {column.name: column for column in table["dagster/column_schema"].schema.columns}
        assert any(column.constraints.unique for column in schema.values())
        assert {column.constraints.nullable for column in schema.values()} == {True, False}
        lineage = table["dagster/column_lineage"].lineage.deps_by_column
        assert set(lineage) == set(schema)
        (origin,) = lineage["email"]
        assert (origin.asset_key.path, origin.column_name) == (["shop", "source", "customers"], "email")

    checks = {check.check_name: check for check in runs[0].get_asset_check_evaluations()}
    assert checks["gate"].passed
    counted = [check.metadata["checks"].value for name, check in checks.items() if name != "gate"]
    assert sum(counted) == checks["gate"].metadata["checks"].value
    for check in checks.values():
        if not check.passed:  # not met, but not blocking either
            assert check.severity is dg.AssetCheckSeverity.WARN

    graph = graph_of(synthetic_assets(night.recipe, store=str(night.store)))
    assert graph.has(dg.AssetKey(["shop", "customers"]))
    assert dagster_instance.get_latest_data_version_record(dg.AssetKey(["shop", "customers"]))


def test_an_asset_without_its_upstream_says_what_to_do(refresh, dagster_instance):
    night = refresh()
    assets = synthetic_assets(night.file, store=str(night.store))
    selection = ["shop/synth_ops/model"]
    result = dg.materialize(assets, selection=selection, instance=dagster_instance, raise_on_error=False)
    (failure,) = result.get_step_failure_events()
    assert failure.step_failure_data.user_failure_data.description == (
        "shop/synth_ops/snapshot was never materialized (materialize it first)"
    )


def test_only_what_may_pass_by_itself_is_retried(refresh, dagster_instance, busy_database):
    attempts = {}
    for source in (busy_database.name, "gone.duckdb"):
        night = refresh(name=source.partition(".")[0], source=source)
        assets = synthetic_assets(night.file, store=str(night.store), retry_policy=dg.RetryPolicy(max_retries=1))
        selection = [f"{night.file.stem}/synth_ops/snapshot"]
        result = dg.materialize(assets, selection=selection, instance=dagster_instance, raise_on_error=False)
        assert not result.success
        attempts[night.file.stem] = 1 + sum(event.is_step_up_for_retry for event in result.all_events)
    assert attempts == {"busy": 2, "gone": 1}


def test_resources_take_the_place_of_urls(refresh, dagster_instance, warehouse, tmp_path):
    (tmp_path / "hunter2.duckdb").symlink_to(warehouse)
    night = refresh()
    night.file.write_text("seed: 1\n", encoding="utf-8")
    keys = {"source": "warehouse", "target": "testers", "store": "artifacts"}
    result = dg.materialize(
        synthetic_assets(night.file, resource_keys=keys),
        selection=["shop/synth_ops/snapshot"],
        instance=dagster_instance,
        resources={
            "warehouse": DuckDBResource(database=str(tmp_path / "hunter2.duckdb")),
            "testers": SynthOpsDatabase(url=f"sqlite:///{tmp_path}/hunter3.db"),
            "artifacts": SynthOpsStore(root=str(night.store)),
        },
    )
    assert result.success
    assert len(night.artifacts()["snapshot"]) == 1
    kept = [path for path in (tmp_path / "dagster").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"hunter" in path.read_bytes()]


class Postgres(dg.ConfigurableResource):
    host: str
    port: int = 5432
    user: str
    password: str
    dbname: str


class Mailer(dg.ConfigurableResource):
    password: str


def test_resources_of_others_are_taken_by_their_parts():
    resource = Postgres(host="db", user="ada", password="p@ss", dbname="shop")
    assert url_of(resource, "db") == "postgresql://ada:p%40ss@db:5432/shop"
    with pytest.raises(ConfigError, match="resource 'mail' is a Mailer") as caught:
        url_of(Mailer(password="hunter2"), "mail")
    assert "hunter2" not in str(caught.value)


def test_resource_keys_name_ends_or_nothing(refresh):
    with pytest.raises(ValueError, match="names sorce"):
        synthetic_assets(refresh().file, resource_keys={"sorce": "x"})


def test_a_day_has_its_own_artifacts_and_a_backfill_refreshes_once(refresh, dagster_instance):
    night = refresh()
    days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-10")
    assets = synthetic_assets(night.file, store=str(night.store), partitions_def=days)
    selection = ["shop/synth_ops/snapshot", "shop/synth_ops/model"]
    one = dg.materialize(assets, selection=selection, instance=dagster_instance, partition_key="2026-01-02")
    assert one.success
    other = dg.materialize(
        assets, selection=selection[1:], instance=dagster_instance, partition_key="2026-01-03", raise_on_error=False
    )
    assert not other.success  # the snapshot of another day is not this day's
    bounds = {"dagster/asset_partition_range_start": "2026-01-04", "dagster/asset_partition_range_end": "2026-01-06"}
    backfill = dg.materialize(assets, selection=selection, instance=dagster_instance, tags=bounds)
    made = [event.materialization for event in backfill.get_asset_materialization_events()]
    assert [each.partition for each in made] == ["2026-01-04", "2026-01-05", "2026-01-06"] * 2
    model = night.only(ArtifactKind.MODEL)
    assert {each.metadata["id"].value for each in made if each.asset_key.path[-1] == "model"} == {model.id}


@pytest.mark.filterwarnings("ignore:.*is currently in beta")  # Dagster's own, of what it calls itself
def test_assets_materialize_by_themselves_when_their_condition_says_so(refresh, dagster_instance):
    night = refresh()
    condition = dg.AutomationCondition.missing()
    assets = synthetic_assets(night.file, store=str(night.store), automation_condition=condition)
    evaluated = dg.evaluate_automation_conditions(defs=assets, instance=dagster_instance)
    assert evaluated.total_requested == 5
