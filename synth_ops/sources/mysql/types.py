"""Which DuckDB type a MySQL column gets, how the server writes it as CSV, and how that is read."""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import csv

from synth_ops.metadata import Column

_WIDEST = 38
_INTEGERS = {
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "mediumint": "INTEGER",
    "int": "INTEGER",
    "bigint": "BIGINT",
}
_BINARY = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
_GEOMETRY = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
)  # fmt: skip
_CSV_TYPES = {
    "BOOLEAN": pa.int8(),
    "TINYINT": pa.int8(),
    "UTINYINT": pa.uint8(),
    "SMALLINT": pa.int16(),
    "USMALLINT": pa.uint16(),
    "INTEGER": pa.int32(),
    "UINTEGER": pa.uint32(),
    "BIGINT": pa.int64(),
    "UBIGINT": pa.uint64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us"),
}
_ARROW_TYPES = {
    "BOOLEAN": pa.bool_(),
    "BLOB": pa.binary(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What only a look at a column's values can tell.

    Attributes:
        truths: Whether they are all 0 or 1.
        times_of_day: Whether they are all between 0 and 24 hours.
        zero_dates: Whether one is no date, as `0000-00-00` is.
    """

    truths: bool = False
    times_of_day: bool = False
    zero_dates: bool = False


def stored_type(data_type: str, column_type: str, seen: Seen) -> str:
    """The DuckDB type that a column is stored in.

    >>> stored_type("int", "int(10) unsigned", Seen()), stored_type("decimal", "decimal(10,2)", Seen())
    ('UINTEGER', 'DECIMAL(10,2)')
    >>> stored_type("tinyint", "tinyint(1)", Seen(truths=True)), stored_type("bit", "bit(8)", Seen())
    ('BOOLEAN', 'UBIGINT')
    """
    if data_type in _INTEGERS:
        if column_type.startswith("tinyint(1)") and seen.truths:
            return "BOOLEAN"
        return ("U" if "unsigned" in column_type else "") + _INTEGERS[data_type]
    if data_type == "decimal":
        size = re.match(r"decimal\((\d+),(\d+)\)", column_type)
        fits = size and int(size[1]) <= _WIDEST
        return f"DECIMAL({size[1]},{size[2]})" if size and fits else "DOUBLE"
    if data_type in _BINARY:
        return "BLOB"
    return {
        "float": "FLOAT",
        "double": "DOUBLE",
        "year": "SMALLINT",
        "date": "DATE",
        "datetime": "TIMESTAMP",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "time": "TIME" if seen.times_of_day else "VARCHAR",
        "bit": "BOOLEAN" if column_type == "bit(1)" else "UBIGINT",
        "json": "JSON",
        "uuid": "UUID",
    }.get(data_type, "VARCHAR")


def is_text(data_type: str) -> bool:
    """Whether a type that is stored as text is text."""
    return data_type in _TEXTS


def csv_sql(column: Column) -> str:
    """One value as a field of CSV, in utf8mb4: nothing for NULL, in quotes whatever may hold anything."""
    name = quote(column.name)
    data_type = column.native_type.partition("(")[0].partition(" ")[0]
    if column.type == "BLOB":
        return f"IFNULL(CONCAT('\"',HEX({name}),'\"'),'')"
    if data_type in _GEOMETRY:
        name = f"ST_AsText({name})"
    if column.type in ("VARCHAR", "JSON", "UUID"):
        return f"IFNULL(CONCAT('\"',REPLACE(CONVERT({name} USING utf8mb4),'\"','\"\"'),'\"'),'')"
    if column.type in ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"):
        return f"IF(DAYOFMONTH({name})=0 OR MONTH({name})=0,'',IFNULL({name},''))"
    if data_type in ("bit", "float"):  # written in full: a float has six digits otherwise
        return f"IFNULL({name}+0{'e0' if data_type == 'float' else ''},'')"
    return f"IFNULL({name},'')"


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """What the stored columns are in Arrow."""
    return pa.schema([pa.field(c.name, _ARROW_TYPES.get(c.type) or _csv_type(c.type)) for c in columns])


def read_csv(lines: Sequence[bytes], columns: Sequence[Column], schema: pa.Schema) -> pa.RecordBatch:
    """Lines of CSV as one batch of the schema."""
    names = [str(place) for place in range(len(columns))]  # the columns' own may be anything
    text = b"\n".join([*lines, b""])
    table = csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(column_names=names, block_size=max(len(text), 2), use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types={name: _csv_type(column.type) for name, column in zip(names, columns, strict=True)},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            timestamp_parsers=[csv.ISO8601],
        ),
    )
    arrays = [
        _converted(array.combine_chunks(), field.type) for array, field in zip(table.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def quote(name: str) -> str:
    """An identifier, quoted for MySQL.

    >>> quote("a`b")
    '`a``b`'
    """
    return "`" + name.replace("`", "``") + "`"


def _csv_type(stored: str) -> pa.DataType:
    if stored.startswith("DECIMAL("):
        precision, scale = stored[len("DECIMAL(") : -1].split(",")
        return pa.decimal128(int(precision), int(scale))
    return _CSV_TYPES.get(stored, pa.string())


def _converted(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if wanted == pa.binary():
        return _from_hex(array)
    if pa.types.is_timestamp(wanted) and wanted.tz:
        return array.view(pa.int64()).view(wanted)
    return array if array.type == wanted else array.cast(wanted)


def _from_hex(array: pa.StringArray) -> pa.BinaryArray:
    """Bytes out of hexadecimal text, all at once."""
    import numpy as np

    array = pa.concat_arrays([array])  # without an offset
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[: len(array) + 1]
    values = binascii.unhexlify(memoryview(data)[: ends[-1]] if data is not None and len(ends) else b"")
    halves = pa.py_buffer((ends // 2).astype(np.int32).tobytes())
    return pa.Array.from_buffers(pa.binary(), len(array), [array.buffers()[0], halves, pa.py_buffer(values)])
