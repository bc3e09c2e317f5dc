"""One night in Airflow, and what others learn of it: events, links, lineage, alarms."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import airflow.sdk
import pytest
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from openlineage.client.serde import Serde

from synth_ops.airflow import SynthGateFailed, listener, published_tables, synthetic_asset, synthetic_copy
from synth_ops.airflow.openlineage import lineage_of
from synth_ops.artifacts import ArtifactKind
from synth_ops.plan import STEPS
from synth_ops.run import report_url, run_step
from synth_ops.store import Store

IMPOSSIBLE = {"thresholds": {"fidelity.mean_column_distance": -1.0}}


def test_assets_are_named_after_the_recipe_and_need_no_provider():
    asset = synthetic_asset("shop test")
    assert (asset.name, asset.uri) == ("shop test/publication", "x-synth-ops://shop%20test/publication")
    assert synthetic_asset("shop", "model").name == "shop/model"
    assert published_tables("shop").name == "shop/tables"
    with pytest.raises(ValueError, match="modle"):
        synthetic_asset("shop", "modle")


def test_every_task_declares_its_asset_unless_told_not_to(refresh):
    with DAG("assets", schedule=None) as dag:
        synthetic_copy(refresh().file, group_id="named", outlets=[airflow.sdk.Asset("mine")])
        synthetic_copy(refresh().file, group_id="renamed", asset="db", steps=["publish"])
        synthetic_copy(refresh().file, group_id="none", asset="", steps=["publish"])
        synthetic_copy("{{ var.value.recipe }}", group_id="template", steps=["publish"])

    def names(task):
        return [outlet.name for outlet in dag.get_task(task).outlets]

    assert names("named.fit") == ["mine", "shop/model"]
    assert names("renamed.publish") == ["db/publication", "db/tables"]
    assert names("none.publish") == names("template.publish") == []


def test_a_night_tells_what_it_made(refresh, run_dag, tmp_path):
    night = refresh()
    with DAG("told", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store), keep_snapshot=False)
    finished = run_dag(dag)
    assert finished.state == "success"
    results, events = finished.results, finished.events
    for step in STEPS:
        extra = events[f"shop/{step.makes.value}"]["extra"]
        assert (extra["kind"], extra["id"]) == (step.makes.value, results[step.name]["id"])
    report = events["shop/report"]["extra"]
    assert report["verdict"] == "passed"
    assert report["scores"] == results["gate"]["facts"]["scores"]
    assert set(report["families"]) >= {"integrity", "fidelity", "privacy"}
    assert events["shop/customers"]["uri"] == f"file://{tmp_path}/shop_test.duckdb/customers"
    tables = results["publish"]["facts"]["tables"]
    assert {name: events[f"shop/{name}"]["extra"]["rows"] for name in tables} == tables
    assert {events[f"shop/{name}"]["extra"]["generation"] for name in tables} == {1}
    store = Store(night.store)
    assert finished.links == {"synthetic_copy.gate": report_url(store, night.only(ArtifactKind.REPORT))}
    assert night.artifacts()["snapshot"] == []  # the teardown removed production's rows
    assert len(night.artifacts()["copy"]) == 1


def test_a_failed_night_links_to_its_report_and_emits_no_verdict(refresh, run_dag, monkeypatch):
    monkeypatch.setenv("SYNTH_OPS_REPORTS_URL", "https://reports.example.org")
    night = refresh(gate=IMPOSSIBLE)
    with DAG("bad_night", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store))
    finished = run_dag(dag)
    assert finished.state == "failed"
    assert finished.tasks["synthetic_copy.tidy"] == "success"
    report = night.only(ArtifactKind.REPORT).id
    assert finished.links["synthetic_copy.gate"] == f"https://reports.example.org/{report}/report.html"
    assert set(finished.events) == {"shop/snapshot", "shop/model", "shop/copy"}


@pytest.fixture
def made(refresh):
    """A recipe, its store, and the result of each of its steps."""
    night = refresh()
    store, results = Store(night.store), {}
    needs = None
    for step in STEPS:
        results[step.name] = run_step(night.recipe, step.name, store=store, needs=needs)
        needs = results[step.name].ref
    return night.recipe, store, results


def test_lineage_runs_from_source_tables_to_published_ones(made, tmp_path, warehouse):
    recipe, store, results = made
    told = {name: lineage_of(recipe, store, result) for name, result in results.items()}
    for before, after in itertools.pairwise(STEPS):
        if after.name != "publish":
            assert told[before.name].outputs[0].name == told[after.name].inputs[0].name
    assert told["publish"].inputs[0].name == told["gate"].inputs[0].name  # the copy that was judged
    sources = {each.name: each for each in told["snapshot"].inputs}
    published = {each.name: each for each in told["publish"].outputs}
    assert set(sources) == {f"{warehouse}/{name}" for name in results["publish"].facts["tables"]}
    customers = json.loads(Serde.to_json(published[f"{tmp_path}/shop_test.duckdb/customers"]))
    columns = customers["facets"]["columnLineage"]["fields"]
    assert {field["name"] for field in customers["facets"]["schema"]["fields"]} == set(columns)
    (origin,) = columns["email"]["inputFields"]
    assert (origin["name"], origin["field"]) == (f"{warehouse}/customers", "email")
    assert origin["transformations"][0]["masking"] is True
    assert customers["outputFacets"]["outputStatistics"]["rowCount"] == results["publish"].facts["tables"]["customers"]
    assertions = told["gate"].inputs[0].inputFacets["dataQualityAssertions"].assertions
    assert len(assertions) == results["gate"].facts["checks"]
    assert {each.severity for each in assertions} == {"error", "warn"}


def test_whom_the_configuration_names_hears_of_a_failed_gate(monkeypatch, tmp_path):
    (tmp_path / "alarm.py").write_text("calls = []\ndef ring(**told):\n    calls.append(told)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    instance = SimpleNamespace(task_id="gate", at=datetime.now(UTC))
    failure = SynthGateFailed("failed", "r1", {"verdict": "failed"})
    listener.on_task_instance_failed(previous_state=None, task_instance=instance, error=failure)
    monkeypatch.setenv("AIRFLOW__SYNTH_OPS__ON_GATE_FAILED", "alarm.ring")
    for error in (failure, AirflowFailException("other"), "a text", None):
        listener.on_task_instance_failed(previous_state=None, task_instance=instance, error=error)
    alarm = __import__("alarm")
    assert alarm.calls == [{"task_instance": instance, "facts": {"verdict": "failed"}}]


def test_airflow_loads_the_plug_in_with_its_listener():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="airflow.plugins", name="synth_ops")
    plugin = entry.load()
    assert issubclass(plugin, AirflowPlugin)
    assert plugin.listeners == [listener]
