"""A small shop with planted canaries, and a real Airflow and Dagster to run its recipe in."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.endpoints import generations
from synth_ops.metadata import Table
from synth_ops.plan import STEPS
from synth_ops.recipe import Recipe, load_recipe
from synth_ops.run import StepResult, run_all
from synth_ops.store import Store
from synth_ops.testing.warehouses import rows_by_name, small_warehouse

REPOSITORY = Path(__file__).resolve().parents[2]

# Airflow reads these when it is first imported
AIRFLOW_HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
atexit.register(shutil.rmtree, AIRFLOW_HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=str(AIRFLOW_HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__FERNET_KEY="",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{AIRFLOW_HOME}/airflow.db",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(AIRFLOW_HOME / "logs"),
    AIRFLOW__OPENLINEAGE__DISABLED="True",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    DAGSTER_DISABLE_TELEMETRY="yes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """One recipe file with a store and a target of its own."""

    file: Path
    store: Path

    @property
    def recipe(self) -> Recipe:
        return load_recipe(self.file)

    def run(self) -> list[StepResult]:
        return run_all(self.recipe, store=Store(self.store))

    def generations(self) -> list[str]:
        """The copies that the target remembers."""
        return [each.copy for each in generations(self.recipe)]

    def artifacts(self) -> dict[str, list[str]]:
        """The ids in the store, by kind."""
        store = Store(self.store)
        return {kind.value: [ref.id for ref in store.artifacts(kind)] for kind in (step.makes for step in STEPS)}

    def only(self, kind: ArtifactKind) -> ArtifactRef:
        """The store's only artifact of a kind."""
        (ref,) = Store(self.store).artifacts(kind)
        return ref


@pytest.fixture(scope="session")
def warehouse(tmp_path_factory) -> Path:
    """A DuckDB file: seven tables with their keys declared; every name, e-mail address and note is a canary."""
    folder = tmp_path_factory.mktemp("warehouse")
    metadata, tables = small_warehouse(folder / "parquet", customers=150)
    with duckdb.connect(str(folder / "shop.duckdb")) as connection:
        for table in metadata.tables:
            connection.execute(_create_table(table))
            if any(key.parent == table.name for key in table.foreign_keys):
                places = ", ".join("?" * len(table.columns))
                for row in rows_by_name(metadata, {table.name: tables[table.name]})[table.name]:
                    connection.execute(f'INSERT INTO "{table.name}" VALUES ({places})', row)
            else:
                files = [str(file) for file in tables[table.name].files]
                connection.execute(f'INSERT INTO "{table.name}" FROM read_parquet(?)', [files])
    return folder / "shop.duckdb"


@pytest.fixture(scope="session")
def refresh_in(warehouse) -> Callable[..., Refresh]:
    """Write a recipe that copies the shop into a folder; keyword arguments are further recipe sections."""

    def write(folder: Path, name: str = "shop", store: str = "store", **sections: Any) -> Refresh:
        defaults = {"source": str(warehouse), "target": f"duckdb:///{name}_test.duckdb"}
        document = {**defaults, **sections}
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        return Refresh(file=file, store=folder / store)

    return write


@pytest.fixture
def refresh(refresh_in, tmp_path) -> Callable[..., Refresh]:
    """The same, into the test's own folder."""
    return partial(refresh_in, tmp_path)


@pytest.fixture
def busy_database(warehouse, tmp_path) -> Iterator[Path]:
    """A copy of the shop that another process holds open for writing, so that it can't be read now."""
    file = tmp_path / "busy.duckdb"
    shutil.copy(warehouse, file)
    hold = "import sys, duckdb; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "held\n"
        yield file
        writer.stdin.close()


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Airflow's metadata database, migrated, with the DAG bundle that `run_dag` puts its DAGs into."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.utils import db

    db.upgradedb()
    DagBundlesManager().sync_bundles_to_db()
    return AIRFLOW_HOME / "airflow.db"


