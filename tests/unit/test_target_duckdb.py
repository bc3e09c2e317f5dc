from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import subprocess
import sys
import uuid
from decimal import Decimal

import duckdb
import pytest

from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Orphans, Table
from synth_ops.targets.duckdb import DuckDBTarget
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import small_warehouse, write_table

AWKWARD = ("select", 'with "quotes"', "with space", "UPPER", "tåble ünï 表", "with.dot", "a/b", "it's", "%41")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "live.duckdb"


@pytest.fixture
def target(file):
    return DuckDBTarget(parse_location(str(file), file.parent))


def publish(target, folder, metadata, rows, copy_id="copy"):
    tables = {table.name: write_table(folder / copy_id, table, rows[table.name]) for table in metadata.tables}
    return target.publish(metadata, tables, copy_id=copy_id, keep=2, progress=unheard)


def publish_marked(target, folder, number):
    return target.publish(MARKED, marked(folder, number), copy_id=str(number), keep=3, progress=unheard)


def query(file, sql):
    with duckdb.connect(file, read_only=True) as connection:
        return connection.execute(sql).fetchall()


def in_another_process(code, file, **options):
    code = f"import duckdb, os, signal, sys\nconnection = duckdb.connect(sys.argv[1])\n{code}"
    return subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True, **options)


def test_declares_the_constraints(file, target, tmp_path):
    metadata, tables = small_warehouse(tmp_path / "copy")
    target.publish(metadata, tables, copy_id="copy", keep=1, progress=unheard)
    found = query(file, "SELECT table_name, constraint_type, constraint_column_names FROM duckdb_constraints()")
    declared = {(table, kind, tuple(columns)) for table, kind, columns in found}
    for table in metadata.tables:
        assert (table.name, "PRIMARY KEY", table.primary_key) in declared
        for unique in table.uniques:
            assert (table.name, "UNIQUE", unique) in declared
        for check in table.checks:
            assert (table.name, "CHECK", check.columns) in declared
        for key in table.foreign_keys:
            assert ((table.name, "FOREIGN KEY", key.columns) in declared) == (key.parent != table.name)
        for column in table.columns:
            assert ((table.name, "NOT NULL", (column.name,)) in declared) == (not column.nullable)


def test_every_type_comes_through(file, target, tmp_path):
    utc = dt.UTC
    values = {
        "BOOLEAN": [True, False, None],
        "TINYINT": [-128, 127, None],
        "UBIGINT": [0, 2**64 - 1, None],
        "DECIMAL(38,10)": [Decimal("1234567890123456789.0123456789"), Decimal("-0.1"), None],
        "DOUBLE": [float("inf"), float("nan"), None],
        "VARCHAR": ["", "tab\tline\nquote'\" 表", None],
        "BLOB": [b"\x00\xff", b"", None],
        "DATE": [dt.date(1, 1, 1), dt.date(9999, 12, 31), None],
        "TIME": [dt.time(23, 59, 59, 999999), dt.time(), None],
        "TIMESTAMP": [dt.datetime.fromisoformat(text) for text in ("2024-02-29 12:00:00.000001", "1900-01-01")]
        + [None],
        "TIMESTAMP WITH TIME ZONE": [dt.datetime(2024, 2, 29, tzinfo=utc), dt.datetime(1970, 1, 1, tzinfo=utc), None],
        "UUID": [str(uuid.UUID(int=7)), str(uuid.UUID(int=2**128 - 1)), None],
        "VARCHAR[]": [["a", None], [], None],
        "STRUCT(x INTEGER, y VARCHAR[])": [{"x": 1, "y": ["b"]}, {"x": None, "y": None}, None],
    }
    table = Table(name="t", path=("t",), columns=tuple(Column(name=f"c {kind}", type=kind) for kind in values))
    with duckdb.connect() as source:
        columns = ", ".join(
            f"unnest([{', '.join('?' * 3)}]::{kind}[]) AS {duckdb.ColumnExpression(f'c {kind}')}" for kind in values
        )
        part = tmp_path / "part.parquet"
        source.execute("SET TimeZone = 'UTC'")
        arguments = [value for triple in values.values() for value in triple]
        source.execute(f"CREATE TABLE t AS SELECT {columns}", arguments)
        source.execute(f"COPY t TO '{part}'")
    data = TableData(rows=3, files=(part,))
    target.publish(Metadata(tables=(table,)), {"t": data}, copy_id="copy", keep=1, progress=unheard)
    assert [row[1] for row in query(file, "DESCRIBE t")] == [
        "STRUCT(x INTEGER, y VARCHAR[])" if kind.startswith("STRUCT") else kind for kind in values
    ]
    assert str(query(file, "FROM t")) == str(query(file, f"FROM '{part}'"))


