"""Under the real servers: `airflow standalone` over REST, `dagster dev` over GraphQL; each ended by its own process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synth_ops.artifacts import ArtifactKind
from synth_ops.plan import STEPS
from synth_ops.testing.warehouses import CANARIES

pytestmark = pytest.mark.long
PATIENCE_S = 420
TASKS = ["preflight", *(step.name for step in STEPS), "tidy"]
DAGS = '''
import os, signal, sys
from datetime import timedelta
from airflow.sdk import DAG
from synth_ops.airflow import synthetic_copy

STORE = {store!r}

def die_once(context):
    """Killed at the worst moment: all is done, and not yet in its place."""
    task = context["ti"].task_id.rpartition(".")[2]
    moment = "os.mkdir" if task in ("preflight", "tidy") else "os.rename"

    def kill(event, arguments):
        if event == moment and {folder!r} in str(arguments[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    if context["ti"].try_number == 1:
        sys.addaudithook(kill)

with DAG("killed", schedule=None):
    synthetic_copy({good!r}, store=STORE, retries=2, retry_delay=timedelta(seconds=1), pre_execute=die_once)

with DAG("blocked", schedule=None):
    synthetic_copy({bad!r}, store=STORE, asset="blocked")
'''


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def server(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A server with a process group of its own, which is ended with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


class Api:
    """JSON over HTTP; everything that was ever answered is kept, to be searched for canaries."""

    def __init__(self, url: str) -> None:
        self.url, self.token, self.heard = url, "", ""

    def __call__(self, path: str, body: object = None, method: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        self.heard += text
        return json.loads(text)

    def wait(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError, urllib.error.HTTPError, KeyError):
                if found := ask():
                    return found
            time.sleep(1)
        raise TimeoutError(f"no answer within {PATIENCE_S} s")


def leaks(folder: Path, heard: str) -> list[str]:
    found = [canary for canary in CANARIES if canary in heard]
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            content = file.read_bytes()
            found += [f"{canary} in {file}" for canary in CANARIES if canary.encode() in content]
    return found


class AirflowRun:
    """A run of a DAG, started over REST."""

    def __init__(self, api: Api, dag: str) -> None:
        self.api, self.dag = api, dag
        self.id = api(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"]
        self.place = f"/api/v2/dags/{dag}/dagRuns/{self.id}"

    def finished(self) -> str:
        return self.api.wait(lambda: (state := self.api(self.place)["state"]) in ("success", "failed") and state)

    def tasks(self) -> dict[str, Any]:
        instances = self.api(f"{self.place}/taskInstances")["task_instances"]
        return {each["task_id"].rpartition(".")[2]: each for each in instances}

    def of_task(self, task: str, what: str) -> Any:
        return self.api(f"{self.place}/taskInstances/synthetic_copy.{task}/{what}")


@contextlib.contextmanager
def airflow_standalone(night: Any, bad: Any, folder: Path) -> Iterator[Api]:
    """Airflow as a user starts it, with the two DAGs above; its home is `folder/airflow`."""
    home, dags, port = folder / "airflow", folder / "dags", free_port()
    home.mkdir()
    dags.mkdir()
    text = DAGS.format(store=str(night.store), folder=str(folder), good=str(night.file), bad=str(bad.file))
    (dags / "refreshes.py").write_text(text, encoding="utf-8")
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
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__OPENLINEAGE__NAMESPACE": "test",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    api = Api(f"http://localhost:{port}")
    command = [str(Path(sys.executable).with_name("airflow")), "standalone"]
    with server(command, folder / "airflow.log", environment):
        api.wait(lambda: api("/api/v2/monitor/health")["scheduler"]["status"] == "healthy")
        api.token = api("/auth/token")["access_token"]
        api.wait(lambda: {dag["dag_id"] for dag in api("/api/v2/dags")["dags"]} == {"killed", "blocked"})
        assert api("/api/v2/importErrors")["total_entries"] == 0
        yield api


def test_airflow_with_every_task_killed_once_and_the_gate_marked_by_hand(refresh, tmp_path):
    night = refresh()
    impossible = {"thresholds": {"fidelity.mean_column_distance": -1.0}}
    bad = refresh(name="bad", target="duckdb:///shop_test.duckdb", gate=impossible)
    with airflow_standalone(night, bad, tmp_path) as api:
        killed = AirflowRun(api, "killed")
        assert killed.finished() == "success"
        assert {name: each["try_number"] for name, each in killed.tasks().items()} == dict.fromkeys(TASKS, 2)
        live = night.generations()
        assert live == night.artifacts()["copy"]
        assert not [path for path in night.store.iterdir() if path.name.startswith(".scratch")]
        is_told(api, killed, night, tmp_path / "airflow" / "lineage.jsonl")

        blocked = AirflowRun(api, "blocked")
        assert blocked.finished() == "failed"
        tasks = blocked.tasks()
        assert (tasks["gate"]["state"], tasks["publish"]["state"]) == ("failed", "upstream_failed")
        gate, publish = "synthetic_copy.gate", "synthetic_copy.publish"
        api(f"{blocked.place}/taskInstances/{gate}", {"new_state": "success"}, "PATCH")
        again = {"dry_run": False, "dag_run_id": blocked.id, "task_ids": [publish], "only_failed": False}
        api("/api/v2/dags/blocked/clearTaskInstances", again)
        api.wait(lambda: blocked.tasks()["publish"]["state"] == "failed")
        assert night.generations() == live
    assert leaks(tmp_path / "airflow", api.heard) == []


def is_told(api: Api, run: AirflowRun, night: Any, lineage_file: Path) -> None:
    """What others learn of a run: XComs, links, asset events, lineage."""
    xcom = run.of_task("publish", "xcomEntries/return_value")["value"]
    published = xcom if isinstance(xcom, dict) else json.loads(xcom)
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


LAUNCH = """
mutation($selector: JobOrPipelineSelector!, $config: RunConfigData) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSET = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      groupName owners { ... on TeamAssetOwner { team } }
      assetMaterializations(limit: 1) {
        metadataEntries {
          label ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue }
          ... on UrlMetadataEntry { url } ... on MarkdownMetadataEntry { mdStr } ... on TextMetadataEntry { text }
          ... on TableColumnLineageMetadataEntry { lineage { columnName columnDeps { assetKey { path } columnName } } }
          ... on TableSchemaMetadataEntry { schema { columns { name type } } }
        }
      }
      assetChecksOrError {
        ... on AssetChecks { checks {
          name blocking executionForLatestMaterialization { status evaluation { success severity } }
        } }
      }
    }
  }
}
"""


def test_dagster_launches_checks_and_shows(refresh, tmp_path, repository):
    night = refresh()
    home, port = tmp_path / "dagster", free_port()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "SYNTH_OPS_RECIPE": str(night.file),
        "SYNTH_OPS_STORE": str(night.store),
    }
    file = str(repository / "assets" / "definitions.py")
    command = [sys.executable, "-m", "dagster", "dev", "-f", file, "-h", "127.0.0.1", "-p", str(port)]
    api = Api(f"http://127.0.0.1:{port}")

    def ask(query: str, **variables: Any) -> Any:
        return api("/graphql", {"query": query, "variables": variables})["data"]

    with server(command, tmp_path / "dagster.log", environment):
        api.wait(lambda: api("/server_info"))
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "definitions.py",
            "pipelineName": "refresh_test_database",
        }
        config = {"execution": {"config": {"in_process": {}}}}
        launched = api.wait(
            lambda: (found := ask(LAUNCH, selector=selector, config=config)["launchRun"]).get("run") and found
        )
        run = launched["run"]["runId"]
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        status = api.wait(lambda: (state := ask(STATUS, id=run)["runOrError"]["status"]) in ended and state)
        assert status == "SUCCESS"
        assert night.generations() == night.artifacts()["copy"]

        report = ask(ASSET, key={"path": ["test_database", "synth_ops", "report"]})["assetNodeOrError"]
        assert report["owners"] == [{"team": "test-data"}]
        shown = {entry["label"]: entry for entry in report["assetMaterializations"][0]["metadataEntries"]}
        assert shown["fidelity.mean_column_distance"]["floatValue"] >= 0
        assert shown["report"]["url"].endswith("report.html")
        assert shown["summary"]["mdStr"].startswith("**passed**")
        checks = {check["name"]: check for check in report["assetChecksOrError"]["checks"]}
        assert all(check["blocking"] for check in checks.values())
        assert checks["gate"]["executionForLatestMaterialization"]["evaluation"] == {
            "success": True,
            "severity": "ERROR",
        }
        publication = ask(ASSET, key={"path": ["test_database", "synth_ops", "publication"]})["assetNodeOrError"]
        shown = {entry["label"]: entry for entry in publication["assetMaterializations"][0]["metadataEntries"]}
        assert shown["generation"]["intValue"] == 1
    assert leaks(home, api.heard) == []
