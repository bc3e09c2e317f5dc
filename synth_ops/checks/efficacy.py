"""What a model is worth that was trained on the copy: on real subjects that nobody trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from synth_ops.artifacts import Basis, Evidence, Severity
from synth_ops.checks.limits import judged
from synth_ops.checks.memorisation import AUDIT, HOLDOUT, TRAIN
from synth_ops.checks.models import Answers, Predictor, boosted_trees, linear_model
from synth_ops.checks.rows import Databases, Rows, open_databases
from synth_ops.checks.statistics import area_under_curve, auc_noise
from synth_ops.checks.views import failed, measured
from synth_ops.metadata import Table
from synth_ops.ports import CheckContext, Threshold

_RATIO = "efficacy.score_ratio"
_FEWEST_ROWS, _MOST_ROWS, _MOST_CLASSES = 100, 100_000, 5
_WORTH_PREDICTING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Score:
    """How well a model predicts, from 0 (as well as a guess) to 1 (always right), and the noise of that."""

    value: float
    noise: float


class EfficacyCheck:
    """Trains on the audit's copy and on the real rows that it was learned from, and tests both on the other half.

    TSTR (Esteban et al., 2017), for each column that the recipe calls a target: R2 for numbers and, for classes, Gini's
    2 AUC - 1, as an AUC of one half is a guess.
    """

    name = "efficacy"
    version = "2"
    thresholds: Mapping[str, Threshold] = {_RATIO: Threshold(warn=0.90, block=0.60, at_most=False)}

    def evaluate(self, context: CheckContext) -> Sequence[Evidence]:
        """Measure every target column; a target that can't be measured does not pass."""
        targets = {
            table.name: names
            for table in context.snapshot.metadata.tables
            if (names := [column.name for column in table.columns if column.target])
        }
        if not targets:
            return []
        audit = context.audit
        if audit is None:
            reason = context.no_audit or "the policy asks for no audit, so there are no rows to test on"
            severity = Severity.CRITICAL if context.no_audit else Severity.WARNING
            return [failed(check=_RATIO, table=table, reason=reason, severity=severity) for table in targets]
        threshold = {**self.thresholds, **context.thresholds}[_RATIO]
        evidence: list[Evidence] = []
        with open_databases(audit.metadata, train=audit.train, holdout=audit.holdout, audit=audit.copy) as databases:
            for name, columns in targets.items():
                if name not in audit.split:
                    reason = "its table's rows belong to nobody who could be held out"
                    evidence += [
                        failed(check=_RATIO, subject=f"{name}.{c}", table=name, reason=reason) for c in columns
                    ]
                    continue
                table = audit.metadata.table(name)
                evidence += measured(partial(_table, databases, table, columns, threshold), check=_RATIO, table=name)
        return evidence


def _table(databases: Databases, table: Table, columns: Sequence[str], threshold: Threshold) -> Iterator[Evidence]:
    rows = databases.rows(table.name, most=_MOST_ROWS)
    for column in columns:
        subject = f"{table.name}.{column}"
        reason = _unfit(rows, column)
        if reason:
            yield failed(check=_RATIO, subject=subject, table=table.name, reason=reason)
            continue
        for model in ("LightGBM", "linear"):
            compared = partial(_compared, rows, column, model, subject, threshold)
            yield from measured(compared, check=_RATIO, subject=f"{subject}, {model}", table=table.name)


def _compared(rows: Rows, column: str, model: str, subject: str, threshold: Threshold) -> list[Evidence]:
    real, copied = (_beyond_guessing(rows, column, side, model) for side in (TRAIN, AUDIT))
    if real.value < _WORTH_PREDICTING:
        return []  # what real rows can't teach, a copy need not
    ratio = max(copied.value, 0.0) / real.value
    noise = math.sqrt(2) * real.noise / real.value
    evidence = Evidence(
        check=_RATIO,
        subject=f"{subject}, {model}",
        value=ratio,
        n=len(rows.values[HOLDOUT]),
        ci_low=ratio - 1.96 * noise,
        ci_high=ratio + 1.96 * noise,
        detail=f"on the other half: {copied.value:.3f} taught by the copy, {real.value:.3f} by real rows",
        basis=Basis.AUDIT,
        reference=1.0,
        seed=0,
    )
    return judged(evidence, threshold, noise=noise, laxest=0.0)


def _unfit(rows: Rows, column: str) -> str:
    """Why a target can't be predicted; empty if it can."""
    if column not in rows.names:
        return "it is not a learned column"
    if len(rows.names) < 2:  # noqa: PLR2004  the target and something to predict it from
        return "the table has no other learned column to predict it from"
    if min(len(matrix) for matrix in rows.values.values()) < _FEWEST_ROWS:
        return f"fewer than {_FEWEST_ROWS} rows on a side"
    place = rows.names.index(column)
    for side in (TRAIN, HOLDOUT):
        values = rows.values[side][:, place]
        if len(np.unique(values[~np.isnan(values)])) < 2:  # noqa: PLR2004
            return "it has one value only"
    return ""


def _beyond_guessing(rows: Rows, column: str, side: str, model: str) -> _Score:
    place = rows.names.index(column)
    used = np.arange(len(rows.names)) != place
    (inputs, answers), (questions, truth) = (_known(rows, each, place, used) for each in (side, HOLDOUT))
    categories = rows.categories[used]
    if not rows.categories[place]:
        predicted = _fitted(model, inputs, answers, categories, binary=False)(questions)
        spread = float(np.square(truth - truth.mean()).sum())
        value = 1 - float(np.square(truth - predicted).sum()) / max(spread, 1e-12)
        return _Score(value=value, noise=2 * max(1 - value, 0.01) / math.sqrt(len(truth)))
    found = []
    for kind in _classes(truth):
        positive, mine = truth == kind, answers == kind
        if 0 < mine.sum() < len(mine):
            scores = _fitted(model, inputs, mine.astype(float), categories, binary=True)(questions)
            auc = area_under_curve(scores[positive], scores[~positive])
        else:
            auc = 0.5
        found.append(
            (float(positive.sum()), auc, auc_noise(max(auc, 0.5), int(positive.sum()), int((~positive).sum())))
        )
    weights, aucs, noises = np.array(found).T
    auc, noise = (float(np.average(each, weights=weights)) for each in (aucs, noises))
    return _Score(value=2 * auc - 1, noise=2 * noise)


def _known(rows: Rows, side: str, place: int, used: npt.NDArray[np.bool_]) -> tuple[Answers, Answers]:
    matrix = rows.values[side]
    known = ~np.isnan(matrix[:, place])
    return matrix[known][:, used], matrix[known, place]


def _fitted(
    model: str, inputs: Answers, answers: Answers, categories: npt.NDArray[np.bool_], *, binary: bool
) -> Predictor:
    if not len(inputs):
        return lambda questions: np.zeros(len(questions))
    if model == "linear":
        return linear_model(inputs, answers, categories)
    return boosted_trees(inputs, answers, binary=binary)[0]


def _classes(truth: Answers) -> Answers:
    """The commonest classes; of two the rarer one says it all."""
    kinds, counts = np.unique(truth, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    chosen: Answers = kinds[order[1:2]] if len(kinds) == 2 else kinds[order[:_MOST_CLASSES]]  # noqa: PLR2004
    return chosen
