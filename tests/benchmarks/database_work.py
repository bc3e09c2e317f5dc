"""Whole databases: fitted and sampled by the steps that a user runs, and measured reference by reference."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from copies import compared_columns, read_frame
from figures import Bench, Figure
from measures import Family, Separation, aggregates, cardinality_similarity, separation

from synth_ops.artifact_io import read_copy, read_snapshot
from synth_ops.artifacts import Snapshot, SyntheticCopy
from synth_ops.errors import SynthOpsError
from synth_ops.metadata import ForeignKey, Metadata, generation_order, subject_path
from synth_ops.recipe import parse_recipe
from synth_ops.run import StepResult, open_store, run_step

NAMES = ("chinook", "sakila", "employees", "cdnow", "beijing_air", "synthea_small", "usda_sr18", "pokeapi")
_WITH_CYCLES = ("sakila",)
_FEWEST, _FEWEST_ROOTS, _MOST_ROWS = 100, 50, 20_000
_LOADERS = Path(__file__).resolve().parent.parent / "datasets.py"
Frames = Mapping[str, pd.DataFrame]


def databases(bench: Bench) -> Iterator[Figure]:
    """Eight whole databases, against the data they were learned from; "real" is one half of it against the other."""
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                snapshot, copy, steps = _copied(bench, name, Path(folder))
            except SynthOpsError as error:
                yield Figure(data=name, measure="finished", value=0, how=".0f", note=str(error))
                continue
            sides = [{table: read_frame(data) for table, data in each.tables.items()} for each in (snapshot, copy)]
        yield from _reference_figures(name, snapshot.metadata, *sides)
        yield from _table_figures(name, snapshot.metadata, *sides)
        for step in steps:
            yield Figure(data=name, measure=f"{step.step}, s", value=step.seconds, how=".1f")


def parent_rows(child: pd.DataFrame, parent: pd.DataFrame, key: ForeignKey) -> np.ndarray[Any, Any]:
    """The place of each child row's parent; -1 where it has none."""
    left, right = parent[list(key.parent_columns)], child[list(key.columns)]
    both = pd.concat([each.set_axis(range(each.shape[1]), axis=1) for each in (left, right)], ignore_index=True)
    numbers = both.groupby(list(both.columns), sort=False).ngroup().fillna(-1).astype(int).to_numpy()
    place = np.full(numbers.max(initial=-1) + 2, -1)
    place[numbers[: len(parent)]] = np.arange(len(parent))
    place[-1] = -1
    return place[numbers[len(parent) :]]


def root_rows(metadata: Metadata, frames: Frames, table: str) -> pd.Series[Any]:
    """Whom each row belongs to in the end: the subject, or the row at the root of the largest parents.

    Where these are too few to make folds of, every row stands for itself.
    """
    rows = np.arange(len(frames[table]))
    owners = rows
    path = subject_path(metadata, table)
    for key in _climb(metadata, table) if path is None else path:
        above = parent_rows(frames[table], frames[key.parent], key)
        owners = np.where(owners >= 0, above[owners], owners)
        table = key.parent
    owners = np.where(owners >= 0, owners, -1 - rows)
    return pd.Series(owners if len(np.unique(owners)) >= _FEWEST_ROOTS else rows)


def _copied(bench: Bench, name: str, folder: Path) -> tuple[Snapshot, SyntheticCopy, list[StepResult]]:
    spec = importlib.util.spec_from_file_location("synth_ops_test_datasets", _LOADERS)
    loaders = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaders)
    scheme = "sqlite" if name in _WITH_CYCLES else "duckdb"
    source = getattr(loaders, f"load_{scheme}")(bench.data / name, folder / f"{name}.db")
    recipe = parse_recipe(
        {
            "source": f"{scheme}:///{source}",
            "target": f"parquet:///{folder / 'target'}",
            "generator_settings": dict(bench.settings),
        }
    )
    store = open_store(recipe, folder / "store")
    steps: list[StepResult] = []
    for step in ("snapshot", "fit", "sample"):
        steps.append(run_step(recipe, step, store=store, needs=steps[-1].ref if steps else None))
    return read_snapshot(store, steps[0].ref), read_copy(store, steps[2].ref), steps


