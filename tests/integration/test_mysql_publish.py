"""MariaDB as a target: whole generations through kills, races and readers, and whole databases with their keys."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import signal
import subprocess
import sys
import threading
from decimal import Decimal

import pymysql
import pytest

from synth_ops.artifact_io import read_snapshot
from synth_ops.errors import PublishError, PublishRefusedError, RecipeError
from synth_ops.location import parse_location
from synth_ops.metadata import Check, Column, Metadata, Table
from synth_ops.native import Index, Numbering
from synth_ops.ports import PublishRules
from synth_ops.recipe import Mismatch, parse_recipe
from synth_ops.run import run_step
from synth_ops.store import Store
from synth_ops.targets.constraints import enforceable_foreign_keys
from synth_ops.targets.mysql import history
from synth_ops.targets.mysql.connection import connected
from synth_ops.targets.mysql.swap import Change, resolve, swap
from synth_ops.targets.mysql.target import MySQLTarget
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import write_table

KILLED = """
import json, os, signal, sys
from pathlib import Path
from synth_ops.artifacts import TableData
from synth_ops.location import parse_location
from synth_ops.targets.mysql.target import MySQLTarget
from synth_ops.testing.contracts import MARKED

def die(progress):
    if progress.done == task["tick"]:
        os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:  # each in a child of its own, for which everything is loaded
    task = json.loads(line)
    pid = os.fork()
    if not pid:
        target = MySQLTarget(parse_location(sys.argv[1], Path.cwd()))
        tables = {name: TableData(rows=200, files=(Path(file),)) for name, file in task["tables"].items()}
        target.publish(MARKED, tables, copy_id=task["copy"], keep=2, progress=die)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
JOINED = "SELECT DISTINCT f.publication, s.publication FROM first f JOIN second s USING (id)"


class Database:
    def __init__(self, server, name, folder):
        self.server, self.name, self.url = server, name, server.url(name)
        self.location = parse_location(self.url, folder)

    def target(self, **arguments):
        return MySQLTarget(self.location, **arguments)

    def rows(self, *statements):
        with contextlib.closing(self.server.connect(self.name)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())


@pytest.fixture
def database(mariadb_server, mariadb_database, tmp_path):
    made = Database(mariadb_server, mariadb_database, tmp_path)
    made.target().mark("test", confirm=mariadb_database)
    return made


def publish(database, folder, number, progress=unheard):
    tables = marked(folder, number)
    return database.target().publish(MARKED, tables, copy_id=str(number), keep=2, progress=progress)


def live_mark(database):
    ((first, second),) = database.rows(JOINED)
    assert first == second
    return first


def test_a_publisher_killed_at_any_tick_leaves_old_or_new(database, tmp_path):
    ticks = []
    publish(database, tmp_path, 1, ticks.append)
    outcomes, number = set(), 1
    command = [sys.executable, "-c", KILLED, database.url]
    publisher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for tick in ticks * 5:
        number += 1
        tables = {name: str(data.files[0]) for name, data in marked(tmp_path, number).items()}
        publisher.stdin.write(json.dumps({"copy": str(number), "tick": tick.done, "tables": tables}) + "\n")
        publisher.stdin.flush()
        assert int(publisher.stdout.readline()) == -signal.SIGKILL
        live = live_mark(database)
        assert live in {number - 1, number}
        outcomes.add(live == number)
        publish(database, tmp_path, number)
        assert live_mark(database) == number
    publisher.communicate()
    assert outcomes == {False, True}
    publish(database, tmp_path, number + 1)
    kept = {each.number for each in database.target().generations()}
    names = [name for (name,) in database.rows("SHOW TABLES")]
    homes = {int(home[1]) for name in names if (home := re.fullmatch(r"synth_ops_(\d+)_\d+", name))}
    assert homes
    assert homes <= kept


def sessions_of(database):
    query = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"
    return [number for (number,) in database.rows(query)]


def test_what_fails_after_the_swap_does_not_undo_it(database, tmp_path, caplog):
    publish(database, tmp_path, 1)

    def lose(progress):
        if progress.item == "swapped":
            database.rows(*(f"KILL {number}" for number in sessions_of(database)), "SELECT 1")

    assert publish(database, tmp_path, 2, lose).number == 2
    assert live_mark(database) == 2
    assert "stays until the next run" in caplog.text
    assert publish(database, tmp_path, 3).number == 3


