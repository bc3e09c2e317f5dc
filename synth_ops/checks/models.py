"""The two models that checks train: boosted trees, and a linear one in closed form; the same data, the same model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synth_ops.checks.rows import Matrix

Answers = npt.NDArray[np.float64]
Predictor = Callable[[Matrix], Answers]
_TREES = {"verbose": -1, "seed": 0, "deterministic": True, "force_row_wise": True, "num_threads": 1}
"""One thread: where others use the processors, too, several wait for each other fifty times as long as they work."""
_ROUNDS = 80
_MOST_LEVELS, _PENALTY = 30, 1.0


def boosted_trees(inputs: Matrix, answers: Answers, *, binary: bool) -> tuple[Predictor, Answers]:
    """LightGBM (Ke et al., 2017); categories as numbers.

    Returns:
        The model, and how much each column helped.
    """
    import lightgbm

    settings: Mapping[str, Any] = {
        **_TREES,
        "objective": "binary" if binary else "regression",
        "min_data_in_leaf": max(min(20, len(inputs) // 20), 1),
    }
    model = lightgbm.train(dict(settings), lightgbm.Dataset(inputs, answers), _ROUNDS)

    def predict(questions: Matrix) -> Answers:
        return np.asarray(model.predict(questions, num_threads=1), dtype=np.float64)

    return predict, np.asarray(model.feature_importance("gain"), dtype=np.float64)


def linear_model(inputs: Matrix, answers: Answers, categories: npt.NDArray[np.bool_]) -> Predictor:
    """Ridge regression (Hoerl and Kennard, 1970) on standardised numbers and on the commonest categories, 0 or 1."""
    levels = {column: _commonest(inputs[:, column]) for column in range(inputs.shape[1]) if categories[column]}
    numbers = inputs[:, ~categories]
    with np.errstate(all="ignore"):
        known = np.where(np.isnan(numbers).all(axis=0), 0.0, numbers)
        centre, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def expanded(matrix: Matrix) -> Matrix:
        scaled = np.clip(np.nan_to_num((matrix[:, ~categories] - centre) / spread), -10, 10)
        flags = [(matrix[:, [column]] == values).astype(float) for column, values in levels.items()]
        return np.column_stack([np.ones(len(matrix)), scaled, *flags])

    design = expanded(inputs)
    gram = design.T @ design + _PENALTY * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design.T @ answers)
    return lambda questions: expanded(questions) @ weights


def _commonest(codes: Matrix) -> Matrix:
    values, counts = np.unique(codes[~np.isnan(codes)], return_counts=True)
    kept: Matrix = values[np.argsort(-counts, kind="stable")[:_MOST_LEVELS]]
    return kept
