from __future__ import annotations

import contextlib
import sqlite3

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest

from synth_ops.location import parse_location
from synth_ops.targets.duckdb import DuckDBTarget
from synth_ops.targets.mysql.target import MySQLTarget
from synth_ops.targets.parquet import ParquetTarget
from synth_ops.targets.postgresql.target import PostgreSQLTarget
from synth_ops.targets.sqlite import SQLiteTarget
from synth_ops.testing.contracts import TargetContract, TargetPlace
from synth_ops.testing.staging_contract import StagingContract


class TestDuckDBTarget(TargetContract):
    @pytest.fixture
    def place(self, tmp_path):
        file = tmp_path / "live.duckdb"

        def read(names):
            with duckdb.connect(file, read_only=True) as connection:
                return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}

        def occupy():
            with duckdb.connect(file) as connection:
                connection.execute("CREATE TABLE precious AS SELECT 1 AS a")

        return TargetPlace(
            target=lambda: DuckDBTarget(parse_location("live.duckdb", tmp_path)),
            read=read,
            occupy=occupy,
            occupied=file.read_bytes,
        )


class TestSQLiteTarget(TargetContract):
    @pytest.fixture
    def place(self, tmp_path):
        file = tmp_path / "live.db"

        def read(names):
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
                connection.execute("BEGIN")
                return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}

        def occupy():
            with contextlib.closing(sqlite3.connect(file)) as connection:
                connection.execute("CREATE TABLE precious (a)")

        return TargetPlace(
            target=lambda: SQLiteTarget(parse_location("live.db", tmp_path)),
            read=read,
            occupy=occupy,
            occupied=file.read_bytes,
        )


class TestParquetTarget(TargetContract):
    @pytest.fixture
    def place(self, tmp_path):
        folder = tmp_path / "live"

        def read(names):
            generation = folder.resolve()
            found = {}
            for name in names:
                file = generation / f"{name}.parquet"
                table = pq.read_table(file if file.exists() else generation / name)
                found[name] = [tuple(row.values()) for row in table.to_pylist()]
            return found

        def occupy():
            folder.mkdir()
            (folder / "precious.txt").write_text("mine")

        return TargetPlace(
            target=lambda: ParquetTarget(parse_location("parquet:///live", tmp_path)),
            read=read,
            occupy=occupy,
            occupied=lambda: [entry.name for entry in folder.iterdir()],
        )


class TestPostgreSQLTarget(TargetContract, StagingContract):
    @pytest.fixture
    def place(self, tmp_path, postgres_server, postgres_database):
        url = postgres_server.url(postgres_database)
        PostgreSQLTarget(parse_location(url, tmp_path)).mark("test", confirm=postgres_database)

        def read(names):
            query = "; ".join(f'SELECT * FROM public."{name}"' for name in names)
            with psycopg.connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("BEGIN")
                locks = ", ".join(f'public."{name}"' for name in names)
                cursor.execute(f"LOCK TABLE {locks} IN ACCESS SHARE MODE")
                cursor.execute(query)
                return dict(zip(names, (each.fetchall() for each in cursor.results()), strict=True))

        def occupy():
            with psycopg.connect(url) as connection:
                connection.execute("DROP SCHEMA synth_ops CASCADE")
                connection.execute("CREATE TABLE first AS SELECT 1 AS precious")

        def occupied():
            with psycopg.connect(url) as connection:
                return connection.execute("SELECT * FROM first").fetchall()

        return TargetPlace(
            target=lambda: PostgreSQLTarget(parse_location(url, tmp_path)),
            read=read,
            occupy=occupy,
            occupied=occupied,
        )


class TestMySQLTarget(TargetContract):
    @pytest.fixture
    def place(self, tmp_path, mariadb_server, mariadb_database):
        location = parse_location(mariadb_server.url(mariadb_database), tmp_path)
        MySQLTarget(location).mark("test", confirm=mariadb_database)

        def rows(*statements):
            with contextlib.closing(mariadb_server.connect(mariadb_database)) as connection:
                found = []
                for statement in statements:
                    with connection.cursor() as cursor:
                        cursor.execute(statement)
                        found.append(cursor.fetchall())
                return found

        def read(names):
            locks = ", ".join(f"`{name}` READ" for name in names)
            _, *found = rows(f"LOCK TABLES {locks}", *(f"SELECT * FROM `{name}`" for name in names))
            return dict(zip(names, found, strict=True))

        def occupy():
            rows("DROP TABLE synth_ops_environment", "CREATE TABLE first AS SELECT 1 AS precious")

        return TargetPlace(
            target=lambda: MySQLTarget(location),
            read=read,
            occupy=occupy,
            occupied=lambda: rows("SELECT * FROM first"),
        )
