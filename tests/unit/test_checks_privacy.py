"""What was planted is found by its own measure, and its value is seen nowhere."""

from __future__ import annotations

import dataclasses
import random
from string import ascii_uppercase

import duckdb
import pytest

from synth_ops.artifacts import Severity
from synth_ops.checks.engine import judge
from synth_ops.checks.identical_rows import _share_of_tenth
from synth_ops.checks.leaks import _format_space
from synth_ops.checks.privacy import PrivacyCheck
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Relation, Rule, Table
from synth_ops.sql import K_SUBJECTS
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import (
    CANARIES,
    CANARY_NUMBER,
    SMALL_WAREHOUSE,
    leaked_canaries,
    small_warehouse_rows,
    write_table,
)

SOURCE = small_warehouse_rows(customers=400)


def failures(context):
    evidence = PrivacyCheck().evaluate(context)
    assert not leaked_canaries(str(evidence), CANARIES)
    return {
        (o.evidence.check.removeprefix("privacy."), o.evidence.subject): o.evidence.value
        for o in judge(evidence)
        if not o.passed and o.evidence.severity is Severity.CRITICAL
    }


def cells(table, column, values):
    """A plant that writes values into the first rows of a column."""
    place = SMALL_WAREHOUSE.table(table).column_names.index(column)

    def plant(rows):
        for number, value in enumerate(values):
            row = rows[table][number]
            rows[table][number] = (*row[:place], value, *row[place + 1 :])

    return plant


def real(table, column, count=1):
    place = SMALL_WAREHOUSE.table(table).column_names.index(column)
    return [row[place] for row in SOURCE[table] if row[place] is not None][:count]


def test_a_clean_copy_passes(tmp_path):
    assert failures(check_context(tmp_path)) == {}


@pytest.mark.parametrize(
    ("table", "column", "values", "check", "count"),
    [
        ("customers", "email", real("customers", "email"), "leaked_values", 1),
        ("customers", "email", [f"  {real('customers', 'email')[0].upper()}"], "leaked_values", 1),
        ("orders", "note", real("orders", "note", 3), "leaked_values", 3),
        ("employees", "name", real("employees", "name", 50), "copied_values", 1),
        ("customers", "credit_limit", [CANARY_NUMBER], "extremes", 1),
    ],
)
def test_a_planted_value_is_found_by_its_own_measure(tmp_path, table, column, values, check, count):
    assert failures(check_context(tmp_path, cells(table, column, values))) == {(check, f"{table}.{column}"): count}


def with_rule(context, rule):
    """The same, where the customers of the source obey a rule."""
    ruled = dataclasses.replace(SMALL_WAREHOUSE.table("customers"), rules=(rule,))
    metadata = Metadata(tables=tuple(ruled if t.name == "customers" else t for t in SMALL_WAREHOUSE.tables))
    return dataclasses.replace(context, snapshot=dataclasses.replace(context.snapshot, metadata=metadata))


@pytest.mark.parametrize(("asked", "found"), [(0, 0), (1, 1), (-1, 1)], ids=["the bound", "above it", "below it"])
def test_an_extreme_that_a_rule_asks_for_is_its_bounds(tmp_path, asked, found):
    """As high as the row's other column is no value of its own; anything else is."""

    def plant(rows):
        _, *row, _ = rows["customers"][0]
        rows["customers"][0] = (CANARY_NUMBER - asked, *row, CANARY_NUMBER)

    rule = Rule(relation=Relation.AT_LEAST, column="credit_limit", expression='"customer_id"', inputs=("customer_id",))
    expected = {("extremes", "customers.credit_limit"): 1} if found else {}
    assert failures(with_rule(check_context(tmp_path, plant), rule)) == expected


@pytest.mark.parametrize(("apart", "found"), [(0, 0), (1, 1)], ids=["the sum", "another value"])
def test_an_extreme_that_is_computed_from_other_columns_is_theirs(tmp_path, apart, found):
    """What others of the row add up to is no value of its own."""

    def plant(rows):
        _, *row, _ = rows["customers"][0]
        rows["customers"][0] = (CANARY_NUMBER - apart, *row, CANARY_NUMBER)

    rule = Rule(
        relation=Relation.EQUALS,
        column="credit_limit",
        expression='CAST("customer_id" AS DOUBLE) + 0 * length("email")',
        inputs=("customer_id", "email"),
        tolerance=0.005,
    )
    expected = {("extremes", "customers.credit_limit"): 1} if found else {}
    assert failures(with_rule(check_context(tmp_path, plant), rule)) == expected


