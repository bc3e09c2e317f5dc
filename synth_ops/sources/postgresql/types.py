"""Which DuckDB type a PostgreSQL column gets, how it is selected, and how what ADBC makes of it becomes that type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.metadata import Column
from synth_ops.sql import quote

_WIDEST = 38
_SAME = {
    "bool": "BOOLEAN",
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bytea": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "json": "JSON",
    "jsonb": "JSON",
}
_CAST = {  # what ADBC reads wrongly, or as bytes
    "bpchar": ("VARCHAR", "text"),
    "name": ("VARCHAR", "text"),
    "uuid": ("UUID", "text"),
    "oid": ("BIGINT", "int8"),
    "money": ("DECIMAL(19,2)", "numeric"),
}
_ELEMENTS_AS_TEXT = ("JSON", "UUID")
ARROW_TYPES: Mapping[str, pa.DataType] = {
    "BOOLEAN": pa.bool_(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "JSON": pa.string(),
    "UUID": pa.string(),
    "BLOB": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}
# ADBC adds the days and microseconds between 1970 and 2000 to what PostgreSQL sends, also to its infinities, which are
# the ends of the integers: they wrap around. DuckDB's infinities are the same ends, but for the negative one's last bit
_INFINITE_DAYS = (np.iinfo(np.int32).min + 10_956, np.iinfo(np.int32).min + 10_957)
_INFINITE_MICROSECONDS = (
    np.iinfo(np.int64).min + 946_684_799_999_999,
    np.iinfo(np.int64).min + 946_684_800_000_000,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeColumnType:
    """A column's type, domains resolved.

    Attributes:
        base: The catalogue's name of the type, or of an array's element: `int4`, `numeric`; empty where it is one of
            the schema's own.
        modifier: The type modifier: a numeric's precision and scale; -1 for none.
        enum: Whether it is one (or an array of one).
        dimensions: 0 for what is no array, as declared otherwise.
    """

    base: str
    modifier: int = -1
    enum: bool = False
    dimensions: int = 0


def stored_type(native: NativeColumnType) -> str:
    """The DuckDB type that a column is stored in: `DECIMAL` without a size where only the data can tell it.

    >>> [stored_type(NativeColumnType(base=name)) for name in ("int4", "uuid", "numeric", "interval")]
    ['INTEGER', 'UUID', 'DECIMAL', 'VARCHAR']
    >>> stored_type(NativeColumnType(base="numeric", modifier=(10 << 16) + 2 + 4))
    'DECIMAL(10,2)'
    >>> stored_type(NativeColumnType(base="int4", dimensions=1))
    'INTEGER[]'
    """
    if native.dimensions > 1:
        return "VARCHAR"
    if native.dimensions == 1:
        element = stored_type(NativeColumnType(base=native.base, modifier=native.modifier, enum=native.enum))
        if element == "DECIMAL":
            return "DOUBLE[]"
        return f"{'VARCHAR' if element in _ELEMENTS_AS_TEXT else element}[]"
    if native.base == "numeric":
        return _decimal(native.modifier)
    return _CAST[native.base][0] if native.base in _CAST else _SAME.get(native.base, "VARCHAR")


def select_sql(column: Column) -> str:
    """How a column is selected so that `convert` can make its type of it."""
    name = quote(column.name)
    native = column.native_type
    if column.type in ("VARCHAR", "VARCHAR[]"):
        plain = native in ("text", "text[]") or native.startswith("character varying")
        return name if plain else f"{name}::{'text[]' if column.type.endswith('[]') else 'text'} AS {name}"
    if column.type == "UUID":
        return f"{name}::text AS {name}"
    if column.type in ("DOUBLE", "DOUBLE[]") and native.startswith("numeric"):
        return f"{name}::float8{'[]' if column.type.endswith('[]') else ''} AS {name}"
    cast = {"oid": "int8", "money": "numeric"}.get(native)
    return f"{name}::{cast} AS {name}" if cast else name


def arrow_type(stored: str) -> pa.DataType:
    """The Arrow type of a stored column."""
    if stored.endswith("[]"):
        return pa.list_(arrow_type(stored.removesuffix("[]")))
    if stored.startswith("DECIMAL("):
        precision, scale = stored[len("DECIMAL(") : -1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return ARROW_TYPES[stored]


def converter(stored: str) -> Callable[[pa.Array], pa.Array]:
    """From what ADBC reads to the stored type. A NaN or an infinity becomes NULL in a decimal, which knows neither."""
    wanted = arrow_type(stored)
    if stored == "DATE":
        return lambda array: _with_infinities(array, _INFINITE_DAYS, np.int32, wanted)
    if stored.startswith("TIMESTAMP"):
        return lambda array: _with_infinities(array, _INFINITE_MICROSECONDS, np.int64, wanted)
    if stored.startswith("DECIMAL("):
        return lambda array: _decimals(_storage(array), wanted)
    return lambda array: _cast(_storage(array), wanted)


def _decimal(modifier: int) -> str:
    if modifier < 0:
        return "DECIMAL"
    precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (modifier - 4) & 0x7FF
    scale -= 0x800 if scale & 0x400 else 0  # since PostgreSQL 15 it may be negative
    precision, scale = max(precision - min(scale, 0), scale), max(scale, 0)
    return f"DECIMAL({precision},{scale})" if precision <= _WIDEST else "DOUBLE"


def sized_decimal(largest: str | None, scale: int | None, *, finite: bool) -> str:
    """A size for numerics that declare none, from the largest absolute value (as text) and the largest scale.

    >>> [sized_decimal(*most, finite=True) for most in (("1234.5", 2), ("0.3333", 20), (None, None))]
    ['DECIMAL(18,2)', 'DOUBLE', 'DECIMAL(18,2)']
    """
    if not finite:
        return "DOUBLE"
    if largest is None or scale is None:
        return "DECIMAL(18,2)"
    digits = len(largest.partition(".")[0].lstrip("0")) + scale
    if scale > 9 or digits > _WIDEST or "e" in largest:  # noqa: PLR2004  more digits are a quotient's, not a price's
        return "DOUBLE"
    return f"DECIMAL({18 if digits <= 18 else _WIDEST},{scale})"  # noqa: PLR2004  what fits 64 bits


def _storage(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        return array.storage
    if pa.types.is_list(array.type) and isinstance(array.type.value_type, pa.BaseExtensionType):
        values = array.values.storage
        return pa.ListArray.from_arrays(array.offsets, values, mask=array.is_null() if array.null_count else None)
    return array


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    return array if array.type == wanted else array.cast(wanted)


def _decimals(texts: pa.Array, wanted: pa.DataType) -> pa.Array:
    special = pc.is_in(texts, value_set=pa.array(["nan", "inf", "-inf"]))
    if pc.any(special).as_py():
        texts = pc.if_else(special, pa.scalar(None, texts.type), texts)
    return _cast(texts, wanted)


def _with_infinities(
    array: pa.Array, wrapped: tuple[int, int], integer: type[np.signedinteger], wanted: pa.DataType
) -> pa.Array:
    numbers = array.view(pa.from_numpy_dtype(integer))
    lowest = pc.min(numbers).as_py()
    if lowest is None or lowest > wrapped[1]:
        return _cast(array, wanted)
    positive, negative = (pa.scalar(value, numbers.type) for value in wrapped)
    ends = np.iinfo(integer)
    numbers = pc.if_else(pc.equal(numbers, positive), pa.scalar(ends.max, numbers.type), numbers)
    numbers = pc.if_else(pc.equal(numbers, negative), pa.scalar(-ends.max, numbers.type), numbers)
    return numbers.view(array.type).cast(wanted)
