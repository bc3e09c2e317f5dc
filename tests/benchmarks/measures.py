"""How near a synthetic copy is to real data, and how much nearer to the people that it was learned from than to others.

Every function takes pandas frames of one shape and gives numbers; every one draws with a fixed seed, so that the same
frames give the same numbers. Nothing here knows a generator: a fresh real sample can stand wherever a copy does, and
shows what the ceiling is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightgbm
import numba
import numpy as np
import pandas as pd

from synth_ops.checks.statistics import area_under_curve, true_positive_rate

Matrix = np.ndarray[Any, np.dtype[Any]]
TREES, FOLDS, REPLICATES = 120, 5, 500
ISOLATED = ", most isolated"
_MISMATCH = 0.5
_MISSING_RANK = -0.5
_TREE_SETTINGS = {
    "objective": "binary",
    "verbose": -1,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # two mostly wait for each other, for minutes where the machine is busy
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number, its 95 % confidence interval, and what it rests on.

    Attributes:
        n: Independent units: rows, or subjects where rows hang together.
    """

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well a classifier tells two samples apart.

    Attributes:
        auc: .5 is not at all, 1 is always.
        n: Rows a side.
        telltales: The columns that helped most, the best first.
    """

    auc: float
    n: int
    telltales: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """How well one score tells members of the training data from others."""

    name: str
    auc: Estimate
    tpr: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A parent table and one of its children.

    Attributes:
        parents: Indexed by key.
        children: With an index of their own, each row once.
        keys: The parent's key, for each row of `children`, with the same index.
        order: Columns of `children` that order the rows of one parent.
    """

    parents: pd.DataFrame
    children: pd.DataFrame
    keys: pd.Series[Any]
    order: Sequence[str] = ()

    def of(self, keys: pd.Index[Any]) -> Family:
        """The family of some of the parents alone."""
        kept = self.keys.isin(keys)
        return Family(
            parents=self.parents.loc[keys], children=self.children[kept], keys=self.keys[kept], order=self.order
        )

    def beside(self, other: Family) -> Family:
        """Both families; no key may be in both."""
        return Family(
            parents=pd.concat([self.parents, other.parents]),
            children=pd.concat([self.children, other.children], ignore_index=True),
            keys=pd.concat([self.keys, other.keys], ignore_index=True),
            order=self.order,
        )


def as_numbers(*frames: pd.DataFrame) -> tuple[list[Matrix], Matrix]:
    """The same columns of several frames as float matrices, NaN where a value is missing.

    Times become numbers; whatever is neither becomes the rank of its text among all texts of the column.

    Returns:
        A matrix a frame, and which columns hold categories.
    """
    together = pd.concat(frames, ignore_index=True)
    categories = np.array([not _is_ordinal(together[name]) for name in together], dtype=bool)
    columns = [
        _codes(together[name]) if category else _numbers(together[name])
        for name, category in zip(together, categories, strict=True)
    ]
    matrix = np.column_stack(columns) if columns else np.empty((len(together), 0))
    return np.split(matrix, np.cumsum([len(frame) for frame in frames])[:-1]), categories


