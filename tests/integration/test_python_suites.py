"""Suites that a plug-in builds in Python run like those of files; what can't be one is refused by name."""

from __future__ import annotations

import importlib
import sys

import pytest

from synth_ops.checks.python_suites import build_suites
from synth_ops.errors import GateFailedError, RecipeError, UnknownPluginError
from synth_ops.recipe import load_recipe
from synth_ops.run import latest_report, open_store, run_all

RULES = """
import datetime as dt
import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.row_conditions import Column

class ExpectColumnValuesToBeStates(gxe.ExpectColumnValuesToBeInSet):
    value_set: list = {states}

def build():
    dated = gxe.ExpectColumnMinToBeBetween(column="placed", min_value=dt.datetime(2024, 1, 1))
    rich = Column("city") == "Oslo"
    return [
        gx.ExpectationSuite(name="orders", expectations=[ExpectColumnValuesToBeStates(column="state"), dated]),
        gx.ExpectationSuite(
            name="credit",
            expectations=[gxe.ExpectColumnValuesToBeBetween(column="credit", min_value=0, row_condition=rich)],
            meta={{"synth_ops": {{"table": "customers"}}}},
        ),
    ]
"""


@pytest.fixture
def rules(install, monkeypatch):
    """Install suites that allow some states of an order."""

    def write(*states, version="1.0"):
        install("shop_rules", "build", RULES.format(states=list(states)), kind="suites", version=version)
        monkeypatch.delitem(sys.modules, "shop_rules", raising=False)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop("shop_rules", None)


def refresh(shop):
    """Run the recipe; the report that it made."""
    recipe = load_recipe(
        shop.change(gate={"python_suites": ["shop_rules"], "policy": "off-for-privacy", "reason": "-"})
    )
    store = open_store(recipe)
    run_all(recipe, store=store)
    return latest_report(recipe, store=store)[0]


def test_their_expectations_are_judged_their_own_classes_too(shop, rules):
    rules("new", "paid", "sent")
    found = {o.evidence.check: o for o in refresh(shop).outcomes if o.evidence.check.startswith("suite.")}
    assert {(check, o.evidence.subject, o.passed) for check, o in found.items()} == {
        ("suite.expect_column_values_to_be_states", "orders.state", True),
        ("suite.expect_column_min_to_be_between", "orders.placed", True),
        ("suite.expect_column_values_to_be_between", "customers.credit", True),
    }


def test_one_that_fails_blocks_and_yesterdays_copy_stays(shop, rules):
    rules("new", "paid")
    live = shop.published()
    with pytest.raises(GateFailedError, match=r"suite\.expect_column_values_to_be_states\[orders\.state\]"):
        refresh(shop)
    assert shop.published() == live


def test_another_release_of_the_package_judges_again(shop, rules):
    rules("new", "paid", "sent")
    first = refresh(shop).ref
    assert refresh(shop).ref == first
    rules("new", "paid", "sent", version="1.1")
    assert refresh(shop).ref != first


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def build(): raise KeyError('c4nary')", "suite plug-in 'odd' failed: KeyError"),
        ("def build(): yield {'expectations': []}", "suite plug-in 'odd' built dict"),
        ("def build(): return 7", "suite plug-in 'odd' built int"),
        (
            "import great_expectations as gx\ndef build(): return [gx.ExpectationSuite(name='orders')] * 2",
            "suite plug-in 'odd' built two suites named 'orders'",
        ),
    ],
    ids=["raises", "builds a mapping", "builds a number", "builds two of a name"],
)
def test_what_builds_no_suites_is_named(install, code, message):
    install("odd", "build", code, kind="suites")
    sys.modules.pop("odd", None)
    with pytest.raises(RecipeError) as refused:
        build_suites(["odd"])
    assert message in str(refused.value)
    assert "c4nary" not in str(refused.value)


def test_a_plug_in_that_is_not_installed_is_refused_with_the_nearest_name(install):
    install("shop_rules", "build", "", kind="suites")
    with pytest.raises(UnknownPluginError, match="there is no suite 'shop_rule'; did you mean 'shop_rules'"):
        build_suites(["shop_rule"])


def test_a_suite_about_no_table_or_column_stops_the_gate(shop, install):
    code = """
import great_expectations as gx
import great_expectations.expectations as gxe

def build():
    yield gx.ExpectationSuite(name="order", expectations=[gxe.ExpectColumnValuesToBeUnique(column="id")])
    yield gx.ExpectationSuite(name="orders", expectations=[gxe.ExpectColumnValuesToBeUnique(column="ident")])
"""
    install("shop_rules", "build", code, kind="suites")
    sys.modules.pop("shop_rules", None)
    with pytest.raises(RecipeError) as refused:
        refresh(shop)
    assert "there is no table 'order'; did you mean 'orders'?" in str(refused.value)
    assert "table 'orders' has no column 'ident'" in str(refused.value)
