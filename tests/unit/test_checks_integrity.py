"""Every planted violation is found by its own expectation; suites go out, come back edited, and hold."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys

import pytest

from synth_ops.artifacts import Severity
from synth_ops.checks.engine import judge
from synth_ops.checks.integrity import IntegrityCheck, export_suites, load_suites, suite_for
from synth_ops.errors import RecipeError
from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Orphans, Table
from synth_ops.ports import Threshold
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import SMALL_WAREHOUSE


def failures(context):
    outcomes = judge(IntegrityCheck().evaluate(context))
    assert outcomes
    return {(o.evidence.check, o.evidence.subject): o.evidence.value for o in outcomes if not o.passed}


def changed(table, column, value, row=0):
    """A plant that changes one cell."""

    def plant(rows):
        cells = list(rows[table][row])
        cells[SMALL_WAREHOUSE.table(table).column_names.index(column)] = value
        rows[table][row] = tuple(cells)

    return plant


def test_a_clean_copy_passes(tmp_path):
    assert failures(check_context(tmp_path)) == {}


@pytest.mark.parametrize(
    ("plant", "check", "subject", "value"),
    [
        (changed("orders", "customer_id", 9999), "foreign_key", "orders(customer_id) -> customers", 1),
        (changed("returns", "line", 99), "foreign_key", "returns(order_id, line) -> order_lines", 1),
        (changed("employees", "manager_id", 9999, 3), "foreign_key", "employees(manager_id) -> employees", 1),
        (changed("customers", "email", "eve.7@example.net"), "unique", "customers(email)", 1),
        (changed("order_lines", "quantity", 0), "check", "order_lines: quantity > 0", 1),
        (changed("orders", "ordered_at", None), "not_null", "orders.ordered_at", 1),
        (lambda rows: rows["tags"].append((1, "again")), "primary_key", "tags(tag_id)", 1),
        (
            lambda rows: rows["order_tags"].append(rows["order_tags"][0]),
            "primary_key",
            "order_tags(order_id, tag_id)",
            1,
        ),
        (lambda rows: rows["returns"].clear(), "row_count", "returns", 0),
        (
            lambda rows: rows["returns"].extend((n, None, None, None) for n in range(1000, 1100)),
            "row_count",
            "returns",
            362,
        ),
    ],
)
def test_a_planted_violation_is_found_by_its_own_expectation(tmp_path, plant, check, subject, value):
    assert failures(check_context(tmp_path, plant)) == {(f"integrity.{check}", subject): value}


_LONG_TABLE = """
import resource, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, SyntheticCopy, TableData
from synth_ops.checks.integrity import IntegrityCheck
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.ports import CheckContext

file, rows = Path(sys.argv[1]), 6_000_000
with pq.ParquetWriter(file, pa.schema([("id", pa.int64())])) as writer:
    for start in range(0, rows - 1, 1_000_000):
        writer.write_table(pa.table({"id": pa.array(range(start, start + 1_000_000))}))
    writer.write_table(pa.table({"id": pa.array([7], pa.int64())}))
