"""The nights of a recipe: what each one came to, kept in the store, so that the next one can be seen beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synth_ops.artifact_io import REPORT_FILE, read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef, GateReport, Snapshot, SyntheticCopy
from synth_ops.recipe import Recipe
from synth_ops.report.context import Context
from synth_ops.report.findings import findings
from synth_ops.report.page import render_html
from synth_ops.report.profiles import source_drift
from synth_ops.report.scores import alerts, night_scores
from synth_ops.report.write import REPORT_JSON, write_report
from synth_ops.store import Store

Night = Mapping[str, Any]

_KEPT, _LOGS_KEPT = 60, 2_000
"""So many nights are kept, and shown; and so many logs of a store, of which a night writes half a dozen."""


def write_nightly_report(
    folder: Path, *, recipe: Recipe, store: Store, snapshot: Snapshot, copy: SyntheticCopy, **facts: Any
) -> Path:
    """Write a report with the nights before it around it, and keep what this night came to.

    Args:
        facts: The other arguments of `write_report`.

    Returns:
        The HTML file.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    nights = _past_nights(recipe, store, copy=copy.ref.id, at=at)
    other = next((night["snapshot"] for night in reversed(nights) if night["snapshot"] != snapshot.ref.id), None)
    moved = source_drift(store, snapshot, other)
    steps = {"snapshot": snapshot.ref, "fit": copy.model, "sample": copy.ref}
    context = _context(recipe, store, nights=nights, at=at, drift=moved, steps=steps)
    html = write_report(folder, snapshot=snapshot, copy=copy, context=context, **facts)
    document = json.loads((folder / REPORT_JSON).read_text(encoding="utf-8"))
    _record_night(recipe, store, document, at=at, moved=moved)
    return html


def write_published_page(folder: Path, receipt: Mapping[str, Any], *, recipe: Recipe, store: Store) -> None:
    """Write the page of a report as it is read once its copy is published.

    Args:
        folder: Where to.
        receipt: The publication's body: `report`, `target`, `generation`, `published_at`, ...
    """
    _, document, context = recall_report(recipe, store, ArtifactRef.from_json(receipt["report"]))
    html = render_html(document, replace(context, publication=receipt))
    (folder / REPORT_FILE).write_text(html, encoding="utf-8")


def read_document(store: Store, ref: ArtifactRef) -> dict[str, Any]:
    """What a report says, as `report_document` made it.

    Raises:
        ArtifactError: It is missing or was changed.
    """
    document: dict[str, Any] = json.loads((store.read(ref).path / REPORT_JSON).read_text(encoding="utf-8"))
    return document


def recall_report(
    recipe: Recipe, store: Store, ref: ArtifactRef, publication: ArtifactRef | None = None
) -> tuple[GateReport, dict[str, Any], Context]:
    """Read a report back, its document, and what is known around it by now.

    Args:
        ref: The report.
        publication: The recipe's last one; it counts if it published this report's copy.

    Raises:
        ArtifactError: The store can't be read.
    """
    report, document, at = read_report(store, ref), read_document(store, ref), store.read(ref).created_at
    kinds = {"snapshot": ArtifactKind.SNAPSHOT, "fit": ArtifactKind.MODEL, "sample": ArtifactKind.COPY}
    steps = {step: ArtifactRef(kind=kind, id=document[kind.value]) for step, kind in kinds.items()} | {"gate": ref}
    receipt = store.read(publication).body if publication else {}
    published = receipt.get("copy") == report.copy.to_json()
    if publication and published:
        steps["publish"] = publication
    every = store.recorded(*_key(recipe), last=_KEPT)
    own = next((night for night in reversed(every) if night["copy"] == report.copy.id), None)
    nights = _past_nights(recipe, store, copy=report.copy.id, at=at)
    context = _context(recipe, store, nights=nights, at=at, drift=own and own["drift"], steps=steps)
    return report, document, replace(context, publication=receipt if published else None)


def moved_checks(document: Mapping[str, Any], context: Context) -> list[str]:
    """The checks that came nearer to their limits since the last good night than the recipe lets pass in silence."""
    return [alert["check"] for alert in alerts(context.nights, night_scores(document["outcomes"]), context.drop)]


def _step_seconds(store: Store, steps: Mapping[str, ArtifactRef]) -> dict[str, float]:
    """What steps took when they made these artifacts, as far as the store knows."""
    found = {step: store.recorded("seconds", ref.id, last=1) for step, ref in steps.items()}
    return {step: entries[0]["seconds"] for step, entries in found.items() if entries}


def _key(recipe: Recipe) -> tuple[object, ...]:
    """What is refreshed from what: changes of a recipe's settings belong to one trend."""
    return "nights", recipe.source_location().identity, recipe.target_location().identity


def _context(
    recipe: Recipe,
    store: Store,
    *,
    nights: Sequence[Night],
    at: str,
    drift: Night | None,
    steps: Mapping[str, ArtifactRef],
) -> Context:
    return Context(
        recipe=recipe.name,
        source=recipe.source_location().label,
        target=recipe.target_location().label,
        at=at,
        nights=nights,
        drop=recipe.gate.alert_at,
        drift=drift,
        seconds=_step_seconds(store, steps),
        fell=store.recorded("fell", recipe.generators, steps["fit"].id, last=_KEPT),
        learning=store.facts(steps["fit"]).get("learning", ()) if store.exists(steps["fit"]) else (),
    )


def _past_nights(recipe: Recipe, store: Store, *, copy: str, at: str) -> list[Night]:
    """The nights before a moment, oldest first; of several verdicts on one copy the last.

    Args:
        copy: Id of this night's own copy: another verdict on it is no other night.
    """
    found = store.recorded(*_key(recipe), last=_KEPT)
    nights = {night["copy"]: night for night in found if night["copy"] != copy and night["at"] <= at}
    return list(nights.values())


def _record_night(recipe: Recipe, store: Store, document: Night, *, at: str, moved: Night | None) -> None:
    every = findings(document)
    night = {
        "at": at,
        "copy": document["copy"],
        "snapshot": document["snapshot"],
        "verdict": document["verdict"],
        "blocked": sum(finding.status == "blocks" for finding in every),
        "warned": sum(finding.status == "warning" for finding in every),
        "scores": night_scores(document["outcomes"]),
        "drift": dict(moved) if moved else None,
    }
    moment = "".join(letter for letter in at if letter.isdigit())
    store.record(*_key(recipe), name=f"{moment}-{document['copy']}", entry=night, keep=_KEPT)
    store.trim_log(_LOGS_KEPT)
