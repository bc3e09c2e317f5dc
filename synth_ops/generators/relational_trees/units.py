"""Values of every Arrow type as floats or whole units, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

EXACT = 2.0**53
WIDEST = 2**61
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SPECIALS = (math.nan, math.inf, -math.inf)
_DAYS_TO_2000 = 10_957
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""Of the years 1 to 9999."""


def is_numeric(arrow_type: pa.DataType) -> bool:
    """Whether a number codec can hold the type."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_temporal)
    return any(test(arrow_type) for test in tests) and not pa.types.is_interval(arrow_type)


def as_numbers(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Texts as numbers; NaN for what is none, or is not finite."""
    import pandas as pd

    numbers = pd.to_numeric(texts.to_pandas(), errors="coerce").to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def to_floats_or_integers(
    column: pa.ChunkedArray, scale: int, *, continuous: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Units of every value, and which are not NULL."""
    present = pc.is_valid(column).to_numpy(zero_copy_only=False)
    kind = column.type
    if continuous or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.fill_null(column.cast(pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False)
        if continuous:
            return values, present
        scaled = values * 10.0**scale
        if np.isfinite(scaled).all():
            return np.clip(np.rint(scaled), -WIDEST, WIDEST).astype(np.int64), present
        return np.where(np.isfinite(scaled), np.rint(scaled), scaled), present
    if pa.types.is_boolean(kind) or pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32() if not pa.types.is_boolean(kind) else pa.int8())
    if pa.types.is_uint64(column.type):
        column = pc.min_element_wise(column, pa.scalar(2**62, pa.uint64()))
    values = pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if pa.types.is_date32(kind) or pa.types.is_timestamp(kind):
        infinite = np.abs(values) == infinity(kind)
        if infinite.any():
            return np.where(infinite, np.copysign(np.inf, values), values), present
    return np.clip(values, -WIDEST, WIDEST), present


def from_floats(values: npt.NDArray[np.float64], null: npt.NDArray[np.bool_], arrow_type: pa.DataType) -> pa.Array:
    """Values of a whole-number-like type from floats, cut off at the ends of the type."""
    if pa.types.is_decimal(arrow_type):
        return pa.array(values, mask=null).cast(arrow_type)
    ends = np.iinfo(arrow_type.to_pandas_dtype())
    inside = (values > float(ends.min)) & (values < float(ends.max))
    whole = np.where(values > 0, ends.max, ends.min).astype(ends.dtype)
    whole[inside] = np.rint(values[inside]).astype(ends.dtype)
    return pa.array(whole, mask=null).cast(arrow_type)


def from_integers(
    units: npt.NDArray[np.int64], null: npt.NDArray[np.bool_], arrow_type: pa.DataType, scale: int
) -> pa.Array:
    """Values of a whole-number-like type from units."""
    if pa.types.is_decimal(arrow_type):
        words = pa.py_buffer(np.ascontiguousarray(np.stack([units, units >> 63], axis=1)))  # 128 bits, low word first
        exact = pa.Array.from_buffers(pa.decimal128(38, scale), len(units), [None, words])
        return pc.if_else(pa.array(null), pa.scalar(None, exact.type), exact).cast(arrow_type)
    if pa.types.is_boolean(arrow_type):
        return pa.array(units > 0, mask=null)
    if pa.types.is_date32(arrow_type) or pa.types.is_time32(arrow_type):
        return pa.array(units.astype(np.int32), mask=null).cast(arrow_type)
    return pa.array(units, mask=null).cast(arrow_type)


def limits(arrow_type: pa.DataType) -> tuple[int, int]:
    """The least and the greatest number of units that a type holds, and that every database can write."""
    if pa.types.is_boolean(arrow_type):
        return 0, 1
    if pa.types.is_date32(arrow_type):
        return _FIRST_DAY, _LAST_DAY
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date64(arrow_type):
        per_day = 86_400 * PER_SECOND[getattr(arrow_type, "unit", "ms")]
        return _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1
    if pa.types.is_time(arrow_type):
        return 0, 86_400 * PER_SECOND[arrow_type.unit] - 1
    if pa.types.is_integer(arrow_type):
        limits = np.iinfo(arrow_type.to_pandas_dtype())
        return max(int(limits.min), -WIDEST), min(int(limits.max), WIDEST)
    widest = 10**arrow_type.precision - 1 if pa.types.is_decimal(arrow_type) else int(EXACT)
    return -min(widest, WIDEST), min(widest, WIDEST)


def neutral(arrow_type: pa.DataType) -> int:
    """What stands for a value of which nothing may be known: the start of the year 2000, else one unit."""
    if pa.types.is_date32(arrow_type):
        return _DAYS_TO_2000
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date64(arrow_type):
        return _DAYS_TO_2000 * 86_400 * PER_SECOND[getattr(arrow_type, "unit", "ms")]
    return 1


def infinity(arrow_type: pa.DataType) -> int:
    """What DuckDB writes for a date or time that never comes; the same below zero for one that never was."""
    return 2**31 - 1 if pa.types.is_date32(arrow_type) else 2**63 - 1


def matches(values: npt.NDArray[Any], which: int) -> npt.NDArray[np.bool_]:
    """Where one of the special values stands."""
    found: npt.NDArray[np.bool_] = np.isnan(values) if which == 0 else values == SPECIALS[which]
    return found