table = Table(name="t", path=("t",), columns=(Column(name="id", type="BIGINT", nullable=False),), primary_key=("id",))
data, ref = {"t": TableData(rows=rows + 1, files=(file,))}, ArtifactRef(kind=ArtifactKind.COPY, id="0" * 20)
metadata = Metadata(tables=(table,))
copy = SyntheticCopy(ref=ref, model=ref, snapshot=ref, metadata=metadata, tables=data, seed=0, scale=1.0)
snapshot = Snapshot(ref=ref, metadata=metadata, tables=data)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = IntegrityCheck().evaluate(CheckContext(snapshot=snapshot, copy=copy, thresholds={}, seed=0))
(key,) = (each.value for each in found if each.check == "integrity.primary_key")
print(int(key), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_the_keys_of_a_long_table_need_no_more_memory_than_those_of_a_short_one(tmp_path):
    command = [sys.executable, "-c", _LONG_TABLE, str(tmp_path / "long.parquet")]
    duplicates, mebibytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(duplicates) == 1
    assert int(mebibytes) < 250  # 6 million keys in one hash table are more


def test_a_missing_table_fails_closed(tmp_path):
    found = failures(check_context(tmp_path, lambda rows: rows.pop("customers")))
    assert math.isnan(found["integrity.columns", "customers"])
    assert math.isnan(found["integrity.foreign_key", "orders(customer_id) -> customers"])


def test_a_file_that_is_no_parquet_fails_closed(tmp_path):
    context = check_context(tmp_path)
    context.copy.tables["tags"].files[0].write_bytes(b"PAR1 broken")
    assert math.isnan(failures(context)["integrity.columns", "tags"])


def test_another_type_and_another_column_are_found(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    context = check_context(tmp_path)
    file = context.copy.tables["tags"].files[0]
    table = pq.read_table(file)
    pq.write_table(table.set_column(0, "tag_id", table["tag_id"].cast(pa.int64())), file)
    assert failures(context) == {("integrity.type", "tags"): 1}
    pq.write_table(table.rename_columns(["tag_id", "name"]), file)
    assert failures(context)["integrity.columns", "tags"] == 2


def test_a_check_that_raises_fails_by_itself_and_shows_nothing(tmp_path):
    table = SMALL_WAREHOUSE.table("customers")
    bad = dataclasses.replace(table, checks=(Check(expression="CAST(name AS INTEGER) > 0", columns=("name",)),))
    metadata = Metadata(tables=tuple(bad if t.name == bad.name else t for t in SMALL_WAREHOUSE.tables))
    context = check_context(tmp_path, metadata=metadata)
    evidence = IntegrityCheck().evaluate(context)
    failed = [o.evidence for o in judge(evidence) if not o.passed]
    assert [each.check for each in failed] == ["integrity.check"]
    assert math.isnan(failed[0].value)
    assert "Synthetic" not in str(evidence)


def test_sql_of_a_check_reaches_no_other_file(tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    table = SMALL_WAREHOUSE.table("tags")
    expression = f"(SELECT count(*) FROM read_csv('{secret}')) = 1"
    bad = dataclasses.replace(table, checks=(Check(expression=expression, columns=()),))
    metadata = Metadata(tables=tuple(bad if t.name == bad.name else t for t in SMALL_WAREHOUSE.tables))
    assert all(math.isnan(value) for value in failures(check_context(tmp_path, metadata=metadata)).values())


def test_checks_that_could_not_be_read_are_a_warning(tmp_path):
    table = dataclasses.replace(SMALL_WAREHOUSE.table("tags"), unsupported_checks=2)
    metadata = Metadata(tables=tuple(table if t.name == "tags" else t for t in SMALL_WAREHOUSE.tables))
    outcomes = judge(IntegrityCheck().evaluate(check_context(tmp_path, metadata=metadata)))
    failed = [o.evidence for o in outcomes if not o.passed]
    assert [(each.check, each.value, each.severity) for each in failed] == [("integrity.check", 2, Severity.WARNING)]


@pytest.mark.parametrize(("broken", "passes"), [(5, True), (100, False)])
def test_kept_orphans_are_judged_against_the_sources_share(tmp_path, broken, passes):
    keys = tuple(dataclasses.replace(key, orphans=Orphans.KEEP) for key in SMALL_WAREHOUSE.table("orders").foreign_keys)
    table = dataclasses.replace(SMALL_WAREHOUSE.table("orders"), foreign_keys=keys)
    metadata = Metadata(tables=tuple(table if t.name == "orders" else t for t in SMALL_WAREHOUSE.tables))

    def plant(rows):
        rows["orders"][:broken] = [(r[0], 9000 + r[0], *r[2:]) for r in rows["orders"][:broken]]

    found = failures(check_context(tmp_path, plant, metadata=metadata))
    assert (found == {}) is passes
    assert passes or set(found) == {("integrity.kept_orphans", "orders(customer_id) -> customers")}


def test_the_row_band_follows_the_users_limit(tmp_path):
    def plant(rows):
        rows["order_tags"][:] = rows["order_tags"][: len(rows["order_tags"]) * 8 // 10]

    (tmp_path / "a").mkdir()
    assert ("integrity.row_count", "order_tags") in failures(check_context(tmp_path / "a", plant))
    assert (
        failures(check_context(tmp_path / "b", plant, thresholds={"integrity.row_count": Threshold(block=0.5)})) == {}
    )


def test_names_that_need_quotes_are_no_obstacle(tmp_path):
    from synth_ops.testing.warehouses import write_table

    parent = Table(
        name='we"ird {0} table',
        path=("x",),
        columns=(Column(name="select 'x", type="INTEGER", nullable=False), Column(name="v", type="VARCHAR")),
        primary_key=("select 'x",),
        checks=(Check(expression="v <> '{batch}'", columns=("v",)),),
    )
    child = Table(
        name="ünï",
        path=("y",),
        columns=(Column(name="n", type="INTEGER"),),
        foreign_keys=(ForeignKey(columns=("n",), parent=parent.name, parent_columns=("select 'x",)),),
    )
    context = check_context(tmp_path)
    tables = {
        parent.name: write_table(tmp_path, parent, [(n, "a") for n in range(9)]),
        child.name: write_table(tmp_path, child, [(n,) for n in range(9)]),
    }
    metadata = Metadata(tables=(parent, child))
    snapshot = dataclasses.replace(context.snapshot, metadata=metadata, tables=tables)
    copy = dataclasses.replace(context.copy, metadata=metadata, tables=tables)
    assert failures(dataclasses.replace(context, snapshot=snapshot, copy=copy)) == {}
    assert load_suites(export_suites(snapshot, tmp_path / "suites")).keys() == {
        "we%22ird%20%7B0%7D%20table.json",
        "%C3%BCn%C3%AF.json",
    }


def test_an_exported_suite_comes_back_as_it_was(tmp_path):
    context = check_context(tmp_path)
    paths = export_suites(context.snapshot, tmp_path / "suites")
    assert sorted(path.stem for path in paths) == sorted(SMALL_WAREHOUSE.table_names)
    suites = load_suites([tmp_path / "suites"])
    assert suites["orders.json"] == suite_for(SMALL_WAREHOUSE.table("orders"), 800)
    exported = check_context(tmp_path / "again", changed("orders", "customer_id", 9999), suites=suites)
    assert failures(exported) == {("integrity.foreign_key", "orders(customer_id) -> customers"): 1}


def test_an_edited_suite_replaces_the_built_in_one(tmp_path):
    context = check_context(tmp_path, changed("order_lines", "quantity", 0))
    (path,) = [p for p in export_suites(context.snapshot, tmp_path / "suites") if p.stem == "order_lines"]
    suite = json.loads(path.read_text())
    suite["expectations"] = [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1, "max_value": 10}},
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "quantity", "min_value": 1}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "line", "value_set": [1, 2]}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "line", "value_set": [1, 2, 3]}},
        {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "quantity", "min_value": 8}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "weight_kg", "mostly": 0.1}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "weight_kg", "mostly": 0.9}},
    ]
    path.write_text(json.dumps(suite))
    found = failures(dataclasses.replace(context, suites=load_suites([path])))
    assert len(found) == 5
    assert found["suite.expect_column_values_to_be_between", "order_lines.quantity"] == 1
    assert found["suite.expect_column_mean_to_be_between", "order_lines.quantity"] == 1
    assert 0.1 < found["suite.expect_column_values_to_not_be_null", "order_lines.weight_kg"] < 0.9
    assert ("integrity.check", "order_lines: quantity > 0") not in found


