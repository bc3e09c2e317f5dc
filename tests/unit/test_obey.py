"""A copy keeps the rules that were found in its source."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from synth_ops.artifact_io import read_copy
from synth_ops.generators.relational_trees.drawing.obey import in_turn
from synth_ops.metadata import Column, Relation, Rule, Table
from synth_ops.recipe import parse_recipe
from synth_ops.rules import describe, violations_sql
from synth_ops.run import open_store, run_step
from synth_ops.sql import connect, register

CUSTOMERS, ORDERS = 300, 1_500


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """A copy of a shop whose data obeys rules of every sort, at two sizes, with the rules found."""
    folder = tmp_path_factory.mktemp("shop")
    _make_shop(folder / "shop.duckdb")
    return {scale: _copy(folder, scale) for scale in (1.0, 2.5)}


def _copy(folder, scale):
    recipe = parse_recipe(
        {
            "source": f"duckdb:///{folder / 'shop.duckdb'}",
            "target": f"duckdb:///{folder / 'target.duckdb'}",
            "scale": scale,
            "tables": {"customer": {"subject": True}},
        }
    )
    store, ref = open_store(recipe, folder / "store"), None
    for step in ("snapshot", "fit", "sample"):
        ref = run_step(recipe, step, store=store, needs=ref).ref
    return read_copy(store, ref)


def _make_shop(file):
    import duckdb

    generator = np.random.default_rng(3)
    since = np.datetime64("2022-01-01", "us") + generator.integers(0, 3 * 10**13, CUSTOMERS)
    country = np.array([f"country {number}" for number in generator.integers(0, 8, CUSTOMERS)])
    owner = generator.integers(0, CUSTOMERS, ORDERS)
    placed = since[owner] + generator.integers(0, 2 * 10**13, ORDERS)
    hours = generator.integers(1, 200, ORDERS)
    sent = np.where(generator.random(ORDERS) < 0.8, placed + hours * np.timedelta64(1, "h"), np.datetime64("NaT"))
    order_of = np.repeat(np.arange(ORDERS), generator.integers(0, 5, ORDERS))
    quantity, price = generator.integers(1, 9, len(order_of)), generator.integers(100, 5000, len(order_of)) / 100
    net = np.round(np.bincount(order_of, quantity * price, minlength=ORDERS), 2)
    tax = np.round(net * generator.choice([0.07, 0.19], ORDERS), 2)
    tables = {
        "customer": pa.table(
            {
                "id": np.arange(CUSTOMERS),
                "country": country,
                "since": since,
                "spent": np.round(np.bincount(owner, net, minlength=CUSTOMERS), 2),
            }
        ),
        "orders": pa.table(
            {
                "id": np.arange(ORDERS),
                "customer_id": owner,
                "country": country[owner],
                "placed": placed,
                "sent": sent,
                "year": placed.astype("datetime64[Y]").astype(int) + 1970,
                "net": net,
                "tax": tax,
                "gross": np.round(net + tax, 2),
                "lines": np.bincount(order_of, minlength=ORDERS),
            }
        ),
        "line": pa.table(
            {
                "id": np.arange(len(order_of)),
                "order_id": order_of,
                "customer_id": owner[order_of],
                "quantity": quantity,
                "packed": quantity - generator.integers(0, 3, len(order_of)).clip(max=quantity),
                "price": price,
            }
        ),
    }
    keys = {
        "customer": "PRIMARY KEY (id)",
        "orders": "PRIMARY KEY (id), FOREIGN KEY (customer_id) REFERENCES customer (id)",
        "line": "PRIMARY KEY (id), FOREIGN KEY (order_id) REFERENCES orders (id), "
        "FOREIGN KEY (customer_id) REFERENCES customer (id)",
    }
    with duckdb.connect(str(file)) as connection:
        for name, rows in tables.items():
            connection.register("rows", rows)
            columns = ", ".join(f'"{column}" {kind}' for column, kind, *_ in connection.sql("DESCRIBE rows").fetchall())
            connection.execute(f"CREATE TABLE {name} ({columns}, {keys[name]})")
            connection.execute(f"INSERT INTO {name} SELECT * FROM rows")
            connection.unregister("rows")


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_every_rule_holds_in_the_copy(copies, scale):
    copy = copies[scale]
    found = {describe(rule) for table in copy.metadata.tables for rule in table.rules}
    assert found >= {
        "spent = sum(net) over its orders",
        "country = country of its (customer_id)",
        "placed >= since of its (customer_id)",
        "sent >= placed",
        "year = year of placed",
        "net = sum(quantity * price) over its line",
        "gross = net + tax",
        "lines = count over its line",
        "customer_id = customer_id of its (order_id)",
        "quantity >= packed",
    }
    with connect() as connection:
        register(connection, copy.tables, "copy")
        broken = {
            describe(rule): connection.sql(f"SELECT count(*) FROM ({query})").fetchall()[0][0]
            for table in copy.metadata.tables
            for rule in table.rules
            for query in [violations_sql(table, rule, schema="copy")]
        }
    assert {rule: rows for rule, rows in broken.items() if rows} == {}


def test_distances_are_kept(copies):
    """An end is counted from its start: in the copy it comes as long after as in the source, no longer."""
    with connect() as connection:
        register(connection, copies[1.0].tables, "copy")
        query = "SELECT quantile_cont(date_diff('hour', placed, sent), [0, 0.5, 0.99]) FROM copy.orders"
        least, middle, most = connection.sql(query).fetchall()[0][0]
    assert 0 <= least <= most <= 200
    assert 75 < middle < 125


def test_columns_that_are_empty_stay_empty(copies):
    with connect() as connection:
        register(connection, copies[1.0].tables, "copy")
        share = connection.sql("SELECT avg((sent IS NULL)::INT) FROM copy.orders").fetchall()[0][0]
    assert 0.1 < share < 0.3


def test_what_sums_are_made_of_is_summed_first():
    def rule(column, *inputs):
        return Rule(relation=Relation.EQUALS, column=column, expression=" + ".join(inputs), inputs=inputs)

    rules = (rule("total", "gross", "tip"), rule("gross", "net", "tax"), rule("net", "goods", "freight"))
    circle = (rule("a", "b"), rule("b", "a"))
    columns = tuple(Column(name=name, type="DOUBLE") for name in ("total", "gross", "net", "a", "b"))
    table = Table(name="sale", path=("sale",), columns=columns, rules=(*rules, *circle))
    assert [each.column for each in in_turn(table)] == ["net", "gross", "total", "a", "b"]
