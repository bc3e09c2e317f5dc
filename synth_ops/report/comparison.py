"""Generators side by side: one page for people, and the same as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synth_ops.report import words

_FOLDER = Path(__file__).parent / "templates"
_WIDTH, _BAR, _GAP = 240, 14, 8
_FAMILIES = ("fidelity", "privacy", "efficacy")
_MEGABYTE = 1e6

Row = Mapping[str, Any]
"""What one generator came to: `generator`, `verdict`, `why`, `used` by family, `measures`, `fit_seconds`, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aspect:
    """One thing that generators differ in.

    Attributes:
        value: Of a row; None where it was not measured.
        show: The value for people.
        limit: Where a line is drawn; None for none.
    """

    title: str
    note: str
    value: Callable[[Row], float | None]
    show: Callable[[float], str]
    limit: float | None = None


def _used(family: str) -> Callable[[Row], float | None]:
    return lambda row: row["used"].get(family)


_ASPECTS = (
    *(
        _Aspect(
            title=name.capitalize(),
            note="share of its limits that is used; less is better",
            value=_used(name),
            show=lambda share: f"{share:.0%}",
            limit=1.0,
        )
        for name in _FAMILIES
    ),
    _Aspect(
        title="Learning", note="seconds", value=lambda row: row["fit_seconds"], show=lambda seconds: f"{seconds:,.1f} s"
    ),
    _Aspect(
        title="Drawing",
        note="rows a second; more is better",
        value=lambda row: row["rows_per_second"],
        show=lambda rate: f"{rate:,.0f}/s",
    ),
    _Aspect(
        title="Memory",
        note="megabytes at the peak",
        value=lambda row: None if row["peak_bytes"] is None else row["peak_bytes"] / _MEGABYTE,
        show=lambda size: f"{size:,.0f} MB",
    ),
)


def comparison_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """What a terminal shows.

    Returns:
        The heads of the columns, and the cells of every row.
    """
    heads = ["generator", "gate", *(aspect.title.lower() for aspect in _ASPECTS)]
    return heads, [[row["generator"], _verdict(row), *(_shown(aspect, row) for aspect in _ASPECTS)] for row in rows]


def render_comparison(rows: Sequence[Row], *, recipe: str, source: str) -> str:
    """Draw a page that needs nothing but itself.

    Args:
        rows: One a generator.
        recipe: The recipe's short name.
        source: The label of the source.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    heads, cells = comparison_table(rows)
    checks = dict.fromkeys(check for row in rows for check in sorted(row["measures"]))
    measures = [
        (words.title(check), check, [_number(row["measures"].get(check)) for row in rows]) for check in sorted(checks)
    ]
    text: str = environment.get_template("comparison.html.j2").render(
        recipe=recipe,
        source=source,
        rows=rows,
        heads=heads,
        cells=cells,
        charts=[chart for chart in (_chart(aspect, rows) for aspect in _ASPECTS) if chart],
        measures=measures,
    )
    return text


def _chart(aspect: _Aspect, rows: Sequence[Row]) -> dict[str, Any] | None:
    """A bar a generator, the longest as wide as the plot; None where nothing was measured."""
    values = [aspect.value(row) for row in rows]
    known = [value for value in values if value is not None]
    if not known:
        return None
    longest = max(*known, aspect.limit or 0.0, 1e-9)
    bars = [
        {
            "generator": row["generator"],
            "shown": _shown(aspect, row),
            "width": 0.0 if value is None else round(_WIDTH * max(value, 0.0) / longest, 1),
            "y": number * (_BAR + _GAP + _BAR),
        }
        for number, (row, value) in enumerate(zip(rows, values, strict=True))
    ]
    limit = None if aspect.limit is None else round(_WIDTH * aspect.limit / longest, 1)
    height = len(rows) * (_BAR + _GAP + _BAR)
    return {"title": aspect.title, "note": aspect.note, "bars": bars, "limit": limit, "height": height}


def _shown(aspect: _Aspect, row: Row) -> str:
    value = aspect.value(row)
    return "-" if value is None else aspect.show(value)


def _verdict(row: Row) -> str:
    return row["verdict"] or "no copy"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