def test_awkward_names(file, target, tmp_path):
    metadata = Metadata(
        tables=tuple(
            Table(
                name=name,
                path=(name,),
                columns=tuple(Column(name=each, type="INTEGER") for each in AWKWARD),
                primary_key=AWKWARD[:2],
            )
            for name in AWKWARD
        )
    )
    rows = [tuple(range(start, start + len(AWKWARD))) for start in range(3)]
    publish(target, tmp_path, metadata, dict.fromkeys(AWKWARD, rows))
    for name in AWKWARD:
        assert query(file, f"FROM {duckdb.ColumnExpression(name)}") == rows


def test_schemas_are_kept(file, target, tmp_path):
    people = Table(
        name="crm.people", path=("crm", "people"), columns=(Column(name="id", type="INTEGER"),), primary_key=("id",)
    )
    key = ForeignKey(columns=("id",), parent="crm.people", parent_columns=("id",))
    calls = Table(name="calls", path=("main", "calls"), columns=people.columns, foreign_keys=(key,))
    publish(target, tmp_path, Metadata(tables=(calls, people)), {"crm.people": [(1,)], "calls": [(1,)]})
    assert query(file, "SELECT id FROM crm.people UNION ALL SELECT id FROM main.calls") == [(1,), (1,)]


def test_names_that_differ_in_case_only_are_refused(file, target, tmp_path):
    column = Column(name="a", type="INTEGER")
    metadata = Metadata(
        tables=(
            Table(name="Users", path=("Users",), columns=(column,)),
            Table(name="users", path=("users",), columns=(column, Column(name="A", type="INTEGER"))),
        )
    )
    with pytest.raises(PublishError, match=r"'main.Users' and 'main.users'.*'a' and 'A'"):
        publish(target, tmp_path, metadata, {"Users": [(1,)], "users": [(1, 2)]})
    assert not file.exists()


def test_what_duckdb_cannot_declare_is_left_undeclared(file, target, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="synth_ops")
    columns = (
        Column(name="id", type="INTEGER", nullable=False),
        Column(name="other", type="INTEGER"),
        Column(name="wide", type="BIGINT"),
        Column(name="span", type="VARCHAR[]"),
    )
    one = Table(
        name="one",
        path=("one",),
        columns=columns,
        primary_key=("id",),
        uniques=(("span",),),
        foreign_keys=(
            ForeignKey(columns=("other",), parent="two", parent_columns=("id",)),
            ForeignKey(columns=("wide",), parent="two", parent_columns=("id",), orphans=Orphans.KEEP),
        ),
        checks=(Check(expression="no_such_function(id) > 0", columns=("id",)),),
    )
    back = ForeignKey(columns=("other",), parent="one", parent_columns=("id",))
    two = Table(name="two", path=("two",), columns=columns, primary_key=("id",), foreign_keys=(back,))
    rows = {"one": [(1, 2, 77, None)], "two": [(2, 1, None, None)]}
    publish(target, tmp_path, Metadata(tables=(one, two)), rows)
    found = query(file, "SELECT table_name FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY'")
    assert len(found) == 1, "one of the two keys in the cycle"
    assert "UNIQUE (span)" in caplog.text
    assert "CHECK 1 on (id)" in caplog.text


def test_rows_stand_in_the_order_of_the_copy(file, target, tmp_path):
    key = Column(name="key", type="INTEGER", nullable=False)
    table = Table(name="t", path=("t",), columns=(key,), primary_key=("key",))
    keys = [(number * 7919 % 300_007,) for number in range(300_007)]
    data = write_table(tmp_path, table, keys, rows_per_file=100_000)
    target.publish(Metadata(tables=(table,)), {"t": data}, copy_id="copy", keep=1, progress=unheard)
    assert query(file, "FROM t") == keys


