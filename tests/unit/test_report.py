"""The report says what was found, shows aggregates alone, and needs nothing but itself."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import pytest

from synth_ops.artifacts import Evidence, Outcome, Severity
from synth_ops.checks.engine import judge
from synth_ops.metadata import Column, Kind, Metadata, Table
from synth_ops.registry import PluginKind, chosen, load
from synth_ops.report import Context, render_html, write_report
from synth_ops.report.distributions import supported_bins
from synth_ops.report.document import SCHEMA
from synth_ops.testing.check_contexts import check_context
from synth_ops.testing.warehouses import CANARIES, leaked_canaries, small_warehouse_rows, write_table


def written(folder, context, outcomes, verdict="passed", *, labels=False, around=None, **settings):
    folder.mkdir(exist_ok=True)
    path = write_report(
        folder,
        snapshot=context.snapshot,
        copy=context.copy,
        outcomes=outcomes,
        verdict=verdict,
        generator="relational_trees",
        settings_summary={"seed": 0, **settings},
        labels=labels,
        context=around,
    )
    return path.read_text(encoding="utf-8"), (folder / "report.json").read_text(encoding="utf-8")


def outcomes_of(context):
    return judge([e for name in chosen(PluginKind.CHECK, ()) for e in load(PluginKind.CHECK, name)().evaluate(context)])


class Page(HTMLParser):
    """The tags, their nesting and the text of a page."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text, self.balanced = [], [], [], True
        self.feed(html)
        self.balanced &= not self.open

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
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
    judged_once = {(o.evidence.check, o.evidence.subject, o.evidence.value) for o in outcomes}
    assert f"{len(judged_once):,} measurements" in html
    document = json.loads(numbers)
    assert document["verdict"] == "passed"
    assert {table["name"]: table["rows"] for table in document["tables"]}["orders"] == {"source": 800, "copy": 800}
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


def test_how_models_learned_is_drawn(tmp_path):
    lines = {"loss": [[1, 4.0], [2, 2.0]], "distance": [[1, 0.1], [2, 0.4]]}
    learning = [{"table": "orders", "epochs": 2, "planned": 9, "kept": 1, "lines": lines}]
    html, _ = written(tmp_path / "r", check_context(tmp_path), [], around=Context(learning=learning))
    assert Page(html).balanced
    assert "orders: distance" in html
    assert "4 to 2 in 2 of 9 epochs; that of epoch 1 is used" in html
    assert "How the models learned" not in written(tmp_path / "other", check_context(tmp_path / "c"), [])[0]


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
    context = dataclasses.replace(context, snapshot=snapshot)
    named = "".join(written(tmp_path / "named", context, [], labels=True))
    assert "Onlyville" not in named
    assert "Lyon" in named
    numbered = "".join(written(tmp_path / "numbered", context, []))
    assert "Onlyville" not in numbered
    assert "Lyon" not in numbered
    assert "value 1" in numbered


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
    assert all(name in html for name in table.column_names)


def test_warnings_do_not_open_the_page_as_failures(tmp_path):
    evidence = Evidence(check="w", subject="orders", value=2.0, n=1, maximum=1.0, severity=Severity.WARNING)
    html, _ = written(tmp_path / "r", check_context(tmp_path), [Outcome(evidence=evidence, passed=False)])
    assert "1 to look at" in html
    assert '<span class="tag blocks">' not in html


def test_one_warning_is_one(tmp_path):
    evidence = Evidence(check="w", subject="orders", value=2.0, n=1, maximum=1.0, severity=Severity.WARNING)
    context = check_context(tmp_path)
    html, _ = written(tmp_path / "r", context, [Outcome(evidence=evidence, passed=False)])
    assert "1 warning<" in html
    html, _ = written(tmp_path / "r", context, [Outcome(evidence=evidence, passed=False)] * 2)
    assert "2 warnings<" in html


def test_a_number_with_a_limit_to_warn_and_one_to_block_is_one_line(tmp_path):
    evidence = Evidence(check="privacy.x", subject="orders", value=0.15, n=9, maximum=0.2)
    softer = dataclasses.replace(evidence, maximum=0.1, severity=Severity.WARNING)
    outcomes = [Outcome(evidence=evidence, passed=True), Outcome(evidence=softer, passed=False)]
    html, numbers = written(tmp_path / "r", check_context(tmp_path), outcomes)
    assert "1 measurement, none of which blocks; 1 to look at" in html
    assert "at most 0.1; at most 0.2 or it blocks" in html
    assert len(json.loads(numbers)["outcomes"]) == 2


