"""Distances: what is the same is near, what is not is far, and little data is no reproach."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.artifacts import Severity
from synth_ops.checks.distances import (
    Coded,
    binned,
    categorised,
    histogram_distance,
    kolmogorov_smirnov,
    pair,
    total_variation,
)
from synth_ops.checks.engine import judge
from synth_ops.checks.fidelity import FidelityCheck
from synth_ops.ports import Threshold
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import SMALL_WAREHOUSE


def failures(context):
    return {
        (o.evidence.check, o.evidence.subject): o.evidence.severity
        for o in judge(FidelityCheck().evaluate(context))
        if not o.passed
    }


def column_of(table, column, change):
    """A plant that changes a column's values."""
    place = SMALL_WAREHOUSE.table(table).column_names.index(column)

    def plant(rows):
        rows[table][:] = [(*row[:place], change(row[place]), *row[place + 1 :]) for row in rows[table]]

    return plant


def test_a_clean_copy_passes(tmp_path):
    assert failures(check_context(tmp_path)) == {}


@pytest.mark.parametrize("customers", [2, 5, 20])
def test_a_clean_copy_of_little_data_passes(tmp_path, customers):
    assert failures(check_context(tmp_path, customers=customers)) == {}


@pytest.mark.parametrize(
    ("column", "change", "severity"),
    [
        ("quantity", lambda value: value + 30, Severity.CRITICAL),
        ("weight_kg", lambda _: None, Severity.WARNING),
        ("price", lambda value: value + 500, Severity.CRITICAL),
    ],
)
def test_a_shifted_column_is_seen(tmp_path, column, change, severity):
    found = failures(check_context(tmp_path, column_of("order_lines", column, change)))
    assert found.pop(("fidelity.column_distance", f"order_lines.{column}")) is severity
    told = {"fidelity.c2st_auc", "fidelity.c2st_agg_auc"}
    assert {check for check, _ in found} <= {"fidelity.pair_distance", "fidelity.mean_pair_distance", *told}
    assert all(subject.startswith("order_lines") or check in told for check, subject in found)


def test_a_shifted_table_blocks(tmp_path):
    def plant(rows):
        rows["returns"][:] = [(*row[:3], "c4nary") for row in rows["returns"]]

    found = failures(check_context(tmp_path, plant))
    assert found["fidelity.mean_column_distance", "returns"] is Severity.CRITICAL


def test_columns_that_lost_their_connection_are_seen(tmp_path):
    """Each column by itself is perfect; together they are not."""
    place = {"ordered_at": 3, "paid": 4}

    def sorted_pairs(rows):
        orders = rows["orders"]
        times, paid = sorted(row[place["ordered_at"]] for row in orders), sorted(row[place["paid"]] for row in orders)
        orders[:] = [(*row[:3], t, p, row[5]) for row, t, p in zip(orders, times, paid, strict=True)]

    context = check_context(tmp_path, sorted_pairs, thresholds={"fidelity.mean_pair_distance": Threshold(block=0.05)})
    assert failures(context) == {("fidelity.mean_pair_distance", "orders"): Severity.CRITICAL}


def test_children_that_gather_at_few_parents_are_a_warning(tmp_path):
    def plant(rows):
        rows["orders"][:] = [(row[0], 1 + row[0] % 20, *row[2:]) for row in rows["orders"]]

    found = failures(check_context(tmp_path, plant))
    assert found == {
        ("fidelity.cardinality", "orders(customer_id) -> customers"): Severity.WARNING,
        ("fidelity.c2st_agg_auc", "customers"): Severity.WARNING,
    }


def test_no_rows_and_no_table_fail_closed(tmp_path):
    assert ("fidelity.mean_column_distance", "returns") in failures(
        check_context(tmp_path / "a", lambda rows: rows["returns"].clear())
    )
    assert ("fidelity.mean_column_distance", "returns") in failures(
        check_context(tmp_path / "b", lambda rows: rows.pop("returns"))
    )


