"""The report as a summary in Markdown, for chat and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterator

from synth_ops.report import words
from synth_ops.report.context import Context
from synth_ops.report.findings import Document, Family, Finding, families, findings
from synth_ops.report.scores import alerts, night_scores

_SHOWN = 8
_MOVED = 0.1
_SIGNS = {"passed": "\u2705", "failed": "\u274c"}
_UNSAFE = re.compile(r"([\\`*_{}\[\]<>|#~])")


def render_markdown(document: Document, context: Context) -> str:
    """Draw a report's document as a few lines: the verdict, what blocks and the way out, a table of the families.

    Args:
        document: What `report_document` made, or `report.json` holds.
        context: What is known around it.
    """
    return "\n".join(_lines(document, context)) + "\n"


def _lines(document: Document, context: Context) -> Iterator[str]:
    verdict, every = document["verdict"], findings(document)
    rows = sum(table["rows"]["copy"] or 0 for table in document["tables"])
    yield f"### {_SIGNS[verdict]} {_plain(context.recipe or 'Synthetic copy')}: {verdict} its gate"
    yield ""
    counts = f"{rows:,} rows in {len(document['tables'])} tables, {len(every):,} measurements"
    yield f"{counts}. {_published(document, context)}"
    for each in context.fell:
        yield ""
        made_by = _plain(document["generator"])
        yield f"Made by {made_by}, as **{_plain(each['generator'])}** failed: {_plain(each['why'])}"
    blocking = [finding for finding in every if finding.status == "blocks"]
    if blocking:
        yield ""
        yield "**What blocks it**"
        yield ""
        yield from (_reason(finding) for finding in blocking[:_SHOWN])
        if len(blocking) > _SHOWN:
            yield f"- and {len(blocking) - _SHOWN:,} more"
    yield ""
    yield "| | result | first, or nearest to its limit |"
    yield "|---|---|---|"
    yield from (_family(family) for family in families(document, every))
    moved = alerts(context.nights, night_scores(document["outcomes"]), context.drop)
    if moved:
        yield ""
        yield "**Nearer to its limit than on the last good night**"
        yield ""
        for alert in moved[:_SHOWN]:
            before, now = alert["before"]["used"], alert["now"]["used"]
            yield f"- {_plain(words.title(alert['check']))}: {before:.0%} of it used then, {now:.0%} now"
    drifted = sorted((context.drift or {}).get("columns", {}).items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_plain(name)} {psi:.2f}" for name, psi in drifted[:_SHOWN] if psi >= _MOVED]
    if shown:
        yield ""
        yield f"**The source moved** (PSI): {', '.join(shown)}"
    yield ""
    yield f"Copy `{document['copy']}` of snapshot `{document['snapshot']}`."


def _published(document: Document, context: Context) -> str:
    if document["verdict"] != "passed":
        return "It can't be published; what was live is live still."
    if not context.publication:
        return "It is not published yet."
    where = context.publication
    return f"Published as generation {where['generation']} of `{where['target']}`."


def _reason(finding: Finding) -> str:
    measured = f"{finding.value} ({finding.limit})"
    return f"- **{_plain(finding.title)}**, {_plain(finding.subject)}: {measured}. {finding.way_out}"


def _family(family: Family) -> str:
    if family.blocked:
        result = f"\u274c {family.blocked:,} of {len(family.findings):,} block"
    elif family.warned:
        result = f"\u26a0\ufe0f {family.warned:,} of {len(family.findings):,} warn"
    else:
        result = f"\u2705 {len(family.findings):,} passed"
    near = family.headline
    shown = f"{_plain(near.title)}, {_plain(near.subject)}: {near.value}, {near.limit}" if near else ""
    return f"| {_plain(family.question)} | {result} | {shown} |"


def _plain(text: str) -> str:
    """Text that means itself: what Markdown would read as its own is escaped."""
    return _UNSAFE.sub(r"\\\1", " ".join(text.split()))
