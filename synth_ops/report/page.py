"""The report as one HTML file that needs nothing but itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synth_ops.report import scores, words
from synth_ops.report.context import Context
from synth_ops.report.document import family
from synth_ops.report.findings import Document, Finding, families, findings
from synth_ops.report.learning import curves
from synth_ops.report.tables import TablePart, tables
from synth_ops.report.trend import lines

_FOLDER = Path(__file__).parent / "templates"
_SHOWN_REASONS, _EXAMPLES, _SHOWN_ALERTS = 6, 3, 3
_MOST = 60
"""So many lines of one list; the rest is in the document."""
_BUDGET, _INDEX_ROW = 2_700_000, 500
"""Bytes of all tables, and of one line of their index: tables that do not fit are shown without plots."""
_STILL = 0.1
_SHOWN_DRIFT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reason:
    """One check that blocks, and what it was found on."""

    check: str
    title: str
    count: int
    examples: Sequence[Finding]
    detail: str
    way_out: str


def render_html(document: Document, context: Context) -> str:
    """Draw a report's document.

    Args:
        document: What `report_document` made, or `report.json` holds.
        context: What is known around it.
    """
    templates = _templates()
    every = findings(document)
    parts = tables(document, every)
    rendered, light = _render_tables(templates, parts)
    reasons = _reasons(every)
    now = scores.night_scores(document["outcomes"])
    drift = sorted((context.drift or {}).get("columns", {}).items(), key=lambda item: (-item[1], item[0]))
    text: str = templates.get_template("page.html.j2").render(
        document=document,
        context=context,
        total=len(every),
        blocked=sum(finding.status == "blocks" for finding in every),
        warned=sum(finding.status == "warning" for finding in every),
        rows=sum(part.rows_copy or 0 for part in parts),
        reasons=reasons[:_SHOWN_REASONS],
        more_reasons=max(len(reasons) - _SHOWN_REASONS, 0),
        alerts=[_alert(alert) for alert in scores.alerts(context.nights, now, context.drop)[:_SHOWN_ALERTS]],
        families=families(document, every),
        nights=context.nights,
        lines=lines(context, now, document["verdict"]),
        drifted=[(name, psi) for name, psi in drift[:_SHOWN_DRIFT] if psi > 0],
        parts=parts,
        rendered=rendered,
        light=light,
        hidden_labels=not document["labels"],
        times=[*context.seconds.items(), *((f"gate: {n}", s) for n, s in document["times"]["seconds"].items())],
        curves=curves(context),
        most=_MOST,
    )
    return text


def _templates() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        moment=_moment,
        counted=_counted,
        code=_code,
        several=_several,
        lower_first=lambda text: text[:1].lower() + text[1:],
    )
    return environment


def _render_tables(templates: Any, parts: Sequence[TablePart]) -> tuple[list[Any], int]:
    """Every table's HTML, with plots as long as they fit; and how many are without."""
    from markupsafe import Markup

    template = templates.get_template("table.html.j2")
    plain = [template.render(part=part, full=False, open=False, most=0) for part in parts]
    room = _BUDGET - sum(len(text.encode()) + _INDEX_ROW for text in plain)
    rendered, light = [], 0
    for number, (part, short) in enumerate(zip(parts, plain, strict=True)):
        text = template.render(part=part, full=True, open=number == 0, most=_MOST) if room > 0 else short
        more = len(text.encode()) - len(short.encode())
        if more > room or text is short:
            text, more, light = short, 0, light + 1
        room -= more
        rendered.append(Markup(text))  # noqa: S704  a template with autoescape made it
    return rendered, light


def _reasons(every: Sequence[Finding]) -> list[_Reason]:
    groups: dict[str, list[Finding]] = defaultdict(list)
    for finding in every:
        if finding.status == "blocks":
            groups[finding.check].append(finding)
    asked = list(words.FAMILIES)
    first = sorted(groups, key=lambda check: asked.index(family(check)) if family(check) in asked else len(asked))
    return [
        _Reason(
            check=check,
            title=group[0].title,
            count=len(group),
            examples=group[:_EXAMPLES],
            detail=group[0].detail if len(group) == 1 else "",
            way_out=group[0].way_out,
        )
        for check, group in ((check, groups[check]) for check in first)
    ]


def _alert(alert: Mapping[str, Any]) -> dict[str, str]:
    return {
        "title": words.title(alert["check"]),
        "before": f"{alert['before']['used']:.0%}",
        "now": f"{alert['now']['used']:.0%}",
    }


def _counted(every: Sequence[Finding]) -> list[tuple[str, int]]:
    return list(Counter(finding.title for finding in every).items())


def _several(count: int, name: str) -> str:
    """A count of things.

    >>> _several(1, "row"), _several(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _code(text: str) -> Any:
    """Text whose parts in backticks are set as code."""
    from markupsafe import Markup

    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in enumerate(parts)
    )


def _moment(iso: str) -> str:
    """A time for people.

    >>> _moment("2026-03-01T04:05:06+00:00")
    '1 March 2026, 04:05 UTC'
    """
    moment = datetime.fromisoformat(iso).astimezone(UTC)
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"