def separation(
    real: pd.DataFrame,
    other: pd.DataFrame,
    *,
    real_groups: pd.Series[Any] | None = None,
    other_groups: pd.Series[Any] | None = None,
    most_rows: int = 200_000,
) -> Separation:
    """Classifier two-sample test (Lopez-Paz and Oquab, ICLR 2017): the mean AUC of a LightGBM over held-out folds.

    Args:
        real_groups, other_groups: The root subject of each row: all rows of one are in the same fold, as else the
            classifier knows people again (real against real would read .56 to .69 on child tables).
        most_rows: A side; both sides are cut at random to the same size.
    """
    size = min(len(real), len(other), most_rows)
    picked = [_picked(len(frame), size, seed) for seed, frame in enumerate((real, other))]
    (left, right), _ = as_numbers(real.iloc[picked[0]], other.iloc[picked[1]])
    inputs, sides = np.vstack([left, right]), np.repeat([0, 1], size)
    groups = [
        np.arange(size) if group is None else pd.factorize(group.to_numpy()[rows])[0]
        for group, rows in zip((real_groups, other_groups), picked, strict=True)
    ]
    fold = np.random.default_rng(0).integers(0, FOLDS, groups[0].max() + groups[1].max() + 2)
    folds = fold[np.concatenate([groups[0], groups[1] + groups[0].max() + 1])]
    parts = [folds == number for number in range(FOLDS)]
    parts = [each for each in parts if len(np.unique(sides[each])) == len(np.unique(sides[~each])) == len(picked)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        found = list(executor.map(partial(_told_apart, inputs, sides), parts))
    aucs, gains = [auc for auc, _ in found], np.sum([gain for _, gain in found], axis=0)
    telltales = [str(real.columns[place]) for place in np.argsort(-gains, kind="stable")[:4] if gains[place] > 0]
    return Separation(auc=float(np.mean(aucs)) if aucs else 0.5, n=size, telltales=tuple(telltales))


def _told_apart(inputs: Matrix, sides: Matrix, held_out: Matrix) -> tuple[float, Matrix]:
    """The AUC on some rows when all others were learned from, and how much each column helped."""
    model = _booster(inputs[~held_out], sides[~held_out])
    scores = np.asarray(model.predict(inputs[held_out], num_threads=1))
    auc = area_under_curve(scores[sides[held_out] == 1], scores[sides[held_out] == 0])
    return auc, model.feature_importance("gain")


def efficacy(train: pd.DataFrame, test: pd.DataFrame, target: str) -> float:
    """Train on one sample, test on another (TSTR; Esteban et al., 2017): the AUC of a LightGBM for the rarer class."""
    (inputs, questions), _ = as_numbers(train.drop(columns=target), test.drop(columns=target))
    answers = test[target].astype(str)
    rarer = answers.value_counts().index[-1]
    scores = np.asarray(_booster(inputs, (train[target].astype(str) == rarer).to_numpy()).predict(questions))
    positive = (answers == rarer).to_numpy()
    return area_under_curve(scores[positive], scores[~positive])


def aggregates(family: Family) -> pd.DataFrame:
    """Each parent with its own columns, the number of its children, and what these amount to.

    Aggregated as in SyntheRela's C2ST-Agg (Hudovernik et al., 2024), with the extremes of numbers and times: their
    mean, minimum, maximum and number of distinct values; of categories the last alone.
    """
    ordinal = [name for name in family.children if _is_ordinal(family.children[name])]
    numbers = family.children[ordinal].apply(_numbers)
    key = family.keys.to_numpy()
    parts = [numbers.groupby(key).agg(what).add_suffix(f"_{what}") for what in ("mean", "min", "max") if ordinal]
    distinct = family.children.groupby(key).nunique().add_suffix("_nunique")
    counts = child_counts(family).rename("children").to_frame()
    return pd.concat([family.parents, counts, *(part.reindex(counts.index) for part in (*parts, distinct))], axis=1)


def child_counts(family: Family) -> pd.Series[Any]:
    """The number of children of every parent, those of none included."""
    return family.keys.value_counts().reindex(family.parents.index, fill_value=0)


def cardinality_similarity(real: Family, other: Family) -> float:
    """1 minus the Kolmogorov-Smirnov distance between the numbers of children a parent (SDMetrics)."""
    left, right = (np.sort(child_counts(each).to_numpy()) for each in (real, other))
    at = np.union1d(left, right)
    shares = (np.searchsorted(each, at, side="right") / max(len(each), 1) for each in (left, right))
    return 1.0 - float(np.abs(np.subtract(*shares)).max(initial=0.0))


def with_parent(family: Family) -> pd.DataFrame:
    """Each child row with the columns of its parent."""
    parents = family.parents.add_prefix("parent_").reindex(family.keys.to_numpy())
    return pd.concat([family.children.reset_index(drop=True), parents.reset_index(drop=True)], axis=1)


def with_previous(family: Family) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Each child row with the one before it of the same parent (the first has none and is left out), and its key."""
    ordered = family.children.sort_values(list(family.order), kind="stable")
    keys = family.keys.loc[ordered.index]
    before = ordered.groupby(keys.to_numpy()).shift(1).add_suffix("_before")
    followers = (keys.groupby(keys.to_numpy()).cumcount() > 0).to_numpy()
    return pd.concat([ordered, before], axis=1)[followers], keys[followers]


def places(*frames: pd.DataFrame) -> tuple[list[Matrix], Matrix]:
    """Rows as points for `nearest`: numbers by their rank among all frames, categories as codes.

    Returns:
        A matrix a frame, and which columns hold categories; the column of the most values stands first.
    """
    matrices, categories = as_numbers(*frames)
    together = np.vstack(matrices)
    for column in range(together.shape[1]):
        values = together[:, column]
        if not categories[column]:
            values = pd.Series(values).rank(pct=True).to_numpy()
        together[:, column] = np.where(np.isnan(values), _MISSING_RANK, values)
    distinct = [len(np.unique(together[:, column])) for column in range(together.shape[1])]
    order = np.lexsort((-np.array(distinct), categories))
    together = np.ascontiguousarray(together[:, order], dtype=np.float32)
    return np.split(together, np.cumsum([len(matrix) for matrix in matrices])[:-1]), categories[order]


def nearest(points: Matrix, others: Matrix, categories: Matrix) -> Matrix:
    """The distance of each point to the nearest of the others (Gower, 1971, a sum over columns).

    Numbers: the difference of ranks. Categories: 0.5 where they differ. What is missing lies half a range below all.
    """
    ordered = others[np.argsort(others[:, 0], kind="stable")]
    found: Matrix = _nearest(np.ascontiguousarray(points), np.ascontiguousarray(ordered), categories)
    return found


def closer_to_train(
    copy: pd.DataFrame,
    train: pd.DataFrame,
    holdout: pd.DataFrame,
    *,
    groups: pd.Series[Any] | None = None,
    most_rows: int = 10_000,
) -> Estimate:
    """DCR share (Platzer and Reutterer, 2021): how many rows of a copy lie nearer to train than to an equal holdout.

    Ties count half; .5 is what fresh people give. The interval is over rows of the copy, or over its subjects.

    Args:
        groups: The subject of each row of the copy.
        most_rows: Of the copy, drawn at random; train and holdout are cut to the smaller one's size only.
    """
    size = min(len(train), len(holdout))
    picked = _picked(len(copy), most_rows, 0)
    cut = [frame.iloc[_picked(len(frame), size, seed)] for seed, frame in enumerate((train, holdout))]
    (points, near, far), categories = places(copy.iloc[picked], *cut)
    to_train, to_holdout = nearest(points, near, categories), nearest(points, far, categories)
    scores = (to_train < to_holdout) + 0.5 * (to_train == to_holdout)
    owner = np.arange(len(picked)) if groups is None else pd.factorize(groups.to_numpy()[picked])[0]
    sums, sizes = np.bincount(owner, scores), np.bincount(owner)
    return _bootstrapped(lambda units: sums[units].sum() / sizes[units].sum(), len(sums))


def attack(name: str, members: Matrix, others: Matrix) -> Attack:
    """Judge a membership attack by its scores, where a higher one says "member".

    AUC, and the share of members found at 1 % false alarms (Carlini et al., S&P 2022); intervals over subjects.
    """

    scores, count = np.concatenate([members, others]), len(members)

    def estimate(measure: Callable[[Matrix, Matrix], float]) -> Estimate:
        return _bootstrapped(lambda mine, theirs: measure(scores[mine], scores[theirs]), count, len(others))

    return Attack(name=name, auc=estimate(area_under_curve), tpr=estimate(true_positive_rate))


def attacks_on_subjects(train: Family, holdout: Family, copy: Family, most_subjects: int = 4_000) -> list[Attack]:
    """Tell the subjects that a copy was learned from by how near it comes to them.

    A subject is looked at as a profile (its columns and what its children amount to), by its child rows (the nearest
    one, and the mean over all) and by pairs of successive rows. Each view is tried as it is, on the 5 % most isolated
    profiles alone, and relative to how near other real people come, none of them among those guessed (as DOMIAS does,
    van Breugel et al., 2023): whoever is like everyone is near to every copy.

    Args:
        most_subjects: Members, and as many others.
    """
    mine, others = (
        family.parents.index[_picked(len(family.parents), len(family.parents), seed)]
        for seed, family in enumerate((train, holdout))
    )
    size = min(most_subjects, len(mine), len(others) // 2)
    targets = train.of(mine[:size]).beside(holdout.of(others[:size]))
    near, beyond = _views(targets, copy), _views(targets, holdout.of(others[size:]))
    isolated = _most_isolated(beyond["profile"], size)
    return _judged(near, beyond, size, isolated)


def attacks_on_rows(
    train: pd.DataFrame, holdout: pd.DataFrame, copy: pd.DataFrame, most_rows: int = 4_000
) -> list[Attack]:
    """The same for a single table, where every row is a subject.

    Args:
        most_rows: Members, and as many others.
    """
    size = min(most_rows, len(train), len(holdout) // 2)
    mine, others = (frame.iloc[_picked(len(frame), len(frame), seed)] for seed, frame in enumerate((train, holdout)))
    (members, outsiders, drawn, around), categories = places(mine[:size], others[:size], copy, others[size:])
    targets = np.vstack([members, outsiders])
    near, beyond = ({"row": nearest(targets, each, categories)} for each in (drawn, around))
    return _judged(near, beyond, size, _most_isolated(beyond["row"], size))


def _most_isolated(isolation: Matrix, size: int) -> Matrix:
    """The places of the 5 % most isolated members and, behind them, of as many others."""
    return np.concatenate([start + np.argsort(-isolation[start : start + size])[: size // 20] for start in (0, size)])


def _judged(near: Mapping[str, Matrix], beyond: Mapping[str, Matrix], size: int, isolated: Matrix) -> list[Attack]:
    """Three attacks for each view, by the distances of `size` members and as many others."""
    found = []
    for name, distances in near.items():
        for scores, suffix in ((-distances, ""), (beyond[name] - distances, ", relative")):
            found.append(attack(name + suffix, scores[:size], scores[size:]))
        members, outsiders = np.split(-distances[isolated], 2)
        found.append(attack(f"{name}{ISOLATED}", members, outsiders))
    return found


def quality(real: pd.DataFrame, other: pd.DataFrame) -> float:
    """SDMetrics' quality score: one-way and two-way distances, 1 is best.

    Both sides are cut to the range that they share: SDMetrics bins each over its own, and a single outlier on one
    side then moves all bins (flight 8500 alone took .03 from the score of real against real).
    """
    from sdmetrics.reports.single_table import QualityReport

    def sdtype(column: pd.Series[Any]) -> str:
        if not _is_ordinal(column):
            return "categorical"
        return "datetime" if pd.api.types.is_datetime64_any_dtype(column) else "numerical"

    ordinal = [name for name in real if _is_ordinal(real[name])]
    both = pd.concat([real[ordinal].agg(["min", "max"]), other[ordinal].agg(["min", "max"])])
    lowest, highest = both.loc["min"].max(), both.loc["max"].min()
    sides = [
        frame.reset_index(drop=True).assign(
            **{name: frame[name].clip(lowest[name], highest[name]).to_numpy() for name in ordinal}
        )
        for frame in (real, other)
    ]
    np.random.seed(0)  # noqa: NPY002  SDMetrics draws rows from the global state
    report = QualityReport()
    report.generate(*sides, {"columns": {name: {"sdtype": sdtype(real[name])} for name in real}}, verbose=False)
    return float(report.get_score())


def _views(targets: Family, others: Family) -> Mapping[str, Matrix]:
    """For each way to look at subjects: the distance of each target to the others."""

    def distances(left: pd.DataFrame, right: pd.DataFrame) -> Matrix:
        (points, around), categories = places(left, right)
        return nearest(points, around, categories)

    def a_subject(values: Matrix, keys: pd.Series[Any], how: str) -> Matrix:
        found = pd.Series(values).groupby(keys.to_numpy()).agg(how).reindex(targets.parents.index)
        return found.fillna(found.median()).to_numpy()

    rows = distances(targets.children, others.children)
    (pairs, keys), (other_pairs, _) = with_previous(targets), with_previous(others)
    return {
        "profile": distances(aggregates(targets), aggregates(others)),
        "nearest row": a_subject(rows, targets.keys, "min"),
        "mean over rows": a_subject(rows, targets.keys, "mean"),
        "mean over pairs": a_subject(distances(pairs, other_pairs), keys, "mean"),
    }


def _bootstrapped(measure: Callable[..., Any], *units: int) -> Estimate:
    """A measure of groups of numbered units, with the percentiles of drawing each group again (Efron, 1979)."""
    random = np.random.default_rng(0)
    starts = np.cumsum([0, *units[:-1]])
    drawn = [
        measure(*(random.integers(start, start + size, size) for start, size in zip(starts, units, strict=True)))
        for _ in range(REPLICATES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = measure(*(np.arange(start, start + size) for start, size in zip(starts, units, strict=True)))
    return Estimate(value=float(value), low=float(low), high=float(high), n=sum(units))


def _booster(inputs: Matrix, answers: Matrix) -> lightgbm.Booster:
    data = lightgbm.Dataset(inputs, answers.astype(float))
    return lightgbm.train(_TREE_SETTINGS, data, TREES)


def _picked(rows: int, most: int, seed: int) -> Matrix:
    """At most so many of the rows, in random order."""
    return np.random.default_rng(seed).permutation(rows)[:most]


def _is_ordinal(column: pd.Series[Any]) -> bool:
    kinds = pd.api.types
    number = kinds.is_numeric_dtype(column) and not kinds.is_bool_dtype(column)
    return number or kinds.is_datetime64_any_dtype(column)


def _numbers(column: pd.Series[Any]) -> pd.Series[Any]:
    if not pd.api.types.is_datetime64_any_dtype(column):
        return column.astype(float)
    return column.astype("int64").astype(float).where(column.notna())


def _codes(column: pd.Series[Any]) -> Matrix:
    codes, _ = pd.factorize(column.astype(str).where(column.notna()), sort=True)
    return np.where(codes < 0, np.nan, codes.astype(float))


@numba.njit(parallel=True)
def _nearest(points: Matrix, others: Matrix, categories: Matrix) -> Matrix:
    """The others are in the order of their first column: outward from a point, it alone says when to stop."""
    rows, columns = others.shape
    found = np.empty(len(points), dtype=np.float32)
    for number in numba.prange(len(points)):
        point = points[number]
        start = np.searchsorted(others[:, 0], point[0])
        best = np.float32(np.inf)
        for step in (1, -1):
            row = start if step == 1 else start - 1
            while 0 <= row < rows and (categories[0] or abs(others[row, 0] - point[0]) < best):
                distance = np.float32(0)
                for column in range(columns):
                    if categories[column]:
                        distance += np.float32(_MISMATCH) * (others[row, column] != point[column])
                    else:
                        distance += abs(others[row, column] - point[column])
                    if distance >= best:
                        break
                best = min(best, distance)
                row += step
        found[number] = best
    return found
