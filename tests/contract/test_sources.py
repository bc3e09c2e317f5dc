"""What every source does, and what it does with bad input."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import sqlite3
import subprocess
import sys
import traceback
from pathlib import Path

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synth_ops.errors import RecipeError, SourceError, SourceUnavailableError
from synth_ops.location import Location, parse_location
from synth_ops.metadata import ForeignKey
from synth_ops.registry import PluginKind, load
from synth_ops.sources.sqlite import SQLiteSource

CANARY = "canary-7f3a"
DATABASES = ("duckdb", "sqlite")
FOLDERS = ("parquet", "csv")
SERVER_OF = {"postgresql": "postgres", "mysql": "mariadb"}
SERVERS = tuple(SERVER_OF)
WIDE = [f"column {number}" for number in range(300)]
ORDER = (
    'CREATE TABLE "order" ("group" INTEGER NOT NULL, "straße" VARCHAR(20) NOT NULL, "a ""b""" DOUBLE, '
    'PRIMARY KEY ("straße", "group"), CHECK ("group" > 0))'
)
CHILD = """CREATE TABLE child (
    id INTEGER PRIMARY KEY, boss INTEGER REFERENCES child (id), og INTEGER, "os" VARCHAR(20), code VARCHAR(5) UNIQUE,
    day DATE, FOREIGN KEY ("os", og) REFERENCES "order" ("straße", "group"))"""
STATEMENTS = [
    ORDER,
    CHILD,
    'CREATE TABLE "nothing" (id INTEGER, name VARCHAR(20))',
    "CREATE TABLE single (id INTEGER, empty VARCHAR(20))",
    "CREATE TABLE wide ({})".format(", ".join(f'"{name}" INTEGER' for name in WIDE)),
    """INSERT INTO "order" VALUES (1, 'Hauptstraße', 1.5), (2, 'O''Hara', NULL), (1, '日本', -0.25)""",
    "INSERT INTO child VALUES (1, NULL, 1, 'Hauptstraße', 'A1', '2024-02-29')",
    "INSERT INTO child VALUES (2, 1, NULL, NULL, NULL, NULL)",
    "INSERT INTO child VALUES (3, 1, 2, 'O''Hara', 'B2', '1969-12-31')",
    "INSERT INTO single VALUES (7, NULL)",
    f"INSERT INTO wide VALUES ({', '.join(map(str, range(300)))})",
]
ROWS = {"order": 3, "child": 3, "nothing": 0, "single": 1, "wide": 1}


def build(scheme: str, folder: Path, statements: list[str] = STATEMENTS) -> Path:
    """The same warehouse in every format."""
    if scheme == "sqlite":
        path = folder / "warehouse.db"
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()
        return path
    path = folder / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        if scheme == "duckdb":
            return path
        files = folder / scheme
        files.mkdir()
        for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
            table = connection.table(f'"{name}"')
            if scheme == "parquet":
                table.write_parquet(str(files / f"{name}.parquet"))
            else:
                table.write_csv(str(files / f"{name}.csv"))
    return files


def open_source(scheme: str, place: Path | str):
    """The source at a path, or at a server's URL."""
    if isinstance(place, str):
        return load(PluginKind.SOURCE, scheme)(parse_location(place, Path.cwd()))
    location = Location(scheme=scheme, path=place, url=f"{scheme}:///{place}", label=f"{scheme}:{place.name}")
    return load(PluginKind.SOURCE, scheme)(location)


def read_all(scheme: str, place: Path | str):
    """Metadata, tables by name, warnings."""
    with open_source(scheme, place).session() as session:
        metadata = session.metadata()
        metadata.validate()
        return metadata, {t.name: session.read(t).read_all() for t in metadata.tables}, session.warnings


def failure(scheme: str, place: Path | str) -> SourceError:
    """The error of reading everything; nothing of it may name the canary."""
    with pytest.raises(SourceError) as caught:
        read_all(scheme, place)
    text = "".join(traceback.format_exception(caught.value))
    assert CANARY not in text
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


def fill(scheme: str, server, database: str, statements: list[str] = STATEMENTS) -> str:
    """The same warehouse on a server; its URL."""
    if scheme == "postgresql":
        with psycopg.connect(server.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.replace(" DOUBLE", " DOUBLE PRECISION"))
    if scheme == "mysql":
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = 'ANSI_QUOTES'")
            for statement in statements:
                cursor.execute(statement)
    return server.url(database)


@pytest.fixture(scope="module", params=[*DATABASES, *FOLDERS])
def file_warehouse(request, tmp_path_factory):
    return request.param, build(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=[*DATABASES, *FOLDERS, *SERVERS])
def warehouse(request, tmp_path_factory):
    scheme = request.param
    if scheme not in SERVERS:
        yield scheme, build(scheme, tmp_path_factory.mktemp(scheme))
        return
    server = request.getfixturevalue(f"{SERVER_OF[scheme]}_server")
    with server.database() as database:
        yield scheme, fill(scheme, server, database)