def test_an_interval_and_what_fresh_data_give_are_drawn(tmp_path):
    evidence = Evidence(
        check="privacy.auc", subject="orders", value=0.55, n=9, maximum=0.6, ci_low=0.5, ci_high=0.6, reference=0.5
    )
    html, _ = written(tmp_path / "r", check_context(tmp_path), [Outcome(evidence=evidence, passed=True)])
    strip = re.search(r'<span class="strip[^"]*"[^>]*aria-label="([^"]+)">(.*?)</span>', html, re.DOTALL)
    assert strip
    assert strip[1] == "0.55, 95% interval 0.5 to 0.6; at most 0.6"
    assert all(f"<{mark} " in strip[2] for mark in ("u", "s", "b", "i"))


def test_a_check_that_nobody_described_is_shown_under_its_own_name(tmp_path):
    evidence = Evidence(check="novel.some_measure", subject="orders", value=1.0, n=1, maximum=0.5)
    html, _ = written(tmp_path / "r", check_context(tmp_path), [Outcome(evidence=evidence, passed=False)], "failed")
    head = html[html.index("<header") : html.index("</header>")]
    assert "some measure" in head
    assert 'id="novel"' in html


def test_what_is_not_drawn_says_where_its_values_come_from(tmp_path):
    _, numbers = written(tmp_path / "r", check_context(tmp_path), [])
    reasons = {
        (table["name"], column["name"]): column.get("not_shown")
        for table in json.loads(numbers)["tables"]
        for column in table["columns"]
    }
    assert reasons["orders", "customer_id"] == "a reference, made as its parent's key, in customers"
    assert "allocated, not learned; codes of reference data that many refer to" in reasons["orders", "order_id"]
    assert reasons["customers", "name"] == "made by a provider, never the source's"


def test_bins_are_joined_until_five_stand_behind_each():
    for sizes in ([9, 0, 2, 4, 8, 1], [1, 1], [0, 0, 5], [5, 1, 0, 0], [1, 0, 0, 9, 0, 1, 1]):
        subjects = [{(place, n) for n in range(size)} for place, size in enumerate(sizes)]
        groups = list(supported_bins(subjects))
        assert [start for start, _ in groups] == [0, *(end for _, end in groups[:-1])]
        assert groups[-1][1] == len(subjects)
        held = [len(set().union(*subjects[start:end])) for start, end in groups]
        assert sum(sizes) < 5 or all(n == 0 or n >= 5 for n in held)


def test_one_person_in_many_bins_is_one():
    assert list(supported_bins([{1, 2, 3}, {1, 2, 3}, {1, 2}, {4, 5}, {9}])) == [(0, 5)]


def test_the_same_copy_gives_the_same_bytes_but_for_times(tmp_path):
    context = check_context(tmp_path)
    documents = [json.loads(written(tmp_path / side, context, outcomes_of(context))[1]) for side in "ab"]
    times = [document.pop("times") for document in documents]
    assert documents[0] == documents[1]
    assert json.dumps(documents[0]) == json.dumps(documents[1])
    assert times[0]["seconds"].keys() == {"integrity", "fidelity", "privacy"}
    assert "seconds" not in json.dumps(documents[0])


