"""What ordinary tables have in common: soft deletes, extracts in which one column tells another."""

from __future__ import annotations

import contextlib

import duckdb
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step
from synth_ops.sql import connect, register


@pytest.fixture
def copied(tmp_path):
    """A connection to what is made of some statements: the source's tables in `source`, its copy's in `copy`."""

    def connected(*statements):
        with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
            connection.execute("SET threads = 1; SELECT setseed(0.3)")
            for statement in statements:
                connection.execute(statement)
        recipe = parse_recipe(
            {
                "source": f"duckdb:///{tmp_path / 'source.duckdb'}",
                "target": f"duckdb:///{tmp_path / 'target.duckdb'}",
            }
        )
        store, ref = open_store(recipe, tmp_path / "store"), None
        for step in ("snapshot", "fit", "sample"):
            ref = run_step(recipe, step, store=store, needs=ref).ref
        connection = connections.enter_context(connect())
        register(connection, read_copy(store, ref).tables, "copy")
        connection.execute(f"ATTACH '{tmp_path / 'source.duckdb'}' AS source (READ_ONLY)")
        return connection

    with contextlib.ExitStack() as connections:
        yield connected


def numbers(connection, query):
    """The one row of a query."""
    return connection.execute(query).fetchall()[0]


def test_a_flag_that_a_counted_time_tells_comes_after_the_time_and_its_base(copied):
    connection = copied(
        """CREATE TABLE document AS SELECT id, deleted_at IS NOT NULL AS is_deleted, deleted_at, created_at FROM (
            SELECT i AS id, created_at, CASE WHEN random() < 0.2 THEN created_at + to_hours((random() * 900)::INT) END
            AS deleted_at FROM (
                SELECT i, TIMESTAMP '2020-01-01' + to_minutes((random() * 900000)::INT) AS created_at
                FROM range(1500) t(i)
        ))"""
    )
    deleted, apart, before = numbers(
        connection,
        """SELECT count(deleted_at), count(*) FILTER (WHERE is_deleted <> (deleted_at IS NOT NULL)),
            count(*) FILTER (WHERE deleted_at < created_at) FROM copy.document""",
    )
    assert 200 < deleted < 400
    assert (apart, before) == (0, 0)


def test_what_stands_for_a_rare_value_goes_with_the_rest_of_its_row(copied):
    # a third of all rows have an article that fewer than five have; the first letter says the group
    connection = copied(
        """CREATE TABLE line AS SELECT chr(65 + article % 8) || '-' || article AS article,
            'group ' || article % 8 AS "group", 1 + (random() * 9)::INT AS quantity FROM (
                SELECT CASE WHEN random() < 0.7 THEN (random() * 160)::INT ELSE 1000 + (random() * 900)::INT END
                AS article FROM range(10000))"""
    )
    articles, rare, wrong = numbers(
        connection,
        """SELECT count(DISTINCT article), count(*) FILTER (WHERE length(article) > 5),
            count(*) FILTER (WHERE ascii(article) - 65 <> right("group", 1)::INT) FROM copy.line""",
    )
    assert 100 < articles < 300
    assert rare < 1500
    assert wrong == 0


def test_a_rare_place_becomes_one_of_its_country(copied):
    connection = copied(
        """CREATE TABLE depot AS SELECT 'land ' || land AS land, CASE WHEN random() < 0.6
            THEN 'main ' || land || (random() * 2)::INT ELSE 'little ' || land || (random() * 50)::INT END AS place
            FROM (SELECT (random() * 19)::INT AS land FROM range(8000))"""
    )
    places, wrong = numbers(
        connection,
        """SELECT count(DISTINCT place), count(*) FILTER (WHERE NOT EXISTS (
            SELECT 1 FROM source.depot s WHERE s.land = c.land AND s.place = c.place)) FROM copy.depot c""",
    )
    assert 30 < places < 300
    assert wrong < 400


def test_lines_orders_and_their_tax_add_up(copied):
    connection = copied(
        "CREATE TABLE purchase (id INTEGER PRIMARY KEY, net DECIMAL(12,2), tax DECIMAL(12,2), gross DECIMAL(12,2))",
        """CREATE TABLE position (purchase INTEGER REFERENCES purchase(id), quantity INTEGER, price DECIMAL(8,2),
            discount INTEGER, total DECIMAL(12,2))""",
        """CREATE TABLE drawn AS SELECT id, quantity, price, discount,
            round(quantity * price * (1 - coalesce(discount, 0) / 100), 2)::DECIMAL(12,2) AS total FROM (
                SELECT (random() * 699)::INT AS id, 1 + (random() * 8)::INT AS quantity,
                    (1 + random() * 200)::DECIMAL(8,2) AS price,
                    [NULL, 0, 0, 5, 10, 25][1 + (random() * 5)::INT] AS discount
                FROM range(2000))""",
        """INSERT INTO purchase SELECT id, net, tax, net + tax FROM (SELECT *, round(net * 0.19, 2) AS tax
            FROM (SELECT id, sum(total)::DECIMAL(12,2) AS net FROM drawn GROUP BY id))""",
        "INSERT INTO position FROM drawn",
        "DROP TABLE drawn",
    )
    lines, orders = (
        numbers(connection, f"SELECT count(*) FILTER (WHERE {wrong}) FROM copy.{table}")[0]
        for table, wrong in {
            "position": "abs(total - quantity * price * (1 - coalesce(discount, 0) / 100.0)) > 0.0051",
            "purchase": "abs(tax - 0.19 * net) > 0.0051 OR gross <> net + tax",
        }.items()
    )
    query = """SELECT count(*) FROM copy.purchase p WHERE net <> (
        SELECT sum(total) FROM copy.position WHERE purchase = p.id)"""
    assert (lines, orders, *numbers(connection, query)) == (0, 0, 0)
