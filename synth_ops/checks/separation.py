"""Whether a classifier can tell the copy's rows from real ones: F1 of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from synth_ops.artifacts import Evidence
from synth_ops.checks.limits import judged
from synth_ops.checks.models import Answers, boosted_trees
from synth_ops.checks.rows import Databases, Matrix, Rows
from synth_ops.checks.statistics import Z, area_under_curve, auc_noise
from synth_ops.checks.views import COPY, SOURCE, failed
from synth_ops.ports import Threshold
from synth_ops.sql import K_SUBJECTS

SEPARATION, AGGREGATED = "fidelity.c2st_auc", "fidelity.c2st_agg_auc"
SEPARATION_LIMITS: Mapping[str, Threshold] = {
    SEPARATION: Threshold(warn=0.75, block=0.90),
    AGGREGATED: Threshold(warn=0.90),
}
_FOLDS, _MOST_ROWS, _FEWEST_ROWS, _FEWEST_OWNERS, _TOLD = 3, 10_000, 60, 50, 3
_MOST_RARE = 0.1


def separation(databases: Databases, table: str, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """F1: the AUC of a classifier that is to tell real rows from the copy's, over folds that it did not see.

    A classifier two-sample test (Lopez-Paz and Oquab, 2017): on a table's own columns, but for those that it takes over
    from another, and again with what its children amount to (C2ST-Agg; Hudovernik et al., 2024), where it has any. All
    rows of a subject are in one fold, as else the classifier knows people again; .5 is not at all, 1 is always.
    """
    metadata = databases.metadata
    own = databases.rows(table, most=_MOST_ROWS, without=databases.carried(table))
    found = _judged(SEPARATION, table, own, limits)
    children = sorted({child.name for child, _ in metadata.children(table) if child.name != table})
    if children and metadata.table(table).primary_key:
        rows = databases.profiles(table, children, most=_MOST_ROWS)
        owners = {schema: databases.owners(schema, table, rows.subjects[schema]) for schema in (SOURCE, COPY)}
        found += _judged(AGGREGATED, table, replace(rows, subjects=owners), limits)
    return found


def _judged(check: str, table: str, everything: Rows, limits: Mapping[str, Threshold]) -> list[Evidence]:
    rows = _without_rare_values(everything)
    few = len(np.unique(rows.subjects[SOURCE])) < _FEWEST_OWNERS  # too few to make folds of, and to learn from
    if few or not rows.names or min(len(matrix) for matrix in rows.values.values()) < _FEWEST_ROWS:
        return []
    apart = _apart(rows)
    if apart is None:
        return [failed(check=check, table=table, reason="no fold holds rows of both sides")]
    auc, groups, telltales = apart
    noise = auc_noise(auc, *groups)
    told = ", ".join(telltales)
    evidence = Evidence(
        check=check,
        subject=table,
        value=auc,
        n=sum(groups),
        ci_low=auc - Z * noise,
        ci_high=min(auc + Z * noise, 1.0),
        detail=f"0.5: a classifier can't tell the copy from the source{'; it is told by ' + told if told else ''}",
        table=table,
        reference=0.5,
    )
    return judged(evidence, limits[check], noise=auc_noise(0.5, *groups), laxest=1.0)


def _without_rare_values(rows: Rows) -> Rows:
    """What too few subjects of the source have is as good as nothing: a copy may not show it.

    A column that mostly holds such values is left out.
    """
    matrices = {schema: matrix.copy() for schema, matrix in rows.values.items()}
    kept = np.ones(len(rows.names), dtype=bool)
    for column, category in enumerate(rows.categories):
        real = rows.values[SOURCE][:, column]
        known = ~np.isnan(real)
        if not category:  # a generator may blur the number of subjects that it asks for
            kept[column] = len(np.unique(rows.subjects[SOURCE][known])) >= 2 * K_SUBJECTS
            continue
        pairs = np.unique(np.column_stack([real[known], rows.subjects[SOURCE][known].astype(float)]), axis=0)
        codes, people = np.unique(pairs[:, 0], return_counts=True)
        common = codes[people >= K_SUBJECTS]
        kept[column] = (~np.isin(real[known], common)).mean() <= _MOST_RARE if known.any() else False
        for matrix in matrices.values():
            matrix[~np.isin(matrix[:, column], common), column] = np.nan
    return replace(rows, values=matrices).only(kept)


def _apart(rows: Rows) -> tuple[float, tuple[int, int], list[str]] | None:
    """The AUC, how many subjects either side has, and the columns that tell most; None where no fold can tell."""
    size = min(len(rows.values[schema]) for schema in (SOURCE, COPY))
    picked = [
        np.random.default_rng(number).permutation(len(rows.values[schema]))[:size]
        for number, schema in enumerate((SOURCE, COPY))
    ]
    inputs = np.vstack([rows.values[schema][rows_] for schema, rows_ in zip((SOURCE, COPY), picked, strict=True)])
    groups = [
        np.unique(rows.subjects[schema][rows_], return_inverse=True)[1]
        for schema, rows_ in zip((SOURCE, COPY), picked, strict=True)
    ]
    counts = (int(groups[0].max()) + 1, int(groups[1].max()) + 1)
    random = np.random.default_rng(0)
    folds = np.concatenate(
        [random.permutation(count)[group] % _FOLDS for count, group in zip(counts, groups, strict=True)]
    )
    sides = np.repeat([0.0, 1.0], size)
    tested = [folds == fold for fold in range(_FOLDS)]
    tested = [each for each in tested if len(np.unique(sides[each])) == len(np.unique(sides[~each])) == len(counts)]
    if not tested:
        return None
    with ThreadPoolExecutor(len(tested)) as executor:
        aucs, gains = zip(*executor.map(partial(_fold, inputs, sides), tested), strict=True)
    gain = np.sum(gains, axis=0)
    best = np.argsort(-gain, kind="stable")[:_TOLD]
    return float(np.mean(aucs)), counts, [rows.names[place] for place in best if gain[place] > 0]


def _fold(inputs: Matrix, sides: Answers, asked: npt.NDArray[np.bool_]) -> tuple[float, Answers]:
    """The AUC on some rows when all others were learned from, and how much each column helped."""
    predict, gain = boosted_trees(inputs[~asked], sides[~asked], binary=True)
    scores = predict(inputs[asked])
    return area_under_curve(scores[sides[asked] == 1], scores[sides[asked] == 0]), gain
