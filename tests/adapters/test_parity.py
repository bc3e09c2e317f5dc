"""The command line, Airflow and Dagster make the same artifacts, by id, from the same recipe."""

from __future__ import annotations

import json
from functools import partial

import dagster as dg
import pytest
from airflow.sdk import DAG

from synth_ops.airflow import synthetic_copy
from synth_ops.artifact_io import read_copy
from synth_ops.artifacts import ArtifactKind
from synth_ops.dagster import synthetic_assets
from synth_ops.fingerprint import file_digest
from synth_ops.run import run_step
from synth_ops.store import Store

STEPS = ["snapshot", "fit", "sample", "gate", "publish"]


@pytest.fixture(scope="module")
def core(refresh_in, tmp_path_factory):
    """A night that `run_all` made, once."""
    night = refresh_in(tmp_path_factory.mktemp("parity"), store="core")
    assert [result.step for result in night.run()] == STEPS
    return night


@pytest.fixture
def expected(core) -> dict[str, list[str]]:
    """The ids that `run_all` makes; the target is removed again, so that the next publication is the first as well."""
    core.recipe.target_location().path.unlink(missing_ok=True)
    return core.artifacts()


@pytest.fixture
def refresh(core, refresh_in):
    """Write a recipe beside that night's, with the same source and target: ids hold for a place, too."""
    return partial(refresh_in, core.file.parent)


def test_airflow_makes_the_same_artifacts(refresh, expected, run_dag):
    airflow = refresh(store="airflow")
    with DAG("parity", schedule=None) as dag:
        synthetic_copy(airflow.file, store=str(airflow.store))
    finished = run_dag(dag)
    assert finished.state == "success"
    assert airflow.artifacts() == expected
    assert {task: (xcom["kind"], [xcom["id"]]) for task, xcom in finished.results.items()} == {
        step: (kind, ids) for step, (kind, ids) in zip(STEPS, expected.items(), strict=True)
    }


def test_dagster_makes_the_same_artifacts(refresh, expected, dagster_instance):
    dagster = refresh(store="dagster")
    assets = synthetic_assets(dagster.file, store=str(dagster.store))
    result = dg.materialize(assets, instance=dagster_instance)
    assert result.success
    assert dagster.artifacts() == expected
    made = {event.asset_key.path[-1]: event.materialization for event in result.get_asset_materialization_events()}
    assert {kind: [made[kind].metadata["id"].value] for kind in expected} == expected
    assert {kind: [made[kind].tags["dagster/data_version"]] for kind in expected} == expected


IN_SHARDS = {"generator_settings": {"shard_cells": 2_000}, "scale": 4}


def test_sampling_on_mapped_tasks_makes_the_same_artifacts(refresh, run_dag):
    """The same table files as from one process, whoever draws which part of them."""
    alone, mapped = refresh(store="alone", **IN_SHARDS), refresh(store="mapped", **IN_SHARDS)
    store, needs = Store(alone.store), None
    for step in ("snapshot", "fit", "sample"):
        needs = run_step(alone.recipe, step, store=store, needs=needs).ref
    with DAG("mapped", schedule=None) as dag:
        synthetic_copy(mapped.file, store=str(mapped.store), steps=("snapshot", "fit", "sample"), fan_out=3)
    finished = run_dag(dag)
    assert finished.state == "success"
    dealt = finished.xcoms["synthetic_copy.plan_shards"]
    assert len(dealt) == 3
    assert sorted(number for shards in dealt for number in shards) == list(range(sum(map(len, dealt))))
    assert mapped.artifacts() == alone.artifacts()
    assert Store(mapped.store).artifacts(ArtifactKind.SHARD) == []  # the copy holds them
    files = [
        {
            name: [file_digest(file) for file in data.files]
            for name, data in read_copy(Store(each.store), needs).tables.items()
        }
        for each in (alone, mapped)
    ]
    assert files[0] == files[1]
    assert any(len(digests) > 1 for digests in files[0].values())


@pytest.mark.filterwarnings("ignore:.*is currently in beta")  # Dagster's own, of an output's data version
def test_sampling_in_several_steps_makes_the_same_copy(refresh, dagster_instance):
    together, apart = refresh(store="together", **IN_SHARDS), refresh(store="apart", **IN_SHARDS)
    selection = [f"shop/synth_ops/{kind}" for kind in ("snapshot", "model", "copy")]
    copies = []
    for night, fan_out in ((together, 0), (apart, 3)):
        assets = synthetic_assets(night.file, store=str(night.store), fan_out=fan_out)
        result = dg.materialize(assets, selection=selection, instance=dagster_instance)
        copies.append({each.asset_key: each.materialization for each in result.get_asset_materialization_events()})
    assert apart.artifacts() == together.artifacts()
    assert Store(apart.store).artifacts(ArtifactKind.SHARD) == []
    drawn = [event.step_key for event in result.all_events if event.is_step_success and "shards" in event.step_key]
    assert len(drawn) == 3
    key = dg.AssetKey(["shop", "synth_ops", "copy"])
    first, second = copies[0][key], copies[1][key]
    assert first.metadata["id"] == second.metadata["id"]
    assert first.metadata["tables"] == second.metadata["tables"]
    assert first.tags["dagster/data_version"] == second.tags["dagster/data_version"] == second.metadata["id"].value


def test_what_cannot_be_parted_is_sampled_in_one_piece(refresh, run_dag):
    night = refresh()
    with DAG("one_piece", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store), steps=("snapshot", "fit", "sample"), fan_out=2)
    finished = run_dag(dag)
    assert (finished.state, finished.tasks["synthetic_copy.shards"]) == ("success", "skipped")
    assert len(night.artifacts()["copy"]) == 1


def test_the_component_makes_the_same_artifacts(refresh, expected, dagster_instance, component):
    dagster = refresh(store="component")
    job = component(dagster).resolve_job_def("refresh_shop")
    assert job.execute_in_process(instance=dagster_instance).success
    assert dagster.artifacts() == expected


def test_the_operators_by_hand_make_the_same_artifacts(refresh, expected, run_dag, repository, monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    by_hand = refresh(store="by_hand")
    monkeypatch.setenv("SYNTH_OPS_RECIPE", str(by_hand.file))
    monkeypatch.setenv("SYNTH_OPS_STORE", str(by_hand.store))
    dag = DagBag(dag_folder=str(repository / "dags" / "operators_by_hand.py")).dags["operators_by_hand"]
    assert run_dag(dag, file=dag.fileloc).state == "success"
    assert by_hand.artifacts() == expected


def test_the_command_line_makes_the_same_artifacts(refresh, expected, synth_ops):
    shell = refresh(store="shell")
    finished = synth_ops("run", shell.file, "--store", shell.store, "--json")
    assert finished.returncode == 0, finished.stderr
    printed = json.loads(finished.stdout.splitlines()[-1])
    assert shell.artifacts() == expected
    assert printed["artifacts"] == {step: ids[0] for step, ids in zip(STEPS, expected.values(), strict=True)}