def test_a_category_of_few_people_is_found_unless_a_check_lists_it(tmp_path):
    from synth_ops.artifacts import TableData
    from synth_ops.metadata import Check

    context = check_context(tmp_path, cells("customers", "city", ["c4nary town"] * 9))

    def with_source_row(context):
        rows = [(*row[:3], "c4nary town" if row[0] < 4 else row[3], *row[4:]) for row in SOURCE["customers"]]
        table = context.snapshot.metadata.table("customers")
        data: TableData = write_table(tmp_path / "other", table, rows)
        tables = {**context.snapshot.tables, "customers": data}
        return dataclasses.replace(context, snapshot=dataclasses.replace(context.snapshot, tables=tables))

    assert failures(with_source_row(context)) == {("rare_categories", "customers.city"): 1}
    listed = dataclasses.replace(
        SMALL_WAREHOUSE.table("customers"), checks=(Check(expression="city <> 'c4nary town'", columns=("city",)),)
    )
    metadata = Metadata(tables=tuple(listed if t.name == "customers" else t for t in SMALL_WAREHOUSE.tables))
    snapshot = dataclasses.replace(context.snapshot, metadata=metadata)
    assert failures(with_source_row(dataclasses.replace(context, snapshot=snapshot))) == {}


@pytest.mark.parametrize(("years", "found"), [(10, 0), (40, 1)], ids=["all there are", "few of many"])
def test_rows_that_are_all_there_can_be_are_no_copies(tmp_path, years, found):
    """An award of each decade, given in two leagues every year: any row of such a table equals a real one."""
    draw = random.Random(0)
    columns = {"award": Kind.CATEGORICAL, "year": Kind.NUMERICAL, "league": Kind.CATEGORICAL}
    awards = Table(
        name="awards",
        path=("awards",),
        columns=tuple(
            Column(name=name, type="INTEGER" if name == "year" else "VARCHAR", nullable=False, kind=kind)
            for name, kind in columns.items()
        ),
        rows=200,
    )
    source = [
        (f"award {award}", years * award + year, f"league {league}")
        for award in range(10)
        for year, league in draw.sample([(year, league) for year in range(years) for league in range(2)], 20)
    ]
    metadata = Metadata(tables=(awards,))
    context = check_context(tmp_path)
    real = write_table(tmp_path / "awards", awards, source)
    copied = write_table(tmp_path / "again", awards, draw.choices(source, k=200))
    context = dataclasses.replace(
        context,
        snapshot=dataclasses.replace(context.snapshot, metadata=metadata, tables={"awards": real}),
        copy=dataclasses.replace(context.copy, metadata=metadata, tables={"awards": copied}),
    )
    names = {check for check, _ in failures(context)}
    assert ("identical_rows" in names) == bool(found)


@pytest.mark.parametrize(("provider", "found"), [("pattern", False), ("username", True)])
def test_codes_of_a_narrow_format_may_meet_real_ones(tmp_path, provider, found):
    """Two thousand of 260,000 plates meet some fifteen of others as many by chance; two user names never do."""
    draw = random.Random(0)
    column = Column(name="plate", type="VARCHAR", nullable=False, kind=Kind.PII, provider=provider)
    cars = Table(name="cars", path=("cars",), columns=(column,), rows=2_000)
    sides = [
        [(f"AACHEN-{draw.choice(ascii_uppercase)}{draw.randrange(10_000):04}",) for _ in range(2_000)] for _ in "ab"
    ]
    metadata = Metadata(tables=(cars,))
    context = check_context(tmp_path)
    real, copied = (write_table(tmp_path / name, cars, rows) for name, rows in zip("ab", sides, strict=True))
    context = dataclasses.replace(
        context,
        snapshot=dataclasses.replace(context.snapshot, metadata=metadata, tables={"cars": real}),
        copy=dataclasses.replace(context.copy, metadata=metadata, tables={"cars": copied}),
    )
    assert (("leaked_values", "cars.plate") in failures(context)) == found


def test_a_persons_many_rows_count_once(tmp_path):
    """A reason that one customer gave nine times is a reason of one person."""

    def plant(rows):
        rows["returns"][0] = (*rows["returns"][0][:3], "lost")

    context = check_context(tmp_path, plant)
    orders = {row[0] for row in SOURCE["orders"] if row[1] == 1}
    lines = [row[:2] for row in SOURCE["order_lines"] if row[0] in orders]
    own = [(10_000 + n, *lines[n % len(lines)], "lost") for n in range(9)]
    data = write_table(tmp_path / "other", SMALL_WAREHOUSE.table("returns"), [*SOURCE["returns"], *own])
    snapshot = dataclasses.replace(context.snapshot, tables={**context.snapshot.tables, "returns": data})
    found = failures(dataclasses.replace(context, snapshot=snapshot))
    assert found == {("rare_categories", "returns.reason"): 1}


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_copied_rows_block(tmp_path, share):
    def plant(rows):
        count = int(len(rows["order_lines"]) * share)
        rows["order_lines"][:count] = SOURCE["order_lines"][:count]

    found = failures(check_context(tmp_path, plant))
    assert found["identical_rows", "order_lines"] >= share * 0.99