class TestEverySource:
    def test_tables_columns_and_rows(self, warehouse):
        metadata, tables, warnings = read_all(*warehouse)
        assert {name: table.num_rows for name, table in tables.items()} == ROWS
        assert metadata.table("order").column_names == ("group", "straße", 'a "b"')
        assert metadata.table("wide").column_names == tuple(WIDE)
        assert warnings == []

    def test_values_in_their_order(self, warehouse):
        _, tables, _ = read_all(*warehouse)
        assert tables["order"].to_pydict() == {
            "group": [1, 2, 1],
            "straße": ["Hauptstraße", "O'Hara", "日本"],
            'a "b"': [1.5, None, -0.25],
        }
        assert [str(day) for day in tables["child"]["day"].to_pylist()] == ["2024-02-29", "None", "1969-12-31"]
        assert tables["single"].to_pydict() == {"id": [7], "empty": [None]}
        assert list(tables["wide"].to_pylist()[0].values()) == list(range(300))

    def test_metadata_types_are_those_of_the_stored_data(self, warehouse, tmp_path):
        metadata, tables, _ = read_all(*warehouse)
        for table in metadata.tables:
            pq.write_table(tables[table.name], tmp_path / "stored.parquet")
            stored = duckdb.sql(f"DESCRIBE FROM '{tmp_path / 'stored.parquet'}'").fetchall()
            assert [kind for _, kind, *_ in stored] == [column.type for column in table.columns]

    def test_a_recipe_may_read_fewer_columns(self, warehouse):
        import dataclasses

        with open_source(*warehouse).session() as session:
            table = session.metadata().table("child")
            fewer = dataclasses.replace(table, columns=tuple(c for c in table.columns if c.name in ("id", "code")))
            assert session.read(fewer).read_all().to_pydict() == {"id": [1, 2, 3], "code": ["A1", None, "B2"]}

    def test_only_rows_that_meet_a_condition(self, warehouse):
        with open_source(*warehouse).session() as session:
            child = session.metadata().table("child")
            assert session.read(child, "id > 1 AND id < 3 -- two").read_all()["id"].to_pylist() == [2]
            assert session.read(child, "code IS NULL OR code = 'B2'").read_all()["id"].to_pylist() == [2, 3]
            assert session.read(child).read_all()["id"].to_pylist() == [1, 2, 3]

    @pytest.mark.parametrize(
        "condition", ["nobody = 1", "id >", "id = 1)", "id = 1; DROP TABLE child", "1) UNION (SELECT 1"]
    )
    def test_conditions_that_are_none(self, warehouse, condition):
        with open_source(*warehouse).session() as session:
            child = session.metadata().table("child")
            with pytest.raises(RecipeError, match="`where` of table 'child'") as caught:
                session.read(child, condition).read_all()
            assert "\n" not in str(caught.value)
        assert read_all(*warehouse)[1]["child"].num_rows == 3

    def test_two_streams_at_once(self, warehouse):
        with open_source(*warehouse).session() as session:
            metadata = session.metadata()
            both = [session.read(metadata.table(name)) for name in ("order", "child")]
            assert [reader.read_all().num_rows for reader in reversed(both)] == [3, 3]

    def test_what_a_session_tells(self, warehouse):
        with open_source(*warehouse).session() as session:
            session.metadata()
            assert all(isinstance(value, str) for value in session.position.values())
            assert bool(session.position) == (warehouse[0] in SERVERS)
            assert bool(session.may_write) == (warehouse[0] in SERVERS), "the servers' owner reads here"

    def test_the_same_state_as_long_as_nothing_changes(self, warehouse):
        state = open_source(*warehouse).state()
        read_all(*warehouse)
        assert open_source(*warehouse).state() == state


class TestEveryFile:
    def test_state_follows_the_content_and_reading_leaves_no_trace(self, file_warehouse, tmp_path):
        scheme, path = file_warehouse
        before = sorted(p.name for p in path.parent.rglob("*"))
        state = open_source(scheme, path).state()
        read_all(scheme, path)
        assert open_source(scheme, path).state() == state
        assert sorted(p.name for p in path.parent.rglob("*")) == before
        changed = build(scheme, tmp_path, [*STATEMENTS, "INSERT INTO single VALUES (8, NULL)"])
        assert open_source(scheme, changed).state() != state

    def test_missing(self, file_warehouse, tmp_path):
        scheme, _ = file_warehouse
        path = tmp_path / "absent"
        assert "there is no" in str(failure(scheme, path))
        with pytest.raises(SourceError, match="there is no"):
            open_source(scheme, path).state()
        assert not path.exists()

    def test_paths_that_look_like_patterns(self, file_warehouse, tmp_path):
        scheme, path = file_warehouse
        for name in ("g=[1]*?'", "g=1xy'"):
            copy = shutil.copytree if path.is_dir() else shutil.copy
            (tmp_path / name).mkdir()
            copy(path, tmp_path / name / path.name)
        metadata, tables, _ = read_all(scheme, tmp_path / "g=[1]*?'" / path.name)
        assert metadata.table("single").column_names == ("id", "empty")
        assert tables["single"].num_rows == 1

    def test_no_path(self, file_warehouse):
        with pytest.raises(SourceError, match="names no file"):
            load(PluginKind.SOURCE, file_warehouse[0])(
                Location(scheme=file_warehouse[0], path=None, url="x", label="x")
            )