def test_a_dead_run_does_not_count_after_a_rollback(database, tmp_path):
    for number in (1, 2):
        publish(database, tmp_path, number)
    database.rows("INSERT INTO synth_ops_generation SELECT 3, '3', published_at, 2, tables, homes, '', 3 "
                  "FROM synth_ops_generation WHERE number = 2")  # fmt: skip
    assert database.target().rollback().number == 1
    assert [each.number for each in database.target().generations()] == [1, 2]


def test_who_reads_one_old_generation_keeps_that_one_alone(database, tmp_path):
    for number in (1, 2):
        publish(database, tmp_path, number)
    with contextlib.closing(database.server.connect(database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("START TRANSACTION")
        cursor.execute("SELECT * FROM synth_ops_1_1")
        for number in (3, 4):
            publish(database, tmp_path, number)
    found = {name.split("_")[2] for (name,) in database.rows("SHOW TABLES") if name.startswith("synth_ops_")}
    assert found == {"1", "3", "environment", "generation", "live"}
    publish(database, tmp_path, 5)
    assert not database.rows("SHOW TABLES LIKE 'synth\\_ops\\_1\\_%'")


def test_a_lost_swap_is_resolved_when_the_server_has_done_with_it(database, tmp_path):
    publish(database, tmp_path, 1)
    with contextlib.closing(database.server.connect(database.name)) as lost:
        before = history.read(lost, "")
        with history.publishing(lost, database.name, ""):
            change = Change(before=before, number=1, out={}, into={})
            asked = threading.Thread(target=resolve, args=(database.location, change, pymysql.Error()))
            asked.start()
            asked.join(0.5)
            assert asked.is_alive()
            database.rows("RENAME TABLE synth_ops_live_1_1 TO synth_ops_live_2_1")
        asked.join()  # an exception in the thread is an error of the test


@contextlib.contextmanager
def reading(database, query):
    """Four readers loop a statement; yields what they see, and what fails."""
    seen, failures, done = [], [], threading.Event()

    def read():
        with contextlib.closing(database.server.connect(database.name)) as connection, connection.cursor() as cursor:
            while not done.is_set():
                try:
                    cursor.execute(query)
                    seen.append(cursor.fetchall())
                except pymysql.Error as error:
                    failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        yield seen, failures
    finally:
        done.set()
        for reader in readers:
            reader.join()


def test_no_statement_meets_two_generations(database, tmp_path, quick):
    for number in (1, 2):
        publish(database, tmp_path, number)
    with reading(database, JOINED) as (seen, failures), connected(database.location) as connection:
        for _ in range(30 if quick else 300):
            now = history.read(connection, "")
            (other,) = set(now.generations) - {now.live.published.number}
            change = Change(before=now, number=other, out=now.live.homes, into=now.generations[other].homes)
            swap(connection, database.location, change, PublishRules())
    assert failures == []
    assert {one == other for ((one, other),) in seen} == {True}
    assert {each[0][0] for each in seen} == {1, 2}


def test_renaming_one_table_after_the_other_tears_reads(database):
    for mark, names in enumerate((("first", "second"), ("one", "other"))):
        for name in names:
            database.rows(f"CREATE TABLE {name} AS SELECT seq AS id, {mark} AS publication FROM seq_1_to_200")
    pairs = (("first", "one"), ("second", "other"))
    swaps = [f"RENAME TABLE {name} TO aside, {spare} TO {name}, aside TO {spare}" for name, spare in pairs]
    torn = 0
    with reading(database, JOINED) as (seen, _):
        for _ in range(100):
            database.rows(*swaps * 10)
            torn = sum(one != other for each in seen for one, other in each)
            if torn:
                break
    assert torn > 0, "the readers of the test above would see a torn read if there were one"


def test_names_that_mysql_can_not_have_are_refused(database, tmp_path):
    tables = [
        Table(name=name, path=(name,), columns=(Column(name="id", type="INTEGER"),))
        for name in ("x" * 65, "synth_ops_1_1", "y")
    ]
    data = {table.name: write_table(tmp_path, table, [(1,)]) for table in tables}
    with pytest.raises(PublishRefusedError, match="names that MySQL or this tool can't have") as refusal:
        database.target().publish(Metadata(tables=tuple(tables)), data, copy_id="1", keep=1, progress=unheard)
    assert all(name in str(refusal.value) for name in ("x" * 65, "synth_ops_1_1"))
    assert "'y'" not in str(refusal.value)


def test_a_stale_run_is_refused(database, tmp_path):
    publish(database, tmp_path, 1)

    def overtake(progress):
        if progress.item == "staged":
            database.rows("RENAME TABLE synth_ops_live_1_1 TO synth_ops_live_2_1")

    with pytest.raises(PublishRefusedError, match="another run swapped"):
        publish(database, tmp_path, 2, overtake)
    assert live_mark(database) == 1
    assert publish(database, tmp_path, 3).number == 2


def test_views_and_grants_follow_by_name(database, tmp_path):
    publish(database, tmp_path, 1)
    database.rows(f"CREATE VIEW seen AS {JOINED.replace('s.publication', 's.publication AS other')}")
    publish(database, tmp_path, 2)
    assert database.rows("SELECT * FROM seen") == [(2, 2)]


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TRIGGER watch BEFORE INSERT ON first FOR EACH ROW SET NEW.id = 1", "trigger watch"),
        ("CREATE TABLE heirs (id int, FOREIGN KEY (id) REFERENCES first (id))", "of table .*dependents: recreate"),
    ],
)
def test_what_can_not_follow_is_refused(database, tmp_path, statement, named):
    publish(database, tmp_path, 1)
    database.rows(statement)
    with pytest.raises(PublishRefusedError, match=f"can't follow.*{named}"):
        publish(database, tmp_path, 2)
    assert live_mark(database) == 1


