"""What MySQL and MariaDB as sources promise beyond what every source does."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import traceback
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from synth_ops.errors import RecipeError, SourceError, SourceUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import ForeignKey
from synth_ops.native import Numbering
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step
from synth_ops.sources.mysql.source import MySQLSource

CANARY = "canary-7f3a"


def source(url: str) -> MySQLSource:
    return MySQLSource(parse_location(url, Path.cwd()))


def read_all(url: str):
    """Metadata, tables by name, warnings."""
    with source(url).session() as session:
        metadata = session.metadata()
        metadata.validate()
        return metadata, {t.name: session.read(t).read_all() for t in metadata.tables}, session.warnings


def failure(call) -> SourceError:
    """The error that a call raises; nothing of it may hold the canary."""
    with pytest.raises(SourceError) as caught:
        call()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 5
    return caught.value


@pytest.fixture
def database(mariadb_server, mariadb_database):
    """Run statements in a fresh database, and get its URL."""

    def run(*statements: str, **url: str) -> str:
        mariadb_server.execute("SET sql_mode = ''", *statements, database=mariadb_database)
        return mariadb_server.url(mariadb_database, **url)

    return run


class TestSchema:
    def test_types(self, database, tmp_path):
        noon = dt.datetime.fromisoformat("2024-01-01T12:00:00.5")
        values = {
            "tinyint(4)": ("-5", -5),
            "tinyint(1)": ("1", True),
            "tinyint(3) unsigned": ("255", 255),
            "smallint(5) unsigned": ("65535", 65535),
            "mediumint(9)": ("-8388608", -8388608),
            "int(10) unsigned": ("4294967295", 4294967295),
            "bigint(20) unsigned": ("18446744073709551615", 2**64 - 1),
            "decimal(10,2)": ("1.5", Decimal("1.50")),
            "decimal(65,30)": ("0.5", 0.5),
            "float": ("0.123456789", pytest.approx(0.123456789, rel=1e-7)),
            "double": ("0.1", 0.1),
            "bit(1)": ("b'1'", True),
            "bit(12)": ("b'100000000001'", 2049),
            "year(4)": ("2024", 2024),
            "date": ("'2024-02-29'", dt.date(2024, 2, 29)),
            "time(6)": ("'10:00:00.5'", dt.time(10, 0, 0, 500000)),
            "datetime(6)": ("'2024-01-01 12:00:00.5'", noon),
            "timestamp(6)": ("'2024-01-01 12:00:00.5'", noon.replace(tzinfo=dt.UTC)),
            "char(5)": ("'ab  '", "ab"),
            "varchar(20)": ("'日本 \"x\", ''y''\\r\\n\\\\n'", "日本 \"x\", 'y'\r\n\\n"),
            "longtext": ("''", ""),
            "enum('a','it''s')": ("'it''s'", "it's"),
            "set('a','b')": ("'a,b'", "a,b"),
            "json": ("'{\"b\": 1}'", '{"b": 1}'),
            "uuid": ("'2f1d8a4e-1000-1000-8000-00000000000a'", "2f1d8a4e-1000-1000-8000-00000000000a"),
            "binary(3)": ("x'00ff'", b"\x00\xff\x00"),
            "longblob": ("x'00ff2c0a22'", b'\x00\xff,\n"'),
            "point": ("POINT(1, 2)", "POINT(1 2)"),
        }  # fmt: skip
        columns = ", ".join(f"c{place} {kind} NULL" for place, kind in enumerate(values))
        nulls = ", ".join("NULL" for _ in values)
        given = ", ".join(text for text, _ in values.values())
        url = database(
            "SET time_zone = '+00:00'", f"CREATE TABLE t ({columns})", f"INSERT INTO t VALUES ({given}), ({nulls})"
        )
        metadata, tables, warnings = read_all(url)
        first, second = tables["t"].to_pylist()
        assert list(first.values()) == [expected for _, expected in values.values()]
        assert set(second.values()) == {None}
        pq.write_table(tables["t"], tmp_path / "t.parquet")
        stored = duckdb.sql(f"DESCRIBE FROM '{tmp_path / 't.parquet'}'").fetchall()
        as_text = {"UUID": "VARCHAR", "JSON": "VARCHAR"}
        columns = metadata.table("t").columns
        assert [kind for _, kind, *_ in stored] == [as_text.get(c.type, c.type) for c in columns]
        natives = [column.native_type.partition(" CHARACTER SET")[0] for column in columns]
        assert natives == [kind.replace("json", "longtext") for kind in values]
        assert [line.rpartition(": ")[2] for line in warnings] == ["point"]
        (check,) = metadata.table("t").checks
        assert check.expression == "\"c21\" IN ('a', 'it''s')"

    def test_values_that_their_type_does_not_promise(self, database):
        url = database(
            "CREATE TABLE t (flag tinyint(1), span time, day date NOT NULL, seen datetime NOT NULL, maybe date)",
            "INSERT INTO t VALUES (2, '30:00:00', '0000-00-00', '2024-00-10', '0000-00-00')",
            "INSERT INTO t VALUES (0, '-01:00:00', '2024-01-01', NOW(), NULL)",
        )
        metadata, tables, warnings = read_all(url)
        table = metadata.table("t")
        assert [column.type for column in table.columns] == ["TINYINT", "VARCHAR", "DATE", "TIMESTAMP", "DATE"]
        assert tables["t"]["flag"].to_pylist() == [2, 0]
        assert tables["t"]["span"].to_pylist() == ["30:00:00", "-01:00:00"]
        assert tables["t"]["day"].to_pylist() == [None, dt.date(2024, 1, 1)]
        assert tables["t"]["seen"].null_count == 1
        assert table.column("day").nullable
        assert sum("0000-00-00" in line for line in warnings) == 2

    def test_keys_and_what_only_mysql_can_say(self, database):
        url = database(
            "CREATE TABLE p (a int AUTO_INCREMENT PRIMARY KEY, b int NOT NULL DEFAULT 7, c varchar(9) COMMENT 'code', "
            "g int AS (b * 2) STORED, v int AS (b * 3), UNIQUE KEY u (c, b), KEY k (b), UNIQUE KEY part (c(3))) "
            "COMMENT = 'parents'",
            "CREATE TABLE c (x int, y varchar(9), z int CHECK (z > 0), FOREIGN KEY (y, x) REFERENCES p (c, b) "
            "ON DELETE CASCADE, CHECK (y LIKE 'a%' AND z < 10), CHECK (z / 2 < 9), CHECK (crc32(y) > 1), "
            "CHECK (length(y) = 2 AND char_length(y) = 1))",
            "CREATE VIEW w AS SELECT 1",
            "CREATE TABLE mine (i int) ENGINE = MyISAM",
            "INSERT INTO p (b, c) VALUES (1, 'abc')",
        )
        metadata, tables, warnings = read_all(url)
        assert metadata.table_names == ("p", "c", "mine") or set(metadata.table_names) == {"p", "c", "mine"}
        parent, child = metadata.table("p"), metadata.table("c")
        assert parent.primary_key == ("a",)
        assert parent.uniques == (("c", "b"),)
        assert parent.column("a").numbering is Numbering.BY_DEFAULT
        assert parent.column("b").default == "7"
        assert (parent.comment, parent.column("c").comment) == ("parents", "code")
        assert [(g.name, g.stored, g.position) for g in parent.generated] == [("g", True, 3), ("v", False, 4)]
        assert {(index.name, index.unique, index.definition) for index in parent.indexes} == {
            ("k", False, "(`b`)"),
            ("part", True, "(`c`(3))"),
        }
        assert child.foreign_keys == (
            ForeignKey(columns=("y", "x"), parent="p", parent_columns=("c", "b"), clauses="ON DELETE CASCADE"),
        )
        assert len(child.checks) == 4
        assert child.unsupported_checks == 1
        lengths = next(check.expression for check in child.checks if "strlen" in check.expression.lower())
        assert duckdb.sql(f"SELECT {lengths} FROM (VALUES ('é'), ('e')) t(y)").fetchall() == [(True,), (False,)]
        assert any("knows no snapshots" in line for line in warnings)
        assert metadata.dialect == "mysql"
        assert tables["p"].to_pydict() == {"a": [1], "b": [1], "c": ["abc"]}

    def test_names_that_are_traps(self, database):
        names = ["a`; DROP TABLE x; --", "x" * 64, "%s %(a)s {0}", "\\'; --", 'q"']
        quoted = [name.replace("`", "``") for name in names]
        url = database(
            "CREATE TABLE x (i int)",
            *(f"CREATE TABLE `{name}` (`{name}` int PRIMARY KEY)" for name in quoted),
            *(f"INSERT INTO `{name}` VALUES (1)" for name in quoted),
        )
        _, tables, _ = read_all(url)
        assert set(tables) == {"x", *names}
        assert all(tables[name].to_pydict() == {name: [1]} for name in names)

    def test_all_databases_where_the_url_names_none(self, database, mariadb_server, mariadb_database):
        database("CREATE TABLE t (i int)")
        metadata = read_all(mariadb_server.url())[0]
        assert metadata.table(f"{mariadb_database}.t").path == (mariadb_database, "t")

    @pytest.mark.parametrize("dataset", ["sakila", "northwind"])
    def test_real_data(self, dataset, mariadb_server, mariadb_database, datasets, real_data, duckdb_database):
        connection = {"unix_socket": str(mariadb_server.socket), "user": "root", "database": mariadb_database}
        datasets.load_mariadb(real_data / dataset, **connection)
        metadata, tables, _ = read_all(mariadb_server.url(mariadb_database))
        with duckdb.connect(str(duckdb_database(dataset)), read_only=True) as known:
            for name, table in tables.items():
                rows = known.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                assert table.num_rows == rows
                for column in metadata.table(name).columns:
                    if column.type in ("BLOB", "VARCHAR", "INTEGER", "SMALLINT"):
                        expected = known.execute(f'SELECT count(DISTINCT "{column.name}") FROM "{name}"').fetchone()[0]
                        assert len(table[column.name].drop_null().unique()) == expected, (name, column.name)


class TestSnapshot:
    def test_one_instant_in_all_tables_while_money_moves(self, database, mariadb_server, mariadb_database):
        url = database(
            "CREATE TABLE one (id int, amount bigint)",
            "CREATE TABLE two (id int, amount bigint)",
            "INSERT INTO one SELECT seq, 1000 FROM seq_1_to_20000",
            "INSERT INTO two SELECT seq, 1000 FROM seq_1_to_20000",
        )
        stop, moved = threading.Event(), []

        def move() -> None:
            connection = mariadb_server.connect(mariadb_database)
            with connection, connection.cursor() as cursor:
                while not stop.is_set():
                    cursor.execute("START TRANSACTION")
                    cursor.execute("UPDATE one SET amount = amount - 7 WHERE id % 500 = 3")
                    cursor.execute("UPDATE two SET amount = amount + 7 WHERE id % 500 = 3")
                    cursor.execute("COMMIT")
                    moved.append(1)

        writer = threading.Thread(target=move)
        writer.start()
        try:
            for _ in range(3):
                with source(url).session() as session:
                    metadata = session.metadata()
                    total, before = 0, len(moved)
                    for name in ("two", "one"):
                        total += sum(sum(batch["amount"].to_pylist()) for batch in session.read(metadata.table(name)))
                        while len(moved) < before + 2:
                            stop.wait(0.01)
                        before = len(moved)
                assert total == 40_000_000
        finally:
            stop.set()
            writer.join()
        assert len(moved) > 10

    def test_one_stream_at_a_time(self, database):
        url = database("CREATE TABLE t (i int)", "INSERT INTO t SELECT seq FROM seq_1_to_200000")
        with source(url).session() as session:
            table = session.metadata().table("t")
            first, second = session.read(table), session.read(table)
            first.read_next_batch()
            assert "one table at a time" in str(failure(second.read_all))

    def test_the_source_is_only_read(self, database, mariadb_server, mariadb_database, tmp_path):
        url = database("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t SELECT seq FROM seq_1_to_1000")
        before = len(mariadb_server.log)
        recipe = parse_recipe({"source": url, "target": "t.duckdb", "subset": {"root": "t", "share": 0.5}}).at(tmp_path)
        result = run_step(recipe, "snapshot", store=open_store(recipe))
        position = open_store(recipe).read(result.ref).body["position"]
        assert position["server"].startswith("MariaDB 10")
        logged = [
            line.partition("Query\t")[2] for line in mariadb_server.log[before:].splitlines() if "Query\t" in line
        ]
        words = {statement.split()[0].upper() for statement in logged if statement}
        assert words <= {"SET", "START", "SELECT", "SHOW"}
        assert any("SELECT CONCAT" in each for each in logged), "else this test looks at nothing"
        assert all("READ ONLY" in each for each in logged if each.startswith("START"))

    def test_memory_does_not_grow_with_the_table(self, database):
        url = database(
            "CREATE TABLE t (a int, b text)", "INSERT INTO t SELECT seq, CONCAT('number ', seq) FROM seq_1_to_150000"
        )
        with source(url).session() as session:
            sizes = [batch.num_rows for batch in session.read(session.metadata().table("t"))]
        assert sum(sizes) == 150_000
        assert max(sizes) <= 65_536 + 32_768


class TestPrivileges:
    @pytest.fixture
    def reader(self, mariadb_server, mariadb_database, database):
        """A user that may read, by URL."""
        url = database("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t VALUES (1)", user="ada", password="right")
        mariadb_server.execute(
            "CREATE OR REPLACE USER ada@localhost IDENTIFIED BY 'right'",
            f"GRANT SELECT, SHOW VIEW ON {mariadb_database}.* TO ada@localhost",
        )
        yield url
        mariadb_server.execute("DROP USER ada@localhost")

    def may_write(self, url):
        with source(url).session() as session:
            session.metadata()
            return session.may_write

    def test_select_alone_is_proven(self, reader):
        assert self.may_write(reader) == ""

    @pytest.mark.parametrize(
        ("grant", "words"),
        [
            ("INSERT ON {}.*", "may insert on the database"),
            ("ALL ON {}.*", "has all privileges on the database"),
            ("UPDATE (a) ON {}.t", "may update on the database"),
            ("DROP ON *.*", "may drop on everything"),
            ("ALL ON `te%`.*", "has all privileges on the database"),
            ("DELETE ON `TEST__%`.*", "may delete on the database"),
        ],
    )
    def test_whatever_more_is_told(self, reader, mariadb_server, mariadb_database, grant, words, tmp_path):
        mariadb_server.execute(f"GRANT {grant.format(mariadb_database)} TO ada@localhost")
        assert self.may_write(reader) == words
        recipe = parse_recipe({"source": reader, "target": "t.duckdb", "require_read_only": True}).at(tmp_path)
        assert words in str(failure(lambda: run_step(recipe, "snapshot", store=open_store(recipe))))

    @pytest.mark.parametrize("grant", ["ALL ON `te\\_%`.*", "ALL ON `other`.*", "INSERT ON `a.{}`.*"])
    def test_grants_on_other_databases_are_none(self, reader, mariadb_server, mariadb_database, grant):
        mariadb_server.execute(f"GRANT {grant.format(mariadb_database)} TO ada@localhost")
        assert self.may_write(reader) == ""

    def test_a_name_with_a_dot(self, reader, mariadb_server):
        mariadb_server.execute("CREATE DATABASE `a.b`", "GRANT SELECT, INSERT ON `a.b`.* TO ada@localhost")
        try:
            assert self.may_write(mariadb_server.url("a.b", "ada", "right")) == "may insert on the database"
        finally:
            mariadb_server.execute("DROP DATABASE `a.b`")

    def test_identity(self, reader, mariadb_server, mariadb_database):
        assert source(reader).identity() == source(mariadb_server.url(mariadb_database)).identity()
        assert source(reader).identity() != source(mariadb_server.url("mysql")).identity()


class TestBadInput:
    def test_no_server(self, tmp_path):
        for url in (
            f"mysql://{CANARY}:{CANARY}@localhost/shop?unix_socket={tmp_path}/none",
            f"mysql://{CANARY}:{CANARY}@127.0.0.1:1/shop",
            f"mysql://{CANARY}:{CANARY}@no-such-host.invalid/shop",
            f"mysql://{CANARY}:{CANARY}@192.0.2.1/shop?connect_timeout=2",
        ):
            error = failure(lambda url=url: read_all(url))
            assert isinstance(error, SourceUnavailableError)
            assert "can't be reached" in str(error)

    def test_a_wrong_password_no_database_and_no_tls(self, mariadb_server, database, caplog):
        url = database(user="root", password=CANARY)
        with caplog.at_level(logging.DEBUG):
            assert "refuses the user" in str(failure(lambda: read_all(url)))
            assert "does not exist" in str(failure(lambda: read_all(mariadb_server.url("nowhere"))))
            tls = failure(lambda: read_all(mariadb_server.url() + "&ssl_mode=REQUIRED"))
        assert "TLS" in str(tls)
        assert not tls.retryable
        assert CANARY not in caplog.text

    def test_unknown_options(self, mariadb_server):
        with pytest.raises(RecipeError, match="no such option"):
            read_all(mariadb_server.url() + f"&colour={CANARY}")

    def test_a_server_that_dies_in_the_middle(self, servers, mariadb_server):
        server = servers.MariaDBServer()
        try:
            with server.database() as name:
                server.execute(
                    "CREATE TABLE t (a int, b text)",
                    f"INSERT INTO t SELECT seq, repeat('{CANARY}', 30) FROM seq_1_to_200000",
                    database=name,
                )
                url = server.url(name)

                def read() -> None:
                    with source(url).session() as session:
                        reader = session.read(session.metadata().table("t"))
                        reader.read_next_batch()
                        server.kill()
                        reader.read_all()

                error = failure(read)
                assert isinstance(error, SourceUnavailableError)
                assert isinstance(failure(lambda: read_all(url)), SourceUnavailableError)
        finally:
            server.close()
