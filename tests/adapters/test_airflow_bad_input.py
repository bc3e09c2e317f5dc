"""What goes wrong before and around the work, as Airflow's users see it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from synth_ops.airflow import SynthFitOperator, SynthSnapshotOperator, synthetic_copy
from synth_ops.airflow.operators import SynthOperator
from synth_ops.store import Store


def failure(operator) -> str:
    """What the task says, run as Airflow would, without Airflow."""
    with pytest.raises(AirflowFailException) as caught:
        operator.execute({})
    return str(caught.value)


def test_a_recipe_that_does_not_parse_stops_the_task_and_not_the_dag(refresh, tmp_path):
    recipe = tmp_path / "broken.yaml"
    recipe.write_text("source: [\n", encoding="utf-8")
    with DAG("broken", schedule=None) as dag:
        synthetic_copy(recipe)
    said = failure(dag.get_task("synthetic_copy.snapshot"))
    assert "broken.yaml is not YAML at line 2" in said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": "tonight"}, "'seed'"),
        ({"scale": "-1"}, "'scale'"),
        ({"scale": 0}, "'scale'"),
        ({"source_conn_id": "gone"}, "there is no connection 'gone'"),
    ],
)
def test_what_a_template_made_is_checked_when_the_task_runs(refresh, given, said):
    with DAG("templates", schedule=None):
        operator = SynthSnapshotOperator(task_id="snapshot", recipe=refresh().file, **given)
    assert said in failure(operator)


def test_a_store_that_the_worker_cannot_reach_is_named(refresh, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with DAG("store", schedule=None):
        operator = SynthSnapshotOperator(task_id="snapshot", recipe=refresh().file, store=str(tmp_path / "file"))
        protocol = SynthSnapshotOperator(task_id="protocol", recipe=refresh().file, store="nowhere://bucket")
    assert f"the store {tmp_path}/file can't be used" in failure(operator)
    assert "unknown store protocol 'nowhere'" in failure(protocol)


@pytest.mark.parametrize("returned", [None, {}, ""])
def test_a_task_whose_upstream_returned_nothing_does_not_guess(refresh, returned):
    night = refresh()
    with DAG("nothing", schedule=None):
        operator = SynthFitOperator(task_id="fit", recipe=night.file, store=str(night.store), needs=returned)
    assert "the task before returned no snapshot" in failure(operator)


def test_a_kill_interrupts_work_and_nothing_else(refresh):
    with DAG("kill", schedule=None):
        operator = SynthOperator(task_id="any", recipe=refresh().file)
    operator.on_kill()
    with pytest.raises(KeyboardInterrupt), operator.working():
        operator.on_kill()
    operator.on_kill()


def test_two_runs_at_once_make_one_publication(refresh):
    """Two processes from the same moment on: one of them publishes, the other one finds it."""
    night = refresh()
    command = [str(Path(sys.executable).with_name("synth-ops")), "run", str(night.file), "--store", str(night.store)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) for _ in range(2)]
    ended = [(run.communicate()[1].decode(), run.returncode) for run in runs]
    assert {code for _, code in ended} <= {0, 5}, ended  # 5: the other one holds the target now; a retry finds it done
    assert 0 in {code for _, code in ended}
    assert night.generations() == night.artifacts()["copy"]
    assert len(night.generations()) == 1
    assert not [path for path in Store(night.store).root.iterdir() if path.name.startswith(".scratch")]


def test_a_task_may_be_given_all_that_airflow_gives(refresh):
    with DAG("given", schedule=None) as dag:
        synthetic_copy(
            refresh().file,
            pool="databases",
            retries=3,
            retry_delay=timedelta(minutes=1),
            execution_timeout=timedelta(hours=1),
            queue="large",
        )
    assert {(task.pool, task.queue, task.retries) for task in dag.tasks} == {("databases", "large", 3)}
    assert {task.execution_timeout for task in dag.tasks} == {timedelta(hours=1)}