class TestDatabases:
    @pytest.mark.parametrize("warehouse", [*DATABASES, *SERVERS], indirect=True)
    def test_keys_references_and_checks(self, warehouse):
        metadata, _, _ = read_all(*warehouse)
        order, child = metadata.table("order"), metadata.table("child")
        assert order.primary_key == ("straße", "group")
        assert order.required == {"straße", "group"}
        assert [check.columns for check in order.checks] == [("group",)]
        assert child.primary_key == ("id",)
        assert child.uniques == (("code",),)
        assert set(child.foreign_keys) == {
            ForeignKey(columns=("boss",), parent="child", parent_columns=("id",)),
            ForeignKey(columns=("os", "og"), parent="order", parent_columns=("straße", "group")),
        }
        assert not child.column("id").nullable
        assert child.column("code").nullable
        assert child.column("day").type == "DATE"

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_constraints_name_columns_in_any_case(self, scheme, tmp_path):
        path = build(
            scheme,
            tmp_path,
            [
                'CREATE TABLE Parent ("Id" INTEGER PRIMARY KEY, "Code" VARCHAR(3) UNIQUE)',
                "CREATE TABLE child (x INTEGER REFERENCES PARENT (iD), UNIQUE (X), CHECK (X > 0))",
                "CREATE UNIQUE INDEX i ON parent (CODE, id)",
                "CREATE VIEW v AS SELECT 1",
            ],
        )
        metadata, _, _ = read_all(scheme, path)
        assert metadata.table_names == ("Parent", "child")
        assert metadata.table("Parent").uniques == (("Code",), ("Code", "Id"))
        assert metadata.table("child").foreign_keys[0].parent_columns == ("Id",)
        assert metadata.table("child").uniques == (("x",),)
        assert metadata.table("child").checks[0].columns == ("x",)

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_indexes_that_are_no_keys(self, scheme, tmp_path):
        statements = ["CREATE TABLE t (a INTEGER, b VARCHAR(9))", "CREATE UNIQUE INDEX i ON t (lower(b))"]
        if scheme == "sqlite":
            statements.append("CREATE UNIQUE INDEX j ON t (a) WHERE a > 3")
        metadata, _, _ = read_all(scheme, build(scheme, tmp_path, [*statements, "CREATE INDEX k ON t (a)"]))
        assert metadata.table("t").uniques == ()

    @pytest.mark.parametrize("scheme", DATABASES)
    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"", "empty"), (b"not a database at all " * 999, "is not a"), (None, "is a folder")],
        ids=["zero bytes", "wrong format", "folder"],
    )
    def test_no_database(self, scheme, content, message, tmp_path):
        path = tmp_path / "x.db"
        path.mkdir() if content is None else path.write_bytes(content)
        assert message in str(failure(scheme, path))

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_the_other_database(self, scheme, tmp_path):
        other = "sqlite" if scheme == "duckdb" else "duckdb"
        assert "is not a" in str(failure(scheme, build(other, tmp_path)))

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_cut_short(self, scheme, tmp_path):
        rows = f"INSERT INTO t SELECT '{CANARY}' || v FROM n"
        count = "range(200000) r(v)" if scheme == "duckdb" else None
        recursive = "WITH RECURSIVE r(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM r WHERE v < 50000) SELECT v FROM r"
        source = f"CREATE TABLE n AS {f'SELECT v FROM {count}' if count else recursive}"
        path = build(scheme, tmp_path, [source, "CREATE TABLE t (a VARCHAR(99))", rows])
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
        failure(scheme, path)

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_real_data(self, scheme, request):
        path = request.getfixturevalue(f"{scheme}_database")("sakila")
        metadata, tables, warnings = read_all(scheme, path)
        assert len(metadata.tables) == 15
        assert sum(table.num_rows for table in tables.values()) == 46_273
        assert sum(len(table.foreign_keys) for table in metadata.tables) == (21 if scheme == "duckdb" else 22)
        assert warnings == []


