from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import signal
import sqlite3
import subprocess
import sys
import uuid
from decimal import Decimal

import pytest

from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Orphans, Table
from synth_ops.targets.sqlite import SQLiteTarget
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import small_warehouse, small_warehouse_rows, write_table

AWKWARD = ("select", 'with "quotes"', "with space", "UPPER", "tåble ünï 表", "with.dot", "a/b", "it's", "%41")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "live.db"


@pytest.fixture
def target(file):
    return SQLiteTarget(parse_location(str(file), file.parent))


def publish(target, folder, metadata, rows, copy_id="copy"):
    tables = {table.name: write_table(folder / copy_id, table, rows[table.name]) for table in metadata.tables}
    return target.publish(metadata, tables, copy_id=copy_id, keep=2, progress=unheard)


def publish_marked(target, folder, number):
    return target.publish(MARKED, marked(folder, number), copy_id=str(number), keep=3, progress=unheard)


def query(file, sql):
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def in_another_process(code, file, **options):
    code = f"import os, signal, sqlite3, sys\nconnection = sqlite3.connect(sys.argv[1], isolation_level=None)\n{code}"
    return subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True, **options)


def side_files(file):
    return [entry.name for entry in file.parent.iterdir() if entry.name.startswith(f"{file.name}-")]


def test_declares_and_enforces_the_constraints(file, target, tmp_path):
    metadata, tables = small_warehouse(tmp_path / "copy")
    target.publish(metadata, tables, copy_id="copy", keep=1, progress=unheard)
    for table in metadata.tables:
        found = {(row[0], row[2], row[3], row[4]) for row in query(file, f"PRAGMA foreign_key_list({table.name})")}
        assert len({number for number, *_ in found}) == len(table.foreign_keys)
        assert {(parent, child, column) for _, parent, child, column in found} == {
            (key.parent, child, column)
            for key in table.foreign_keys
            for child, column in zip(key.columns, key.parent_columns, strict=True)
        }
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as tester:
        tester.execute("PRAGMA foreign_keys = ON")
        for broken, what in {
            "INSERT INTO order_lines VALUES (1, 1, 1, 1, 1)": "UNIQUE",
            "INSERT INTO order_lines VALUES (1, 99, 0, 1, 1)": "CHECK",
            "INSERT INTO order_lines VALUES (1, 99, 1, 1, 1), (99999, 1, 1, 1, 1)": "FOREIGN KEY",
            "UPDATE employees SET manager_id = 99999": "FOREIGN KEY",
            "UPDATE customers SET email = 'same'": "UNIQUE",
            "UPDATE orders SET paid = NULL": "NOT NULL",
        }.items():
            with pytest.raises(sqlite3.IntegrityError, match=what):
                tester.execute(broken)
        tester.execute("INSERT INTO tags(label) VALUES ('new')")
        assert tester.execute("SELECT max(tag_id) FROM tags").fetchone() == (5,), "integer keys count by themselves"


def test_values_read_back_as_published(file, target, tmp_path):
    metadata, tables = small_warehouse(tmp_path / "copy")
    target.publish(metadata, tables, copy_id="copy", keep=1, progress=unheard)
    rows = small_warehouse_rows()
    assert [Decimal(str(price)) for (price,) in query(file, "SELECT price FROM order_lines")] == [
        row[3] for row in rows["order_lines"]
    ]
    with contextlib.closing(sqlite3.connect(file, detect_types=sqlite3.PARSE_DECLTYPES)) as connection:
        with (
            pytest.warns(DeprecationWarning, match="default date")
            if sys.version_info >= (3, 12)
            else contextlib.nullcontext()
        ):
            assert connection.execute("SELECT born FROM customers").fetchall() == [
                (row[4],) for row in rows["customers"]
            ]
        assert [bool(paid) for (paid,) in connection.execute("SELECT paid FROM orders")] == [
            row[4] for row in rows["orders"]
        ]
    assert [dt.datetime.fromisoformat(text) for (text,) in query(file, "SELECT ordered_at FROM orders")] == [
        row[3] for row in rows["orders"]
    ]


