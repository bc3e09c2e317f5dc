"""`dags/` and `assets/` as users deploy them: loaded, validated, run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import dagster as dg
import duckdb
import pytest
import yaml

from synth_ops.endpoints import mark_target

STEPS = ["snapshot", "fit", "sample", "gate", "publish"]


@pytest.fixture
def night(refresh, monkeypatch):
    """The shop's recipe, named by the environment as the files read it."""
    shop = refresh()
    monkeypatch.setenv("SYNTH_OPS_RECIPE", str(shop.file))
    monkeypatch.setenv("SYNTH_OPS_STORE", str(shop.store))
    return shop


@pytest.fixture
def definitions(night, repository) -> dg.Definitions:
    spec = importlib.util.spec_from_file_location("code_location", repository / "assets" / "definitions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.defs


@pytest.fixture
def dags(night, repository):
    """Every DAG of the folder, as Airflow reads it."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(repository / "dags"))
    assert bag.import_errors == {}
    return bag.dags


def test_every_dag_runs(night, dags, run_dag, monkeypatch):
    """One after the other on one store: what one has made, the next one finds."""
    done = []

    def run(name):
        done.append(name)
        finished = run_dag(dags[name], file=dags[name].fileloc)
        assert finished.state == "success", name
        return finished

    dag = dags["nightly_refresh"]
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == ("0 3 * * *", False, 1)
    assert not any(result["skipped"] for result in run("nightly_refresh").results.values())
    assert night.generations() == night.artifacts()["copy"]

    assert all(result["skipped"] for result in run("fan_out_refresh").results.values())

    refreshed = run("refresh_on_asset")
    assert all(result["skipped"] for result in refreshed.results.values())
    assert "test_database/customers" in refreshed.events
    assert run("test_on_refresh").xcoms["integration_tests"] == 1

    assert all(result["skipped"] for result in run("weekly_fit").results.values())
    sampled = run("nightly_sample").results
    assert set(sampled) == {"sample", "gate", "publish"}
    assert not any(result["skipped"] for result in sampled.values())
    assert night.generations()[-1] == sampled["sample"]["id"]

    by_hand = run("operators_by_hand")
    assert all(result["skipped"] for step, result in by_hand.results.items() if step != "publish")
    assert by_hand.xcoms["gate"]["facts"]["verdict"] == "passed"
    assert sorted(done) == sorted(dags)


def test_the_code_location_is_valid(night, repository):
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", "assets/definitions.py"]
    finished = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "passed validation" in finished.stdout + finished.stderr


def test_the_schedule_starts_the_job_that_refreshes_the_target(night, definitions, dagster_instance):
    schedule = definitions.resolve_schedule_def("nightly_refresh")
    assert schedule.cron_schedule == "0 3 * * *"
    context = dg.build_schedule_context(dagster_instance, scheduled_execution_time=datetime(2026, 3, 1, 3, tzinfo=UTC))
    assert len(schedule.evaluate_tick(context).run_requests) == 1
    result = definitions.resolve_job_def(schedule.job_name).execute_in_process(instance=dagster_instance)
    assert result.success
    assert {check.check_name for check in result.get_asset_check_evaluations()} > {"gate", "integrity", "privacy"}
    assert night.generations() == night.artifacts()["copy"]


def test_the_sensor_asks_for_a_run_when_the_source_has_changed(
    night, definitions, dagster_instance, warehouse, tmp_path
):
    shutil.copy(warehouse, tmp_path / "mine.duckdb")
    night.file.write_text(night.file.read_text().replace(str(warehouse), "mine.duckdb"), encoding="utf-8")
    sensor = definitions.resolve_sensor_def("source_changed")

    def look(cursor):
        return sensor.evaluate_tick(dg.build_sensor_context(dagster_instance, cursor=cursor))

    first = look(None)
    assert len(first.run_requests) == 1
    again = look(first.cursor)
    assert (again.run_requests, again.skip_message) == ([], "the source is as it was")
    with duckdb.connect(str(tmp_path / "mine.duckdb")) as connection:
        connection.execute("CREATE TABLE one_more AS SELECT 1 AS id")
    changed = look(first.cursor)
    assert len(changed.run_requests) == 1
    assert changed.cursor != first.cursor
    shutil.copy(warehouse, tmp_path / "mine.duckdb")  # and what it was before is a change again
    back = look(changed.cursor)
    assert [request.run_key for request in back.run_requests] == [None]


@pytest.mark.long
def test_every_step_may_run_in_a_process_of_its_own(
    refresh, repository, dagster_instance, postgres_server, postgres_database
):
    """Those that draw shards and load tables, too, two at a time."""
    url = postgres_server.url(postgres_database)
    night = refresh(target=url, generator_settings={"shard_cells": 2_000}, scale=4)
    mark_target(night.recipe, "test", lambda database: database)
    said = {"SYNTH_OPS_RECIPE": str(night.file), "SYNTH_OPS_STORE": str(night.store), "SYNTH_OPS_FAN_OUT": "2"}
    # each process begins as one that has imported what all need: Dagster's own setting for just this
    how = {"start_method": {"forkserver": {"preload_modules": ["dagster", "synth_ops.dagster"]}}}
    settings = night.file.with_name("run.yaml")
    settings.write_text(yaml.safe_dump({"execution": {"config": {"multiprocess": how}}}), encoding="utf-8")
    job = ["job", "execute", "-f", "assets/definitions.py", "-j", "refresh_test_database"]
    finished = subprocess.run(
        [sys.executable, "-m", "dagster", *job, "-c", str(settings)],
        cwd=repository,
        env=os.environ | said,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    (run,) = dagster_instance.get_runs()
    done = dagster_instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
    steps = {entry.dagster_event.step_key.rpartition(".")[2] for entry in done}
    assert steps >= {f"shop__{part}[{n}]" for part in ("sample_shards", "publish_tables") for n in range(2)}
    assert night.generations() == night.artifacts()["copy"]