def test_values_come_as_they_are_or_not_at_all(database, tmp_path):
    kinds = {"id": "VARCHAR", "text": "VARCHAR", "raw": "BLOB", "at": "TIMESTAMP", "day": "DATE", "many": "INTEGER[]",
             "price": "DECIMAL(12,3)", "flag": "BOOLEAN", "half": "DOUBLE", "big": "BIGINT"}  # fmt: skip
    table = Table(
        name="all `kinds`; --",
        path=("all `kinds`; --",),
        columns=tuple(Column(name=name, type=kind) for name, kind in kinds.items()),
        primary_key=("id",),
    )
    at, day = dt.datetime.fromisoformat("2020-02-29 01:02:03.000456"), dt.date(1999, 12, 31)
    rows = [
        ("a", 'q"\\,\n', b"\x00\xff", at, day, [1, None], Decimal("1.250"), True, 0.1, 2**62),
        ("A", "NULL", b"", None, None, [], None, False, None, None),
        ("a ", "", None, None, None, None, None, None, -1e300, -1),
    ]
    data = {table.name: write_table(tmp_path / "kinds", table, rows)}
    metadata = Metadata(tables=(table,))
    database.target().publish(metadata, data, copy_id="1", keep=1, progress=unheard)
    found = database.rows("SELECT * FROM `all ``kinds``; --`")
    assert sorted(found) == sorted(
        [
            ("a", 'q"\\,\n', b"\x00\xff", at, day, "[1,null]", Decimal("1.250"), 1, 0.1, 2**62),
            ("A", "NULL", b"", None, None, "[]", None, 0, None, None),
            ("a ", "", None, None, None, None, None, None, -1e300, -1),
        ]
    )
    data = {table.name: write_table(tmp_path / "long", table, [("x" * 300, *rows[0][1:])])}
    with pytest.raises(PublishError, match="does not take the rows"):
        database.target().publish(metadata, data, copy_id="2", keep=1, progress=unheard)


@pytest.mark.parametrize("name", ["chinook", "northwind", "sakila"])
def test_a_data_set_keeps_its_rows_and_keys(database, duckdb_database, tmp_path, name):
    recipe = parse_recipe({"source": str(duckdb_database(name)), "target": database.url}).at(tmp_path)
    store = Store(tmp_path / "store")
    snapshot = read_snapshot(store, run_step(recipe, "snapshot", store=store).ref)
    database.target().publish(snapshot.metadata, snapshot.tables, copy_id="1", keep=1, progress=unheard)
    counts = {table: database.rows(f"SELECT count(*) FROM `{table}`")[0][0] for table in snapshot.metadata.table_names}
    assert counts == {table: data.rows for table, data in snapshot.tables.items()}
    wanted = sum(len(enforceable_foreign_keys(snapshot.metadata, table)) for table in snapshot.metadata.tables)
    query = "SELECT count(*) FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE()"
    assert database.rows(query) == [(wanted,)]
    assert wanted > 5