def test_the_users_limit_counts(tmp_path):
    plant = column_of("order_lines", "quantity", lambda value: value + 30)
    thresholds = dict.fromkeys(FidelityCheck.thresholds, Threshold())
    assert failures(check_context(tmp_path, plant, thresholds=thresholds)) == {}


def test_the_same_copy_gets_the_same_numbers_twice(tmp_path):
    context = check_context(tmp_path)
    first, second = (
        [(e.check, e.subject, e.value, e.maximum) for e in FidelityCheck().evaluate(context)] for _ in range(2)
    )
    assert first == second


numbers = st.lists(st.one_of(st.just(math.nan), st.integers(-5, 5).map(float)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_laws_of_distances_of_numbers(one, other):
    first, second = np.array(one), np.array(other)
    assert kolmogorov_smirnov(first, first, 1).value == 0
    there, back = kolmogorov_smirnov(first, second, 1), kolmogorov_smirnov(second, first, 1)
    assert there.value == pytest.approx(back.value)
    assert 0 <= there.value <= 1
    coded = binned(first, second, 4)
    assert coded.source.max() < coded.cells - 1
    assert 0 <= total_variation(coded, 1).value <= 1


def test_disjoint_samples_are_one_apart():
    assert kolmogorov_smirnov(np.array([1.0, 2.0]), np.array([3.0]), 1).value == 1
    assert kolmogorov_smirnov(np.array([1.0]), np.array([math.nan]), 1).value == 1
    assert histogram_distance({0: 5}, {1: 2}).value == 1
    assert histogram_distance({0: 5, 1: 5}, {0: 1, 1: 1}).value == 0


def test_what_too_few_have_may_be_replaced_by_anything():
    known = pa.array(["a", "b"])
    source = pa.array(["a", "b", "a", "b", "rare", "odd", None, None])

    def distance(copy):
        return total_variation(categorised(source, pa.array(copy, pa.string()), known, 10), 1).value

    assert distance(["a", "b", "a", "b", "new", "other", None, None]) == pytest.approx(0)
    assert distance(["a", "b", "a", "b", "a", "b", None, None]) == pytest.approx(0)
    assert distance(["new"] * 8) == pytest.approx(0.75)
    assert distance([None] * 8) == pytest.approx(0.75)


def test_where_all_is_rare_nothing_is_compared():
    nothing = pa.array([], pa.string())
    assert total_variation(categorised(pa.array(["rare", None]), pa.array(["x"]), nothing, 10), 1) is None


def test_a_pair_sees_what_single_columns_do_not():
    zeros_ones = np.array([1, 2] * 50)
    one = Coded(source=zeros_ones, copy=zeros_ones, cells=4)
    other = Coded(source=zeros_ones, copy=3 - zeros_ones, cells=4)
    assert total_variation(one, 1).value == total_variation(other, 1).value == 0
    assert total_variation(pair(one, other), 1).value == 1


@pytest.mark.parametrize("numbers", [True, False], ids=["numbers", "categories"])
def test_the_interval_of_a_distance_holds_the_true_one(numbers):
    missed, size, shift = 0, 400, 0.15
    for seed in range(200):
        rng = np.random.default_rng(seed)
        if numbers:  # uniform, and uniform moved by so much: their distance is the shift
            found = kolmogorov_smirnov(rng.uniform(size=size), rng.uniform(size=size) + shift, size)
        else:
            labels = pa.array(["a", "b", "c"])
            one, other = (
                pa.array(rng.choice(["a", "b", "c"], size, p=p)) for p in ([0.5, 0.3, 0.2], [0.35, 0.45, 0.2])
            )
            found = total_variation(categorised(one, other, labels, 10), size)
        assert 0 <= found.low <= found.value <= found.high <= 1
        missed += not found.low <= shift <= found.high
    assert missed <= 0.05 * 200
