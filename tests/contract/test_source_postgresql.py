"""What PostgreSQL as a source promises beyond what every source does."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import traceback
from decimal import Decimal
from pathlib import Path

import duckdb
import psycopg
import pyarrow.parquet as pq
import pytest

from synth_ops.artifact_io import read_snapshot
from synth_ops.errors import RecipeError, SourceError, SourceUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import ForeignKey
from synth_ops.native import NativeType, Numbering
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step
from synth_ops.sources.postgresql.source import PostgreSQLSource

CANARY = "canary-7f3a"


def source(url: str) -> PostgreSQLSource:
    return PostgreSQLSource(parse_location(url, Path.cwd()))


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
    text = "".join(traceback.format_exception(caught.value))
    assert CANARY not in text
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert caught.value.exit_code == 5
    return caught.value


@pytest.fixture
def database(postgres_server, postgres_database):
    """Run statements in a fresh database, and get its URL."""

    def run(*statements: str, **url: str) -> str:
        postgres_server.execute(*statements, database=postgres_database)
        return postgres_server.url(postgres_database, **url)

    return run


class TestSchema:
    def test_types(self, database, tmp_path):
        evening = dt.datetime.fromisoformat("1969-12-31T23:59:59.999999")
        morning = dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)
        values = {
            "smallint": ("2", 2),
            "integer": ("-5", -5),
            "bigint": ("9223372036854775807", 2**63 - 1),
            "real": ("0.5", 0.5),
            "double precision": ("'NaN'", pytest.approx(float("nan"), nan_ok=True)),
            "boolean": ("true", True),
            "numeric(10,2)": ("1.5", Decimal("1.50")),
            "numeric(3,0)": ("'NaN'", None),
            "numeric": ("12345.678", Decimal("12345.678")),
            "money": ("'1.25'", Decimal("1.25")),
            "text": ("'日本'", "日本"),
            "character varying(5)": ("''", ""),
            "character(5)": ("'ab'", "ab"),
            "name": ("'n'", "n"),
            "uuid": ("'2f1d8a4e-0000-0000-0000-00000000000A'", "2f1d8a4e-0000-0000-0000-00000000000a"),
            "json": ("'{\"b\": 1}'", '{"b": 1}'),
            "jsonb": ("'{\"b\":1}'", '{"b": 1}'),
            "bytea": ("'\\x00ff'", b"\x00\xff"),
            "date": ("'2024-02-29'", dt.date(2024, 2, 29)),
            "time without time zone": ("'10:00:00.5'", dt.time(10, 0, 0, 500000)),
            "timestamp without time zone": ("'1969-12-31 23:59:59.999999'", evening),
            "timestamp with time zone": ("'2024-01-01 12:00:00+02'", morning),
            "interval": ("'1 month 2 days'", "1 mon 2 days"),
            "inet": ("'10.0.0.1/8'", "10.0.0.1/8"),
            "bit(3)": ("'101'", "101"),
            "point": ("'(1,2)'", "(1,2)"),
            "int4range": ("'[1,3)'", "[1,3)"),
            "tsvector": ("'a b'", "'a' 'b'"),
            "text[]": ("ARRAY['x', NULL, '']", ["x", None, ""]),
            "integer[]": ("ARRAY[1, 2]", [1, 2]),
            "numeric[]": ("ARRAY[1.5]", [1.5]),
            "uuid[]": ("'{2f1d8a4e-0000-0000-0000-00000000000A}'", ["2f1d8a4e-0000-0000-0000-00000000000a"]),
            "integer[][]": ("ARRAY[[1,2],[3,4]]", "{{1,2},{3,4}}"),
            "oid": ("4000000000", 4_000_000_000),
            '"char"': ("'c'", "c"),
        }  # fmt: skip
        columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(values))
        nulls = ", ".join("NULL" for _ in values)
        given = ", ".join(text for text, _ in values.values())
        url = database(f"CREATE TABLE t ({columns})", f"INSERT INTO t VALUES ({given}), ({nulls})")
        metadata, tables, warnings = read_all(url)
        columns = metadata.table("t").columns
        # PostgreSQL forgets how many dimensions an array was declared with but for the number itself
        assert [c.native_type for c in columns] == [kind.replace("[][]", "[]") for kind in values]
        first, second = tables["t"].to_pylist()
        assert list(first.values()) == [expected for _, expected in values.values()]
        assert set(second.values()) == {None}
        pq.write_table(tables["t"], tmp_path / "t.parquet")
        stored = duckdb.sql(f"DESCRIBE FROM '{tmp_path / 't.parquet'}'").fetchall()
        as_text = {"UUID": "VARCHAR", "JSON": "VARCHAR"}
        assert [kind for _, kind, *_ in stored] == [as_text.get(c.type, c.type) for c in columns]
        assert sum("is copied as text" in line for line in warnings) == 7

    def test_times_without_end(self, database, tmp_path):
        url = database(
            "CREATE TABLE t (d date, t timestamp, z timestamptz)",
            "INSERT INTO t VALUES ('infinity', 'infinity', 'infinity'), ('-infinity', '-infinity', '-infinity')",
            "INSERT INTO t VALUES ('0044-03-15 BC', '0044-03-15 BC', '4713-11-25 BC'), (NULL, NULL, '2024-01-01Z')",
        )
        pq.write_table(read_all(url)[1]["t"], tmp_path / "t.parquet")
        rows = duckdb.sql(f"SELECT d::VARCHAR, t::VARCHAR, isinf(z) FROM '{tmp_path / 't.parquet'}'").fetchall()
        assert rows == [
            ("infinity", "infinity", True),
            ("-infinity", "-infinity", True),
            ("0044-03-15 (BC)", "0044-03-15 (BC) 00:00:00", False),
            (None, None, False),
        ]

    def test_several_schemas_keys_and_what_only_postgresql_can_say(self, database):
        url = database(
            'CREATE SCHEMA "S 2"',
            "CREATE TYPE mood AS ENUM ('ok', 'it''s fine')",
            "CREATE DOMAIN zip AS text CHECK (VALUE ~ '^\\d{5}$')",
            "CREATE DOMAIN positive AS integer NOT NULL CHECK (VALUE > 0)",
            'CREATE TABLE "S 2".p (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int NOT NULL, UNIQUE (b, a), '
            "g int GENERATED ALWAYS AS (b * 2) STORED, m mood DEFAULT 'ok', z zip, n serial)",
            'CREATE TABLE c (id positive PRIMARY KEY, x int, y int, up int REFERENCES c DEFERRABLE INITIALLY DEFERRED, '
            'FOREIGN KEY (y, x) REFERENCES "S 2".p (b, a) ON DELETE CASCADE ON UPDATE SET NULL)',
            "CREATE INDEX i ON c (x) WHERE id > 5",
            "CREATE UNIQUE INDEX j ON c (x, y)",
            "CREATE UNIQUE INDEX k ON c ((x + y))",
            "COMMENT ON TABLE c IS 'children'",
            "COMMENT ON COLUMN c.x IS 'left'",
            "CREATE VIEW v AS SELECT 1",
            "CREATE TABLE p (k int, v text) PARTITION BY LIST (k)",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
            "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
            "INSERT INTO p VALUES (1, 'a'), (2, 'b')",
            "CREATE TABLE heir (more int) INHERITS (c)",
            'INSERT INTO "S 2".p (b) VALUES (7)',
            "INSERT INTO c VALUES (1, 1, 7, NULL)",
            "INSERT INTO heir VALUES (2, 1, 7, NULL, 3)",
            "ANALYZE",
        )  # fmt: skip
        metadata, tables, _ = read_all(url)
        assert metadata.table_names == ("c", "p", "heir", "S 2.p")
        assert {name: table.num_rows for name, table in tables.items()} == {"c": 1, "p": 2, "heir": 1, "S 2.p": 1}
        parent, child = metadata.table("S 2.p"), metadata.table("c")
        assert parent.path == ("S 2", "p")
        assert parent.uniques == (("b", "a"),)
        assert parent.column_names == ("a", "b", "m", "z", "n")
        assert [c.numbering for c in parent.columns] == [Numbering.ALWAYS, None, None, None, Numbering.SERIAL]
        assert parent.column("m").default == "'ok'::public.mood"
        (generated,) = parent.generated
        assert (generated.name, generated.position, generated.stored) == ("g", 2, True)
        assert {check.expression for check in parent.checks} == {
            "\"m\" IN ('ok', 'it''s fine')",
            "REGEXP_MATCHES(\"z\", '^\\d{5}$')",
        }
        assert set(child.foreign_keys) == {
            ForeignKey(
                columns=("y", "x"),
                parent="S 2.p",
                parent_columns=("b", "a"),
                clauses="ON UPDATE SET NULL ON DELETE CASCADE",
            ),
            ForeignKey(columns=("up",), parent="c", parent_columns=("id",), clauses="DEFERRABLE INITIALLY DEFERRED"),
        }
        assert child.uniques == (("x", "y"),)
        assert not child.column("id").nullable
        assert (child.comment, child.column("x").comment, child.rows) == ("children", "left", 1)
        assert [(index.name, index.unique, index.definition) for index in child.indexes] == [
            ("i", False, "USING btree (x) WHERE ((id)::integer > 5)"),
            ("j", True, "USING btree (x, y)"),
            ("k", True, "USING btree (((x + y)))"),
        ]
        assert metadata.dialect == "postgresql"
        assert set(metadata.types) == {
            NativeType(path=("public", "mood"), definition="ENUM ('ok', 'it''s fine')"),
            NativeType(path=("public", "zip"), domain=True, definition="text CHECK ((VALUE ~ '^\\d{5}$'::text))"),
            NativeType(path=("public", "positive"), domain=True, definition="integer NOT NULL CHECK ((VALUE > 0))"),
        }

    @pytest.mark.parametrize(
        ("check", "row", "expected"),
        [
            ("n > 0 AND (s = 'a' OR s IS NULL)", "(1, 'a')", True),
            ("s IN ('a', 'b')", "(1, 'c')", False),
            ("s NOT IN ('a', 'b')", "(1, 'c')", True),
            ("s NOT LIKE 'A%'", "(1, 'abc')", True),
            ("s ~ '^[a-c]+$'", "(1, 'abd')", False),
            ("length(trim(s)) BETWEEN 1 AND 3", "(1, '  ')", False),
            ("n IS DISTINCT FROM 5", "(NULL, '')", True),
            ("n / 2.0 > 1", "(2, '')", False),
            ("coalesce(n, 0) % 2 = 0", "(3, '')", False),
        ],
    )
    def test_checks_mean_the_same_in_duckdb(self, check, row, expected, database):
        (read,) = read_all(database(f"CREATE TABLE t (n int, s varchar(9), CHECK ({check}))"))[0].table("t").checks
        holds = duckdb.sql(f"SELECT coalesce({read.expression}, true) FROM (VALUES {row}) v(n, s)").fetchall()
        assert holds == [(expected,)]
        assert read.native

    @pytest.mark.parametrize(
        "check", ["n / 2 > 1", "s ~ '(?<!a)b'", "md5(s) > 'a'", "s SIMILAR TO 'a|b'", "num_nonnulls(n, s) = 1"]
    )
    def test_checks_that_mean_something_else_are_counted(self, check, database):
        table = read_all(database(f"CREATE TABLE t (n int CHECK (n > 0), s text, CHECK ({check}))"))[0].table("t")
        assert len(table.checks) == 1
        assert table.unsupported_checks == 1

    def test_names_that_are_traps(self, database):
        names = ['a"; DROP TABLE x; --', "x" * 63, "%s %(a)s {0}", "\\'; --", "ß" * 31]
        quoted = [name.replace('"', '""') for name in names]
        url = database(
            "CREATE TABLE x (i int)",
            *(f'CREATE TABLE "{name}" ("{name}" int PRIMARY KEY)' for name in quoted),
            *(f'INSERT INTO "{name}" VALUES (1)' for name in quoted),
        )
        _, tables, _ = read_all(url)
        assert list(tables) == ["x", *names]
        assert all(tables[name].to_pydict() == {name: [1]} for name in names)

    def test_an_empty_database(self, database):
        assert read_all(database())[0].tables == ()

    def test_debian(self, debian_postgres_server, datasets, real_data):
        with debian_postgres_server.database() as name:
            datasets.load_postgresql(real_data / "sakila", debian_postgres_server.url(name))
            metadata, tables, warnings = read_all(debian_postgres_server.url(name))
        assert sum(table.num_rows for table in tables.values()) == 46_273
        assert sum(len(table.foreign_keys) for table in metadata.tables) == 22
        assert metadata.table("film").column("special_features").type == "VARCHAR[]"
        assert warnings == []


class TestSnapshot:
    def test_one_instant_in_all_tables_while_money_moves(self, database):
        """A writer moves amounts from one table to the other; every reader sees a sum that never changes."""
        url = database(
            "CREATE TABLE one (id int, amount bigint)",
            "CREATE TABLE two (id int, amount bigint)",
            "INSERT INTO one SELECT i, 1000 FROM generate_series(1, 50000) i",
            "INSERT INTO two SELECT i, 1000 FROM generate_series(1, 50000) i",
        )
        stop, moved = threading.Event(), []

        def move() -> None:
            with psycopg.connect(url) as connection:
                while not stop.is_set():
                    connection.execute("UPDATE one SET amount = amount - 7 WHERE id % 500 = 3")
                    connection.execute("UPDATE two SET amount = amount + 7 WHERE id % 500 = 3")
                    connection.execute("INSERT INTO one VALUES (0, 5)")
                    connection.execute("INSERT INTO two VALUES (0, -5)")
                    connection.commit()
                    moved.append(1)

        writer = threading.Thread(target=move)
        writer.start()
        try:
            for _ in range(4):
                with source(url).session() as session:
                    metadata = session.metadata()
                    before = len(moved)
                    total = 0
                    for name in ("two", "one"):
                        total += sum(sum(batch["amount"].to_pylist()) for batch in session.read(metadata.table(name)))
                        while len(moved) < before + 3:  # the writer goes on between the tables
                            stop.wait(0.01)
                        before = len(moved)
                assert total == 100_000_000
        finally:
            stop.set()
            writer.join()
        assert len(moved) > 20

    def test_tables_that_change_meanwhile(self, database, postgres_server, postgres_database):
        url = database("CREATE TABLE t (a int)", "INSERT INTO t SELECT generate_series(1, 10)")
        with source(url).session() as session:
            table = session.metadata().table("t")
            postgres_server.execute("INSERT INTO t SELECT generate_series(1, 1000)", database=postgres_database)
            with psycopg.connect(url) as other:
                other.execute("SET lock_timeout = '100ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    other.execute("TRUNCATE t")
            assert session.read(table).read_all().num_rows == 10
        assert read_all(url)[1]["t"].num_rows == 1010

    def test_state_follows_commits(self, database, postgres_server, postgres_database):
        url = database("CREATE TABLE t (a int)", "CREATE UNLOGGED TABLE u (a int)")
        states = [source(url).state(), source(url).state()]
        for statement in ("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)", "DELETE FROM u"):
            postgres_server.execute(statement, database=postgres_database)
            states.append(source(url).state())
        with psycopg.connect(url) as writer:
            writer.execute("INSERT INTO t VALUES (2)")
            states.append(source(url).state())
        states.append(source(url).state())
        assert states[0] == states[1]
        assert states[4] == states[5], "what is not committed is not seen"
        assert len(set(states)) == 5

    def test_the_manifest_says_where_it_stood_and_the_same_rows_are_the_same_snapshot(
        self, database, tmp_path, postgres_server, postgres_database
    ):
        url = database("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
        recipe = parse_recipe({"source": url, "target": "t.duckdb"}).at(tmp_path)
        store = open_store(recipe)
        first = run_step(recipe, "snapshot", store=store)
        position = store.read(first.ref).body["position"]
        assert position["server"].startswith("PostgreSQL 18")
        assert set(position) == {"server", "snapshot", "wal", "at"}
        assert run_step(recipe, "snapshot", store=store).skipped
        postgres_server.execute("CREATE TABLE gone ()", "DROP TABLE gone", database=postgres_database)
        again = run_step(recipe, "snapshot", store=store)
        assert again.ref == first.ref
        assert not first.skipped

    def test_the_source_is_only_read(self, database, postgres_server, postgres_database, tmp_path):
        url = database("CREATE TABLE t (a int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 1000)")
        before = len(postgres_server.log)
        recipe = parse_recipe({"source": url, "target": "t.duckdb", "subset": {"root": "t", "share": 0.5}})
        run_step(recipe.at(tmp_path), "snapshot", store=open_store(recipe.at(tmp_path)))
        logged = [
            line.partition("statement: ")[2] or line.partition("execute ")[2].partition(": ")[2]
            for line in postgres_server.log[before:].splitlines()
            if f"@{postgres_database} " in line
        ]
        words = {statement.split()[0].upper() for statement in logged if statement}
        assert words <= {"BEGIN", "SET", "SELECT", "LOCK", "COPY", "ROLLBACK", "COMMIT", "START"}
        assert all("TO STDOUT" in each for each in logged if each.upper().startswith("COPY"))
        assert all("ACCESS SHARE" in each for each in logged if each.upper().startswith("LOCK"))
        assert any(each.upper().startswith("COPY") for each in logged), "else this test looks at nothing"

    def test_memory_does_not_grow_with_the_table(self, database):
        url = database(
            "CREATE TABLE t (a int, b text)",
            "INSERT INTO t SELECT i, repeat('text', 100) || i FROM generate_series(1, 150000) i",
        )
        with source(url).session() as session:
            sizes = [(batch.num_rows, batch.nbytes) for batch in session.read(session.metadata().table("t"))]
        assert sum(rows for rows, _ in sizes) == 150_000
        assert len(sizes) > 20
        assert max(size for _, size in sizes) < 4_000_000, "what ADBC is asked for, and rounded up"

    def test_streams_that_are_left_in_the_middle(self, database):
        url = database("CREATE TABLE t (a int)", "INSERT INTO t SELECT generate_series(1, 300000)")
        with source(url).session() as session:
            table = session.metadata().table("t")
            reader = session.read(table)
            reader.read_next_batch()
            del reader
            assert session.read(table).read_all().num_rows == 300_000

    def test_a_large_table_is_read_by_several_connections_in_its_order(
        self, database, postgres_server, postgres_database, monkeypatch
    ):
        monkeypatch.setattr("synth_ops.sources.postgresql.source._PART_PAGES", 16)
        url = database(
            "CREATE TABLE large (a int)",
            "INSERT INTO large SELECT generate_series(1, 100000)",
            "UPDATE large SET a = -a WHERE a % 1000 = 0",  # which moves rows to the end
        )
        with psycopg.connect(url) as connection:
            stored = [a for (a,) in connection.execute("SELECT a FROM large ORDER BY ctid").fetchall()]
        with source(url).session() as session:
            table = session.metadata().table("large")
            database("INSERT INTO large SELECT generate_series(1, 100000)")  # which the snapshot does not see
            reader = session.read(table)
            reader.read_next_batch()
            del reader
            assert session.read(table).read_all()["a"].to_pylist() == stored
        ranges = [line for line in postgres_server.log.splitlines() if f"@{postgres_database} " in line]
        assert len([line for line in ranges if "COPY" in line and "ctid >= " in line and "ctid < " in line]) > 10


class TestPrivileges:
    @pytest.fixture
    def reader(self, postgres_server, database):
        """A role that may read, and the statements that made it so."""
        url = database(
            "CREATE TABLE t (a int PRIMARY KEY, b int)",
            "INSERT INTO t VALUES (1, 2)",
            f'CREATE ROLE "{CANARY}" LOGIN',
            f'GRANT SELECT ON t TO "{CANARY}"',
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            user=CANARY,
        )
        yield url
        postgres_server.execute(f'REASSIGN OWNED BY "{CANARY}" TO synth', f'DROP OWNED BY "{CANARY}"')
        with psycopg.connect(url.replace(CANARY, "synth"), autocommit=True) as connection:
            connection.execute(f'DROP OWNED BY "{CANARY}"')
            connection.execute(f'DROP ROLE "{CANARY}"')

    def test_a_large_table_by_a_role_that_may_connect_twice(self, reader, database, monkeypatch):
        monkeypatch.setattr("synth_ops.sources.postgresql.source._PART_PAGES", 16)
        database(
            "CREATE TABLE large (a int)",
            "INSERT INTO large SELECT generate_series(1, 50000)",
            f'GRANT SELECT ON large TO "{CANARY}"',
            f'ALTER ROLE "{CANARY}" CONNECTION LIMIT 2',
        )
        with source(reader).session() as session:
            assert session.read(session.metadata().table("large")).read_all()["a"].to_pylist() == [*range(1, 50_001)]

    def may_write(self, url):
        with source(url).session() as session:
            session.metadata()
            return session.may_write

    def test_select_alone_is_proven(self, reader):
        assert self.may_write(reader) == ""

    @pytest.mark.parametrize(
        ("grant", "words"),
        [
            ("GRANT DELETE ON t TO {}", "may write to 1 of 1 tables"),
            ("GRANT UPDATE (b) ON t TO {}", "may write to 1 of 1 tables"),
            ("GRANT pg_write_all_data TO {}", "may write to 1 of 1 tables"),
            ("ALTER TABLE t OWNER TO {}", "may write to 1 of 1 tables"),
            ("GRANT CREATE ON SCHEMA public TO {}", "may create tables in a schema that is read"),
            ("ALTER ROLE {} SUPERUSER", "is a superuser"),
        ],
    )
    def test_whatever_more_is_told(self, reader, postgres_server, postgres_database, grant, words, tmp_path):
        role = f'"{CANARY}"'
        postgres_server.execute(grant.format(role), database=postgres_database)
        assert self.may_write(reader) == words
        document = {"source": reader, "target": "t.duckdb", "require_read_only": True}
        strict = parse_recipe(document).at(tmp_path)
        assert words in str(failure(lambda: run_step(strict, "snapshot", store=open_store(strict))))
        lenient = parse_recipe({**document, "require_read_only": False}).at(tmp_path)
        result = run_step(lenient, "snapshot", store=open_store(lenient))
        assert any(words in line for line in result.facts["warnings"])
        failure(lambda: run_step(strict, "snapshot", store=open_store(strict)))

    def test_tables_that_it_may_not_read(self, reader, postgres_server, postgres_database, tmp_path):
        postgres_server.execute("CREATE TABLE hidden (a int, n numeric)", database=postgres_database)
        error = failure(lambda: read_all(reader))
        assert "may not read table 'hidden'" in str(error)
        assert not error.retryable
        recipe = parse_recipe({"source": reader, "target": "t", "tables": {"hidden": {"exclude": True}}}).at(tmp_path)
        run_step(recipe, "snapshot", store=open_store(recipe))

    def test_rows_that_it_may_not_see(self, reader, postgres_server, postgres_database):
        postgres_server.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY", database=postgres_database)
        _, tables, warnings = read_all(reader)
        assert tables["t"].num_rows == 0
        assert any("row-level security hides rows of table 't'" in line for line in warnings)

    def test_identity(self, reader, postgres_server, postgres_database):
        owner = postgres_server.url(postgres_database)
        assert source(reader).identity() == source(owner).identity()
        assert source(owner).identity().startswith("postgresql:")
        assert source(postgres_server.url("template1")).identity() != source(owner).identity()


class TestBadInput:
    def test_no_server(self, tmp_path):
        error = failure(lambda: read_all(f"postgresql://{CANARY}:{CANARY}@/shop?host={tmp_path}"))
        assert isinstance(error, SourceUnavailableError)
        assert "can't be reached" in str(error)
        error = failure(lambda: read_all(f"postgresql://{CANARY}:{CANARY}@127.0.0.1:1/shop"))
        assert isinstance(error, SourceUnavailableError)

    def test_no_route_and_no_host(self):
        error = failure(lambda: read_all(f"postgresql://{CANARY}:{CANARY}@192.0.2.1/shop?connect_timeout=2"))
        assert isinstance(error, SourceUnavailableError)
        error = failure(lambda: read_all(f"postgresql://{CANARY}:{CANARY}@no-such-host.invalid/shop"))
        assert "no host of that name" in str(error)

    def test_no_database(self, postgres_server):
        error = failure(lambda: read_all(postgres_server.url("nowhere")))
        assert "nowhere" in str(error)
        assert "does not exist" in str(error)
        assert not error.retryable

    def test_options_that_libpq_does_not_know(self, postgres_server):
        url = postgres_server.url() + f"&{CANARY}={CANARY}"
        with pytest.raises((SourceError, RecipeError)) as caught:
            read_all(url)
        assert CANARY not in "".join(traceback.format_exception(caught.value))

    def test_a_wrong_password_and_no_tls(self, servers, caplog):
        server = servers.PostgresServer(servers.wheel_postgresql(), listen=True)
        try:
            server.execute("CREATE ROLE ada LOGIN PASSWORD 'right'")
            hba = server.data / "pg_hba.conf"
            hba.write_text("local all synth trust\nhost all ada 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
            server.execute("SELECT pg_reload_conf()")
            with caplog.at_level(logging.DEBUG):
                good = server.url(user="ada", password="right", host="127.0.0.1")
                assert read_all(good)[0].tables == ()
                wrong = failure(lambda: read_all(server.url(user="ada", password=CANARY, host="127.0.0.1")))
                none = failure(lambda: read_all(server.url(user="ada", host="127.0.0.1")))
                tls = failure(lambda: read_all(good + "?sslmode=require"))
                stranger = failure(lambda: read_all(server.url(user="bob", host="127.0.0.1")))
        finally:
            server.close()
        assert "refuses the user or the password" in str(wrong)
        assert "refuses the user or the password" in str(none)
        assert "TLS" in str(tls)
        assert "does not admit this user" in str(stranger)
        assert not any(error.retryable for error in (wrong, none, tls, stranger))
        assert CANARY not in caplog.text

    @pytest.mark.parametrize("how", ["kill", "stop"])
    def test_a_server_that_dies_in_the_middle(self, servers, how, tmp_path):
        server = servers.PostgresServer(servers.wheel_postgresql())
        try:
            server.execute(
                "CREATE TABLE t (a int PRIMARY KEY, b text)",
                f"INSERT INTO t SELECT i, repeat('{CANARY}', 30) FROM generate_series(1, 300000) i",
                "CHECKPOINT",
            )
            url = server.url()

            def read() -> None:
                with source(url).session() as session:
                    reader = session.read(session.metadata().table("t"))
                    reader.read_next_batch()
                    getattr(server, how)()
                    reader.read_all()

            error = failure(read)
            assert isinstance(error, SourceUnavailableError)
            assert "table 't'" in str(error)
            failure(lambda: read_all(url))
            server.start()
            assert read_all(url)[1]["t"].num_rows == 300_000
        finally:
            server.close()

    def test_a_session_that_the_server_ends(self, database, postgres_server):
        url = database("CREATE TABLE t (a int)")

        def read() -> None:
            with source(url).session() as session:
                session.metadata()
                postgres_server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'synth_ops'"
                )
                session.metadata()

        assert isinstance(failure(read), SourceUnavailableError)

    def test_a_row_that_the_server_can_not_compute(self, database):
        """Drivers put the row into the error's DETAIL."""
        url = database(
            "CREATE TABLE t (a text)",
            f"INSERT INTO t VALUES ('{CANARY}')",
            "CREATE FUNCTION public.bad(text) RETURNS int LANGUAGE sql AS 'SELECT $1::int'",
        )
        with source(url).session() as session, pytest.raises(RecipeError) as caught:
            session.read(session.metadata().table("t"), "public.bad(a) > 0").read_all()
        assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_an_index_goes_with_its_own_column_alone(postgres_server, postgres_database, tmp_path):
    postgres_server.execute(
        'CREATE TABLE t (id integer, "a""b" integer, paid integer, next integer GENERATED ALWAYS AS (id + 1) STORED)',
        "CREATE INDEX one ON t (paid)",
        "CREATE INDEX two ON t ((id + 1))",
        'CREATE INDEX three ON t ("a""b")',
        "CREATE INDEX four ON t (next)",
        database=postgres_database,
    )
    columns = {"id": {"exclude": True}, 'a"b': {"exclude": True}}
    written = {"source": postgres_server.url(postgres_database), "target": "t", "tables": {"t": {"columns": columns}}}
    recipe = parse_recipe(written).at(tmp_path)
    store = open_store(recipe)
    table = read_snapshot(store, run_step(recipe, "snapshot", store=store).ref).metadata.table("t")
    assert [index.name for index in table.indexes] == ["one"]
    assert table.generated == ()