def test_a_killed_testers_rows_stay_in_the_old_generation(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    code = "connection.execute('INSERT INTO second VALUES (1, 42)'); os.kill(os.getpid(), signal.SIGKILL)"
    with in_another_process(code, file) as tester:
        tester.wait()
    assert tester.returncode == -signal.SIGKILL
    assert file.with_name("live.duckdb.wal").exists()
    publish_marked(target, tmp_path, 2)
    assert not file.with_name("live.duckdb.wal").exists()
    assert query(file, "SELECT DISTINCT publication FROM second") == [(2,)]
    target.rollback()
    assert query(file, "SELECT DISTINCT publication FROM second ORDER BY ALL") == [(1,), (42,)]


def test_an_open_writer_puts_it_off_an_open_reader_does_not(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    wait = "print('open', flush=True); sys.stdin.readline()"
    with in_another_process(wait, file, stdin=subprocess.PIPE) as tester:
        assert tester.stdout.readline() == "open\n"
        with pytest.raises(TargetUnavailableError, match="another program"):
            publish_marked(target, tmp_path, 2)
        tester.communicate("close\n")
    with duckdb.connect(file, read_only=True) as reader:
        for number in (2, 3):
            assert publish_marked(target, tmp_path, number).number == number
            assert [each.number for each in target.generations()][-1] == number
        assert reader.execute("SELECT DISTINCT publication FROM second").fetchall() == [(1,)]
    assert query(file, "SELECT DISTINCT publication FROM second") == [(3,)]


def test_writers_wait_for_the_end_of_the_swap(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    outcomes = []

    def try_to_write(progress):
        if progress.item == "live generation remembered":
            with in_another_process("print('opened')", file, stderr=subprocess.DEVNULL) as tester:
                outcomes.append(tester.communicate()[0])

    tables = marked(tmp_path, 2)
    target.publish(MARKED, tables, copy_id="2", keep=2, progress=try_to_write)
    assert outcomes == [""]
    with in_another_process("print('opened')", file) as tester:
        assert tester.communicate()[0] == "opened\n"


def test_a_write_ahead_log_without_its_database_is_not_given_to_another(file, target, tmp_path):
    file.with_name("live.duckdb.wal").write_bytes(b"somebody's rows")
    with pytest.raises(PublishRefusedError, match=r"live\.duckdb\.wal"):
        publish_marked(target, tmp_path, 1)
    assert not file.exists()


@pytest.mark.parametrize("content", ["nothing", "an empty database"])
def test_what_is_empty_may_be_replaced(file, target, tmp_path, content):
    if content == "nothing":
        file.touch()
    else:
        duckdb.connect(file).close()
    assert target.generations() == []
    assert publish_marked(target, tmp_path, 1).number == 1


@pytest.mark.parametrize("what", ["text", "folder", "view", "forged"])
def test_what_is_not_ours_is_refused(file, target, tmp_path, what):
    if what == "text":
        file.write_text("not a database, but somebody's")
    elif what == "folder":
        file.mkdir()
    else:
        with duckdb.connect(file) as connection:
            connection.execute("CREATE SCHEMA synth_ops")
            connection.execute(
                "CREATE VIEW v AS SELECT 1" if what == "view" else "CREATE TABLE synth_ops.publication(a INT)"
            )
    with pytest.raises(PublishRefusedError, match="not published by synth_ops"):
        publish_marked(target, tmp_path, 1)
    assert file.exists()


def test_a_database_that_testers_changed_is_still_ours(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    with duckdb.connect(file) as tester:
        tester.execute("DROP TABLE second")
        tester.execute("CREATE TABLE mine AS SELECT 1 AS a")
    assert publish_marked(target, tmp_path, 2).number == 2
    target.rollback()
    assert query(file, "FROM mine") == [(1,)]


def test_publishes_where_a_link_leads_and_keeps_the_files_mode(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "live.duckdb"
    link.symlink_to("disk/real.duckdb")
    target = DuckDBTarget(parse_location(str(link), tmp_path))
    publish_marked(target, tmp_path, 1)
    (tmp_path / "disk/real.duckdb").chmod(0o640)
    publish_marked(target, tmp_path, 2)
    assert link.is_symlink()
    assert (tmp_path / "disk/real.duckdb").stat().st_mode & 0o777 == 0o640
    assert query(link, "SELECT DISTINCT publication FROM second") == [(2,)]


def test_a_deleted_live_file_leaves_its_history(file, target, tmp_path):
    for number in (1, 2):
        publish_marked(target, tmp_path, number)
    file.unlink()
    assert [(each.number, each.live) for each in target.generations()] == [(1, False)]
    with pytest.raises(PublishRefusedError, match="holds no generation"):
        target.rollback()
    assert publish_marked(target, tmp_path, 3).number == 2


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    target = DuckDBTarget(parse_location("duckdb:///file/live.duckdb", tmp_path))
    with pytest.raises(TargetUnavailableError, match="Not a directory") as failure:
        publish_marked(target, tmp_path, 1)
    assert failure.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run the tests as another user")
def test_a_folder_without_write_permission(file, target, tmp_path):
    publish_marked(target, tmp_path, 1)
    copies = marked(tmp_path, 2)
    tmp_path.chmod(0o500)
    (tmp_path / ".live.duckdb.generations").chmod(0o500)
    try:
        with pytest.raises(TargetUnavailableError, match="Permission denied"):
            target.publish(MARKED, copies, copy_id="2", keep=3, progress=unheard)
        assert [each.copy for each in target.generations()] == ["1"]
    finally:
        tmp_path.chmod(0o700)
        (tmp_path / ".live.duckdb.generations").chmod(0o700)