def _reference_figures(name: str, metadata: Metadata, source: Frames, copy: Frames) -> Iterator[Figure]:
    separations: dict[str, tuple[Separation, Separation]] = {}
    cardinalities: list[tuple[float, float]] = []
    keys = [(table.name, key) for table in metadata.tables for key in table.foreign_keys]
    for table, key in keys:
        real, other = (_family(metadata, frames, table, key) for frames in (source, copy))
        if min(len(real.parents), len(other.parents)) < _FEWEST:
            continue
        halves = _halves(real)
        label = f"{table}({', '.join(key.columns)})"
        separations[label] = (_aggregated(real, other), _aggregated(*halves))
        cardinalities.append((cardinality_similarity(real, other), cardinality_similarity(*halves)))
    measured = f"{len(separations)} of {len(keys)} references, to {_FEWEST} parents or more"
    if not separations:
        yield Figure(data=name, measure="references measured", value=0, how=".0f", note=measured)
        return
    worst = max(separations, key=lambda label: separations[label][0].auc)
    aucs = [(found.auc, ceiling.auc) for found, ceiling in separations.values()]
    told = ", ".join(separations[worst][0].telltales)
    note = f"{measured}; worst {worst}: {separations[worst][0].auc:.3f}, told by {told}"
    for measure, pairs, remark in (("C2ST-Agg", aucs, note), ("cardinality 1-KS", cardinalities, "")):
        value, real_value = np.mean(pairs, axis=0)
        yield Figure(data=name, measure=f"mean {measure}", value=float(value), real=float(real_value), note=remark)


def _table_figures(name: str, metadata: Metadata, source: Frames, copy: Frames) -> Iterator[Figure]:
    found: dict[str, tuple[float, float, str]] = {}
    for table in metadata.tables:
        columns = compared_columns(table)
        frames = [side[table.name] for side in (source, copy)]
        if not columns or min(map(len, frames)) < _FEWEST:
            continue
        roots = [root_rows(metadata, side, table.name) for side in (source, copy)]
        apart = _separated(frames[0][columns], frames[1][columns], *roots)
        first = roots[0].isin(np.random.default_rng(0).permutation(roots[0].unique())[: roots[0].nunique() // 2])
        halves = (frames[0][columns][first.to_numpy()], frames[0][columns][~first.to_numpy()])
        ceiling = _separated(*halves, roots[0][first], roots[0][~first])
        found[table.name] = (apart.auc, ceiling.auc, ", ".join(apart.telltales))
    if found:
        worst = max(found, key=lambda table: found[table][0])
        auc, real, told = found[worst]
        sure = sum(each > 0.99 for each, *_ in found.values())
        note = f"{worst}, told by {told}; {sure} of {len(found)} tables of {_FEWEST} rows or more above .99"
        yield Figure(data=name, measure="worst table C2ST", value=auc, real=real, note=note)


def _family(metadata: Metadata, frames: Frames, table: str, key: ForeignKey) -> Family:
    above = parent_rows(frames[table], frames[key.parent], key)
    children = frames[table][compared_columns(metadata.table(table))]
    return Family(
        parents=frames[key.parent][compared_columns(metadata.table(key.parent))],
        children=children[above >= 0].reset_index(drop=True),
        keys=pd.Series(above[above >= 0]),
    )


def _halves(family: Family) -> tuple[Family, Family]:
    order = np.random.default_rng(0).permutation(family.parents.index)
    return family.of(order[: len(order) // 2]), family.of(order[len(order) // 2 :])


def _aggregated(real: Family, other: Family) -> Separation:
    return separation(aggregates(real), aggregates(other), most_rows=_MOST_ROWS)


def _separated(
    real: pd.DataFrame, other: pd.DataFrame, real_groups: pd.Series[Any], other_groups: pd.Series[Any]
) -> Separation:
    return separation(real, other, real_groups=real_groups, other_groups=other_groups, most_rows=_MOST_ROWS)


def _climb(metadata: Metadata, table: str) -> list[ForeignKey]:
    """From a table up to its largest parent, to that one's, and so on."""
    _, deferred = generation_order(metadata)
    path: list[ForeignKey] = []
    while keys := [
        key for key in metadata.table(table).foreign_keys if key.parent != table and (table, key) not in deferred
    ]:
        path.append(max(keys, key=lambda key: metadata.table(key.parent).rows))
        table = path[-1].parent
    return path
