"""The report says what was found, shows aggregates alone, and needs nothing but itself."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from html import unescape
from html.parser import HTMLParser

import pytest

from synth_ops.artifacts import Evidence, Outcome, Severity
from synth_ops.checks.engine import judge
from synth_ops.metadata import Column, Kind, Metadata, Table
from synth_ops.registry import PluginKind, load, names
from synth_ops.report import write_report
from synth_ops.report.distributions import _supported_bins
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import CANARIES, leaked_canaries, small_warehouse_rows, write_table


def written(folder, context, outcomes, verdict="passed", **settings):
    folder.mkdir(exist_ok=True)
    path = write_report(
        folder,
        snapshot=context.snapshot,
        copy=context.copy,
        outcomes=outcomes,
        verdict=verdict,
        generator="relational_trees",
        settings_summary={"seed": 0, **settings},
    )
    return path.read_text(encoding="utf-8"), (folder / "report.json").read_text(encoding="utf-8")


def outcomes_of(context):
    return judge([e for name in names(PluginKind.CHECK) for e in load(PluginKind.CHECK, name)().evaluate(context)])


class Page(HTMLParser):
    """The tags, their nesting and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text, self.balanced = [], [], [], True
        self.feed(html)
        self.balanced &= not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.balanced &= bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_a_passed_copy(tmp_path):
    context = check_context(tmp_path)
    outcomes = outcomes_of(context)
    html, numbers = written(tmp_path / "r", context, outcomes)
    assert "passed</strong> its gate" in html
    assert context.copy.ref.id in html
    assert f"{len(outcomes):,} measurements" in html
    document = json.loads(numbers)
    assert document["verdict"] == "passed"
    assert document["rows"]["orders"] == {"source": 800, "copy": 800}
    assert len(document["outcomes"]) == len(outcomes)


def test_the_page_is_whole_and_reaches_nothing_outside(tmp_path):
    context = check_context(tmp_path)
    html, _ = written(tmp_path / "r", context, outcomes_of(context))
    page = Page(html)
    assert page.balanced
    tags = {tag for tag, _ in page.seen}
    assert not tags & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?(https?:)?//", html)
    assert "prefers-color-scheme:dark" in html
    assert all("aria-label" in attributes for tag, attributes in page.seen if tag == "svg")
    assert sum(tag == "table" for tag, _ in page.seen) == sum(tag == "caption" for tag, _ in page.seen)
    assert {"h1", "h2", "h3", "h4"} <= tags


def test_a_failed_copy_says_why_first(tmp_path):
    context = check_context(tmp_path, lambda rows: rows["tags"].append((1, "again")))
    html, _ = written(tmp_path / "r", context, outcomes_of(context), "failed")
    head = html[html.index("<header") : html.index("</header>")]
    assert "failed</strong> its gate" in head
    assert "integrity.primary_key" in head
    assert "tags(tag_id)" in head


def test_nothing_measured_is_said_so(tmp_path):
    html, _ = written(tmp_path / "r", check_context(tmp_path), [], "failed")
    assert "Nothing was measured" in html


def test_no_value_of_the_source_is_in_it(tmp_path):
    def plant(rows):
        rows.update(small_warehouse_rows(customers=400))
        rows["customers"][5] = (*rows["customers"][5][:3], "c4nary city", *rows["customers"][5][4:])

    context = check_context(tmp_path, plant)
    html, numbers = written(tmp_path / "r", context, outcomes_of(context), "failed")
    assert leaked_canaries(html + numbers, CANARIES) == []


def test_categories_of_few_people_have_no_name(tmp_path):
    context = check_context(tmp_path)
    table = context.snapshot.metadata.table("customers")
    rows = small_warehouse_rows(customers=400)["customers"]
    few = [(*row[:3], {1: "Onlyville", 2: "Onlyville"}.get(row[0], row[3]), *row[4:]) for row in rows]
    data = write_table(tmp_path / "few", table, few)
    snapshot = dataclasses.replace(context.snapshot, tables={**context.snapshot.tables, "customers": data})
    html, _ = written(tmp_path / "r", dataclasses.replace(context, snapshot=snapshot), [])
    assert "Onlyville" not in html
    assert "Lyon" in html


def test_names_are_escaped(tmp_path):
    table = Table(
        name="<b>t</b>",
        path=("t",),
        columns=(Column(name="<script>alert(1)</script>", type="VARCHAR", kind=Kind.CATEGORICAL),),
    )
    data = write_table(tmp_path, table, [("<img src=x>",)] * 9)
    context = check_context(tmp_path)
    metadata = Metadata(tables=(table,))
    snapshot = dataclasses.replace(context.snapshot, metadata=metadata, tables={table.name: data})
    copy = dataclasses.replace(context.copy, metadata=metadata, tables={table.name: data})
    evidence = Evidence(check="c", subject="<i>s</i>", value=math.nan, n=0, maximum=0.0, detail="<u>d</u>")
    html, numbers = written(
        tmp_path / "r",
        dataclasses.replace(context, snapshot=snapshot, copy=copy),
        [Outcome(evidence=evidence, passed=False)],
        "failed",
        **{"<s>": "<q>"},
    )
    for tag in ("<b>t", "<script", "<img", "<i>s", "<u>d", "<s>", "<q>"):
        assert tag not in html
    assert "not measured" in html
    assert json.loads(numbers)["outcomes"][0]["evidence"]["value"] == "nan"


