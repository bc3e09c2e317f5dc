"""Under `airflow standalone`, over REST and in a browser: killed, stopped, judged; ended by its own process."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.endpoints import mark_target
from synth_ops.run import run_step
from synth_ops.store import Store
from synth_ops.testing.warehouses import CANARIES

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]  # 30 starts of a task, on a machine that may be busy
TASKS = {
    "preflight": 1,
    "snapshot": 1,
    "fit": 1,
    "plan_shards": 1,
    "shards": 2,
    "sample": 1,
    "gate": 1,
    "plan_tables": 1,
    "tables": 2,
    "publish": 1,
    "tidy": 1,
}
"""How many of each there are, mapped ones included."""
DAGS = '''
import os, signal, sys
from airflow.sdk import DAG, task
from datetime import timedelta
from synth_ops.airflow import SynthPublishOperator, synthetic_asset, synthetic_copy

STORE = {store!r}
LAST_CALLS = {{"plan_tables": ("begin", "postgresql/staging.py"), "tables": ("load", "postgresql/loading.py")}}

def die_once(context):
    """Killed at the worst moment: all is done, and not yet in its place."""
    task = context["ti"].task_id.rpartition(".")[2]
    moment = "os.mkdir" if task in ("preflight", "plan_shards", "tidy") else "os.rename"
    function, file = LAST_CALLS.get(task, ("", ""))

    def kill(event, arguments):
        if event == moment and {folder!r} in str(arguments[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    def kill_after(frame, event, argument):
        if event == "return" and frame.f_code.co_name == function and frame.f_code.co_filename.endswith(file):
            os.kill(os.getpid(), signal.SIGKILL)

    if context["ti"].try_number == 1:
        sys.setprofile(kill_after) if function else sys.addaudithook(kill)

with DAG("killed", schedule=None):
    synthetic_copy(
        {good!r}, store=STORE, fan_out=2, retries=2, retry_delay=timedelta(seconds=1), pre_execute=die_once
    )

with DAG("waits", schedule=[synthetic_asset("shop")]):
    @task(inlets=[synthetic_asset("shop")])
    def tell(*, inlet_events):
        return inlet_events[synthetic_asset("shop")][-1].extra["generation"]
    tell()

with DAG("blocked", schedule=None):
    synthetic_copy({bad!r}, store=STORE, asset="blocked", fan_out=2, steps=("gate", "publish"))

for name, how in {{
    "stopped": {{}},
    "timed": {{"execution_timeout": timedelta(seconds=15)}},
    "twice": {{"retries": 9, "retry_delay": timedelta(seconds=1)}},
}}.items():
    with DAG(name, schedule=None):
        SynthPublishOperator(task_id="publish", recipe={good!r}, store=STORE, seed=7, asset="", **how)
'''
ALARM = """
import json, pathlib
def ring(task_instance, facts):
    pathlib.Path({file!r}).write_text(json.dumps([task_instance.task_id, facts]))