def test_a_users_own_suite_runs_beside_the_built_in_one(tmp_path):
    path = tmp_path / "orders.yaml"
    path.write_text(
        "expectations:\n- type: unexpected_rows_expectation\n  severity: warning\n"
        "  kwargs: {unexpected_rows_query: 'SELECT * FROM {batch} JOIN tags ON tag_id = order_id'}\n"
    )
    context = check_context(tmp_path, changed("orders", "customer_id", 9999), suites=load_suites([path]))
    assert failures(context) == {
        ("integrity.foreign_key", "orders(customer_id) -> customers"): 1,
        ("suite.unexpected_rows_expectation", "orders"): 4,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "neither JSON nor YAML"),
        ("[]", "no list of `expectations`"),
        ('{"expectations": [{}]}', "expectation 1: it has no `type`"),
        ('{"expectations": [{"type": "expect_nonsense"}]}', "expect_nonsense"),
        ('{"expectations": [{"type": "expect_column_to_exist", "severity": "fatal"}]}', "severity"),
        ('{"expectations": [{"type": "expect_column_to_exist", "kwargs": []}]}', "kwargs"),
        ('{"expectations": [{"type": "expect_column_values_to_be_unique", "kwargs": {"colum": "a"}}]}', "column"),
    ],
)
def test_a_malformed_suite_is_refused_by_file(tmp_path, text, message):
    path = tmp_path / "orders.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"orders\.json") as caught:
        load_suites([path])
    assert message in str(caught.value)


def test_a_suite_of_an_unknown_table_or_column_is_refused(tmp_path):
    path = tmp_path / "ordres.json"
    path.write_text('{"expectations": []}')
    with pytest.raises(RecipeError, match="did you mean 'orders'"):
        IntegrityCheck().evaluate(check_context(tmp_path, suites=load_suites([path])))
    path = tmp_path / "orders.json"
    path.write_text('{"expectations": [{"type": "expect_column_values_to_be_unique", "kwargs": {"column": "payed"}}]}')
    with pytest.raises(RecipeError, match="did you mean 'paid'"):
        IntegrityCheck().evaluate(check_context(tmp_path, suites=load_suites([path])))


def test_missing_files_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="can't read suite"):
        load_suites([tmp_path / "none.json"])
    with pytest.raises(RecipeError, match="holds no suites"):
        load_suites([tmp_path])


def test_great_expectations_itself_reads_the_exported_suite():
    import great_expectations as gx

    for table in SMALL_WAREHOUSE.tables:
        suite = suite_for(table, 100)
        assert len(gx.ExpectationSuite(**suite).expectations) == len(suite["expectations"])
