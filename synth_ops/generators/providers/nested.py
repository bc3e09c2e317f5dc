"""Lists, structs, JSON and blobs: small placeholders of the right type."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from synth_ops.generators.providers.arrow_text import joined, pseudo_words
from synth_ops.generators.providers.randomness import rows
from synth_ops.generators.providers.request import Request
from synth_ops.sql import is_text

_VARIANTS = 64
_WORDS = tuple(pseudo_words(rows(100, _VARIANTS)).to_pylist())
_PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A GIF of one transparent pixel."""


class NestedProvider:
    """Values of a list, struct or map type, or JSON: of its form, from made-up words and small numbers."""

    def __init__(self, request: Request) -> None:
        self._request = request
        type_name = request.column.type
        if is_text(type_name) or type_name.upper() == "JSON":
            texts = [json.dumps({"name": word, "value": number}) for number, word in enumerate(_WORDS)]
            self._variants: pa.Array = pa.array(texts)
            return
        with duckdb.connect() as connection:
            arrow_type = connection.sql(f"SELECT NULL::{type_name} AS v").to_arrow_table().schema.field("v").type
        words = [word[: request.hard_limit] for word in _WORDS]
        self._variants = pa.array([_value(arrow_type, number, words) for number in range(_VARIANTS)], arrow_type)

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        index = rows(start, count)
        if self._request.unique and pa.types.is_string(self._variants.type):
            return joined('{"name": "', pseudo_words(index), '"}')
        if self._request.unique and start + count > _VARIANTS:
            raise self._request.too_few(f"of type {self._request.column.type}")
        chosen = index if self._request.unique else self._request.stream("variant").below(start, count, _VARIANTS)
        return self._variants.take(pa.array(chosen))


class BlobProvider:
    """A tiny picture; where blobs must differ, with the row's number behind it."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        if not self._request.unique:
            return pa.repeat(pa.scalar(_PIXEL, pa.binary()), count)
        return pa.array([_PIXEL + number.to_bytes(8, "big") for number in range(start, start + count)], pa.binary())


def _value(arrow_type: pa.DataType, number: int, words: Sequence[str]) -> object:
    """A small value of a type, another one for most numbers; None for types that have no obvious one."""
    types = pa.types
    if types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type):
        size = arrow_type.list_size if types.is_fixed_size_list(arrow_type) else 1 + number % 3
        return [_value(arrow_type.value_type, number + place, words) for place in range(size)]
    if types.is_map(arrow_type):
        return [(_value(arrow_type.key_type, number, words), _value(arrow_type.item_type, number, words))]
    if types.is_struct(arrow_type):
        return {field.name: _value(field.type, number + place, words) for place, field in enumerate(arrow_type)}
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return words[number % _VARIANTS]
    if types.is_boolean(arrow_type):
        return number % 2 == 0
    return number % 100 if types.is_integer(arrow_type) or types.is_floating(arrow_type) else None
