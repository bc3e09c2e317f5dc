"""Whether a copy is nearer to those whom its model learned from than to others: P3, P4 and P5 of the gate.

All of it compares the audit's copy with both halves of the subjects. A subject is looked at as a profile (its own
columns, and what its rows elsewhere amount to) and by its rows in the largest other tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ops.artifacts import Basis, Evidence
from synth_ops.checks.limits import SIGMAS, judged
from synth_ops.checks.nearest import nearest
from synth_ops.checks.rows import Databases, Rows
from synth_ops.checks.statistics import (
    Estimate,
    Z,
    area_under_curve,
    auc_noise,
    true_positive_rate,
)
from synth_ops.metadata import path_to
from synth_ops.ports import Audit, Threshold

TRAIN, HOLDOUT, AUDIT = "train", "holdout", "audit"
_DCR, _NNDR = "privacy.dcr_share", "privacy.nndr_ratio"
_MEMBERSHIP, _MEMBERSHIP_TPR = "privacy.membership_auc", "privacy.membership_tpr"
MEMORISATION_LIMITS: Mapping[str, Threshold] = {
    _DCR: Threshold(warn=0.52, block=0.55),
    _NNDR: Threshold(warn=0.8, block=0.5, at_most=False),
    _MEMBERSHIP: Threshold(warn=0.53, block=0.55),
    _MEMBERSHIP_TPR: Threshold(warn=0.02, block=0.03),
}
_MOST_QUERIES, _MOST_TARGET_ROWS = 2_000, 8_000
_OTHER_TABLES, _FEWEST_COLUMNS, _HALVES = 3, 3, 4
_FEWEST_TO_COMPARE, _FEWEST_FOR_TPR, _FEWEST_TO_SPARE, _FEWEST_ISOLATED = 10, 300, 400, 10
_ISOLATED_SHARE, _RATE = 0.05, 0.01
_ORDER = 10
_STATISTICS = 128
_HIGHEST = 0.95
"""Whatever so few people allow: a copy of them all is beyond it."""
_Scores = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One way to look at subjects: as profiles, or by their rows in one table."""

    name: str
    table: str
    rows: Rows


def views_of(databases: Databases, audit: Audit, root: str) -> list[View]:
    """The profiles of a root's subjects, and their rows in the largest other tables; those with columns enough."""
    metadata = audit.metadata
    owned = [name for name in audit.split if path_to(metadata, name, root) is not None]
    others = sorted((name for name in owned if name != root), key=lambda name: (-audit.train[name].rows, name))
    found = [View(name="profile" if others else "row", table=root, rows=databases.profiles(root, others))]
    found += [View(name="row", table=name, rows=databases.rows(name, root)) for name in others[:_OTHER_TABLES]]
    return [view for view in found if len(view.rows.names) >= _FEWEST_COLUMNS and _is_filled(view.rows)]


