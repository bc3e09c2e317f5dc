"""Queries on source and copy: made up, and users' own."""

from __future__ import annotations

import dataclasses

import pytest

from synth_ops.artifacts import Severity
from synth_ops.checks.engine import judge
from synth_ops.checks.queries import QUERY_LIMITS, load_queries, own_query_errors, query_errors
from synth_ops.checks.views import open_views
from synth_ops.errors import RecipeError
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
