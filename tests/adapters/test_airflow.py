"""The operators: what they are to Airflow, what they retry, what they skip."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path

import airflow
import jsonschema
import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator

import synth_ops.airflow
from synth_ops import __version__
from synth_ops.airflow import SynthSnapshotOperator, SynthStepOperator, get_provider_info, synthetic_copy
from synth_ops.plan import STEPS


def test_every_step_has_its_operator():
    operators = {each.step: each.__name__ for each in SynthStepOperator.__subclasses__()}
    assert operators == {step.name: f"Synth{step.name.title()}Operator" for step in STEPS}
    assert set(operators.values()) < set(synth_ops.airflow.__all__)


def test_every_exported_name_exists():
    assert all(getattr(synth_ops.airflow, name) for name in synth_ops.airflow.__all__)
    with pytest.raises(AttributeError, match="no attribute 'synthetic_coyp'"):
        synth_ops.airflow.synthetic_coyp  # noqa: B018


def test_provider_info_is_what_airflow_expects():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    info = get_provider_info()
    jsonschema.validate(info, schema)
    assert info["versions"] == [__version__]
    (entry_point,) = entry_points(group="apache_airflow_provider").select(value="synth_ops.airflow:get_provider_info")
    assert entry_point.load() is get_provider_info


def test_airflow_lists_the_provider_and_its_link():
    def airflow_says(*arguments):
        command = [str(Path(sys.executable).with_name("airflow")), "providers", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "synth-ops" in airflow_says("list", "--output", "plain")
    assert "synth_ops.airflow.links.ReportLink" in airflow_says("links", "--output", "plain")


def test_the_group_is_a_chain_of_five(refresh):
    with DAG("chain", schedule=None) as dag:
        group = synthetic_copy(refresh().file, group_id="shop", retries=4)
    assert group.group_id == "shop"
    chain = [task for task in dag.topological_sort() if not task.is_setup and not task.is_teardown]
    assert [(task.task_id, sorted(task.downstream_task_ids - {"shop.tidy"}), task.retries) for task in chain] == [
        ("shop.snapshot", ["shop.fit"], 4),
        ("shop.fit", ["shop.sample"], 4),
        ("shop.sample", ["shop.gate"], 4),
        ("shop.gate", ["shop.publish"], 4),
        ("shop.publish", [], 4),
    ]
    assert dag.get_task("shop.preflight").is_setup
    assert dag.get_task("shop.tidy").is_teardown


def test_a_step_may_have_arguments_of_its_own(refresh):
    with DAG("own", schedule=None) as dag:
        synthetic_copy(refresh().file, pool="small", step_kwargs={"fit": {"pool": "large"}})
    assert {task.pool for task in dag.tasks} == {"small", "large"}
    assert dag.get_task("synthetic_copy.fit").pool == "large"


@pytest.mark.parametrize("steps", [(), ("sample", "fit"), ("snapshot", "sample"), ("gaet",)])
def test_a_group_is_of_neighbours(refresh, steps):
    with DAG("wrong", schedule=None), pytest.raises(ValueError, match="neighbours out of snapshot, fit"):
        synthetic_copy(refresh().file, steps=steps)


def test_arguments_for_no_step_are_refused(refresh):
    with DAG("wrong", schedule=None), pytest.raises(ValueError, match="no step of this group: fitt"):
        synthetic_copy(refresh().file, step_kwargs={"fitt": {}})


def test_a_second_night_with_nothing_changed_skips_all_work(refresh, run_dag):
    night = refresh()
    with DAG("twice", schedule=None) as dag:
        synthetic_copy(night.file, store=str(night.store))
    first, second = run_dag(dag), run_dag(dag)
    assert [xcom["skipped"] for xcom in first.results.values()] == [False] * 5
    assert [xcom["skipped"] for xcom in second.results.values()] == [True] * 5
    assert {task: xcom["id"] for task, xcom in first.results.items()} == {
        task: xcom["id"] for task, xcom in second.results.items()
    }


def test_xcom_holds_an_id_counts_and_names(refresh, run_dag):
    night = refresh()
    with DAG("counts", schedule=None) as dag:
        SynthSnapshotOperator(task_id="snapshot", recipe=night.file, store=str(night.store))
    (xcom,) = run_dag(dag).xcoms.values()
    assert xcom["kind"] == "snapshot"
    assert xcom["facts"]["tables"]["customers"] == 150


def test_paths_may_be_templates(refresh, run_dag):
    night = refresh(name="templated")
    with DAG("templated", schedule=None) as dag:
        SynthSnapshotOperator(
            task_id="snapshot", recipe=f"{night.file.parent}/{{{{ dag.dag_id }}}}.yaml", store=str(night.store)
        )
    assert run_dag(dag).state == "success"


def test_a_recipe_made_in_python_stays_out_of_the_database(refresh, run_dag, airflow_db, warehouse, tmp_path):
    (tmp_path / "hunter2.duckdb").symlink_to(warehouse)
    night = refresh()
    recipe = night.recipe.model_copy(update={"source": "hunter2.duckdb"})
    with DAG("in_python", schedule=None) as dag:
        SynthSnapshotOperator(task_id="snapshot", recipe=recipe, store=str(night.store))
    assert run_dag(dag).state == "success"
    with sqlite3.connect(airflow_db) as connection:
        assert b"hunter2" not in connection.serialize()


def test_only_what_may_pass_by_itself_is_retried(refresh, run_dag, busy_database):
    with DAG("retries", schedule=None) as dag:
        for source in (busy_database.name, "gone.duckdb"):
            night = refresh(name=source.partition(".")[0], source=source)
            SynthSnapshotOperator(
                task_id=night.file.stem,
                recipe=night.file,
                store=str(night.store),
                retries=1,
                retry_delay=timedelta(seconds=0.01),
            )
    assert run_dag(dag).attempts == {"busy": 2, "gone": 1}


def test_the_operators_are_operators():
    assert issubclass(SynthStepOperator, BaseOperator)