class TestDuckDB:
    def test_schemas_and_generated_columns(self, tmp_path):
        path = build(
            "duckdb",
            tmp_path,
            [
                'CREATE SCHEMA "S 2"',
                'CREATE TABLE "S 2".p (a INTEGER PRIMARY KEY, g INTEGER GENERATED ALWAYS AS (a + 1))',
                'CREATE TABLE "S 2".c (a INTEGER REFERENCES "S 2".p)',
                "CREATE TABLE p (b INTEGER)",
                'INSERT INTO "S 2".p VALUES (5)',
            ],
        )
        metadata, tables, _ = read_all("duckdb", path)
        assert metadata.table_names == ("p", "S 2.p", "S 2.c")
        assert metadata.table("S 2.p").path == ("S 2", "p")
        assert metadata.table("S 2.c").foreign_keys[0].parent == "S 2.p"
        assert tables["S 2.p"].to_pydict() == {"a": [5]}

    def test_every_type_can_be_stored(self, tmp_path):
        values = {
            "ENUM('a', 'it''s')": "'it''s'",
            "HUGEINT": "170141183460469231731687303715884105727",
            "UHUGEINT": "5",
            "TIME": "TIME '10:00:00.5'",
            "TIME WITH TIME ZONE": "TIMETZ '10:00:00+02'",
            "INTERVAL": "INTERVAL 1 MONTH",
            "STRUCT(a INTEGER, b VARCHAR[])": "{'a': 1, 'b': ['x']}",
            "STRUCT(a INTERVAL)": "{'a': INTERVAL 1 DAY}",
            "MAP(VARCHAR, INTEGER)": "MAP {'x': 1}",
            "UNION(n INTEGER, s VARCHAR)": "union_value(n := 1)",
            "BIT": "'101'::BIT",
            "INTEGER[2]": "[1, 2]",
            "INTEGER[2][]": "[[1, 2]]",
            "TIMESTAMP_S": "TIMESTAMP '2024-01-01'",
            "TIMESTAMP_MS": "TIMESTAMP '2024-01-01'",
            "TIMESTAMP_NS": "TIMESTAMP '2024-01-01'",
            "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2024-01-01 12:00:00+02'",
            "DATE": "DATE 'infinity'",
            "DOUBLE": "'nan'::DOUBLE",
            "FLOAT": "'-inf'::FLOAT",
            "UUID": "uuid()",
            "JSON": "'{}'",
            "BLOB": "'\\xFF'::BLOB",
            "DECIMAL(38,10)": "1.5",
            "BIGNUM": "5::BIGNUM",
            "UBIGINT": "18446744073709551615",
            "BOOLEAN": "true",
        }
        columns = ", ".join(f'"c{position}" {kind}' for position, kind in enumerate(values))
        rows = f"INSERT INTO t VALUES ({', '.join(values.values())})"
        nulls = f"INSERT INTO t VALUES ({', '.join('NULL' for _ in values)})"
        path = build("duckdb", tmp_path, [f"CREATE TABLE t ({columns})", rows, nulls])
        metadata, tables, warnings = read_all("duckdb", path)
        table = metadata.table("t")
        pq.write_table(tables["t"], tmp_path / "t.parquet")
        stored = duckdb.sql(f"DESCRIBE FROM '{tmp_path / 't.parquet'}'").fetchall()
        as_text = {"UUID": "VARCHAR", "JSON": "VARCHAR"}
        assert [kind for _, kind, *_ in stored] == [as_text.get(c.type, c.type) for c in table.columns]
        assert {c.native_type: c.type for c in table.columns}["HUGEINT"] == "VARCHAR"
        assert {c.native_type: c.type for c in table.columns}["UHUGEINT"] == "DECIMAL(38,0)"
        assert [check.expression for check in table.checks] == ["\"c0\" IN ('a', 'it''s')"]
        assert sum("is copied as text" in warning for warning in warnings) == 8

    def test_checks_that_only_the_source_can_evaluate_are_counted(self, tmp_path):
        statements = ["CREATE MACRO ok(x) AS x > 1", "CREATE TABLE t (a INTEGER, CHECK (ok(a)), CHECK (a < 9))"]
        metadata, _, _ = read_all("duckdb", build("duckdb", tmp_path, statements))
        assert len(metadata.table("t").checks) == 1
        assert metadata.table("t").unsupported_checks == 1

    def test_write_ahead_log_is_part_of_the_state(self, tmp_path):
        path = build("duckdb", tmp_path, ["CREATE TABLE t (a INTEGER)"])
        copy = tmp_path / "copy.duckdb"
        with duckdb.connect(str(path)) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            shutil.copy(path, copy)
            before = open_source("duckdb", copy).state()
            shutil.copy(f"{path}.wal", f"{copy}.wal")
        assert open_source("duckdb", copy).state() != before
        assert read_all("duckdb", copy)[1]["t"].num_rows == 1
        assert Path(f"{copy}.wal").exists()

    def test_locked_by_a_writer(self, tmp_path):
        path = build("duckdb", tmp_path, ["CREATE TABLE t (a INTEGER)"])
        with duckdb.connect(str(path)):
            program = f"import duckdb; c = duckdb.connect({str(path)!r}); print('open', flush=True); input()"
            assert isinstance(failure("duckdb", path), SourceUnavailableError)
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as writer:
            writer.stdout.readline()
            error = failure("duckdb", path)
            writer.communicate("\n")
        assert isinstance(error, SourceUnavailableError)
        assert error.retryable
        assert len(read_all("duckdb", path)[1]) == 1


