"""Arrow columns of a table in the making: decoded, cast, partly replaced."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.units import to_floats_or_integers


def chunked(values: pa.Array) -> pa.ChunkedArray:
    """One array as a column of one chunk."""
    return pa.chunked_array([values])


def cast(values: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    """Values as another type; decimals by way of text, which has room for all digits."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_decimal(arrow_type) and pa.types.is_integer(values.type):
        values = values.cast(pa.string())  # Arrow casts an int64 straight to a decimal of 19 whole digits only
    return values if values.type == arrow_type else values.cast(arrow_type)


def put(values: pa.Array, rows: Rows, replacement: pa.Array) -> pa.Array:
    """The values with some rows replaced."""
    if not len(rows):
        return values
    index = np.arange(len(values))
    index[rows] = len(values) + np.arange(len(rows))
    both = pa.concat_arrays([values, cast(replacement, values.type)])
    return both.take(pa.array(index))


def decode(
    model: TableModel,
    column: str,
    codes: Codes,
    generator: np.random.Generator,
    arrow_type: pa.DataType | None = None,
) -> pa.Array:
    """Values of a learned column, of its own type or another one."""
    codec, arrow_type = model.codecs[column], arrow_type or model.schema.field(column).type
    if isinstance(codec, NumberCodec):
        return codec.decode(codes, generator, arrow_type)
    if isinstance(codec, CategoryCodec):
        return codec.decode(codes, generator).cast(arrow_type)
    raise TypeError(f"column {column!r} is not learned")


def units_of(codec: NumberCodec, values: pa.Array) -> npt.NDArray[np.int64]:
    """The whole numbers that a column's values stand for."""
    units, _ = to_floats_or_integers(chunked(values), codec.scale, continuous=False)
    whole: npt.NDArray[np.int64] = np.nan_to_num(units, posinf=0, neginf=0).astype(np.int64)
    return whole
