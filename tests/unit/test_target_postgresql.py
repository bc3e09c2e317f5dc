"""The words of a PostgreSQL target: types, values, names, and what may be told of errors."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
from decimal import Decimal

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from synth_ops import sql
from synth_ops.metadata import Column, Table
from synth_ops.targets.postgresql.connection import explanation
from synth_ops.targets.postgresql.definitions import place_sql, relocate
from synth_ops.targets.postgresql.loading import load
from synth_ops.targets.postgresql.types import declared
from synth_ops.testing.warehouses import write_table

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
ROWS = st.tuples(
    TEXT | st.none(),
    st.lists(TEXT | st.none(), max_size=3) | st.none(),
    st.lists(st.lists(st.integers(-5, 5) | st.none(), min_size=2, max_size=2), min_size=1, max_size=2) | st.none(),
    st.binary(max_size=4) | st.none(),
    st.floats() | st.none(),
    st.decimals(-(10**8), 10**8, places=3).map(lambda number: number + 0) | st.none(),
    st.dates() | st.none(),
    st.datetimes().map(lambda at: at.replace(fold=0)) | st.none(),
    st.times().map(lambda at: at.replace(fold=0)) | st.none(),
    st.booleans() | st.none(),
    st.integers(-(2**63), 2**63 - 1) | st.none(),
)
KINDS = (
    "VARCHAR", "VARCHAR[]", "INTEGER[][]", "BLOB", "DOUBLE", "DECIMAL(12,3)", "DATE", "TIMESTAMP", "TIME", "BOOLEAN",
    "BIGINT",
)  # fmt: skip
EDGES = (
    "NULL",
    ['"', "\\", "{}", "NULL", "", " a ", ","],
    [[1, None]],
    b"\\x",
    math.inf,
    Decimal("-0.001"),
    dt.date(1, 1, 1),
    dt.datetime.fromisoformat("9999-12-31T23:59:59.999999"),
    dt.time.max,
    True,
    -(2**63),
)
TABLE = Table(
    name="values",
    path=("values",),
    columns=tuple(Column(name=f"c{place}", type=kind) for place, kind in enumerate(KINDS)),
)


@given(schema=NAMES, name=NAMES, home=NAMES, other=NAMES)
@example(schema='a"', name='".b', home="c", other="'x")
def test_a_moved_table_is_found_in_every_definition(schema, name, home, other):
    definition = f"CREATE INDEX i ON {place_sql((schema, name))} USING gin ((a || {sql.literal(other)}))"
    moved = relocate(definition, {(schema, name): home})
    assert moved == definition.replace(f"ON {place_sql((schema, name))}", f"ON {place_sql((home, name))}")
    if other != schema:
        assert relocate(definition, {(other, name): home}) == definition


@given(rows=st.lists(ROWS, min_size=1, max_size=8))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(rows=[EDGES])
def test_values_are_the_same_in_the_server(postgres_server, tmp_path_factory, rows):
    data = write_table(tmp_path_factory.mktemp("values"), TABLE, rows)
    columns = ", ".join(f"{column.name} {declared(column.type)}" for column in TABLE.columns)
    with psycopg.connect(postgres_server.url()) as connection, sql.connect() as reader:
        connection.execute(f"CREATE TEMP TABLE {sql.quote(TABLE.name)} ({columns})")
        load(connection, reader, ("pg_temp", TABLE.name), TABLE, TABLE.columns, data, {})
        found = connection.execute(f"SELECT * FROM {sql.quote(TABLE.name)}").fetchall()
    assert list(map(repr, found)) == list(map(repr, rows))


def test_what_is_told_of_errors_holds_no_value(postgres_server):
    statements = (
        "SELECT 'c4nary'::integer",
        "SELECT 1 / 0, 'c4nary'",
        "CREATE TEMP TABLE t (a text PRIMARY KEY); INSERT INTO t VALUES ('c4nary'), ('c4nary')",
        "CREATE TEMP TABLE u (a text CHECK (a = 'x')); INSERT INTO u VALUES ('c4nary')",
        "SELECT c4nary",
    )
    for statement in statements:
        with psycopg.connect(postgres_server.url()) as connection, pytest.raises(psycopg.Error) as raised:
            connection.execute(statement)
        told = explanation(raised.value, "postgresql://h/shop", "table 'x'")
        assert "c4nary" not in f"{told}{told.__cause__}"
        assert told.hint


@pytest.mark.parametrize(
    ("rows", "where"),
    [
        ("1,c4nary\n", "its column 'a'"),
        ("1,2024-02-29\nx, line 5\\, column c4nary: y\n", "its columns"),
        (", line 5, column c4nary: y,1,1\n", "its columns"),
    ],
    ids=["a value", "no row", "a row that looks like a place"],
)
def test_a_refused_copy_names_its_column_and_no_value(postgres_server, rows, where):
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(psycopg.connect(postgres_server.url()))
        connection.execute("CREATE TEMP TABLE t (n integer, a date)")
        raised = stack.enter_context(pytest.raises(psycopg.Error))
        stack.enter_context(connection.cursor().copy("COPY t FROM STDIN (FORMAT csv)")).write(rows)
    told = explanation(raised.value, "postgresql://h/shop", "table 't'")
    assert "c4nary" not in f"{told}{told.__cause__}"
    assert where in str(told)
