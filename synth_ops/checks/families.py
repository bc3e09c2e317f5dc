"""Whether rows of one parent are as alike in the copy as in the source: dealt out to others they would not be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ops.artifacts import Evidence
from synth_ops.checks.limits import SIGMAS, judged
from synth_ops.checks.rows import Databases, Matrix, Subjects, open_databases
from synth_ops.checks.statistics import Z
from synth_ops.checks.suites import reference_name
from synth_ops.checks.views import COPY, SOURCE, Views
from synth_ops.metadata import ForeignKey, Table
from synth_ops.ports import Threshold

SIBLING_LIKENESS = "fidelity.sibling_likeness"
FAMILY_LIMITS: Mapping[str, Threshold] = {SIBLING_LIKENESS: Threshold(warn=0.5, block=0.05, at_most=False)}
_MOST_ROWS = 30_000
_FEWEST_FAMILIES, _FEWEST_COLUMNS = 50, 2
_LIKE = 0.05
"""Share of the variance that lies between parents; below it siblings are no more alike than others."""
_MOST_NOISE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class _Likeness:
    """A column: the share of its variance that lies between parents, corrected for chance, and that share's noise."""

    value: float
    noise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """What both sides show, over the columns in which siblings are alike in the source."""

    source: float
    copy: float
    noise: float
    columns: int
    n: int


def sibling_likeness(
    databases: Databases, table: Table, key: ForeignKey, limits: Mapping[str, Threshold]
) -> list[Evidence]:
    """F5: how much of the likeness of rows with one parent the copy keeps; 0 is what chance would give.

    The likeness is the share of a column's variance that lies between parents: epsilon squared (Kelley, 1935) of ranks
    or, for categories, of the Gini variance (Light and Margolin, 1971). Compared are its sums over the columns in which
    siblings are alike in the source.
    """
    compared = _compare(databases, table, key)
    if compared is None:
        return []
    kept = compared.copy / compared.source
    evidence = Evidence(
        check=SIBLING_LIKENESS,
        subject=reference_name(table, key),
        value=kept,
        n=compared.n,
        ci_low=kept - Z * compared.noise,
        ci_high=kept + Z * compared.noise,
        detail=f"of how alike rows of one parent are, on {compared.columns} columns; 0 where parents are drawn by lot",
        reference=1.0,
    )
    return judged(evidence, limits[SIBLING_LIKENESS], noise=compared.noise, laxest=0.0)


def likeness_of_siblings(views: Views, table: Table, key: ForeignKey) -> bool:
    """Whether the source's rows of one parent are so alike that the copy is judged by it."""
    context = views.context
    with open_databases(views.metadata, source=context.snapshot.tables, copy=context.copy.tables) as databases:
        return _compare(databases, table, key) is not None


def _compare(databases: Databases, table: Table, key: ForeignKey) -> _Compared | None:
    rows = databases.rows(table.name, most=_MOST_ROWS, path=(key,))
    points, categories = rows.points()
    sides = {}
    for schema in (SOURCE, COPY):
        owned = rows.subjects[schema] != 0
        sides[schema] = points[schema][owned].astype(float), rows.subjects[schema][owned]
    source, copy = (_likenesses(*sides[schema], categories) for schema in (SOURCE, COPY))
    alike = [
        (real, copied)
        for real, copied in zip(source, copy, strict=True)
        if real and real.value >= max(_LIKE, SIGMAS * real.noise)
    ]
    if len(alike) < _FEWEST_COLUMNS or not any(copied for _, copied in alike):
        return None
    total = sum(real.value for real, _ in alike)
    noise = math.sqrt(sum(copied.noise**2 for _, copied in alike if copied)) / total
    if noise > _MOST_NOISE:
        return None
    return _Compared(
        source=total,
        copy=sum(copied.value for _, copied in alike if copied),
        noise=noise,
        columns=len(alike),
        n=len(sides[COPY][0]),
    )


def _likenesses(matrix: Matrix, owners: Subjects, categories: npt.NDArray[np.bool_]) -> list[_Likeness | None]:
    return [
        _likeness(matrix[known, column], owners[known], category=bool(category))
        for column, category in enumerate(categories)
        for known in [matrix[:, column] >= 0]
    ]


def _likeness(values: Any, owners: Subjects, *, category: bool) -> _Likeness | None:
    """Of one column; None where too few parents have several rows."""
    groups, place = np.unique(owners, return_inverse=True)
    sizes = np.bincount(place, minlength=1)
    if (sizes > 1).sum() < _FEWEST_FAMILIES:
        return None
    n = len(values)
    siblings = n - len(groups)
    if category:
        _, codes = np.unique(values, return_inverse=True)
        cells, counts = np.unique(place * (codes.max() + 1) + codes, return_counts=True)
        within = n - float((counts**2 / sizes[cells // (codes.max() + 1)]).sum())
        total = n - float((np.bincount(codes) ** 2).sum()) / n
    else:
        sums, squares = np.bincount(place, values), float((values**2).sum())
        within = squares - float((sums**2 / sizes).sum())
        total = squares - float(values.sum()) ** 2 / n
    if total <= 1e-9 * n:
        return None
    # under chance within / siblings is total / (n - 1), with a relative variance of about 2 / siblings - 2 / (n - 1)
    noise = math.sqrt(max(2 / siblings - 2 / (n - 1), 0.0))
    return _Likeness(value=1 - within / siblings / (total / (n - 1)), noise=noise)