"""


class AirflowRun:
    """A run of a DAG, started over REST."""

    def __init__(self, api: Any, dag: str) -> None:
        self.api, self.dag = api, dag
        self.id = api(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"]
        self.place = f"/api/v2/dags/{dag}/dagRuns/{self.id}"

    def finished(self) -> str:
        return self.api.wait(lambda: (state := self.api(self.place)["state"]) in ("success", "failed") and state)

    def instances(self) -> list[dict[str, Any]]:
        return self.api(f"{self.place}/taskInstances")["task_instances"]

    def tasks(self) -> dict[str, str]:
        """The state of each task; of mapped ones, of any of them."""
        return {each["task_id"].rpartition(".")[2]: each["state"] for each in self.instances()}

    def of_task(self, task: str, what: str) -> Any:
        return self.api(f"{self.place}/taskInstances/synthetic_copy.{task}/{what}")

    def returned(self, task: str) -> Any:
        """What a task pushed to XCom."""
        value = self.of_task(task, "xcomEntries/return_value")["value"]
        return json.loads(value) if isinstance(value, str) else value

    def set_state(self, task: str, state: str) -> None:
        """As somebody does it by hand."""
        self.api(f"{self.place}/taskInstances/{task}", {"new_state": state}, "PATCH")

    def clear(self, *tasks: str) -> None:
        """Let tasks run again, and those after them."""
        what = {"dry_run": False, "dag_run_id": self.id, "task_ids": list(tasks), "only_failed": False}
        self.api(f"/api/v2/dags/{self.dag}/clearTaskInstances", {**what, "include_downstream": True})


@contextlib.contextmanager
def airflow_standalone(web: Any, night: Any, bad: Any, folder: Path) -> Iterator[Any]:
    """Airflow as a user starts it, with the DAGs above; its home is `folder/airflow`."""
    home, dags, port, reports_port = folder / "airflow", folder / "dags", web.free_port(), web.free_port()
    home.mkdir()
    dags.mkdir()
    text = DAGS.format(store=str(night.store), folder=str(folder), good=str(night.file), bad=str(bad.file))
    (dags / "refreshes.py").write_text(text, encoding="utf-8")
    (folder / "alarm.py").write_text(ALARM.format(file=str(folder / "alarm.json")), encoding="utf-8")
    transport = {"type": "file", "log_file_path": str(home / "lineage.jsonl"), "append": True}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL": "5",  # when tables become assets
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "test",
        "AIRFLOW__SYNTH_OPS__ON_GATE_FAILED": "alarm.ring",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": str(folder),
        "SYNTH_OPS_REPORTS_URL": f"http://127.0.0.1:{reports_port}",
    }
    api = web.Api(f"http://localhost:{port}")
    command = [str(Path(sys.executable).with_name("airflow")), "standalone"]
    reports = ["-m", "http.server", str(reports_port), "--bind", "127.0.0.1", "-d", str(night.store / "report")]
    with (
        web.server(command, folder / "airflow.log", environment),
        web.server([sys.executable, *reports], folder / "reports.log", dict(os.environ)),
    ):
        api.wait(lambda: api("/api/v2/monitor/health")["scheduler"]["status"] == "healthy")
        api.token = api("/auth/token")["access_token"]
        there = {"killed", "waits", "blocked", "stopped", "timed", "twice"}
        api.wait(lambda: {dag["dag_id"] for dag in api("/api/v2/dags")["dags"]} == there)
        assert api("/api/v2/importErrors")["total_entries"] == 0
        yield api


def test_airflow_with_every_task_killed_once_and_the_gate_marked_by_hand(
    refresh, tmp_path, postgres_server, postgres_database, web, browser
):
    url = postgres_server.url(postgres_database)
    parted = {"target": url, "generator_settings": {"shard_cells": 2_000}, "scale": 4}
    night = refresh(**parted)
    bad = refresh(name="bad", gate={"thresholds": {"fidelity.mean_column_distance": -1.0}}, **parted)
    mark_target(night.recipe, "test", lambda database: database)
    with airflow_standalone(web, night, bad, tmp_path) as api:
        killed = AirflowRun(api, "killed")
        assert killed.finished() == "success"
        tries = [(each["task_id"].rpartition(".")[2], each["try_number"]) for each in killed.instances()]
        assert sorted(tries) == sorted((name, 2) for name, count in TASKS.items() for _ in range(count))
        live = night.generations()
        assert live == night.artifacts()["copy"]
        assert left_over(url, night.store) == []
        is_told(api, killed, night, tmp_path / "airflow" / "lineage.jsonl")
        is_waited_for(api)
        live = is_stopped(api, night, url)
        is_shown(api, killed, browser.new_page(), tmp_path)

        blocked = AirflowRun(api, "blocked")
        assert blocked.finished() == "failed"
        tasks = blocked.tasks()
        assert (tasks["gate"], tasks["plan_tables"], tasks["publish"]) == ("failed", *["upstream_failed"] * 2)
        task, facts = json.loads((tmp_path / "alarm.json").read_text())
        assert (task, facts["verdict"]) == ("synthetic_copy.gate", "failed")
        for by_hand, refused in ((["gate"], "plan_tables"), (["plan_tables", "tables"], "publish")):
            for task in by_hand:
                blocked.set_state(f"synthetic_copy.{task}", "success")
            blocked.clear(f"synthetic_copy.{refused}")
            api.wait(lambda refused=refused: blocked.tasks()[refused] == "failed")
        assert night.generations() == live
    assert web.leaks(CANARIES, tmp_path / "airflow", api.heard) == []


def left_over(url: str, store: Path) -> list[str]:
    """What a killed run may have left: in the store, and in the target."""
    found = [path.name for path in store.iterdir() if path.name.startswith(".scratch")]
    found += [path.name for path in (store / "shard").iterdir()] if (store / "shard").exists() else []
    with psycopg.connect(url) as connection:
        query = (
            "SELECT token FROM synth_ops.stage UNION ALL SELECT nspname FROM pg_namespace WHERE nspname ~ "
            "'^synth_ops_[0-9]' AND split_part(nspname, '_', 3)::int NOT IN (SELECT number FROM synth_ops.generation) "
            "UNION ALL SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
            "AND pid <> pg_backend_pid()"
        )
        return [*found, *(name for (name,) in connection.execute(query).fetchall())]


def is_told(api: Any, run: AirflowRun, night: Any, lineage_file: Path) -> None:
    """What others learn of a run: XComs, links, asset events, lineage."""
    published = run.returned("publish")
    assert published["facts"]["generation"] == 1
    links = run.of_task("gate", "links")["extra_links"]
    assert links["Gate report"].endswith(f"{night.only(ArtifactKind.REPORT).id}/report.html")
    events = api("/api/v2/assets/events?limit=100")["asset_events"]
    extras = {event["name"]: event["extra"] for event in events}
    assert extras["shop/report"]["verdict"] == "passed"
    assert extras["shop/customers"]["rows"] == published["facts"]["tables"]["customers"]
    lineage = [json.loads(line) for line in lineage_file.read_text().splitlines()]
    outputs = [output for event in lineage for output in event.get("outputs", [])]
    assert any("columnLineage" in output.get("facets", {}) for output in outputs)


def is_shown(api: Any, run: AirflowRun, page: Any, folder: Path) -> None:
    """What people see of it: the assets with their counts and scores, which worker loaded what, the gate's report."""

    def assets() -> dict[str, int]:
        found = {each["name"]: each["id"] for each in api("/api/v2/assets?limit=100")["assets"]}
        return found if "shop/customers" in found else {}

    ids = api.wait(assets)  # the scheduler looks for new ones now and then
    api.shows(page, "/assets", "shop/report", "shop/customers", "shop/order_lines", shot=folder / "assets.png")
    api.shows(page, f"/assets/{ids['shop/publication']}", "waits", "1 Asset Event", shot=folder / "publication.png")
    api.shows(page, f"/assets/{ids['shop/report']}", "1 Asset Event", shot=folder / "asset.png")
    page.locator("[class*=folding-collapsed]").first.click()
    api.sees(page, '"verdict"', '"passed"', '"scores"', shot=folder / "asset.png")
    place = f"/dags/{run.dag}/runs/{run.id}/tasks/synthetic_copy"
    parts = [", ".join(part["tables"]) for part in run.returned("plan_tables")]
    api.shows(page, f"{place}.tables/mapped", "2 Task Instances", *parts, shot=folder / "tables.png")
    api.shows(page, f"{place}.gate/details", "Gate report", shot=folder / "gate.png")
    page.goto(page.get_by_role("link", name="Gate report").get_attribute("href"))
    api.sees(page, "passed", shot=folder / "report.png")