@pytest.fixture
def synth_ops() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the installed command."""
    command = str(Path(sys.executable).with_name("synth-ops"))
    return lambda *arguments: subprocess.run(
        [command, *map(str, arguments)], capture_output=True, text=True, check=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedDag:
    """What Airflow recorded of one DAG run."""

    state: str
    tasks: Mapping[str, str]
    attempts: Mapping[str, int]
    xcoms: Mapping[str, Any]
    links: Mapping[str, str]
    events: Mapping[str, Mapping[str, Any]]

    @property
    def results(self) -> dict[str, Any]:
        """What the tasks of the plan's steps returned, by their own names."""
        steps = {step.name for step in STEPS}
        named = {task.rpartition(".")[2]: value for task, value in self.xcoms.items()}
        return {name: value for name, value in named.items() if name in steps}


@pytest.fixture
def run_dag(airflow_db) -> Callable[..., FinishedDag]:
    """Run a DAG as Airflow's `dags test` does, and read back what the metadata database holds of it."""

    def run(dag: Any, *, file: str = __file__) -> FinishedDag:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        bag = DagBag(dag_folder=os.devnull, collect_dags=False)
        dag.fileloc = file
        bag.bag_dag(dag)
        sync_bag_to_db(bag, "dags-folder", None)
        finished = dag.test()
        with sqlite3.connect(airflow_db) as connection:
            where = "WHERE run_id = ? AND dag_id = ?"
            key = (finished.run_id, dag.dag_id)
            tasks = dict(connection.execute(f"SELECT task_id, state FROM task_instance {where}", key))
            attempts = dict(connection.execute(f"SELECT task_id, try_number FROM task_instance {where}", key))
            values = f"SELECT task_id, value FROM xcom {where} AND key = ?"
            xcoms = {t: json.loads(str(v)) for t, v in connection.execute(values, (*key, "return_value"))}
            links = {t: json.loads(v) for t, v in connection.execute(values, (*key, "_link_ReportLink"))}
            emitted = (
                "SELECT asset.name, asset.uri, asset_event.extra FROM asset_event JOIN asset ON asset.id = asset_id "
                "WHERE source_run_id = ? AND source_dag_id = ?"
            )
            events = {
                name: {"uri": uri, "extra": json.loads(extra)} for name, uri, extra in connection.execute(emitted, key)
            }
        return FinishedDag(
            state=str(finished.state), tasks=tasks, attempts=attempts, xcoms=xcoms, links=links, events=events
        )

    return run


@pytest.fixture
def component(monkeypatch, repository) -> Callable[[Refresh], Any]:
    """Load the project of `assets/component` as its code location does, for one recipe and store."""
    import dagster as dg

    def load(night: Refresh) -> dg.Definitions:
        monkeypatch.setenv("SYNTH_OPS_RECIPE", str(night.file))
        monkeypatch.setenv("SYNTH_OPS_STORE", str(night.store))
        monkeypatch.syspath_prepend(repository / "assets" / "component")
        return dg.load_from_defs_folder(path_within_project=repository / "assets" / "component" / "refresh")

    return load


@pytest.fixture
def dagster_instance(tmp_path, monkeypatch) -> Any:
    """A Dagster instance on disk, as every orchestrator process would see it."""
    import dagster as dg

    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        yield instance


def _create_table(table: Table) -> str:
    def names(columns: tuple[str, ...]) -> str:
        return ", ".join(f'"{column}"' for column in columns)

    lines = [f'"{each.name}" {each.type}{"" if each.nullable else " NOT NULL"}' for each in table.columns]
    lines.append(f"PRIMARY KEY ({names(table.primary_key)})")
    lines += [f"UNIQUE ({names(columns)})" for columns in table.uniques]
    lines += [f"CHECK ({check.expression})" for check in table.checks]
    lines += [
        f'FOREIGN KEY ({names(key.columns)}) REFERENCES "{key.parent}" ({names(key.parent_columns)})'
        for key in table.foreign_keys
    ]
    return f'CREATE TABLE "{table.name}" ({", ".join(lines)})'
