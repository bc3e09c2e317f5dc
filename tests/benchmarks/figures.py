"""What a benchmark found, beside the bar that it has to reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measures import Attack, Estimate
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every work is given: the folder of data sets, and the generator's settings."""

    data: Path
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What a figure must reach.

    Attributes:
        limit: The floor, or the most.
        at_most: Whether less is better.
        aim: What would be good.
        lower_end: Whether the lower end of the confidence interval is judged, not the value.
    """

    limit: float
    at_most: bool = True
    aim: float | None = None
    lower_end: bool = False

    def met_by(self, figure: Figure) -> bool:
        """Whether it is reached."""
        judged = figure.low if self.lower_end and figure.low is not None else figure.value
        return judged <= self.limit if self.at_most else judged >= self.limit

    def shown(self, how: str) -> str:
        """As text."""
        sign = "<=" if self.at_most else ">="
        aim = "" if self.aim is None else f", aim {self.aim:{how}}"
        return f"{'CI low ' if self.lower_end else ''}{sign} {self.limit:{how}}{aim}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number.

    Attributes:
        data: What it was measured on.
        measure: What was measured.
        value: Of the copy.
        low, high: 95 % confidence interval.
        real: The same of a real holdout (or of the training data against it): the ceiling.
        bar: What it has to reach.
        how: Format of the numbers.
        note: One line.
    """

    data: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    real: float | None = None
    bar: Bar | None = None
    how: str = ".3f"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is none."""
        return self.bar.met_by(self) if self.bar else None


def estimated(estimate: Estimate, unit: str, **rest: Any) -> Figure:
    """A figure with its interval."""
    note = "; ".join(part for part in (f"n = {estimate.n:,} {unit}", rest.pop("note", "")) if part)
    return Figure(value=estimate.value, low=estimate.low, high=estimate.high, note=note, **rest)


def of_attacks(attacks: Sequence[Attack], data: str, label: str, *, judged: bool) -> list[Figure]:
    """The best attack by each measure."""
    by_auc = max(attacks, key=lambda each: each.auc.value)
    by_tpr = max(attacks, key=lambda each: each.tpr.value)
    return [
        estimated(
            by_auc.auc,
            "subjects",
            data=data,
            measure=f"membership AUC, {label}",
            real=0.5,
            bar=Bar(limit=0.53, lower_end=True) if judged else None,
            note=f"best of {len(attacks)} attacks: {by_auc.name}",
        ),
        estimated(
            by_tpr.tpr,
            "subjects",
            data=data,
            measure=f"TPR at 1 % FPR, {label}",
            real=0.01,
            bar=Bar(limit=0.02) if judged else None,
            note=f"best of {len(attacks)} attacks: {by_tpr.name}",
        ),
    ]


def as_table(figures: Sequence[Figure], title: str) -> Table:
    """One table of figures; a line between data sets."""
    table = Table(title=title, title_justify="left")
    for heading in ("data", "measure", "copy", "95 % CI", "real", "bar", "met", "note"):
        table.add_column(heading, justify="right" if heading in ("copy", "real") else "left")
    for number, figure in enumerate(figures):
        first = number == 0 or figures[number - 1].data != figure.data
        if first and number:
            table.add_section()
        interval = "" if figure.low is None else f"{figure.low:{figure.how}} to {figure.high:{figure.how}}"
        table.add_row(
            figure.data if first else "",
            figure.measure,
            f"{figure.value:{figure.how}}",
            interval,
            "" if figure.real is None else f"{figure.real:{figure.how}}",
            figure.bar.shown(figure.how) if figure.bar else "",
            {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[figure.met],
            figure.note,
        )
    return table


def as_json(figures: Sequence[Figure]) -> list[Mapping[str, Any]]:
    """Plain dicts."""
    return [{**dataclasses.asdict(figure), "met": figure.met} for figure in figures]
