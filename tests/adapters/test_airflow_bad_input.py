"""What goes wrong before and around the work, as Airflow's users see it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout
from airflow.sdk.execution_time.timeout import timeout

from synth_ops import __version__
from synth_ops.airflow import SynthFitOperator, SynthPreflightOperator, SynthSnapshotOperator, synthetic_copy
from synth_ops.airflow.operators import SynthOperator
from synth_ops.run import run_step
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


def test_a_timeout_interrupts_the_work_and_is_told_as_one(refresh):
    """As Airflow times a task: by an alarm, whose handler raises what no library between knows."""
    with DAG("timeout", schedule=None):
        operator = SynthOperator(task_id="any", recipe=refresh().file)
    seen = []

    def work():
        try:
            time.sleep(30)
        except KeyboardInterrupt:  # which drivers know, and cancel their statements at
            seen.append("interrupted")
            raise

    with pytest.raises(AirflowTaskTimeout), timeout(0.05), operator.working():
        work()
    assert seen == ["interrupted"]
    with pytest.raises(KeyboardInterrupt), timeout(30), operator.working():
        raise KeyboardInterrupt


def test_an_extra_that_is_missing_is_named_before_the_night_begins(refresh):
    night = refresh(generator="argn")  # whose package can't be installed beside Airflow
    with DAG("extra", schedule=None):
        operator = SynthPreflightOperator(task_id="preflight", recipe=night.file, store=str(night.store))
    assert 'pip install "synth-ops[argn]"' in failure(operator)


def test_a_worker_of_another_version_is_refused(refresh, monkeypatch):
    night = refresh()
    snapshot = run_step(night.recipe, "snapshot", store=Store(night.store)).ref.to_json()
    with DAG("version", schedule=None):
        operator = SynthFitOperator(task_id="fit", recipe=night.file, store=str(night.store), needs=snapshot)
    monkeypatch.setattr("synth_ops.runners.__version__", "9.9.9")
    assert f"was made by synth_ops {__version__}; this worker has 9.9.9" in failure(operator)