def test_an_unmarked_database_is_refused(mariadb_server, mariadb_database, tmp_path):
    url = mariadb_server.url(mariadb_database)
    target = MySQLTarget(parse_location(url, tmp_path))
    with pytest.raises(PublishRefusedError, match="target init"):
        target.generations()
    assert target.identity() == MySQLTarget(parse_location(url.replace("mysql:", "mariadb:"), tmp_path)).identity()


@pytest.mark.parametrize(
    "url", ["mysql://root:hunter2@127.0.0.1:1/x", "mysql://nobody:hunter2@/x?unix_socket={socket}"]
)
def test_no_way_to_the_server_is_told_without_secrets(mariadb_server, tmp_path, url):
    target = MySQLTarget(parse_location(url.format(socket=mariadb_server.socket), tmp_path))
    with pytest.raises(PublishError) as failure:
        target.generations()
    assert "hunter2" not in str(failure.value)
    assert failure.value.hint


@pytest.mark.parametrize(
    ("option", "error", "words"),
    [
        ("ssl_mode=REQUIRED", PublishError, "by TLS as the URL asks"),
        ("ssl_mode=VERIFY_IDENTITY&ssl_ca=/nowhere.pem", PublishError, "by TLS as the URL asks"),
        ("ssl_ca=/nowhere.pem", PublishError, "by TLS as the URL asks"),
        ("ssl_mode=VERIFY_IDENTIY", RecipeError, "no such `ssl_mode`"),
        ("sslmode=require", RecipeError, "no such option"),
        ("connect_timeout=soon", RecipeError, "no number"),
    ],
)
def test_the_options_of_the_url_are_followed_or_refused(database, tmp_path, option, error, words):
    target = MySQLTarget(parse_location(f"{database.url}&{option}", tmp_path))
    with pytest.raises(error, match=words) as refusal:
        target.generations()
    assert not refusal.value.retryable


OWN = (
    r"""
CREATE TABLE people (
    id int AUTO_INCREMENT PRIMARY KEY, email varchar(40) COLLATE utf8mb4_general_ci NOT NULL COMMENT 'it''s \\ theirs',
    flags bit(10), flag bit(1), born year, home point NOT NULL, note text, size enum('s', 'm') DEFAULT 'm',
    path varchar(9) DEFAULT 'a\\b''c', facts json,
    seen datetime(6) DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6),
    lately int AS (born + 2) STORED, lowered varchar(40) AS (lower(email)) VIRTUAL, UNIQUE KEY mail (email),
    KEY by_note (note(5)), KEY by_seen (seen, born), FULLTEXT KEY words (note), SPATIAL KEY place (home),
    KEY by_lowered (lowered), CHECK (born > 1900 OR born = 0), CHECK (email LIKE '%@%'),
    CHECK (soundex(email) <> ''))
CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin COMMENT 'the people'
""",
    """
INSERT INTO people (email, flags, flag, born, home, note, path, facts, seen) VALUES
    ('a@x', b'1000000001', b'1', 1990, POINT(1, 2), 'words and words', 'x', '{"a": 1}', '2024-01-01 10:00:00.5'),
    ('B@x', 3, b'0', 0, ST_GeomFromText('POINT(0.5 -7)'), NULL, NULL, NULL, NULL)
""",
)


def shape(database, table):
    """What CREATE TABLE says, but for names that the server gave."""
    ((_, statement),) = database.rows(f"SHOW CREATE TABLE {table}")
    lines = re.sub(r" AUTO_INCREMENT=\d+|CONSTRAINT `CONSTRAINT_\d+` |UNIQUE KEY `\w+`", "", statement).splitlines()
    options = lines.pop().partition(" DEFAULT CHARSET")[0]
    return sorted(line.rstrip(",") for line in lines), options, re.findall("COMMENT='.*'", statement)