def distance_shares(view: View, members: int, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """P3: how many rows of the copy lie nearer to those learned from than to as many others, ties counting half.

    DCR share (Platzer and Reutterer, 2021), the worst of up to seven sets of columns: all, numbers, categories, and
    random halves. Fresh subjects give one half.

    Args:
        view: Of the subjects.
        members: How many subjects the model learned from.
        limits: By measure.
    """
    picked = _cut(view.rows, {AUDIT: _MOST_QUERIES}, same_size=(TRAIN, HOLDOUT))
    worst: tuple[Estimate, str] | None = None
    for name, columns in _column_sets(picked):
        points, categories = picked.only(columns).points()
        (near, _, mine), (far, _, theirs) = (
            nearest(points[AUDIT], points[side], categories) for side in (TRAIN, HOLDOUT)
        )
        owners = np.where(near < far, picked.subjects[TRAIN][mine], picked.subjects[HOLDOUT][theirs])
        found = _share((near < far) + 0.5 * (near == far), owners[near != far])
        if worst is None or _excess(found) > _excess(worst[0]):
            worst = found, name
    if worst is None:
        return []
    estimate, name = worst
    sizes = len(picked.values[TRAIN])
    detail = f"{_unit(view)}s of the audit's copy nearer to the {sizes:,} learned from than to as many others; {name}"
    evidence = _evidence(_DCR, view, estimate, reference=0.5, detail=detail)
    return judged(evidence, limits[_DCR], noise=estimate.noise, usual=_told_by_statistics(members), laxest=_HIGHEST)


def neighbour_ratio(view: View, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """P4: the tenth smallest ratio of the nearest to the second nearest distance, to those learned from and to others.

    Where it is much smaller to the former, single rows of theirs stand in the copy. Judged is what the ratio may be at
    most, as the tenth of few is a noisy number: ranks of a Poisson interval around the tenth.
    """
    picked = _cut(view.rows, {AUDIT: _MOST_QUERIES}, same_size=(TRAIN, HOLDOUT))
    points, categories = picked.points()
    ordered = []
    for side in (TRAIN, HOLDOUT):
        first, second, _ = nearest(points[AUDIT], points[side], categories, second=True)
        known = np.isfinite(second) & (second > 0)
        ordered.append(np.sort(np.where(known, first / np.where(known, second, 1), 1.0)))
    n = len(ordered[0])
    low, high = (max(round(_ORDER + sign * SIGMAS / math.sqrt(2) * math.sqrt(_ORDER)), 1) for sign in (-1, 1))
    if n < high:
        return []

    def ratio(near: int, far: int) -> float:
        mine, others = float(ordered[0][near - 1]), float(ordered[1][far - 1])
        return min(mine / others, 1.0) if others > 0 else 1.0

    estimate = Estimate(value=ratio(high, low), noise=0.0, n=n)
    detail = f"the most that noise allows; the tenth smallest ones themselves give {ratio(_ORDER, _ORDER):.2f}"
    evidence = _evidence(_NNDR, view, estimate, reference=1.0, detail=detail)
    return judged(evidence, limits[_NNDR], laxest=0.0)


def membership(views: list[View], root: str, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """P5: whether one can tell whom the model learned from, by how near the copy comes to them.

    The best of several attacks: by profiles, by the nearest row and by all rows of a subject; as it is, relative to how
    near other real people come (as DOMIAS does, van Breugel et al., 2023), and on the most isolated 5 % alone. Judged
    by its AUC and by the members found at 1 % false alarms (Carlini et al., S&P 2022).
    """
    members, outsiders = (np.unique(_subjects_of(views, side)) for side in (TRAIN, HOLDOUT))
    targets, spared = _targets(views, members, outsiders)
    if targets is None:
        return []
    attacks = dict(_attacks(views, targets, spared))
    evidence: list[Evidence] = []
    best = max(attacks, key=lambda name: _margin(attacks[name]))
    mine, others = attacks[best]
    auc = area_under_curve(mine, others)
    noise = auc_noise(0.5, len(mine), len(others))
    usual = _told_by_statistics(len(members))
    estimate = Estimate(value=auc, noise=auc_noise(auc, len(mine), len(others)), n=len(mine) + len(others))
    view = views[0]
    detail = f"the best of {len(attacks)} attacks: {best}"
    found = _evidence(_MEMBERSHIP, view, estimate, reference=0.5, detail=detail, subject=root)
    evidence += judged(found, limits[_MEMBERSHIP], noise=noise, usual=usual, laxest=_HIGHEST)
    everybody = {name: scores for name, scores in attacks.items() if len(scores[0]) >= _FEWEST_FOR_TPR}
    if everybody:
        rates = {name: true_positive_rate(*scores, _RATE) for name, scores in everybody.items()}
        best = max(rates, key=lambda name: rates[name])
        n = len(everybody[best][0])
        noise = math.sqrt(2 * _RATE / n)  # of the members beyond the bound, and of the bound itself
        estimate = Estimate(value=rates[best], noise=math.sqrt(max(rates[best], _RATE) / n + _RATE / n), n=2 * n)
        detail = f"members found at 1 % false alarms, by the best of {len(rates)} attacks: {best}"
        found = _evidence(_MEMBERSHIP_TPR, view, estimate, reference=_RATE, detail=detail, subject=root)
        evidence += judged(found, limits[_MEMBERSHIP_TPR], noise=noise, laxest=1.0)
    return evidence


def _subjects_of(views: list[View], side: str) -> npt.NDArray[np.uint64]:
    return np.concatenate([view.rows.subjects[side] for view in views])


def _told_by_statistics(members: int) -> float:
    """How well members are told from others by so many exact statistics of theirs, and nothing else.

    The area under the curve of the best attack on shares (Homer et al., 2008; Dwork et al., 2015). The fewer people
    there are, the more any true number about them tells of each; that is no memory, and a copy exists to tell it.
    """
    return NormalDist().cdf(math.sqrt(_STATISTICS / members / 2))


def _attacks(
    views: list[View], targets: Mapping[str, npt.NDArray[np.uint64]], spared: npt.NDArray[np.uint64]
) -> Iterator[tuple[str, tuple[_Scores, _Scores]]]:
    """The scores of members and of others, by attack; a higher one says "member"."""
    for view in views:
        for name, near, beyond in _closeness(view, targets, spared):
            yield name, tuple(-near[side] for side in targets)  # type: ignore[misc]
            if beyond is None:
                continue
            yield f"{name}, relative", tuple(beyond[side] - near[side] for side in targets)  # type: ignore[misc]
            counts = {side: round(len(near[side]) * _ISOLATED_SHARE) for side in targets}
            if min(counts.values()) >= _FEWEST_ISOLATED:
                yield (
                    f"{name}, most isolated",
                    tuple(-near[side][np.argsort(-beyond[side], kind="stable")[: counts[side]]] for side in targets),  # type: ignore[misc]
                )


def _closeness(
    view: View, targets: Mapping[str, npt.NDArray[np.uint64]], spared: npt.NDArray[np.uint64]
) -> Iterator[tuple[str, dict[str, _Scores], dict[str, _Scores] | None]]:
    """For each way to sum up a subject's rows: how near the copy comes, and how near other real ones do."""
    points, categories = view.rows.points()
    owners = view.rows.subjects
    aside = np.isin(owners[HOLDOUT], spared)
    near: dict[str, Any] = {}
    beyond: dict[str, Any] = {}
    places = {}
    for side, subjects in targets.items():
        kept = np.isin(owners[side], subjects)
        places[side] = np.searchsorted(subjects, owners[side][kept])
        near[side] = nearest(points[side][kept], points[AUDIT], categories)[0].astype(float)
        beyond[side] = nearest(points[side][kept], points[HOLDOUT][aside], categories)[0] if aside.any() else None
    for how in ("nearest", "mean") if view.name == "row" and _has_many(places) else ("nearest",):
        label = f"{view.table}, {view.name}" if how == "nearest" else f"{view.table}, all rows"
        sizes = {side: len(subjects) for side, subjects in targets.items()}
        summed = _filled({side: _summed(near[side], places[side], sizes[side], how) for side in targets})
        others = None
        if aside.any():
            others = _filled({side: _summed(beyond[side], places[side], sizes[side], how) for side in targets})
        yield label, summed, others


def _targets(
    views: list[View], members: npt.NDArray[np.uint64], outsiders: npt.NDArray[np.uint64]
) -> tuple[dict[str, npt.NDArray[np.uint64]] | None, npt.NDArray[np.uint64]]:
    """Whom to guess, as many of either side, and other real people for comparison; None where there are too few."""
    most = max((len(view.rows.subjects[TRAIN]) for view in views), default=0) / max(len(members), 1)
    size = min(len(members), len(outsiders), _MOST_QUERIES, max(int(_MOST_TARGET_ROWS / max(most, 1)), 1))
    if size < _FEWEST_TO_COMPARE:
        return None, outsiders[:0]
    order = np.random.default_rng(0).permutation(len(outsiders))
    spared = outsiders[:0]
    if len(outsiders) >= _FEWEST_TO_SPARE:
        size = min(size, len(outsiders) // 2)
        spared = outsiders[np.sort(order[size:])]
    chosen = np.random.default_rng(1).permutation(len(members))[:size]
    return {TRAIN: members[np.sort(chosen)], HOLDOUT: outsiders[np.sort(order[:size])]}, spared


def _margin(scores: tuple[_Scores, _Scores]) -> float:
    mine, others = scores
    return (area_under_curve(mine, others) - 0.5) / auc_noise(0.5, len(mine), len(others))


def _summed(values: _Scores, places: npt.NDArray[np.int64], size: int, how: str) -> _Scores:
    """One number a subject; NaN where a subject has no row."""
    if how == "mean":
        counts = np.bincount(places, minlength=size)
        found = np.bincount(places, values, minlength=size) / np.maximum(counts, 1)
        found[counts == 0] = np.nan
    else:
        found = np.full(size, np.inf)
        np.minimum.at(found, places, values)
        found[np.isinf(found)] = np.nan
    return found


def _filled(sides: Mapping[str, _Scores]) -> dict[str, _Scores]:
    """The median of all where a subject has no row: one for both sides, as another one would tell them apart."""
    known = np.concatenate(list(sides.values()))
    known = known[~np.isnan(known)]
    median = float(np.median(known)) if len(known) else 0.0
    return {side: np.where(np.isnan(scores), median, scores) for side, scores in sides.items()}


def _has_many(places: Mapping[str, npt.NDArray[np.int64]]) -> bool:
    return any(len(each) > len(np.unique(each)) for each in places.values())


def _share(scores: _Scores, owners: npt.NDArray[np.uint64]) -> Estimate:
    """The mean score, with the noise of who is on which side: a real person may be the nearest of many rows.

    Had the sides been dealt out anew, each of them would be on the other as likely as not.
    """
    _, counts = np.unique(owners, return_counts=True)
    noise = math.sqrt(float(np.square(counts).sum()) + 1) / 2 / len(scores)
    return Estimate(value=float(scores.mean()), noise=noise, n=len(scores))


def _column_sets(rows: Rows) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    columns = len(rows.names)
    yield "all columns", np.ones(columns, dtype=bool)
    for name, kept in (("numbers", ~rows.categories), ("categories", rows.categories)):
        if 1 < kept.sum() < columns:
            yield name, kept
    random = np.random.default_rng(0)
    for number in range(_HALVES if columns > _FEWEST_COLUMNS else 0):
        kept = np.zeros(columns, dtype=bool)
        kept[random.permutation(columns)[: (columns + 1) // 2]] = True
        yield f"random half {number + 1} of the columns", kept


def _cut(rows: Rows, most: Mapping[str, int], *, same_size: tuple[str, ...]) -> Rows:
    """At most so many rows of some databases, drawn at random, and as many of others."""
    size = min(len(rows.values[schema]) for schema in same_size)
    limits = {**dict.fromkeys(same_size, size), **most}
    picked = {
        schema: np.random.default_rng(number).permutation(len(rows.values[schema]))[: limits[schema]]
        for number, schema in enumerate(rows.values)
    }
    return Rows(
        names=rows.names,
        categories=rows.categories,
        values={schema: matrix[picked[schema]] for schema, matrix in rows.values.items()},
        subjects={schema: owners[picked[schema]] for schema, owners in rows.subjects.items()},
    )


def _is_filled(rows: Rows) -> bool:
    return min(len(matrix) for matrix in rows.values.values()) >= _FEWEST_TO_COMPARE


def _excess(estimate: Estimate) -> float:
    return (estimate.value - 0.5) / max(estimate.noise, 1e-9)


def _unit(view: View) -> str:
    return "profile" if view.name == "profile" else "row"


def _evidence(
    check: str, view: View, estimate: Estimate, *, reference: float, detail: str, subject: str = ""
) -> Evidence:
    return Evidence(
        check=check,
        subject=subject or view.table,
        value=estimate.value,
        n=estimate.n,
        ci_low=estimate.value - Z * estimate.noise,
        ci_high=estimate.value + Z * estimate.noise,
        detail=detail,
        table=view.table,
        basis=Basis.AUDIT,
        reference=reference,
        seed=0,
    )