@pytest.mark.parametrize("plant", [lambda rows: rows.pop("orders"), lambda rows: rows["orders"].clear()])
def test_a_table_that_is_missing_or_empty_is_no_obstacle(tmp_path, plant):
    context = check_context(tmp_path, plant)
    html, _ = written(tmp_path / "r", context, [], "failed")
    assert Page(html).balanced


def test_odd_columns_are_no_obstacle(tmp_path):
    rows = 20
    types = ["BOOLEAN", "DATE", "TIME", "TIMESTAMP WITH TIME ZONE", "DOUBLE", "DECIMAL(38,2)", "VARCHAR[]", "BLOB"]
    import datetime as dt
    from decimal import Decimal

    values = [
        True,
        dt.date(9999, 1, 1),
        dt.time(12, 0),
        dt.datetime(1, 1, 1, tzinfo=dt.UTC),
        math.inf,
        Decimal("1e30"),
        ["a"],
        b"x",
    ]
    columns = tuple(Column(name=f"c{n}", type=t, kind=Kind.NUMERICAL) for n, t in enumerate(types))
    table = Table(name="odd", path=("odd",), columns=columns)
    data = write_table(tmp_path, table, [tuple(values)] * rows)
    metadata = Metadata(tables=(table,))
    context = check_context(tmp_path)
    snapshot = dataclasses.replace(context.snapshot, metadata=metadata, tables={"odd": data})
    copy = dataclasses.replace(context.copy, metadata=metadata, tables={"odd": data})
    context = dataclasses.replace(context, snapshot=snapshot, copy=copy)
    html, _ = written(tmp_path / "r", context, outcomes_of(context))
    assert html.count('class="card"') == len(types)


def test_warnings_do_not_open_the_page_as_failures(tmp_path):
    evidence = Evidence(check="w", subject="orders", value=2.0, n=1, maximum=1.0, severity=Severity.WARNING)
    html, _ = written(tmp_path / "r", check_context(tmp_path), [Outcome(evidence=evidence, passed=False)])
    assert "1 to look at" in html
    assert '<span class="tag bad">' not in html


def test_one_warning_is_one(tmp_path):
    evidence = Evidence(check="w", subject="orders", value=2.0, n=1, maximum=1.0, severity=Severity.WARNING)
    context = check_context(tmp_path)
    html, _ = written(tmp_path / "r", context, [Outcome(evidence=evidence, passed=False)])
    assert "1 warning<" in html
    html, _ = written(tmp_path / "r", context, [Outcome(evidence=evidence, passed=False)] * 2)
    assert "2 warnings<" in html


def test_what_is_not_drawn_says_where_its_values_come_from(tmp_path):
    html, _ = written(tmp_path / "r", check_context(tmp_path), [])
    tables = {part.partition("</h3>")[0]: unescape(part) for part in html.split("<h3>")[1:]}
    cards = {
        name: dict(re.findall(r'aria-label="Column (\w+)">(.*?)</section>', part, re.DOTALL))
        for name, part in tables.items()
    }
    assert "a reference, made as its parent's key, in customers" in cards["orders"]["customer_id"]
    assert "allocated, not learned; codes of reference data that many refer to are kept" in cards["orders"]["order_id"]
    assert "made by a provider, never the source's" in cards["customers"]["name"]


def test_drawn_columns_stand_before_the_others(tmp_path):
    html, _ = written(tmp_path / "r", check_context(tmp_path), [])
    for grid in html.split('<div class="cards">')[1:]:
        drawn = ["<svg" in card or 'class="bars"' in card for card in grid.split("</div>")[0].split("<section")[1:]]
        assert len(set(drawn)) == 1


def test_bins_are_joined_until_five_stand_behind_each():
    for subjects in ([9, 0, 2, 4, 8, 1], [1, 1], [0, 0, 5], [5, 1, 0, 0], [1, 0, 0, 9, 0, 1, 1]):
        groups = list(_supported_bins(subjects))
        assert [start for start, _ in groups] == [0, *(end for _, end in groups[:-1])]
        assert groups[-1][1] == len(subjects)
        held = [sum(subjects[start:end]) for start, end in groups]
        assert sum(subjects) < 5 or all(n == 0 or n >= 5 for n in held)