@pytest.fixture
def own_schema(database, mariadb_server, tmp_path):
    """A snapshot of a MariaDB table with all that only MySQL can say."""
    with mariadb_server.database() as name:
        source = Database(mariadb_server, name, tmp_path)
        source.rows(*OWN, "SELECT 1")
        recipe = parse_recipe({"source": source.url, "target": database.url}).at(tmp_path)
        store = Store(tmp_path / "store")
        yield source, read_snapshot(store, run_step(recipe, "snapshot", store=store).ref)


def test_a_schema_of_its_own_comes_whole(database, own_schema, tmp_path, caplog):
    source, snapshot = own_schema
    database.target().publish(snapshot.metadata, snapshot.tables, copy_id="1", keep=1, progress=unheard)
    assert shape(database, "people") == shape(source, "people")
    query = "SELECT id, flags + 0, flag + 0, born, ST_AsText(home), path, facts, seen, lately, lowered FROM people"
    assert database.rows(query) == source.rows(query)
    assert not caplog.records
    database.rows("ALTER TABLE people ADD KEY mine (size), ADD UNIQUE KEY alone (path), ADD CHECK (path > '')")
    altered = shape(database, "people")
    database.target().publish(snapshot.metadata, snapshot.tables, copy_id="2", keep=1, progress=unheard)
    assert shape(database, "people") == altered
    database.rows("ALTER TABLE people ADD extra int DEFAULT 7 AFTER id, DROP KEY words")
    altered = shape(database, "people")
    database.target().publish(snapshot.metadata, snapshot.tables, copy_id="3", keep=1, progress=unheard)
    assert shape(database, "people") == altered
    assert database.rows(query) == source.rows(query)
    assert not caplog.records
    anew = database.target(rules=PublishRules(on_mismatch=Mismatch.SOURCE))
    anew.publish(snapshot.metadata, snapshot.tables, copy_id="4", keep=1, progress=unheard)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.endswith("which go with it: extra")


def test_rows_that_a_collation_can_not_tell_apart(database, own_schema, tmp_path):
    _, snapshot = own_schema
    (people,) = snapshot.metadata.tables
    first = dict.fromkeys(people.column_names) | {"email": "a@x", "home": "POINT(1 2)"}
    for column, other in (("email", "A@X"), ("home", "nowhere")):
        rows = [tuple((first | {"id": 1}).values()), tuple((first | {"id": 2, "email": "b@x", column: other}).values())]
        data = {"people": write_table(tmp_path / column, people, rows)}
        with pytest.raises(PublishError, match=r"\(email\) as MySQL compares|does not take|error 3037"):
            database.target().publish(snapshot.metadata, data, copy_id="1", keep=1, progress=unheard)
    assert database.target().generations() == []


def test_what_another_dialect_says_is_translated_or_listed(database, tmp_path, caplog):
    table = Table(
        name="t",
        path=("t",),
        columns=(Column(name="a", type="INTEGER", native_type="vector(3)", numbering=Numbering.BY_DEFAULT),
                 Column(name="b", type="VARCHAR", comment="it's \\")),
        primary_key=("a",),
        checks=(Check(expression="\"b\" <> 'it''s \\'", columns=("b",)),
                Check(expression="list_sum([a]) > 0", columns=("a",))),
        indexes=(Index(name="there", unique=False, definition="USING gin (b)"),),
    )  # fmt: skip
    data = {"t": write_table(tmp_path / "t", table, [(7, "x")])}
    for number, dialect in enumerate(("postgresql", "mysql")):
        caplog.clear()
        metadata = Metadata(tables=(table,), dialect=dialect)
        database.target().publish(metadata, data, copy_id=str(number), keep=1, progress=unheard)
        told = "\n".join(record.getMessage() for record in caplog.records)
        assert "CHECK on (a) is not declared" in told
        assert "indexes of another dialect are not declared: there" in told
        assert ("the server does not know" in told) == (dialect == "mysql")
        database.rows("INSERT INTO t (b) VALUES ('y')")
        assert database.rows("SELECT a FROM t ORDER BY a") == [(7,), (8,)]
        with pytest.raises(pymysql.Error):
            database.rows("INSERT INTO t (b) VALUES ('it''s \\\\')")
