"""The gate's own test on four real databases: what is caught by its own check, and how often fresh people fail.

`python tests/benchmarks/gate_controls.py --seeds 0 1 2 3 4`; `--only adult` picks some. A line for each control that
went wrong as it goes, then a table: in how many of the seeds each control did what it has to. It ends with an error
where a fault was missed, or where fresh real people failed in more than one of twenty.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml
from campaign import DATA, loaders
from rich.console import Console
from rich.table import Table

from synth_ops.controls import Trial, Verdict
from synth_ops.recipe import load_recipe
from synth_ops.run import try_gate
from synth_ops.store import Store

DATASETS = {
    "adult": ("ml_classics_dev", ["bank_marketing", "creditcard_default", "online_shoppers"]),
    "lahman": ("lahman", []),
    "nycflights13": ("nycflights13", []),
    "synthea_small": ("synthea_small", []),
}
"""By name: the folder, and the tables that are left out."""
_TOLERATED = 1 / 20


def main() -> int:
    """Try all, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    arguments = parser.parse_args()
    console = Console(width=160, highlight=False, markup=False)
    seen: dict[str, Counter[tuple[str, Verdict]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            for seed, trial in trials(name, arguments.seeds, Path(folder)):
                seen.setdefault(trial.fault, Counter())[name, trial.verdict] += 1
                if not trial.as_meant:
                    for each in trial.blocked or [None]:
                        what = f"{each.check} of {each.subject}: {each.value:.4g}" if each else "nothing blocked"
                        console.print(f"{name}, seed {seed}: {trial.fault}: {trial.verdict}: {what}")
    console.print(table(seen, arguments.only))
    counts: Counter[Verdict] = Counter()
    for each in seen.values():
        for (_, verdict), count in each.items():
            counts[verdict] += count
    fresh = counts[Verdict.PASSED] + counts[Verdict.FALSE_ALARM]
    console.print(
        f"{counts[Verdict.CAUGHT]} of {counts[Verdict.CAUGHT] + counts[Verdict.MISSED]} faults caught as meant; "
        f"{counts[Verdict.FALSE_ALARM]} false alarms on {fresh} draws of fresh real subjects"
    )
    return int(bool(counts[Verdict.MISSED]) or counts[Verdict.FALSE_ALARM] > _TOLERATED * fresh)


def trials(name: str, seeds: list[int], folder: Path) -> Iterator[tuple[int, Trial]]:
    """All controls of one database, seed by seed."""
    dataset, left_out = DATASETS[name]
    source = loaders().load_duckdb(DATA / dataset, folder / f"{name}.duckdb")
    file = folder / f"{name}.yaml"
    tables = {table: {"exclude": True} for table in left_out}
    file.write_text(yaml.safe_dump({"source": str(source), "target": "parquet:///unused", "tables": tables}))
    recipe, store = load_recipe(file), Store(folder / "store")
    for seed in seeds:
        for trial in try_gate(recipe.with_changes(seed=seed), store=store):
            yield seed, trial


def table(seen: dict[str, Counter[tuple[str, Verdict]]], names: list[str]) -> Table:
    """A row a control, a column a database: as meant / of how many it applied to."""
    drawn = Table("control", *names)
    for fault, counts in seen.items():
        cells = []
        for name in names:
            good = counts[name, Verdict.PASSED] + counts[name, Verdict.CAUGHT]
            applied = good + counts[name, Verdict.FALSE_ALARM] + counts[name, Verdict.MISSED]
            cells.append(f"{good} / {applied}" if applied else "-")
        drawn.add_row(fault, *cells)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
