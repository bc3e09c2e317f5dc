"""The curve of fidelity against privacy: `python tests/benchmarks/frontier.py` prints it for each choice of settings.

Every choice is fitted on the same rows and judged beside a real sample in the copy's place: C2ST, the share of rows
nearer to the rows learned from than to as many others (DCR), and the best membership attack on all and on the 5 % most
isolated (subjects, where rows belong to people). `--rows` and `--seeds` bound it; values are means over seeds, which
split and draw anew; intervals are the means of theirs.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from copies import as_frame, copy_of, keys_of, read_tables
from measures import (
    ISOLATED,
    Attack,
    Estimate,
    aggregates,
    attacks_on_rows,
    attacks_on_subjects,
    closer_to_train,
    separation,
)
from rich.console import Console
from rich.table import Table
from works import CLASSICS, halves, players, split_rows

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
CHOICES: dict[str, Mapping[str, Any]] = {
    "nearer": {"min_leaf": 10, "alpha": 0.5, "evidence": 1.0},
    "standard": {"privacy": "standard"},
    "strict": {"privacy": "strict"},
    "stricter": {"min_leaf": 100, "alpha": 4.0, "evidence": 12.0},
    "leaves of 20 by size alone": {"min_leaf": 20, "evidence": -9.0},
    "leaves of 100 by size alone": {"min_leaf": 100, "evidence": -9.0},
    "leaves believed": {"alpha": 0.0},
}
"""Two families beside the default: further along the same curve, and without one of its two parts."""
REAL = "a real sample"
SINGLE = {
    "flights": ("nycflights13", "flights", ()),
    "beijing_air": ("beijing_air", "measurement", ("station_id",)),
    **{name: ("ml_classics_dev", name, ("id",)) for name in CLASSICS},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One choice on one data set.

    Attributes:
        c2st: A classifier's AUC; .5 is best.
        dcr: Share of the copy nearer to what was learned; .5 is best.
        attack, isolated: AUC of the best membership attack, on all and on the most isolated; .5 is best.
    """

    data: str
    choice: str
    c2st: float
    dcr: Estimate
    attack: Estimate
    isolated: Estimate


def rows_of(bench: Path, data: str, rows: int, seed: int, choices: Sequence[str]) -> Iterator[Point]:
    """A single table: every row is a subject."""
    dataset, name, dropped = SINGLE[data]
    table = read_tables(bench / dataset, name)[name].drop_columns(list(dropped))
    size = min(rows, table.num_rows // 3)
    train, holdout, fresh = split_rows(table, size, size, size, seed=seed)
    real, others = as_frame(train), as_frame(holdout)
    for choice in choices:
        if choice == REAL:
            copy, columns = as_frame(fresh), list(real)
        else:
            copied = copy_of({name: train}, settings=CHOICES[choice], seed=seed)
            copy, columns = copied.tables[name], copied.compared(name)
        mine, theirs, drawn = real[columns], others[columns], copy[columns]
        yield _point(
            data,
            choice,
            separation(theirs, drawn).auc,
            closer_to_train(drawn, mine, theirs),
            attacks_on_rows(mine, theirs, drawn),
        )


def subjects_of(bench: Path, data: str, seed: int, choices: Sequence[str]) -> Iterator[Point]:
    """Players and their rows: a player is a subject."""
    dataset, names = bench / "lahman", ("People", "Fielding")
    sides = halves(read_tables(dataset, *names), seed)
    frames = [{name: as_frame(table) for name, table in side.items()} for side in sides]
    for choice in choices:
        if choice == REAL:  # there are but two halves: the other one stands for the copy, and is known to nobody
            continue
        copied = copy_of(sides[0], settings=CHOICES[choice], keys=keys_of(dataset, *names), seed=seed)
        train, holdout, copy = (players(each, copied) for each in (*frames, copied.tables))
        told = separation(holdout.children, copy.children, real_groups=holdout.keys, other_groups=copy.keys)
        profiles = [aggregates(each) for each in (copy, train, holdout)]
        yield _point(data, choice, told.auc, closer_to_train(*profiles), attacks_on_subjects(train, holdout, copy))


def _point(data: str, choice: str, c2st: float, dcr: Estimate, attacks: Sequence[Attack]) -> Point:
    everyone = [each for each in attacks if not each.name.endswith(ISOLATED)]
    alone = [each for each in attacks if each.name.endswith(ISOLATED)]
    best, isolated = (max(each, key=lambda one: one.auc.value).auc for each in (everyone, alone))
    return Point(data=data, choice=choice, c2st=c2st, dcr=dcr, attack=best, isolated=isolated)


def averaged(points: Sequence[Point]) -> Point:
    """The mean of a choice over its seeds."""

    def mean(of: str) -> Estimate:
        estimates = [getattr(point, of) for point in points]
        value, low, high = (
            float(np.mean([getattr(each, what) for each in estimates])) for what in ("value", "low", "high")
        )
        return Estimate(value=value, low=low, high=high, n=estimates[0].n)

    return Point(
        data=points[0].data,
        choice=points[0].choice,
        c2st=float(np.mean([point.c2st for point in points])),
        **{of: mean(of) for of in ("dcr", "attack", "isolated")},
    )


def as_table(points: Sequence[Point]) -> Table:
    """One table, a section for each data set."""
    table = Table(title="fidelity against privacy; .5 is best everywhere", title_justify="left")
    for heading in ("data", "choice", "C2ST AUC", "DCR share", "best attack, AUC", "on the most isolated"):
        table.add_column(heading)
    for number, point in enumerate(points):
        first = not number or points[number - 1].data != point.data
        if first and number:
            table.add_section()
        shown = [
            f"{each.value:.3f} ({each.low:.3f} to {each.high:.3f})"
            for each in (point.dcr, point.attack, point.isolated)
        ]
        table.add_row(point.data if first else "", point.choice, f"{point.c2st:.3f}", *shown)
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*SINGLE, "fielding"]
    parser.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME")
    parser.add_argument("--choices", nargs="+", choices=[REAL, *CHOICES], default=[REAL, *CHOICES], metavar="CHOICE")
    parser.add_argument("--rows", type=int, default=20_000, help="learned from, of single tables")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the real data sets")
    parser.add_argument("--json", type=Path, help="a file for the points")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    console = Console(width=None if Console().is_terminal else 160)
    points: list[Point] = []
    for data in arguments.only:
        found: dict[str, list[Point]] = {}
        for seed in range(arguments.seeds):
            if data == "fielding":
                made = subjects_of(arguments.data, data, seed, arguments.choices)
            else:
                made = rows_of(arguments.data, data, arguments.rows, seed, arguments.choices)
            for point in made:
                found.setdefault(point.choice, []).append(point)
        points += [averaged(each) for each in found.values()]
        console.print(as_table([point for point in points if point.data == data]))
    if arguments.json:
        arguments.json.write_text(pd.DataFrame(points).to_json(orient="records", indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