def test_related_columns_show_it(tmp_path):
    rows = [(str(n % 3), (n % 3) * 10.0, n * 7919 % 1000 / 10) for n in range(600)]
    unrelated = [(str(n % 3), ((n // 3) % 3) * 10.0, n * 7919 % 1000 / 10) for n in range(600)]
    columns = (
        Column(name="letter", type="VARCHAR", kind=Kind.CATEGORICAL),
        Column(name="weight", type="DOUBLE", kind=Kind.NUMERICAL),
        Column(name="noise", type="DOUBLE", kind=Kind.NUMERICAL),
    )
    table = Table(name="t", path=("t",), columns=columns)
    context = check_context(tmp_path)
    metadata = Metadata(tables=(table,))
    real, copied = (write_table(tmp_path / side, table, of) for side, of in (("x", rows), ("y", unrelated)))
    snapshot = dataclasses.replace(context.snapshot, metadata=metadata, tables={"t": real})
    copy = dataclasses.replace(context.copy, metadata=metadata, tables={"t": copied})
    context = dataclasses.replace(context, snapshot=snapshot, copy=copy)
    html, numbers = written(tmp_path / "r", context, [])
    (document,) = json.loads(numbers)["tables"]
    found = document["associations"]
    assert found["columns"] == ["letter", "weight", "noise"]
    assert found["source"][0][1] == 1.0
    assert found["copy"][0][1] < 0.1
    assert found["source"][0][2] < 0.15
    assert "letter with weight 1.00 real, 0.0" in html


def test_children_are_counted_per_parent(tmp_path):
    context = check_context(tmp_path)
    _, numbers = written(tmp_path / "r", context, [])
    orders = next(table for table in json.loads(numbers)["tables"] if table["name"] == "orders")
    found = next(each for each in orders["cardinalities"] if each["parent"] == "customers")
    counted = collections.Counter(row[1] for row in small_warehouse_rows(customers=400)["orders"])
    histogram = collections.Counter(counted.get(row[0], 0) for row in small_warehouse_rows(customers=400)["customers"])
    assert found["children"][0] == "0"
    assert found["source"][0] == pytest.approx(histogram[0] / 400)
    assert sum(found["source"]) == pytest.approx(1)
    assert found["source"] == pytest.approx(found["copy"], abs=0.05)


KEYS = {
    "": "schema version verdict copy model snapshot generator settings labels outcomes tables times",
    "outcomes": "passed evidence",
    "outcomes.evidence": (
        "check subject value n ci_low ci_high maximum minimum severity seed detail table basis reference"
    ),
    "tables": "name rows subject primary_key unique foreign_keys columns associations cardinalities",
    "tables.rows": "source copy",
    "tables.foreign_keys": "columns parent parent_columns orphans",
    "tables.columns": "name type kind nulls histogram categories not_shown",
    "tables.columns.histogram": "low high edges source copy",
    "tables.columns.categories": "label source copy",
    "tables.associations": "columns source copy left_out",
    "tables.cardinalities": "columns parent children source copy",
    "times": "seconds",
}


def keys_at(document, place):
    for name in filter(None, place.split(".")):
        found = [each[name] for each in document if each.get(name)]
        document = [item for each in found for item in (each if isinstance(each, list) else [each])]
    return {key for each in document for key in each}


def test_the_document_has_the_keys_that_are_promised(tmp_path):
    context = check_context(tmp_path)
    _, numbers = written(tmp_path / "r", context, outcomes_of(context))
    document = json.loads(numbers)
    assert document["schema"] == SCHEMA == 1, "another schema: promise its keys here"
    assert {place: keys_at([document], place) for place in KEYS} == {k: set(v.split()) for k, v in KEYS.items()}


def test_a_thousand_wide_tables_stay_small_and_reachable(tmp_path):
    context = check_context(tmp_path)
    _, numbers = written(tmp_path / "r", context, outcomes_of(context))
    document = json.loads(numbers)
    tables, outcomes = document["tables"], document["outcomes"]
    names = [f"{table['name']}_{n}" for n in range(143) for table in tables]
    document["tables"] = [{**table, "name": f"{table['name']}_{n}"} for n in range(143) for table in tables]
    document["outcomes"] = [
        {**each, "evidence": {**each["evidence"], "table": f"{each['evidence']['table']}_{n}"}}
        for n in range(143)
        for each in outcomes
    ]
    html = render_html(document, Context())
    assert len(html.encode()) < 3_000_000
    assert len(names) > 1000
    page = Page(html)
    assert page.balanced
    linked = {attributes["href"] for tag, attributes in page.seen if tag == "a" and "#table-" in attributes["href"]}
    opened = {"#" + attributes["id"] for tag, attributes in page.seen if tag == "details" and "id" in attributes}
    assert linked == opened
    assert len(linked) == len(names)
    light = re.search(r"([0-9]+) of 1001 tables are shown without plots", html)
    assert light
    assert 0 < int(light[1]) < 1001
