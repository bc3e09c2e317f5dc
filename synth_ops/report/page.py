"""The report as one HTML file, and its numbers as JSON."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ops import __version__, sql
from synth_ops.artifact_io import outcome_to_json
from synth_ops.artifacts import Evidence, Outcome, Severity, Snapshot, SyntheticCopy
from synth_ops.metadata import Column, Kind, Table
from synth_ops.report.distributions import Distribution, distributions
from synth_ops.report.plots import HEIGHT, WIDTH, densities, outline

_TEMPLATE = "template.html.j2"
_FAMILIES = {
    "integrity": "Every key, reference and constraint of the source, counted over all rows of the copy.",
    "fidelity": "Distances between the distributions of source and copy, on up to 100,000 rows of each; 0 is the same.",
    "privacy": "What of real people could be seen in the copy: counts and shares, never the values.",
    "suite": "Your own Great Expectations suites, run on the copy.",
}
_SHOWN_REASONS = 12
_MADE = frozenset({Kind.PII, Kind.TEXT, Kind.MEDIA})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plot:
    distribution: Distribution
    real: str
    copy: str
    distance: Evidence | None
    summary: str
    instead: str

    @property
    def drawn(self) -> bool:
        return bool(self.distribution.edges or self.distribution.categories)


@dataclass(frozen=True, slots=True, kw_only=True)
class _TablePart:
    table: Table
    anchor: str
    rows_real: int
    rows_copy: int | None
    outcomes: Sequence[Outcome]
    blocked: int
    warned: int
    plots: Sequence[_Plot]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    name: str
    about: str
    total: int
    blocked: int
    warned: int
    seconds: float


def write_report(
    folder: Path,
    *,
    snapshot: Snapshot,
    copy: SyntheticCopy,
    outcomes: Sequence[Outcome],
    verdict: str,
    generator: str,
    settings_summary: Mapping[str, Any],
) -> Path:
    """Write `report.html`, which needs nothing but itself, and `report.json` with the same numbers.

    No value of the source is in them: bars and ends of axes have at least k subjects behind them, and of PII, free
    text and keys only the share of NULL is shown.

    Args:
        folder: Where to; it exists.
        snapshot: What the copy is compared with.
        copy: What was judged.
        outcomes: All that was judged.
        verdict: `passed` or `failed`.
        generator: The plug-in's name.
        settings_summary: Names and plain values to show.

    Returns:
        The HTML file.
    """
    import jinja2

    settings = {name: str(value) for name, value in settings_summary.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=_number, percent=_percent, limit=_limit)
    blocking = [outcome for outcome in outcomes if _blocks(outcome)]
    parts = _table_parts(snapshot, copy, outcomes)
    html = environment.get_template(_TEMPLATE).render(
        verdict=verdict,
        reasons=blocking[:_SHOWN_REASONS],
        more_reasons=max(len(blocking) - _SHOWN_REASONS, 0),
        warnings=[outcome for outcome in outcomes if not outcome.passed and not _blocks(outcome)],
        families=_families(outcomes),
        parts=parts,
        widest=max(parts, key=_drawn_columns).table.name if parts else "",
        others=[outcome for outcome in outcomes if not _table_of(outcome.evidence, snapshot.metadata.table_names)],
        total=len(outcomes),
        snapshot=snapshot,
        copy=copy,
        generator=generator,
        settings=settings,
        version=__version__,
        width=WIDTH,
        height=HEIGHT,
    )
    (folder / "report.html").write_text(html, encoding="utf-8")
    document = {
        "verdict": verdict,
        "copy": copy.ref.id,
        "snapshot": snapshot.ref.id,
        "generator": generator,
        "settings": settings,
        "rows": {name: {"source": data.rows, "copy": _rows(copy, name)} for name, data in snapshot.tables.items()},
        "outcomes": [outcome_to_json(outcome) for outcome in outcomes],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "report.json").write_text(text, encoding="utf-8")
    return folder / "report.html"


def _families(outcomes: Sequence[Outcome]) -> list[_Family]:
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.evidence.check.partition(".")[0]].append(outcome)
    return [
        _Family(
            name=name,
            about=_FAMILIES.get(name, "A check of a plug-in."),
            total=len(group),
            blocked=sum(_blocks(outcome) for outcome in group),
            warned=sum(not outcome.passed and not _blocks(outcome) for outcome in group),
            seconds=sum(outcome.evidence.seconds for outcome in group),
        )
        for name, group in sorted(groups.items(), key=lambda item: ([*_FAMILIES, item[0]].index(item[0]), item[0]))
    ]


def _table_parts(snapshot: Snapshot, copy: SyntheticCopy, outcomes: Sequence[Outcome]) -> list[_TablePart]:
    names = snapshot.metadata.table_names
    by_table: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_table[_table_of(outcome.evidence, names)].append(outcome)
    distances = {o.evidence.subject: o.evidence for o in outcomes if o.evidence.check == "fidelity.column_distance"}
    parts = []
    with sql.connect() as connection:
        for number, table in enumerate(snapshot.metadata.tables):
            own = by_table[table.name]
            blocked = sum(_blocks(outcome) for outcome in own)
            parts.append(
                _TablePart(
                    table=table,
                    anchor=f"table-{number}",
                    rows_real=snapshot.tables[table.name].rows,
                    rows_copy=_rows(copy, table.name),
                    outcomes=sorted(own, key=lambda outcome: (outcome.passed, not _blocks(outcome))),
                    blocked=blocked,
                    warned=sum(not outcome.passed for outcome in own) - blocked,
                    plots=_plots(connection, snapshot, copy, table, distances),
                )
            )
    return parts


def _drawn_columns(part: _TablePart) -> int:
    return sum(plot.drawn for plot in part.plots)


def _plots(
    connection: Any, snapshot: Snapshot, copy: SyntheticCopy, table: Table, distances: Mapping[str, Evidence]
) -> list[_Plot]:
    """Nothing for a table that can't be read: the integrity check has said so."""
    import duckdb

    try:
        found = distributions(connection, snapshot, copy, table)
    except (duckdb.Error, KeyError):
        return []
    return [_plot(each, table, distances.get(f"{table.name}.{each.column.name}")) for each in found]


