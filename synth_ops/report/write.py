"""Write a report's files: the document for machines, and the page for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synth_ops.artifacts import Outcome, Snapshot, SyntheticCopy
from synth_ops.report.context import Context
from synth_ops.report.document import report_document
from synth_ops.report.page import render_html

REPORT_JSON = "report.json"


def write_report(  # noqa: PLR0913  each is a fact of its own
    folder: Path,
    *,
    snapshot: Snapshot,
    copy: SyntheticCopy,
    outcomes: Sequence[Outcome],
    verdict: str,
    generator: str,
    settings_summary: Mapping[str, Any],
    labels: bool = False,
    context: Context | None = None,
) -> Path:
    """Write `report.html`, which needs nothing but itself, and `report.json`, which it is drawn from.

    No value of the source is in them: bars and ends of axes have at least k subjects behind them, texts are numbered
    by frequency, and of PII, free text and keys only the share of NULL is shown.

    Args:
        folder: Where to; it exists.
        snapshot: What the copy is compared with.
        copy: What was judged.
        outcomes: All that was judged.
        verdict: `passed` or `failed`.
        generator: The plug-in's name.
        settings_summary: Names and plain values to show.
        labels: Whether text categories that k subjects share are named.
        context: What is known around the report; it goes into the page, not into the document.

    Returns:
        The HTML file.
    """
    document = report_document(
        snapshot=snapshot,
        copy=copy,
        outcomes=outcomes,
        verdict=verdict,
        generator=generator,
        settings=settings_summary,
        labels=labels,
    )
    (folder / REPORT_JSON).write_text(_json(document), encoding="utf-8")
    html = folder / "report.html"
    html.write_text(render_html(document, context or Context()), encoding="utf-8")
    return html


def render_json(document: Mapping[str, Any], context: Context) -> str:
    """A report's document with what is known around it under `around`: nights, drift, publication, times of steps."""
    return _json({**document, "around": asdict(context)})


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
