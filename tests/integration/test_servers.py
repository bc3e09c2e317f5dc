"""The servers that other tests use are what they are taken for."""

from __future__ import annotations

import json

import psycopg
import pytest

SETS = ("sakila", "chinook")


def facts(folder, name):
    tables = json.loads((folder / name / "dataset.json").read_text(encoding="utf-8"))["tables"]
    return {table: each["rows"] for table, each in tables.items()}


@pytest.mark.parametrize("fixture", ["postgres_server", "debian_postgres_server"])
def test_a_postgresql_that_can_be_killed(fixture, request, datasets, real_data):
    server = request.getfixturevalue(fixture)
    with server.database() as name:
        datasets.load_postgresql(real_data / "sakila", server.url(name))
        with psycopg.connect(server.url(name)) as connection:
            for table, rows in facts(real_data, "sakila").items():
                assert connection.execute(f'SELECT count(*) FROM "{table}"').fetchone() == (rows,)
            assert connection.execute("SELECT special_features FROM film LIMIT 1").fetchone()[0]
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url(name))
        server.start()
        with psycopg.connect(server.url(name)) as connection:
            assert connection.execute("SELECT count(*) FROM film").fetchone() == (1000,)
    assert 'SELECT count(*) FROM "film"' in server.log


@pytest.mark.parametrize("dataset", SETS)
def test_a_mariadb(dataset, mariadb_server, mariadb_database, datasets, real_data):
    datasets.load_mariadb(
        real_data / dataset, unix_socket=str(mariadb_server.socket), user="root", database=mariadb_database
    )
    with mariadb_server.connect(mariadb_database) as connection, connection.cursor() as cursor:
        for table, rows in facts(real_data, dataset).items():
            cursor.execute(f"SELECT count(*) FROM `{table}`")
            assert cursor.fetchone() == (rows,)
