"""The report in a real browser: nothing is fetched, the verdict is seen first, everyone can read it."""

from __future__ import annotations

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from synth_ops.artifacts import Evidence, Outcome, Severity
from synth_ops.report import Context, render_html, write_report
from synth_ops.report.scores import night_scores
from synth_ops.testing.check_contexts import check_context

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
_CONTRAST = """
() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 && m[3] === 0 ? null : m; };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const low = [];
  for (const d of document.querySelectorAll('details')) d.open = true;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let node; node = walker.nextNode();) {
    const e = node.parentElement;
    if (!node.textContent.trim() || e.closest('style') || !e.getClientRects().length) continue;
    let back = null;
    for (let a = e; a && !back; a = a.parentElement) back = parse(getComputedStyle(a).backgroundColor);
    const [one, other] = [light(parse(getComputedStyle(e).color)), light(back || [255, 255, 255])];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push([ratio.toFixed(2), node.textContent.trim().slice(0, 40)]);
  }
  return {seen, low};
}
"""


@pytest.fixture
def opened(browser):
    """Open a file in a page of its own, which must neither fetch nor complain about anything."""
    page = browser.new_page()
    told, fetched = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: fetched.append(request.url))

    def open_file(path, viewport=DESKTOP, scheme="light"):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.goto(path.as_uri())
        return page

    yield open_file
    page.close()
    assert told == []
    assert len(set(fetched)) == 1
    assert fetched[0].startswith("file:")


def evidence(check, subject, value, **more):
    return Evidence(check=check, subject=subject, value=value, n=800, **more)


def judged(*, failing):
    """A bit of everything: exact, with an interval, with a softer limit; blocking or not."""
    auc = evidence("privacy.membership", "customers", 0.52, maximum=0.55, ci_low=0.49, ci_high=0.56, reference=0.5)
    near = evidence("fidelity.column_distance", "orders.total", 0.05, maximum=0.15, severity=Severity.WARNING)
    return [
        Outcome(
            evidence=evidence("integrity.primary_key", "orders(order_id)", 2.0 * failing, maximum=0.0),
            passed=not failing,
        ),
        Outcome(
            evidence=evidence("integrity.foreign_key", "orders(customer_id) -> customers", 0.0, maximum=0.0),
            passed=True,
        ),
        Outcome(evidence=auc, passed=True),
        Outcome(evidence=near, passed=True),
        Outcome(evidence=evidence("fidelity.mean_column_distance", "orders", 0.04, maximum=0.2), passed=True),
        Outcome(evidence=evidence("novel.measure", "copy", 1.1, maximum=1.0, severity=Severity.WARNING), passed=False),
    ]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A report that passed, after some nights, and one that failed."""
    folder = tmp_path_factory.mktemp("reports")
    context = check_context(folder / "data")
    made = {}
    for verdict in ("passed", "failed"):
        (folder / verdict).mkdir()
        outcomes = judged(failing=verdict == "failed")
        made[verdict] = write_report(
            folder / verdict,
            snapshot=context.snapshot,
            copy=context.copy,
            outcomes=outcomes,
            verdict=verdict,
            generator="relational_trees",
            settings_summary={"seed": 0},
        )
        document = json.loads((folder / verdict / "report.json").read_text(encoding="utf-8"))
        made[verdict].write_text(render_html(document, around(document)), encoding="utf-8")
    return made


def around(document):
    scores = night_scores(document["outcomes"])
    mean = scores["fidelity.mean_column_distance"]
    better = {**scores, "fidelity.mean_column_distance": {**mean, "value": 0.02, "used": 0.1}}
    night = {"copy": "3" * 20, "blocked": 0, "warned": 1, "scores": better}
    verdicts = ["passed", "failed", "passed"]
    return Context(
        recipe="shop",
        source="duckdb:///shop.duckdb",
        target="duckdb:///shop_test.duckdb",
        at="2026-03-04T03:00:00+00:00",
        nights=[{**night, "at": f"2026-03-0{n}T03:00:00+00:00", "verdict": v} for n, v in enumerate(verdicts, 1)],
        drop=0.05,
        drift={"against": "5" * 20, "columns": {"orders.total": 0.3, "orders.status": 0.0}},
        publication={
            "target": "duckdb:///shop_test.duckdb",
            "generation": 4,
            "published_at": "2026-03-04T03:01:00+00:00",
        },
        seconds={"snapshot": 1.0},
    )


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_the_verdict_and_why_stand_in_the_first_screen(opened, reports, verdict, viewport):
    page = opened(reports[verdict], viewport)
    heading = page.get_by_role("heading", level=1)
    assert f"{verdict} its gate" in heading.inner_text()
    box = heading.bounding_box()
    assert box["y"] + box["height"] < viewport["height"] / 2
    tile = page.locator(".tile").first.bounding_box()
    reasons = page.locator(".reasons li")
    assert reasons.count() == (verdict == "failed")
    if verdict == "failed":
        reason = reasons.first.bounding_box()
        assert reason["y"] + reason["height"] < viewport["height"]
        assert "rows that repeat a primary key" in reasons.first.inner_text()
        assert "synth-ops plan" in reasons.locator(".way").inner_text()
    else:
        assert tile["y"] + tile["height"] < viewport["height"]


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_nothing_is_wider_than_a_phone(opened, reports, verdict):
    page = opened(reports[verdict], PHONE)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_every_text_can_be_told_from_its_background(opened, reports, verdict, scheme):
    page = opened(reports[verdict], scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")[0]
    assert (int(dark) < 64) == (scheme == "dark")
    found = page.evaluate(_CONTRAST)
    assert found["seen"] > 100
    assert found["low"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_axe_finds_nothing(opened, reports, verdict, scheme):
    page = opened(reports[verdict], scheme=scheme)
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    # columns of two tables may have one name: cards are groups, not landmarks, which must differ
    assert page.locator(".card").count() == page.locator(".card[role=group]").count() > 10
    found = Axe().run(page)
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found.response["violations"]] == []


def test_the_keyboard_reaches_and_opens_everything(opened, reports):
    page = opened(reports["passed"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the tables"
    wanted = page.evaluate("document.querySelectorAll('summary').length")
    reached = set()
    for _ in range(300):
        page.keyboard.press("Tab")
        place = page.evaluate(
            "() => { const a = document.activeElement; if (a === document.body) return null;"
            " if (a.tagName === 'SUMMARY' && !a.parentElement.open) a.click();"
            " return a.tagName + ':' + [...document.querySelectorAll(a.tagName)].indexOf(a); }"
        )
        if place is None:
            break
        reached.add(place)
    assert sum(place.startswith("SUMMARY:") for place in reached) == wanted
    summary = page.locator("summary").first
    summary.focus()
    before = page.evaluate("document.activeElement.parentElement.open")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.open") is not before
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_link_opens_the_table_that_it_leads_to(opened, reports):
    page = opened(reports["passed"])
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = false")
    page.get_by_role("link", name="Tables", exact=True).click()
    assert "#tables" in page.url
    assert page.get_by_role("heading", name="Tables", exact=True).bounding_box()["y"] < DESKTOP["height"]


def test_what_is_around_the_report_is_told(opened, reports):
    page = opened(reports["passed"])
    text = page.inner_text("body")
    assert "as generation 4 of duckdb:///shop_test.duckdb" in text
    assert "used 10% of its limit on the last good night, 20% now" in text
    assert "over 4 nights" in text
    assert re.search(r"orders\.total\s+0\.300", text)
    assert page.get_by_role("img", name=re.compile("over 4 nights: from")).count() >= 2
    assert page.locator("circle.failed").count() >= 2