def sqlite_types(folder: Path, declared: str, *values: object) -> tuple[str, list[object], list[str]]:
    """The type, the values and the warnings that one SQLite column gives."""
    path = folder / "t.db"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE t (c {declared})")
    connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
    connection.commit()
    connection.close()
    metadata, tables, warnings = read_all("sqlite", path)
    return metadata.table("t").column("c").type, tables["t"]["c"].to_pylist(), warnings


class TestSQLite:
    @pytest.mark.parametrize(
        ("declared", "values", "expected"),
        [
            ("INTEGER", (1, 2**62, None), "BIGINT"),
            ("SMALLINT", (1, 2.5), "DOUBLE"),
            ("INTEGER", (1, CANARY), "VARCHAR"),
            ("REAL", (1, 2.5, float("inf"), float("nan")), "DOUBLE"),
            ("REAL", (1.5, CANARY), "VARCHAR"),
            ("DECIMAL(10,2)", (1, 0.1, 99999999.99), "DECIMAL(10,2)"),
            ("DECIMAL(4,2)", (0.125,), "DOUBLE"),
            ("DECIMAL(4,2)", (100,), "BIGINT"),
            ("NUMERIC", (1, 2.5), "DOUBLE"),
            ("NUMBER(10)", (1,), "BIGINT"),
            ("BOOLEAN", (0, 1, None), "BOOLEAN"),
            ("BOOLEAN", (0, 2), "BIGINT"),
            ("BLOB", (b"\x00\xff", b""), "BLOB"),
            ("BLOB", (b"\xff", "x"), "VARCHAR"),
            ("", (1, "x", None), "VARCHAR"),
            ("", (1, 2), "BIGINT"),
            ("VARCHAR(9)", ("x", 5), "VARCHAR"),
            ("DATE", ("2024-02-29", None), "DATE"),
            ("DATE", ("9999-12-31", "0001-01-01"), "DATE"),
            ("DATE", ("2023-02-29",), "VARCHAR"),
            ("DATE", ("0000-01-01",), "VARCHAR"),
            ("DATE", ("99999-01-01",), "VARCHAR"),
            ("DATE", ("2024-01-01 10:00:00",), "TIMESTAMP"),
            ("DATE", (20240101,), "BIGINT"),
            ("DATETIME", ("2024-01-01", "2024-01-01 10:00", "2024-01-01T10:00:00.123456"), "TIMESTAMP"),
            ("DATETIME", ("2024-01-01 24:00:00",), "VARCHAR"),
            ("DATETIME", ("2024-01-01 10:00:00.1234567",), "VARCHAR"),
            ("TIMESTAMP", ("2024-01-01 10:00:00Z", "2024-01-01 10:00:00.5+05:30"), "TIMESTAMP WITH TIME ZONE"),
            ("TIMESTAMP", ("2024-01-01 10:00:00Z", "2024-01-01 10:00:00"), "VARCHAR"),
            ("TIMESTAMP", (1704103200,), "BIGINT"),
            ("whatever", (), "BIGINT"),
        ],
    )
    def test_types_from_declarations_and_data(self, declared, values, expected, tmp_path):
        kind, read, warnings = sqlite_types(tmp_path, declared, *values)
        assert kind == expected
        assert len(read) == len(values)
        assert not any(CANARY in warning for warning in warnings)
        if kind == "VARCHAR":
            assert all(value is None or isinstance(value, str) for value in read)

    def test_text_that_is_not_utf8(self, tmp_path):
        path = build("sqlite", tmp_path, ["CREATE TABLE t (c TEXT)", "INSERT INTO t VALUES (CAST(x'41FF' AS TEXT))"])
        _, tables, warnings = read_all("sqlite", path)
        assert tables["t"]["c"].to_pylist() == ["A�"]
        assert any("'c' of table 't'" in warning and "UTF-8" in warning for warning in warnings)

    @pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
    def test_encodings(self, encoding, tmp_path):
        statements = [f"PRAGMA encoding = '{encoding}'", 'CREATE TABLE "ü" ("é" TEXT)', "INSERT INTO ü VALUES ('日本')"]
        _, tables, _ = read_all("sqlite", build("sqlite", tmp_path, statements))
        assert tables["ü"].to_pydict() == {"é": ["日本"]}

    def test_references_that_lead_nowhere_or_imply_their_columns(self, tmp_path):
        path = build(
            "sqlite",
            tmp_path,
            [
                "CREATE TABLE p (a INTEGER, b INTEGER, c INTEGER, PRIMARY KEY (b, a))",
                """CREATE TABLE t (x INTEGER, y INTEGER REFERENCES absent (id), z INTEGER REFERENCES p (zzz),
                w INTEGER REFERENCES p (c), FOREIGN KEY (x, y) REFERENCES p)""",
                "INSERT INTO p VALUES (1, 1, 1), (2, 1, 2)",
            ],
        )
        metadata, _, warnings = read_all("sqlite", path)
        assert set(metadata.table("t").foreign_keys) == {
            ForeignKey(columns=("x", "y"), parent="p", parent_columns=("b", "a")),
            ForeignKey(columns=("w",), parent="p", parent_columns=("c",)),
        }
        assert metadata.table("p").uniques == (("c",),)
        assert sum("is left out" in warning for warning in warnings) == 2

    def test_columns_that_refer_to_each_other_get_one_type(self, tmp_path):
        path = build(
            "sqlite",
            tmp_path,
            [
                "CREATE TABLE p (id INTEGER PRIMARY KEY, code INTEGER UNIQUE)",
                "CREATE TABLE c (p TEXT REFERENCES p (id), code TEXT REFERENCES p (code), CHECK (code > 0))",
                "INSERT INTO p VALUES (1, 10), (2, NULL)",
                "INSERT INTO c VALUES ('2', '010')",
            ],
        )
        metadata, tables, _ = read_all("sqlite", path)
        assert metadata.table("c").column("p").type == metadata.table("p").column("id").type == "BIGINT"
        assert metadata.table("c").column("code").type == metadata.table("p").column("code").type == "VARCHAR"
        assert tables["c"].to_pydict() == {"p": [2], "code": ["010"]}

    def test_unusual_tables(self, tmp_path):
        path = build(
            "sqlite",
            tmp_path,
            [
                "CREATE TABLE wr (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID",
                "CREATE TABLE rowid_taken (rowid TEXT, oid TEXT, _rowid_ TEXT)",
                "CREATE TABLE gen (a INTEGER, v INTEGER AS (a + 1), s INTEGER AS (a + 2) STORED)",
                "CREATE TABLE nulls_in_key (k TEXT PRIMARY KEY)",
                "INSERT INTO wr VALUES ('b', 2), ('a', 2), ('z', 1)",
                "INSERT INTO rowid_taken VALUES ('x', 'y', 'z')",
                "INSERT INTO gen VALUES (1)",
                "INSERT INTO nulls_in_key VALUES (NULL), (NULL), ('a')",
            ],
        )
        metadata, tables, warnings = read_all("sqlite", path)
        assert tables["wr"].to_pydict() == {"a": ["z", "a", "b"], "b": [1, 2, 2]}
        assert tables["rowid_taken"].num_rows == 1
        assert metadata.table("gen").column_names == ("a",)
        assert metadata.table("nulls_in_key").primary_key == ()
        assert metadata.table("nulls_in_key").uniques == (("k",),)
        assert any("nulls_in_key" in warning for warning in warnings)

    @pytest.mark.parametrize(
        ("check", "row", "expected"),
        [
            ("n > 0 AND (s = 'a' OR s IS NULL)", "(1, 'a')", True),
            ('s IN ("a", "b")', "(1, 'c')", False),
            ("s NOT LIKE 'A%'", "(1, 'abc')", False),
            ("s GLOB '[a-c]*'", "(1, 'b')", True),
            ("length(trim(s)) BETWEEN 1 AND 3", "(1, '  ')", False),
            ("t.n IS NOT 5", "(NULL, '')", True),
            ("ifnull(n, 0) % 2 = 0 -- CHECK (no)", "(3, '')", False),
        ],
    )
    def test_checks_mean_the_same_in_duckdb(self, check, row, expected, tmp_path):
        path = build("sqlite", tmp_path, [f"CREATE TABLE t (n INTEGER, s TEXT, CHECK ({check}\n))"])
        (read,) = read_all("sqlite", path)[0].table("t").checks
        holds = duckdb.sql(f"SELECT coalesce({read.expression}, true) FROM (VALUES {row}) v(n, s)").fetchall()
        assert holds == [(expected,)]

    @pytest.mark.parametrize(
        "check", ["typeof(n) = 'integer'", "date(s) IS NOT NULL", "n / 2 > 1", "s", "n OR s", "CAST(s AS INT) > 1"]
    )
    def test_checks_that_mean_something_else_are_counted(self, check, tmp_path):
        path = build("sqlite", tmp_path, [f"CREATE TABLE t (n INTEGER CHECK (n > 0), s TEXT, CHECK ({check}))"])
        table = read_all("sqlite", path)[0].table("t")
        assert len(table.checks) == 1
        assert table.unsupported_checks == 1

    def test_one_transaction_sees_one_instant(self, tmp_path):
        path = build("sqlite", tmp_path, ["PRAGMA journal_mode = WAL", "CREATE TABLE t (a INTEGER)"])
        writer = sqlite3.connect(path)
        with open_source("sqlite", path).session() as session:
            table = session.metadata().table("t")
            writer.execute("INSERT INTO t VALUES (1)")
            writer.commit()
            assert session.read(table).read_all().num_rows == 0
        writer.close()
        assert read_all("sqlite", path)[1]["t"].num_rows == 1

    def test_write_ahead_log_is_part_of_the_state(self, tmp_path):
        path = build("sqlite", tmp_path, ["PRAGMA journal_mode = WAL", "CREATE TABLE t (a INTEGER)"])
        before = open_source("sqlite", path).state()
        writer = sqlite3.connect(path)
        writer.execute("INSERT INTO t VALUES (1)")
        writer.commit()
        after = open_source("sqlite", path).state()
        assert after != before
        assert read_all("sqlite", path)[1]["t"].num_rows == 1
        assert open_source("sqlite", path).state() == after
        writer.close()

    def test_locked_by_a_writer(self, tmp_path, monkeypatch):
        path = build("sqlite", tmp_path, ["CREATE TABLE t (a INTEGER)"])
        monkeypatch.setattr(SQLiteSource, "busy_timeout_s", 0.05)
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN EXCLUSIVE")
        error = failure("sqlite", path)
        writer.close()
        assert isinstance(error, SourceUnavailableError)

    def test_a_path_that_looks_like_a_url(self, tmp_path):
        folder = tmp_path / "a?mode=rwc#%41"
        folder.mkdir()
        assert read_all("sqlite", build("sqlite", folder))[1]["single"].num_rows == 1

    def test_the_file_cannot_be_written_through_the_session(self, tmp_path):
        path = build("sqlite", tmp_path)
        with (
            open_source("sqlite", path).session() as session,
            pytest.raises(sqlite3.OperationalError, match="readonly"),
        ):
            session._connection.execute("DELETE FROM single")


