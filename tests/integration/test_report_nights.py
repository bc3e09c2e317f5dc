"""Night after night: the trend, what moved, what was published, and the report's other forms."""

from __future__ import annotations

import json
import shutil

import pytest

from synth_ops.artifacts import ArtifactKind
from synth_ops.recipe import load_recipe
from synth_ops.report import render_html, render_markdown
from synth_ops.run import latest_report, open_store, run_all, run_step
from synth_ops.runners import latest_key
from synth_ops.store import Store


def gated_again(shop):
    """The report's document, from a store that had forgotten it."""
    recipe = load_recipe(shop.recipe)
    store = open_store(recipe)
    shutil.rmtree(shop.store / "report")
    (copy,) = store.artifacts(ArtifactKind.COPY)
    run_step(recipe, "gate", store=Store(shop.store), needs=copy)
    (report,) = (shop.store / "report").iterdir()
    return (report / "report.json").read_text(encoding="utf-8")


def test_the_same_copy_gated_twice_gives_the_same_bytes_but_for_times(shop):
    first, second = json.loads(gated_again(shop)), json.loads(gated_again(shop))
    for document in (first, second):
        assert document.pop("times")["seconds"]
    assert json.dumps(first) == json.dumps(second)


@pytest.fixture(scope="module")
def second_night(first_shop, tmp_path_factory):
    """A shop whose credits doubled and whose orders changed their states after a first night."""
    folder = tmp_path_factory.mktemp("nights") / "shop"
    shutil.copytree(first_shop.folder, folder, symlinks=True)
    shop = type(first_shop)(folder=folder)
    refresh(shop, seed=2)
    shop.sql("UPDATE customers SET credit = credit * 2 + 40", "UPDATE orders SET state = 'sent' WHERE id % 3 <> 0")
    refresh(shop, seed=3)
    return shop


def refresh(shop, seed):
    shop.change(seed=seed)
    recipe = load_recipe(shop.recipe)
    run_all(recipe, store=open_store(recipe))


def test_the_next_night_sees_the_one_before(second_night):
    recipe = load_recipe(second_night.recipe)
    _, document, context = latest_report(recipe, store=open_store(recipe))
    (before,) = context.nights
    assert before["verdict"] == "passed"
    assert before["copy"] != document["copy"]
    assert before["scores"]["fidelity.mean_column_distance"]["measured"] == 2
    page = render_html(document, context)
    assert "over 2 nights" in page
    assert before["copy"] in page


def test_what_moved_in_the_source_is_told_and_nothing_else(second_night):
    recipe = load_recipe(second_night.recipe)
    _, document, context = latest_report(recipe, store=open_store(recipe))
    moved = context.drift["columns"]
    assert context.drift["against"] == context.nights[0]["snapshot"] != document["snapshot"]
    assert moved["customers.credit"] > 0.25
    assert moved["orders.state"] > 0.25
    assert moved["orders.placed"] == moved["customers.city"] == 0.0
    assert "customers.credit" in render_html(document, context)


def test_what_was_published_where_is_told(second_night):
    recipe = load_recipe(second_night.recipe)
    _, document, context = latest_report(recipe, store=open_store(recipe))
    assert context.publication["generation"] == 3
    assert list(context.seconds) == ["snapshot", "fit", "sample", "gate", "publish"]
    assert f"as generation 3 of {context.publication['target']}" in render_html(document, context)
    assert "Published as generation 3" in render_markdown(document, context)
    publication = Store(second_night.store).recall(*latest_key(recipe, ArtifactKind.PUBLICATION))
    page = second_night.store / "publication" / publication.id / "report.html"
    assert "as generation 3 of" in page.read_text(encoding="utf-8")


