"""How strongly the columns of a table go together, in the source and in the copy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synth_ops import sql
from synth_ops.metadata import Column, Kind, Table
from synth_ops.report.distributions import COPY, REAL, frequent_sql, learned, number_sql
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

Codes = npt.NDArray[np.int64]

_MEASURED, _SHOWN = 24, 14
_BINS = 8
_MIN_SUBJECTS = 4 * K_SUBJECTS
_NULL, _REST = 0, _BINS + 1
_CELLS = _BINS + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Associations:
    """Cramér's V of every pair of some columns, 0 to 1.

    Attributes:
        columns: Names; those that stand in the strongest or the worst kept relations.
        real, copy: Symmetric matrices, columns by columns; the diagonal is 1.
        left_out: How many learned columns are not among them.
    """

    columns: tuple[str, ...]
    real: tuple[tuple[float, ...], ...]
    copy: tuple[tuple[float, ...], ...]
    left_out: int


def associations(connection: duckdb.DuckDBPyConnection, table: Table) -> Associations | None:
    """Measure every pair of learned columns, on the samples that `take_samples` made.

    Numbers and times are cut at the source's eighths; of categories the eight most frequent stand for themselves, as
    far as k subjects share them.

    Returns:
        None for fewer than two columns, or too few subjects.

    Raises:
        duckdb.Error: A column can't be read on one side.
    """
    columns = [column for column in table.columns if learned(table, column)]
    rows = connection.execute(f"SELECT count(DISTINCT {sql.SUBJECT}) FROM {REAL}").fetchone()
    if len(columns) < 2 or not rows or rows[0] < _MIN_SUBJECTS:  # noqa: PLR2004  a pair
        return None
    measured = columns[:_MEASURED]
    sides = [_codes(connection, measured, side) for side in (REAL, COPY)]
    if not len(sides[1][0]):
        return None
    matrices = [_matrix(codes) for codes in sides]
    kept = _telling(matrices[0], matrices[1])
    real, copy = (tuple(tuple(round(float(matrix[i, j]), 4) for j in kept) for i in kept) for matrix in matrices)
    return Associations(
        columns=tuple(measured[i].name for i in kept), real=real, copy=copy, left_out=len(columns) - len(kept)
    )


def cramers_v(first: Codes, second: Codes) -> float:
    """The association of two coded columns, corrected for what chance alone shows (Bergsma 2013).

    Args:
        first, second: A code a row, below `_CELLS`.

    >>> codes = np.arange(400) % 4
    >>> cramers_v(codes, codes), cramers_v(codes, np.arange(400) // 100)
    (1.0, 0.0)
    """
    n = len(first)
    table = np.bincount(first * _CELLS + second, minlength=_CELLS * _CELLS).reshape(_CELLS, _CELLS).astype(float)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    r, c = table.shape
    if min(r, c) < 2 or n < 2:  # noqa: PLR2004  one value alone goes with nothing
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi = float(((table - expected) ** 2 / expected).sum()) / n
    phi = max(0.0, phi - (r - 1) * (c - 1) / (n - 1))
    side = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(math.sqrt(phi / side), 1.0) if side > 0 else 0.0


def _telling(real: Any, copy: Any) -> list[int]:
    """The columns with the strongest relations, or the worst kept ones, in their own order."""
    weight = np.maximum(real, np.abs(real - copy) * 2)
    np.fill_diagonal(weight, 0)
    order = np.argsort(-weight.max(axis=1), kind="stable")
    return sorted(int(i) for i in order[:_SHOWN])


def _matrix(codes: Sequence[Codes]) -> Any:
    matrix = np.eye(len(codes))
    for i, j in itertools.combinations(range(len(codes)), 2):
        matrix[i, j] = matrix[j, i] = cramers_v(codes[i], codes[j])
    return matrix


def _codes(connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], side: str) -> list[Codes]:
    """A code a row for every column: 0 is NULL, the last one is what too few subjects have or what is not frequent."""
    edges = _edges(connection, columns)
    selected, labels = [], []
    for place, column in enumerate(columns):
        name = sql.quote(column.name)
        if column.name in edges:
            selected.append(f"{_number(column)} AS c{place}")
            continue
        found = f"list_position(?::VARCHAR[], CAST({name} AS VARCHAR))"
        selected.append(
            f"CASE WHEN {name} IS NULL THEN {_NULL} ELSE coalesce(nullif({found}, 0), {_REST}) END AS c{place}"
        )
        labels.append([row[0] for row in connection.execute(f"{frequent_sql(column)} LIMIT {_BINS}").fetchall()])
    rows = connection.execute(f"SELECT {', '.join(selected)} FROM {side}", labels).fetchnumpy()
    codes: list[Codes] = []
    for place, column in enumerate(columns):
        values: Any = np.ma.filled(np.ma.asarray(rows[f"c{place}"], dtype=float), np.nan)
        if column.name in edges:
            values = np.where(np.isnan(values), _NULL, np.searchsorted(edges[column.name], values, side="left") + 1)
        codes.append(values.astype(np.int64))
    return codes


def _edges(connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> dict[str, Any]:
    """Where the numbers among the columns are cut: at the source's eighths."""
    numbers = {column.name: number for column in columns if (number := _number(column))}
    if not numbers:
        return {}
    ends = [i / _BINS for i in range(1, _BINS)]
    query = ", ".join(f"quantile_disc({number}, {ends!r})" for number in numbers.values())
    (found,) = connection.execute(f"SELECT {query} FROM {REAL}").fetchall()
    return {name: np.unique(np.asarray(each or [], dtype=float)) for name, each in zip(numbers, found, strict=True)}


def _number(column: Column) -> str:
    return "" if column.kind is Kind.CATEGORICAL else number_sql(column)