def test_every_type_has_a_spelling(file, target, tmp_path):
    moment = dt.datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=dt.UTC)
    cases = {
        "BOOLEAN": (True, 1),
        "TINYINT": (-128, -128),
        "UBIGINT": (2**64 - 1, str(2**64 - 1)),
        "DECIMAL(38,10)": (Decimal("1234567890123456789.0123456789"), "1234567890123456789.0123456789"),
        "DECIMAL(18,0)": (Decimal(10**17 + 1), 10**17 + 1),
        "DECIMAL(15,2)": (Decimal("1234567890123.45"), 1234567890123.45),
        "DOUBLE": (float("-inf"), float("-inf")),
        "FLOAT": (float("nan"), None),
        "VARCHAR": ("007\n'\" 表", "007\n'\" 表"),
        "BLOB": (b"\x00\xff", b"\x00\xff"),
        "DATE": (dt.date(1, 2, 3), "0001-02-03"),
        "TIME": (dt.time(23, 59, 59, 5), "23:59:59.000005"),
        "TIMESTAMP": (moment.replace(tzinfo=None), "2024-02-29 12:00:00.000001"),
        "TIMESTAMP WITH TIME ZONE": (moment, "2024-02-29 12:00:00.000001+00:00"),
        "UUID": (str(uuid.UUID(int=7)), str(uuid.UUID(int=7))),
        "VARCHAR[]": (["a", None, 'q"'], json.dumps(["a", None, 'q"'], separators=(",", ":"))),
        "STRUCT(x INTEGER, y VARCHAR[])": ({"x": 1, "y": ["b"]}, '{"x":1,"y":["b"]}'),
    }
    table = Table(name="t", path=("t",), columns=tuple(Column(name=kind, type=kind) for kind in cases))
    rows = [tuple(value for value, _ in cases.values()), (None,) * len(cases)]
    publish(target, tmp_path, Metadata(tables=(table,)), {"t": rows})
    found = query(file, "SELECT * FROM t")
    assert dict(zip(cases, found[0], strict=True)) == {kind: stored for kind, (_, stored) in cases.items()}
    assert set(found[1]) == {None}


def test_nan_in_a_required_column_is_refused(file, target, tmp_path):
    table = Table(name="t", path=("t",), columns=(Column(name="x", type="DOUBLE", nullable=False),))
    with pytest.raises(PublishError, match="'t': NOT NULL") as failure:
        publish(target, tmp_path, Metadata(tables=(table,)), {"t": [(1.0,), (float("nan"),)]})
    assert "NaN" in failure.value.hint
    assert not file.exists()


def test_awkward_names(file, target, tmp_path):
    tables = tuple(
        Table(
            name=name,
            path=(name,),
            columns=tuple(Column(name=each, type="INTEGER", nullable=False) for each in AWKWARD),
            primary_key=AWKWARD[:2],
            foreign_keys=(ForeignKey(columns=AWKWARD[1::-1], parent=parent, parent_columns=AWKWARD[1::-1]),),
            checks=(Check(expression=f'"{AWKWARD[2]}" >= 0', columns=(AWKWARD[2],)),),
        )
        for name, parent in zip(AWKWARD, (*AWKWARD[1:], AWKWARD[0]), strict=True)
    )
    rows = [tuple(range(start, start + len(AWKWARD))) for start in range(3)]
    publish(target, tmp_path, Metadata(tables=tables), dict.fromkeys(AWKWARD, rows))
    for name in AWKWARD:
        quoted = name.replace('"', '""')
        assert query(file, f'SELECT * FROM "{quoted}"') == rows
        assert len(query(file, f'PRAGMA foreign_key_list("{quoted}")')) == 2


def test_names_that_sqlite_cannot_hold_are_refused(file, target, tmp_path):
    column = Column(name="a", type="INTEGER")
    for names, complaint in {("Users", "users"): "'Users' and 'users'", ("sqlite_mine",): "'sqlite_mine'"}.items():
        metadata = Metadata(tables=tuple(Table(name=name, path=(name,), columns=(column,)) for name in names))
        with pytest.raises(PublishError, match=complaint):
            publish(target, tmp_path, metadata, {name: [(1,)] for name in names})
        assert not file.exists()


def test_checks_that_mean_something_else_in_sqlite_are_not_declared(file, target, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="synth_ops")
    columns = (
        Column(name="n", type="INTEGER"),
        Column(name="day", type="DATE"),
        Column(name="word", type="VARCHAR"),
    )
    checks = (
        Check(expression="n / 2 > 0.4", columns=("n",)),
        Check(expression="day >= DATE '2020-01-01'", columns=("day",)),
        Check(expression="regexp_matches(word, '^[a-z]+$')", columns=("word",)),
        Check(expression="word IN ('a', 'b')", columns=("word",)),
    )
    table = Table(name="t", path=("t",), columns=columns, checks=checks)
    publish(target, tmp_path, Metadata(tables=(table,)), {"t": [(1, dt.date(2020, 1, 1), "a"), (None, None, None)]})
    ((schema,),) = query(file, "SELECT sql FROM sqlite_master WHERE name = 't'")
    assert schema.count("CHECK") == 2
    assert "on (day)" in caplog.text
    assert "on (word)" in caplog.text
    with contextlib.closing(sqlite3.connect(file)) as tester, pytest.raises(sqlite3.IntegrityError):
        tester.execute("INSERT INTO t(word) VALUES ('c')")


