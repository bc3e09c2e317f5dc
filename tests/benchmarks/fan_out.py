"""What a second worker brings: `python tests/benchmarks/fan_out.py`.

Under `airflow standalone`, whose executor runs two tasks at a time, a copy of a shop of 420,000 rows, `--scale` times
as large, is sampled twice from the same model: by one task, in one process; and by four mapped tasks. Told are the
seconds from the first task's start to the last one's end, the scheduler's pauses included, and whether the files of all
tables are the same, by digest.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
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
SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, born DATE, country VARCHAR, tier VARCHAR, credit DECIMAL(9,2));
INSERT INTO customer
SELECT i, DATE '1940-01-01' + (i * 7919 % 23000)::INTEGER, 'C' || (i * 31 % 40), 'T' || (i * 13 % 4),
       i * 97 % 9000 / 4.0
FROM range(1, 20001) numbers(i);
CREATE TABLE purchase (
  id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer, placed TIMESTAMP, channel VARCHAR,
  paid DECIMAL(9,2)
);
INSERT INTO purchase
SELECT i, 1 + i * 7907 % 20000, TIMESTAMP '2020-01-01' + INTERVAL 1 MINUTE * (i * 15485863 % 2000000),
       'H' || (i * 17 % 6), i * 61 % 40000 / 8.0
FROM range(1, 100001) numbers(i);
CREATE TABLE line (
  id INTEGER PRIMARY KEY, purchase INTEGER NOT NULL REFERENCES purchase, sku VARCHAR, pieces INTEGER,
  price DECIMAL(9,2), weight DOUBLE, returned BOOLEAN
);
INSERT INTO line
SELECT i, 1 + i * 7901 % 100000, 'S' || (i * 29 % 300), 1 + i * 11 % 9, i * 43 % 30000 / 16.0, i * 37 % 5000 / 10.0,
       i * 23 % 12 = 0
FROM range(1, 300001) numbers(i);
"""
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
    parser.add_argument("--scale", type=float, default=300.0)
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
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        connection.execute(SHOP)
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"source: duckdb:///{folder}/shop.duckdb\ntarget: duckdb:///{folder}/copy.duckdb\nscale: {scale}\n",
        encoding="utf-8",
    )
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
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",  # where Airflow looks for itself
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
    command = [str(scripts / "airflow"), "standalone"]
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
