"""Connections in place of URLs: what each type stands for, and that nothing of it is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk import DAG

from synth_ops.airflow import SynthSnapshotOperator, synthetic_copy
from synth_ops.airflow.connections import connection_url
from synth_ops.airflow.task_group import ALL_STEPS
from synth_ops.errors import ConfigError
from synth_ops.location import parse_location
from synth_ops.registry import PluginKind
from synth_ops.targets.mysql.target import MySQLTarget

SERVER = {"host": "db", "port": 6000, "login": "ada", "password": "p@ss/word", "schema": "shop"}
URLS = {
    "sqlite": ({"conn_type": "sqlite", "host": "/data/shop.db"}, "sqlite:////data/shop.db"),
    "duckdb, by its schema": ({"conn_type": "duckdb", "schema": "/data/shop.duckdb"}, "duckdb:////data/shop.duckdb"),
    "duckdb, by its extra": ({"conn_type": "duckdb", "extra": {"path": "shop.duckdb"}}, "duckdb:///shop.duckdb"),
    "a URI of ours": ("parquet:////data/shop", "parquet:////data/shop"),
    "generic, by its host": ({"conn_type": "generic", "host": "sqlite:///shop.db"}, "sqlite:///shop.db"),
    "generic, by its extra": ({"conn_type": "generic", "extra": {"url": "csv:////data"}}, "csv:////data"),
    "generic, with a login": (
        {"conn_type": "generic", "host": "postgres://db/shop", "login": "ada", "password": "p@ss"},
        "postgresql://ada:p%40ss@db/shop",
    ),
    "adbc, by a URI": (
        {"conn_type": "adbc", "host": "postgresql://u:p@db/shop", "extra": {"driver": "adbc_driver_postgresql"}},
        "postgresql://u:p@db/shop",
    ),
    "adbc, by its driver": (
        {"conn_type": "adbc", "host": "file:/data/shop.db", "extra": {"driver": "adbc_driver_sqlite"}},
        "sqlite:////data/shop.db",
    ),
}
UNFIT = {
    "http": {"conn_type": "http", "host": "db", "password": "hunter2"},
    "generic without a URL": {"conn_type": "generic", "host": "db", "password": "hunter2"},
    "adbc of a driver that is not ours": {"conn_type": "adbc", "extra": {"driver": "adbc_driver_flightsql"}},
}


@pytest.fixture
def connection(monkeypatch):
    def add(value, name="shop"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", value if isinstance(value, str) else json.dumps(value))
        return name

    return add


@pytest.mark.parametrize("case", URLS)
def test_a_connection_is_a_url(connection, case):
    value, url = URLS[case]
    assert connection_url(connection(value), PluginKind.SOURCE) == url


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_server_with_its_parts_escaped(connection, scheme):
    kind = {"postgresql": "postgres"}.get(scheme, scheme)
    value = {"conn_type": kind, **SERVER, "extra": {"sslmode": "require"}}
    url = connection_url(connection(value), PluginKind.SOURCE)
    assert url == f"{scheme}://ada:p%40ss%2Fword@db:6000/shop?sslmode=require"


@pytest.mark.parametrize("case", UNFIT)
def test_a_connection_of_the_wrong_type_says_which_are_right(connection, case):
    with pytest.raises(ConfigError, match=r"connection 'shop' is of type .*types: .*duckdb") as caught:
        connection_url(connection(UNFIT[case]), PluginKind.SOURCE)
    assert "hunter2" not in str(caught.value)


def test_a_source_may_be_of_a_type_that_no_target_is(connection):
    conn_id = connection({"conn_type": "csv", "host": "/data"})
    assert connection_url(conn_id, PluginKind.SOURCE) == "csv:////data"
    with pytest.raises(ConfigError, match="is of type csv"):
        connection_url(conn_id, PluginKind.TARGET)


def test_a_task_without_its_connection_fails_at_once_and_names_it(refresh, run_dag, capfd):
    with DAG("no_connection", schedule=None) as dag:
        SynthSnapshotOperator(
            task_id="snapshot", recipe=refresh().file, source_conn_id="gone", retries=3, store=str(refresh().store)
        )
    finished = run_dag(dag)
    assert finished.attempts == {"snapshot": 1}
    assert "there is no connection 'gone' (add it: airflow connections add gone" in "".join(capfd.readouterr())


SHOP = "CREATE TABLE customers (id integer PRIMARY KEY, kind varchar(8) NOT NULL)"
ROWS = ", ".join(f"({number}, 'kind {number % 4}')" for number in range(80))


def test_a_night_between_servers_that_connections_name(
    refresh, run_dag, connection, airflow_db, postgres_server, postgres_database, mariadb_server, mariadb_database
):
    """From PostgreSQL to MariaDB; and the same source by the other types that lead to it. No password is kept."""
    fill = (SHOP, f"INSERT INTO customers VALUES {ROWS}")
    postgres_server.execute(*fill, database=postgres_database)
    target = parse_location(mariadb_server.url(mariadb_database), Path.cwd())
    MySQLTarget(target).mark("test", confirm=mariadb_database)
    secret = {"login": "synth", "password": "hunter2", "schema": postgres_database}
    socket = {"host": str(postgres_server.folder), "port": str(postgres_server.port)}
    url = postgres_server.url(postgres_database, password="hunter2")
    sources = {
        "postgres": {"conn_type": "postgres", **secret, "extra": socket},
        "generic": {"conn_type": "generic", "host": url},
        "adbc": {"conn_type": "adbc", "extra": {"uri": url, "driver": "adbc_driver_postgresql"}},
    }
    testers = {"conn_type": "mysql", "host": "localhost", "login": "root", "schema": mariadb_database}
    connection({**testers, "extra": {"unix_socket": str(mariadb_server.socket)}}, "testers")
    night = refresh()
    night.file.write_text("gate: {policy: off-for-privacy, reason: nobody}\n", encoding="utf-8")
    with DAG("servers", schedule=None) as dag:
        for kind, value in sources.items():
            given = {"source_conn_id": connection(value, kind), "target_conn_id": "testers", "store": str(night.store)}
            steps = ALL_STEPS if kind == "postgres" else ("snapshot",)
            synthetic_copy(night.file, group_id=kind, steps=steps, asset=kind, **given)
    finished = run_dag(dag)
    assert finished.state == "success"
    made = {kind: finished.xcoms[f"{kind}.snapshot"]["id"] for kind in sources}
    assert len(set(made.values())) == 1
    (generation,) = MySQLTarget(target).generations()
    assert generation.tables == {"customers": 80}
    kept = [path for path in Path(airflow_db).parent.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"hunter2" in path.read_bytes()]


def test_a_recipe_may_leave_out_what_connections_give(refresh, run_dag, connection, warehouse, airflow_db, tmp_path):
    """Where the file is counts as a secret here: it must be nowhere that Airflow keeps or prints things."""
    (tmp_path / "hunter2.duckdb").symlink_to(warehouse)
    connection({"conn_type": "duckdb", "host": str(tmp_path / "hunter2.duckdb")}, "warehouse")
    connection({"conn_type": "generic", "host": f"sqlite:///{tmp_path}/hunter3.db"}, "testers")
    night = refresh()
    night.file.write_text("seed: 1\n", encoding="utf-8")
    with DAG("connections", schedule=None) as dag:
        SynthSnapshotOperator(
            task_id="snapshot",
            recipe=night.file,
            store=str(night.store),
            source_conn_id="{{ 'warehouse' }}",
            target_conn_id="testers",
        )
    assert run_dag(dag).results["snapshot"]["facts"]["tables"]["customers"] == 150
    kept = [path for path in Path(airflow_db).parent.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"hunter2" in path.read_bytes() or b"hunter3" in path.read_bytes()]
