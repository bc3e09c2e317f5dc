"""Rules that the data obeys are found with their support; what only chance explains is not."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from synth_ops.artifact_io import write_table
from synth_ops.kinds import detect
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Relation, Table
from synth_ops.recipe import ColumnRecipe
from synth_ops.rules import describe, find_rules, violations_sql
from synth_ops.sql import connect, register

ROWS = 400


@pytest.fixture
def generator():
    return np.random.default_rng(7)


def _metadata(tables, keys):
    described = []
    with connect() as connection:
        for name, table in tables.items():
            connection.register("shown", table)
            types = connection.sql("DESCRIBE SELECT * FROM shown").fetchall()
            columns = tuple(Column(name=column, type=kind) for column, kind, *_ in types)
            described.append(Table(name=name, path=(name,), columns=columns, rows=table.num_rows, **keys.get(name, {})))
    return Metadata(tables=tuple(described))


def _find(tmp_path, tables, keys=None, **options):
    data = {name: write_table(tmp_path, name, table.schema, table.to_batches()) for name, table in tables.items()}
    return find_rules(detect(_metadata(tables, keys or {}), data), data, **options), data


def _described(metadata, table):
    return [describe(rule) for rule in metadata.table(table).rules]


def _times(generator, rows):
    return np.datetime64("2024-01-01", "us") + generator.integers(0, 10**14, rows)


def test_arithmetic_of_a_row(tmp_path, generator):
    net, tax, units = (generator.integers(1, 500, ROWS) for _ in range(3))
    table = pa.table({"net": net, "tax": tax, "gross": net + tax, "units": units, "price": net / 4 * units})
    found, _ = _find(tmp_path, {"sale": table})
    assert "gross = net + tax" in _described(found, "sale")
    assert all(rule.rows == ROWS for rule in found.table("sale").rules)


def test_a_rounded_product(tmp_path, generator):
    amount, share = generator.integers(100, 99_999, ROWS) / 100, generator.integers(1, 99, ROWS) / 1000
    table = pa.table({"amount": amount, "share": share, "fee": np.round(amount * share, 2)})
    found, _ = _find(tmp_path, {"sale": table})
    assert "fee = amount * share" in _described(found, "sale")


def test_times_of_a_row(tmp_path, generator):
    start = _times(generator, ROWS)
    end = start + generator.integers(0, 5 * 86_400, ROWS) * np.timedelta64(1, "s").astype("timedelta64[us]")
    days = (end - start) // np.timedelta64(1, "D")
    year = start.astype("datetime64[Y]").astype(int) + 1970
    found, _ = _find(tmp_path, {"stay": pa.table({"start": start, "end": end, "days": days, "booked_in": year})})
    described = _described(found, "stay")
    assert "end >= start" in described
    assert "days = days from start to end" in described
    assert "booked_in = year of start" in described


def test_clock_numbers(tmp_path, generator):
    planned = generator.integers(0, 24 * 12, ROWS) * 5
    late = generator.integers(-20, 180, ROWS)
    actual = (planned + late) % 1440

    def clock(minutes):
        return minutes // 60 * 100 + minutes % 60

    table = pa.table({"planned": clock(planned), "late": late, "actual": clock(actual)})
    found, _ = _find(tmp_path, {"train": table})
    assert "actual = planned + late minutes, as a clock" in _described(found, "train")


@pytest.fixture
def shop(generator):
    customers = pa.table(
        {
            "id": np.arange(80),
            "country": pa.array([f"country {number % 9}" for number in range(80)]),
            "since": _times(generator, 80),
        }
    )
    owner = np.repeat(np.arange(80), 5)
    orders = {
        "id": np.arange(400),
        "customer_id": owner,
        "country": customers.column("country").take(pa.array(owner)),
        "placed": customers.column("since").to_numpy()[owner] + generator.integers(0, 10**13, 400),
    }
    order_of = np.repeat(np.arange(400), generator.integers(0, 5, 400))
    quantity, price = generator.integers(1, 9, len(order_of)), generator.integers(100, 5000, len(order_of)) / 100
    totals = np.round(np.bincount(order_of, quantity * price, minlength=400), 2)
    lines = np.bincount(order_of, minlength=400)
    table = pa.table({"id": np.arange(len(order_of)), "order_id": order_of, "quantity": quantity, "price": price})
    tables = {"customer": customers, "orders": pa.table({**orders, "total": totals, "lines": lines}), "line": table}
    keys = {
        "customer": {"primary_key": ("id",)},
        "orders": {
            "primary_key": ("id",),
            "foreign_keys": (ForeignKey(columns=("customer_id",), parent="customer", parent_columns=("id",)),),
        },
        "line": {
            "primary_key": ("id",),
            "foreign_keys": (ForeignKey(columns=("order_id",), parent="orders", parent_columns=("id",)),),
        },
    }
    return tables, keys


def test_between_tables(tmp_path, shop):
    found, _ = _find(tmp_path, *shop)
    described = _described(found, "orders")
    assert "country = country of its (customer_id)" in described
    assert "placed >= since of its (customer_id)" in described
    assert "total = sum(quantity * price) over its line" in described
    assert "lines = count over its line" in described
    empties = {rule.column: rule.empty for rule in found.table("orders").rules if rule.child}
    assert empties == {"total": 0.0, "lines": 0.0}


def test_violations_are_counted(tmp_path, shop):
    metadata, data = _find(tmp_path, *shop)
    with connect() as connection:
        register(connection, data, "source")
        for table in metadata.tables:
            for rule in table.rules:
                query = violations_sql(table, rule, schema="source")
                assert connection.sql(f"SELECT count(*) FROM ({query})").fetchall() == [(0,)]
        orders = metadata.table("orders")
        total = next(rule for rule in orders.rules if rule.column == "total")
        changed = '(SELECT * REPLACE ("total" + 1 AS "total") FROM "source"."orders")'
        query = violations_sql(orders, total, schema="source", own=changed)
        assert connection.sql(f"SELECT count(*) FROM ({query})").fetchall() == [(400,)]


def test_one_exception_is_enough(tmp_path, generator):
    net, tax = (generator.integers(1, 500, 5_000) for _ in range(2))
    gross = net + tax
    gross[3_333] += 1
    found, _ = _find(tmp_path, {"sale": pa.table({"net": net, "tax": tax, "gross": gross})})
    assert not [rule for rule in found.table("sale").rules if rule.relation is Relation.EQUALS]


def test_chance_is_no_rule(tmp_path, generator):
    numbers = {f"n{place}": generator.integers(0, 4, 30) for place in range(25)}
    times = {f"t{place}": _times(generator, 30) for place in range(6)}
    found, _ = _find(tmp_path, {"noise": pa.table({**numbers, **times})})
    assert _described(found, "noise") == []


def test_what_ranges_say_is_no_rule(tmp_path, generator):
    table = pa.table({"low": generator.integers(0, 100, ROWS), "high": generator.integers(1_000, 9_000, ROWS)})
    found, _ = _find(tmp_path, {"ranges": table})
    assert _described(found, "ranges") == []


def test_no_column_is_determined_by_itself(tmp_path, generator):
    values = generator.integers(0, 1_000, ROWS)
    found, _ = _find(tmp_path, {"same": pa.table({"a": values, "b": values, "c": values})})
    rules = {rule.column: rule.inputs for rule in found.table("same").rules}
    assert rules == {"b": ("a",), "c": ("a",)}


def test_ignored_tables_and_few_rows(tmp_path, generator):
    values = generator.integers(0, 1_000, ROWS)
    tables = {"ignored": pa.table({"a": values, "b": values}), "small": pa.table({"a": values[:9], "b": values[:9]})}
    found, _ = _find(tmp_path, tables, ignored=["ignored"])
    assert not any(table.rules for table in found.tables)


def test_nulls_obey_everything(tmp_path):
    first = [dt.date(2020, 1, 1) + dt.timedelta(days=number) for number in range(ROWS)]
    last = [None if number % 7 == 0 else day + dt.timedelta(days=9) for number, day in enumerate(first)]
    found, _ = _find(tmp_path, {"stay": pa.table({"first": first, "last": last})})
    rule = next(rule for rule in found.table("stay").rules if rule.relation is Relation.AT_LEAST)
    assert (rule.column, rule.strict, rule.rows) == ("last", False, ROWS - len(range(0, ROWS, 7)))


def test_what_is_taken_over_means_what_the_original_means(tmp_path, shop):
    tables, keys = shop
    email = pa.array([f"person{number}@example.org" for number in range(80)])
    tables["customer"] = tables["customer"].append_column("email", email)
    owner = tables["orders"].column("customer_id")
    tables["orders"] = tables["orders"].append_column("sent_to", email.take(owner))
    found, data = _find(tmp_path, tables, keys)
    assert "sent_to = email of its (customer_id)" in _described(found, "orders")
    assert found.table("orders").column("sent_to").kind is Kind.PII
    assert found.table("orders").column("sent_to").provider == "email"
    text = ColumnRecipe(kind=Kind.TEXT)
    metadata = detect(_metadata(tables, keys), data, overrides={"orders": {"sent_to": text}})
    kept = find_rules(metadata, data, decided=[("orders", "sent_to")])
    assert "sent_to = email of its (customer_id)" not in _described(kept, "orders")
    assert kept.table("orders").column("sent_to").kind is Kind.TEXT


def test_metadata_keeps_its_rules(tmp_path, shop):
    found, _ = _find(tmp_path, *shop)
    assert Metadata.from_json(found.to_json()) == found