class TestFolders:
    @pytest.mark.parametrize("scheme", FOLDERS)
    def test_part_files_and_what_is_ignored(self, scheme, tmp_path):
        folder = tmp_path / "data"
        (folder / "parts").mkdir(parents=True)
        for number, name in enumerate(("b", "a")):
            table = pa.table({"x": [number]})
            path = folder / "parts" / f"{name}.{scheme}"
            pq.write_table(table, path) if scheme == "parquet" else path.write_text(f"x\n{number}\n")
        for ignored in ("README.md", f".hidden.{scheme}", f"_log.{scheme}"):
            (folder / ignored).write_text(CANARY)
        (folder / "empty").mkdir()
        metadata, tables, _ = read_all(scheme, folder)
        assert metadata.table_names == ("parts",)
        assert tables["parts"].to_pydict() == {"x": [1, 0]}

    @pytest.mark.parametrize("scheme", FOLDERS)
    def test_no_tables_a_file_or_two_of_a_name(self, scheme, tmp_path):
        assert "holds no" in str(failure(scheme, tmp_path))
        path = tmp_path / f"T.{scheme}"
        pq.write_table(pa.table({"x": [1]}), path) if scheme == "parquet" else path.write_text("x\n1\n")
        assert "is a file" in str(failure(scheme, path))
        (tmp_path / "t").mkdir()
        shutil.copy(path, tmp_path / "t")
        assert "twice" in str(failure(scheme, tmp_path))

    @pytest.mark.parametrize("scheme", FOLDERS)
    def test_state_sees_names(self, scheme, tmp_path):
        path = tmp_path / f"a.{scheme}"
        path.write_text("x\n")
        before = open_source(scheme, tmp_path).state()
        path.rename(tmp_path / f"b.{scheme}")
        assert open_source(scheme, tmp_path).state() != before

    @pytest.mark.parametrize("scheme", FOLDERS)
    def test_zero_bytes(self, scheme, tmp_path):
        (tmp_path / f"t.{scheme}").touch()
        assert f"'t.{scheme}'" in str(failure(scheme, tmp_path))

    def test_parquet_cut_short(self, tmp_path):
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table({"x": [CANARY] * 99}), path)
        path.write_bytes(path.read_bytes()[:-20])
        assert "'t.parquet'" in str(failure("parquet", tmp_path))

    def test_parquet_damaged_inside(self, tmp_path):
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table({"x": [f"{CANARY}{n}" for n in range(9999)]}), path)
        content = path.read_bytes()
        path.write_bytes(content[:100] + os.urandom(4000) + content[4100:])
        assert "'t.parquet'" in str(failure("parquet", tmp_path))

    def test_parquet_required_columns(self, tmp_path):
        schema = pa.schema([pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.int32())])
        pq.write_table(pa.table({"a": [1], "b": [2]}, schema=schema), tmp_path / "t.parquet")
        table = read_all("parquet", tmp_path)[0].table("t")
        assert [column.nullable for column in table.columns] == [False, True]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (f"a,b\n1,x\n2,y,{CANARY}\n3,z\n", 3),
            (f"a,b,c\n1,2,3\n{CANARY},2\n", 3),
            ("a,b\n" + "1,2\n" * 9000 + f"1,2,{CANARY}\n", 9002),
            (f'a,b\n1,"{CANARY}\n2,3\n', 2),
        ],
        ids=["too long", "too short", "late", "open quote"],
    )
    def test_csv_rows_that_do_not_fit(self, text, line, tmp_path):
        (tmp_path / "t.csv").write_text(text)
        assert f"'t.csv', line {line}:" in str(failure("csv", tmp_path))

    def test_csv_of_another_encoding(self, tmp_path):
        (tmp_path / "t.csv").write_bytes(f"a,b\n1,2\né{CANARY},2\n".encode("latin-1"))
        assert "UTF-8" in str(failure("csv", tmp_path))

    def test_csv_parts_with_other_columns(self, tmp_path):
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "1.csv").write_text("a,b\n1,2\n")
        (tmp_path / "t" / "2.csv").write_text("a,c\n1,2\n")
        assert "different header lines" in str(failure("csv", tmp_path))

    def test_csv_damaged_gzip(self, tmp_path):
        content = gzip.compress(b"a,b\n" + b"1,2\n" * 999)
        (tmp_path / "t.csv.gz").write_bytes(content[:40])
        assert "'t.csv.gz'" in str(failure("csv", tmp_path))

    def test_csv_dialects(self, tmp_path):
        (tmp_path / "semicolon.csv").write_text("a;b\n1,5;x\n")
        (tmp_path / "tabs.tsv").write_text("a\tb, c\n1\tx\n")
        (tmp_path / "zipped.csv.gz").write_bytes(gzip.compress('a,"b;;c"\r\n1,"x\r\ny"\r\n'.encode("utf-8-sig")))
        (tmp_path / "names.csv").write_text("a,A,,a\n1,2,3,4\n")
        (tmp_path / "header.csv").write_text("a,b\n")
        _, tables, _ = read_all("csv", tmp_path)
        assert tables["semicolon"].to_pydict() == {"a": ["1,5"], "b": ["x"]}
        assert tables["tabs"].to_pydict() == {"a": [1], "b, c": ["x"]}
        assert tables["zipped"].to_pydict() == {"a": [1], "b;;c": ["x\r\ny"]}
        assert tables["names"].to_pydict() == {"a": [1], "A_1": [2], "column2": [3], "a_2": [4]}
        assert tables["header"].num_rows == 0

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (("1", "-20", ""), "BIGINT"),
            (("01234", "2"), "VARCHAR"),
            (("+49123", "1"), "VARCHAR"),
            (("9" * 30,), "VARCHAR"),
            (("1", "2.5", "-1e3"), "DOUBLE"),
            (("1.5", "inf", "NaN"), "DOUBLE"),
            (("true", "FALSE"), "BOOLEAN"),
            (("2024-02-29",), "DATE"),
            (("2023-02-29",), "VARCHAR"),
            (("12/31/2024", "01/02/2024"), "DATE"),
            (("31/12/2024", "01/02/2024"), "DATE"),
            (("2024-01-01 10:00:00", "2024-01-01T10:00:00.5"), "TIMESTAMP"),
            (("2024-01-01T10:00:00Z", "2024-01-01 10:00:00+02:00"), "TIMESTAMP WITH TIME ZONE"),
            (("10:00:00",), "TIME"),
            (("", ""), "VARCHAR"),
            (("",) * 2000 + ("7",), "BIGINT"),
            (("7",) * 2000 + ("x",), "VARCHAR"),
        ],
    )
    def test_csv_types_hold_for_every_row(self, values, expected, tmp_path):
        (tmp_path / "t.csv").write_text("id,c\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
        metadata, tables, _ = read_all("csv", tmp_path)
        assert metadata.table("t").column("c").type == expected
        assert tables["t"].num_rows == len(values)
        if expected == "VARCHAR":
            assert tables["t"]["c"].to_pylist() == [value or None for value in values]


class TestMemory:
    @pytest.mark.parametrize("scheme", [*DATABASES, *FOLDERS])
    def test_batches_are_bounded(self, scheme, tmp_path):
        rows = (
            "WITH RECURSIVE r(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM r WHERE v < 150000) "
            "SELECT v, 'text of some length, number ' || v FROM r"
        )
        path = build(scheme, tmp_path, ["CREATE TABLE t (a INTEGER, b VARCHAR(99))", f"INSERT INTO t {rows}"])
        with open_source(scheme, path).session() as session:
            batches = [(b.num_rows, b.nbytes) for b in session.read(session.metadata().table("t"))]
        assert sum(rows for rows, _ in batches) == 150_000
        assert max(rows for rows, _ in batches) <= 8192

    @pytest.mark.parametrize("scheme", DATABASES)
    def test_large_values_make_small_batches(self, scheme, tmp_path):
        blob = "randomblob(100000)" if scheme == "sqlite" else "repeat('x', 100000)::BLOB"
        numbers = "WITH RECURSIVE r(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM r WHERE v < 600) SELECT"
        path = build(scheme, tmp_path, ["CREATE TABLE t (b BLOB)", f"INSERT INTO t {numbers} {blob} FROM r"])
        with open_source(scheme, path).session() as session:
            sizes = [batch.nbytes for batch in session.read(session.metadata().table("t"))]
        assert sum(sizes) > 60_000_000
        if scheme == "sqlite":
            assert max(sizes) < 8_000_000