def test_a_copy_of_the_source_is_blocked_in_every_table_of_people(tmp_path):
    def plant(rows):
        rows.update(SOURCE)

    found = {subject.partition(".")[0].partition("(")[0] for _, subject in failures(check_context(tmp_path, plant))}
    assert {"customers", "employees", "orders", "order_lines"} <= found


def test_a_table_that_is_missing_fails_closed(tmp_path):
    assert ("identical_rows", "returns") in failures(check_context(tmp_path, lambda rows: rows.pop("returns")))


def test_an_error_of_the_database_is_failed_evidence_without_its_text(tmp_path):
    context = check_context(tmp_path)
    data = write_table(
        tmp_path / "broken", Table(name="t", path=("t",), columns=(Column(name="c4nary", type="INTEGER"),)), [(1,)]
    )
    copy = dataclasses.replace(context.copy, tables={**context.copy.tables, "customers": data})
    evidence = PrivacyCheck().evaluate(dataclasses.replace(context, copy=copy))
    details = {each.detail for each in evidence if each.subject.startswith("customers")}
    assert details == {"could not be measured: BinderException"}
    assert all(not o.passed for o in judge(evidence) if o.evidence.subject.startswith("customers"))


def keys_context(tmp_path, source, copied, *, references=()):
    """A code table with a text key, and a table that refers to it."""
    codes = Table(
        name="codes",
        path=("codes",),
        columns=(Column(name="code", type="VARCHAR", nullable=False, kind=Kind.ID),),
        primary_key=("code",),
    )
    uses = Table(
        name="uses",
        path=("uses",),
        columns=(Column(name="code", type="VARCHAR", kind=Kind.ID),),
        foreign_keys=(ForeignKey(columns=("code",), parent="codes", parent_columns=("code",)),),
    )
    context = check_context(tmp_path)
    metadata = Metadata(tables=(codes, uses))

    def tables(side, keys, refers):
        return {
            "codes": write_table(tmp_path / side, codes, [(key,) for key in keys]),
            "uses": write_table(tmp_path / side, uses, [(key,) for key in refers]),
        }

    snapshot = dataclasses.replace(context.snapshot, metadata=metadata, tables=tables("s", source, references))
    copy = dataclasses.replace(context.copy, metadata=metadata, tables=tables("c", copied, ()))
    return dataclasses.replace(context, snapshot=snapshot, copy=copy)


def test_a_real_key_blocks_unless_everybody_uses_it(tmp_path):
    real_keys = [f"k{n:08x}-{n * 7919:08x}" for n in range(50)]
    assert failures(keys_context(tmp_path / "a", real_keys, real_keys[:2])) == {("leaked_values", "codes.code"): 2}
    public = [key for key in real_keys[:2] for _ in range(5)]
    assert failures(keys_context(tmp_path / "b", real_keys, real_keys[:2], references=public)) == {}
    barely = [key for key in real_keys[:2] for _ in range(4)]
    assert failures(keys_context(tmp_path / "c", real_keys, real_keys[:2], references=barely)) != {}


def test_keys_of_a_short_format_can_not_but_meet(tmp_path):
    counted = [f"CUSTOMER-{n:05}" for n in range(500)]
    assert not failures(keys_context(tmp_path / "a", counted, counted))
    short = [f"N{n * 37 % 10_000:04}" for n in range(500)]
    context = keys_context(tmp_path / "b", short, short)
    warned = [o.evidence for o in judge(PrivacyCheck().evaluate(context)) if not o.passed]
    assert [(each.check, each.severity) for each in warned] == [("privacy.key_overlap", Severity.WARNING)]


def test_the_space_of_a_format():
    assert _format_space(["a-10", "a-27"]) == 100
    assert _format_space([]) == 1
    assert _format_space(["x", "x"]) == 1


@pytest.mark.parametrize("kind", ["INTERVAL", "INTEGER", "UBIGINT", "DATE", "DOUBLE", "TIMESTAMP"])
def test_how_often_a_number_comes_back_by_chance_is_worked_out_for_every_type(kind):
    share = _share_of_tenth(Column(name="x", type=kind), "n", "b")
    rows = f"(SELECT NULL::{kind} AS x, n, 1 AS b FROM range({K_SUBJECTS - 1}, {K_SUBJECTS + 1}) counts(n))"
    assert len(duckdb.sql(f"SELECT {share} FROM {rows}").fetchall()) == 2