def is_waited_for(api: Any) -> None:
    """A DAG that is scheduled on the publication runs by itself, and is told what was published."""
    place = "/api/v2/dags/waits/dagRuns"
    (run,) = api.wait(lambda: api(place)["dag_runs"])
    assert run["run_type"] == "asset_triggered"
    api.wait(lambda: api(f"{place}/{run['dag_run_id']}")["state"] == "success")
    told = f"{place}/{run['dag_run_id']}/taskInstances/tell/xcomEntries/return_value"
    assert str(api(told)["value"]) == "1"


def is_stopped(api: Any, night: Any, url: str) -> list[str]:
    """A task that is ended in the middle, by somebody or by its timeout, cancels what the server does for it.

    It leaves nothing behind; and two runs of the same at once then make one publication. Returns what is live.
    """
    recipe, store, judged = night.recipe.with_changes(seed=7), Store(night.store), None
    for step in ("snapshot", "fit", "sample", "gate"):
        judged = run_step(recipe, step, store=store, needs=judged).ref
    live = night.generations()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE public.customers ADD CONSTRAINT slow CHECK (pg_sleep(60) IS NOT NULL) NOT VALID"
        )
        busy = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event = 'PgSleep'"
        for dag in ("timed", "stopped"):
            run = AirflowRun(api, dag)
            api.wait(lambda: connection.execute(busy).fetchall())
            if dag == "stopped":
                run.set_state("publish", "failed")
            api.wait(lambda: not left_over(url, night.store))
            assert run.finished() == "failed"
        connection.execute("ALTER TABLE public.customers DROP CONSTRAINT slow")
    assert night.generations() == live
    assert [run.finished() for run in [AirflowRun(api, "twice") for _ in range(2)]] == ["success"] * 2
    assert night.generations() == [*live, judged_copy(store, judged)]
    return night.generations()


def judged_copy(store: Store, report: ArtifactRef) -> str:
    """The id of the copy that a report is about."""
    return str(store.facts(report)["copy"]["id"])