def _plot(distribution: Distribution, table: Table, distance: Evidence | None) -> _Plot:
    real = copied = ""
    edges = distribution.edges
    if edges:
        peak = max(*densities(edges, distribution.real), *densities(edges, distribution.copy), 1e-9)
        real = outline(edges, distribution.real, peak, closed=True)
        copied = outline(edges, distribution.copy, peak, closed=False)
    summary = f"Distribution of {distribution.column.name}, real and copy"
    if distance:
        summary += f"; distance {_number(distance.value)}"
    instead = _why_not_drawn(distribution.column, table)
    return _Plot(distribution=distribution, real=real, copy=copied, distance=distance, summary=summary, instead=instead)


def _why_not_drawn(column: Column, table: Table) -> str:
    """Where the values of a column without a plot come from."""
    parents = [key.parent for key in table.foreign_keys if column.name in key.columns]
    if parents:
        return f"Not shown: a reference, made as its parent's key, in {' and '.join(dict.fromkeys(parents))}."
    if column.kind is Kind.ID or (column.name,) in table.keys:
        return "Not shown: allocated, not learned; codes of reference data that many refer to are kept."
    if column.kind in _MADE:
        return "Not learned and not shown: made by a provider, never the source's."
    return "Nothing to show: no value has enough people behind it."


def _table_of(evidence: Evidence, names: Sequence[str]) -> str:
    """The table that evidence is about: the longest name that its subject begins with; empty for none."""
    fitting = [
        name
        for name in names
        if evidence.subject == name or evidence.subject.startswith((f"{name}.", f"{name}(", f"{name}:"))
    ]
    return max(fitting, key=len, default="")


def _rows(copy: SyntheticCopy, table: str) -> int | None:
    data = copy.tables.get(table)
    return data.rows if data else None


def _blocks(outcome: Outcome) -> bool:
    return not outcome.passed and outcome.evidence.severity is Severity.CRITICAL


def _number(value: float | None) -> str:
    """A number for people.

    >>> _number(1234567.0), _number(0.123456), _number(float("nan"))
    ('1,234,567', '0.1235', 'not measured')
    """
    if value is None:
        return "none"
    if not math.isfinite(value):
        return "not measured"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _percent(share: float) -> str:
    return "no rows" if math.isnan(share) else f"{share:.1%}"


def _limit(evidence: Evidence) -> str:
    """The limits in words.

    >>> _limit(Evidence(check="c", subject="s", value=1, n=1, minimum=1, maximum=3))
    '1 to 3'
    """
    low, high = evidence.minimum, evidence.maximum
    if low is not None and high is not None:
        return f"{_number(low)} to {_number(high)}"
    if low is not None:
        return f"at least {_number(low)}"
    return f"at most {_number(high)}" if high is not None else "none"
