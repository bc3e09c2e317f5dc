"""Queries on source and copy: made up, and users' own."""

from __future__ import annotations

import dataclasses
import math

import pytest

from synth_ops.artifacts import Severity
from synth_ops.checks.engine import judge
from synth_ops.checks.queries import QUERY_LIMITS, load_queries, own_query_errors, query_errors
from synth_ops.checks.views import open_views
from synth_ops.errors import RecipeError
from synth_ops.metadata import Metadata
from synth_ops.testing.check_contexts import check_context


def measured(context, measure):
    with open_views(context) as views:
        return measure(views, QUERY_LIMITS)


def blocked(evidence):
    return {o.evidence.subject for o in judge(evidence) if not o.passed and o.evidence.severity is Severity.CRITICAL}


def test_queries_behave_on_a_clean_copy_and_the_same_twice(tmp_path):
    context = check_context(tmp_path)
    first, second = (measured(context, query_errors) for _ in range(2))
    assert blocked(first) == set()
    assert {each.subject for each in first} >= {"all queries", "customers", "orders(customer_id) -> customers"}
    assert [each.value for each in first] == [each.value for each in second]


def test_queries_miss_what_the_copy_lost(tmp_path):
    def plant(rows):
        for table in rows:
            rows[table][:] = [tuple(None if n > 3 else v for n, v in enumerate(row)) for row in rows[table]]

    found = measured(check_context(tmp_path, plant), query_errors)
    assert max(each.value for each in found) > 2


def test_users_own_queries_count(tmp_path):
    file = tmp_path / "own.sql"
    file.write_text("SELECT * FROM customers;\nSELECT * FROM orders WHERE paid", encoding="utf-8")

    def plant(rows):
        del rows["customers"][100:]

    context = dataclasses.replace(check_context(tmp_path, plant), queries=load_queries([file]))
    assert blocked(measured(context, own_query_errors)) == {"own.sql #1"}
    broken = dataclasses.replace(context, queries={"q": "SELECT c4nary FROM customers"})
    evidence = measured(broken, own_query_errors)
    assert blocked(evidence) == {"q"}
    assert "c4nary" not in str(evidence)


@pytest.mark.parametrize(("text", "said"), [("DROP TABLE customers", "no SELECT"), ("SELECT FROM (", "not SQL")])
def test_only_selects_are_queries(tmp_path, text, said):
    file = tmp_path / "own.sql"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=said):
        load_queries([file])
    with pytest.raises(RecipeError, match="can't read"):
        load_queries([tmp_path / "none.sql"])


def test_files_of_one_name_are_told_apart(tmp_path):
    files = [tmp_path / folder / "q.sql" for folder in ("a/x", "b/x", "a/x")] + [tmp_path / "other.sql"]
    for number, file in enumerate(dict.fromkeys(files)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"SELECT {number}", encoding="utf-8")
    assert load_queries(files) == {"a/x/q.sql #1": "SELECT 0", "b/x/q.sql #1": "SELECT 1", "other.sql #1": "SELECT 2"}


def test_users_own_queries_know_of_the_scale(tmp_path):
    def half(rows):
        del rows["customers"][200:]

    context = check_context(tmp_path, half)
    context = dataclasses.replace(context, copy=dataclasses.replace(context.copy, scale=0.5))
    queries = {"rows": "SELECT * FROM customers", "groups": "SELECT count(*) FROM customers"}
    evidence = measured(dataclasses.replace(context, queries=queries), own_query_errors)
    assert [each.value for each in evidence if each.subject == "rows"] == [1.0, 1.0]
    assert [each.value for each in evidence if each.subject == "groups"] == [1.0, 1.0]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_rows_of_the_source_are_not_told_apart(tmp_path, count):
    context = dataclasses.replace(check_context(tmp_path), queries={"q": f"SELECT * FROM customers LIMIT {count}"})
    few = [dataclasses.replace(each, seconds=0, detail="") for each in measured(context, own_query_errors)]
    none = dataclasses.replace(context, queries={"q": "SELECT * FROM customers LIMIT 0"})
    assert few == [dataclasses.replace(each, seconds=0, detail="") for each in measured(none, own_query_errors)]
    details = {each.detail for each in measured(context, own_query_errors)}
    assert details == {f"fewer than 5 rows from the source, {count} from the copy"}


def test_an_empty_table_is_off_by_a_finite_number(tmp_path):
    def plant(rows):
        rows["orders"].clear()

    evidence = measured(check_context(tmp_path, plant), query_errors)
    assert all(math.isfinite(each.value) for each in evidence)
    assert max(each.value for each in evidence if each.table == "orders") > 20


def test_tables_may_be_named_like_sql(tmp_path):
    names = {"customers": "{a} JOIN b", "orders": "orders {schema} JOIN x"}
    context = check_context(tmp_path)
    tables = tuple(
        dataclasses.replace(
            table,
            name=names.get(table.name, table.name),
            foreign_keys=tuple(
                dataclasses.replace(key, parent=names.get(key.parent, key.parent)) for key in table.foreign_keys
            ),
        )
        for table in context.snapshot.metadata.tables
    )
    snapshot, copy = (
        dataclasses.replace(
            side,
            metadata=Metadata(tables=tables),
            tables={names.get(name, name): data for name, data in side.tables.items()},
        )
        for side in (context.snapshot, context.copy)
    )
    found = measured(dataclasses.replace(context, snapshot=snapshot, copy=copy), query_errors)
    assert {each.subject for each in found} >= {"all queries", *names.values()}
    assert blocked(found) == set()


def test_of_many_tables_some_are_asked_and_it_is_said_how_many(tmp_path):
    context = check_context(tmp_path)
    tables = context.snapshot.metadata.tables
    (orders,) = (table for table in tables if table.name == "orders")
    more = tuple(dataclasses.replace(orders, name=f"orders {number}") for number in range(20))
    snapshot, copy = (
        dataclasses.replace(
            side,
            metadata=Metadata(tables=(*tables, *more)),
            tables={**side.tables, **{table.name: side.tables["orders"] for table in more}},
        )
        for side in (context.snapshot, context.copy)
    )
    found = measured(dataclasses.replace(context, snapshot=snapshot, copy=copy), query_errors)
    assert any("; on 20 of " in each.detail for each in found if each.subject == "all queries")
    last = {each.table for each in found} & {table.name for table in more[15:]}
    assert last