def test_cycles_are_declared_and_broken_references_may_be_kept(file, target, tmp_path):
    columns = (Column(name="id", type="INTEGER", nullable=False), Column(name="other", type="INTEGER"))
    there = ForeignKey(columns=("other",), parent="two", parent_columns=("id",))
    back = ForeignKey(columns=("other",), parent="one", parent_columns=("id",))
    loose = ForeignKey(columns=("other",), parent="one", parent_columns=("id",), orphans=Orphans.KEEP)
    metadata = Metadata(
        tables=(
            Table(name="one", path=("one",), columns=columns, primary_key=("id",), foreign_keys=(there,)),
            Table(name="two", path=("two",), columns=columns, primary_key=("id",), foreign_keys=(back,)),
            Table(name="three", path=("three",), columns=columns, foreign_keys=(loose,)),
        )
    )
    publish(target, tmp_path, metadata, {"one": [(1, 2)], "two": [(2, 1)], "three": [(1, 404)]})
    with contextlib.closing(sqlite3.connect(file)) as tester:
        tester.execute("PRAGMA foreign_keys = ON")
        tester.execute("INSERT INTO three VALUES (2, 405)")
        tester.execute("INSERT INTO one VALUES (11, 12)")
        tester.execute("INSERT INTO two VALUES (12, 11)")
        tester.commit()
        with pytest.raises(sqlite3.IntegrityError):  # one of the two keys waits for the commit, the other does not
            tester.executescript("BEGIN; INSERT INTO one VALUES (21, 404); INSERT INTO two VALUES (22, 404); COMMIT")


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "PERSIST"])
def test_a_killed_testers_rows_stay_in_the_old_generation(file, target, tmp_path, mode):
    publish_marked(target, tmp_path, 1)
    code = f"""
connection.execute('PRAGMA journal_mode = {mode}')
connection.execute('INSERT INTO second VALUES (1, 42)')
connection.execute('PRAGMA cache_size = 1')
connection.execute('BEGIN')
connection.execute('UPDATE second SET publication = 13')
connection.execute('UPDATE first SET publication = 13')
os.kill(os.getpid(), signal.SIGKILL)
"""
    with in_another_process(code, file) as tester:
        tester.wait()
    assert tester.returncode == -signal.SIGKILL
    publish_marked(target, tmp_path, 2)
    assert side_files(file) == []
    assert query(file, "SELECT DISTINCT publication FROM second") == [(2,)]
    target.rollback()
    assert query(file, "SELECT DISTINCT publication FROM second ORDER BY 1") == [(1,), (42,)]
    assert query(file, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("busy", ["BEGIN IMMEDIATE", "PRAGMA journal_mode = WAL"])
def test_a_writer_puts_it_off(file, target, tmp_path, busy, monkeypatch):
    monkeypatch.setattr("synth_ops.targets.sqlite._WAIT_S", 0.1)
    publish_marked(target, tmp_path, 1)
    code = f"connection.execute('{busy}'); connection.execute('UPDATE second SET publication = 7')\n"
    code += "print('open', flush=True); sys.stdin.readline()"
    with in_another_process(code, file, stdin=subprocess.PIPE) as tester:
        assert tester.stdout.readline() == "open\n"
        with pytest.raises(TargetUnavailableError, match="another program"):
            publish_marked(target, tmp_path, 2)
        tester.communicate("close\n")
    assert publish_marked(target, tmp_path, 2).number == 2


def test_a_reader_in_the_middle_of_a_look_keeps_the_old_and_may_not_write(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT DISTINCT publication FROM first").fetchall() == [(1,)]
        publish_marked(target, tmp_path, 2)
        assert reader.execute("SELECT DISTINCT publication FROM second").fetchall() == [(1,)]
        reader.execute("COMMIT")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("UPDATE second SET publication = 7")
    assert side_files(file) == []
    assert query(file, "SELECT DISTINCT publication FROM second") == [(2,)]


def test_a_side_file_without_its_database_is_not_given_to_another(file, target, tmp_path):
    file.with_name("live.db-wal").write_bytes(b"somebody's rows")
    with pytest.raises(TargetUnavailableError, match=r"live\.db-wal"):
        publish_marked(target, tmp_path, 1)
    assert not file.exists()


@pytest.mark.parametrize("content", ["nothing", "an empty database"])
def test_what_is_empty_may_be_replaced(file, target, tmp_path, content):
    file.touch()
    if content == "an empty database":
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 1")
    assert target.generations() == []
    assert publish_marked(target, tmp_path, 1).number == 1


@pytest.mark.parametrize("what", ["text", "folder", "view", "forged"])
def test_what_is_not_ours_is_refused(file, target, tmp_path, what):
    if what == "text":
        file.write_text("not a database, but somebody's " * 50)
    elif what == "folder":
        file.mkdir()
    else:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("CREATE VIEW v AS SELECT 1")
            if what == "forged":
                connection.execute("CREATE TABLE synth_ops_publication(number, copy, published_at, previous, tables)")
    with pytest.raises(PublishRefusedError, match="not published by synth_ops"):
        publish_marked(target, tmp_path, 1)
    assert file.exists()