def test_every_form_can_be_had(second_night, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished = cli("report", second_night.recipe, "--format", "markdown")
    assert finished.code == 0
    assert finished.out.startswith("### \u2705 shop: passed its gate")
    document = json.loads(cli("report", second_night.recipe, "--format", "json").out)
    assert document["schema"] == 1
    assert document["around"]["publication"]["generation"] == 3
    assert cli("report", second_night.recipe, "--format", "html").out == "wrote report.html\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert cli("report", second_night.recipe, "--format", "markdown", "-o", "a.md").code == 0
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == finished.out
    refused = cli("report", second_night.recipe, "--format", "html", "-o", "nowhere/x.html")
    assert refused.code == 2
    assert "can't write nowhere/x.html" in refused.err


def test_data_docs_hold_the_evidence_and_no_value(second_night, cli, tmp_path):
    finished = cli("report", second_night.recipe, "--data-docs", tmp_path / "docs")
    assert finished.out == f"wrote {tmp_path / 'docs' / 'index.html'}\n"
    assert finished.err == ""
    pages = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "docs").rglob("*.html")}
    assert {"index.html", "privacy.html", "integrity.html", "fidelity.html"} <= pages.keys()
    text = "".join(pages.values())
    assert "fidelity.mean_column_distance[customers]" in text
    assert not any(value in text for value in (second_night.canary, "Oslo", "Lyon"))
    refused = cli("report", second_night.recipe, "--data-docs", tmp_path / "docs")
    assert refused.code == 2
    assert "is not empty" in refused.err


def test_a_failed_night_says_why_in_every_form(shop, cli):
    shop.change(gate={"thresholds": {"fidelity.mean_column_distance": -1.0}})
    assert cli("run", shop.recipe).code == 3
    told = cli("report", shop.recipe, "--format", "markdown").out
    assert told.startswith("### \u274c shop: failed its gate")
    assert "What blocks it" in told
    assert "synth-ops plan" in told


def test_nothing_that_is_kept_between_nights_is_a_value(second_night):
    kept = [file for file in (second_night.store / "log").rglob("*") if file.is_file()]
    assert len(kept) > 10
    text = "".join(file.read_text(encoding="utf-8") for file in kept)
    assert second_night.canary not in text
    assert "orders.state" in text
    assert not any(value in text for value in ("Oslo", "Lyon", '"sent"', '"paid"'))


def fitted(recipe, store):
    return run_step(recipe, "fit", store=store, needs=run_step(recipe, "snapshot", store=store).ref)


@pytest.mark.parametrize("pruned", [False, True], ids=["with its snapshot", "without"])
def test_a_source_that_stands_still_is_not_learned_again(shop, pruned):
    shop.change(refit="on-drift", seed=4)
    recipe = load_recipe(shop.recipe)
    store = open_store(recipe)
    model = fitted(recipe, store).ref
    if pruned:  # what is known of it since its gate is enough
        shop.sql("UPDATE orders SET note = NULL WHERE id = 3")
        for snapshot in store.artifacts(ArtifactKind.SNAPSHOT):
            store.delete(snapshot)
    shop.sql("INSERT INTO orders SELECT id + 900, customer, placed, state, note FROM orders WHERE id < 30")
    kept = fitted(recipe, store)
    assert len(store.artifacts(ArtifactKind.SNAPSHOT)) == (1 if pruned else 2)
    assert (kept.ref, kept.skipped) == (model, True)
    assert "stands still" in kept.facts["source"]
    shop.sql("UPDATE orders SET state = 'sent' WHERE id % 3 <> 0")
    learned = fitted(recipe, store)
    assert not learned.skipped
    assert learned.ref != model


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE orders ADD COLUMN paid BOOLEAN",
        "INSERT INTO orders SELECT id + 900, customer, placed, state, note FROM orders",
        "UPDATE customers SET city = 'Oslo'",
    ],
    ids=["another column", "twice the rows", "another distribution"],
)
def test_a_source_that_moves_is_learned_again(shop, change):
    shop.change(refit="on-drift")
    recipe = load_recipe(shop.recipe)
    store = open_store(recipe)
    assert fitted(recipe, store).skipped
    shop.sql(change)
    assert not fitted(recipe, store).skipped


def test_a_night_that_somebody_changed_is_no_night(second_night, tmp_path):
    folder = tmp_path / "shop"
    shutil.copytree(second_night.folder, folder, symlinks=True)
    recipe = load_recipe(folder / "recipe.yaml").at(second_night.folder, "shop")
    for file in (folder / ".synth_ops" / "log").rglob("*.json"):
        if '"verdict"' in (text := file.read_text(encoding="utf-8")):
            file.write_text(text.replace('"passed"', '"failed"'), encoding="utf-8")
    _, _, context = latest_report(recipe, store=Store(folder / ".synth_ops"))
    assert context.nights == []
