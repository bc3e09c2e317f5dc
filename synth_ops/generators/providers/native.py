"""Values of a database's own types that are carried as text: what stands in such a column must be one of the type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.providers.arrow_text import fixed_width
from synth_ops.generators.providers.randomness import Integers, rows
from synth_ops.generators.providers.request import Request

_SPACE = 2**40
_DAY_S, _HOURS = 86_400, 100
_FIRST_DAY, _DAYS = 10_957, 9_000
"""From the year 2000 on, in days since 1970."""
_LOWEST, _LONGEST = 100_000, 100
_BITS = 8


class NativeProvider:
    """Random values of one native type; different ones where they must differ, as far as the type has so many."""

    def __init__(self, request: Request, write: Callable[[Integers, Request], pa.Array]) -> None:
        self._request, self._write = request, write

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        stream = self._request.stream("native")
        if self._request.unique:
            return self._write(stream.permuted(rows(start, count), _SPACE), self._request)
        return self._write(stream.below(start, count, _SPACE), self._request)


def native_provider(request: Request) -> NativeProvider | None:
    """The provider of a column's native type, if that asks for a form of its own."""
    name = re.sub(r"\(.*?\)", "", request.column.native_type.casefold()).strip()
    return NativeProvider(request, _WRITERS[name]) if name in _WRITERS else None


def _bits(numbers: Integers, request: Request) -> pa.Array:
    learned = request.shape.max_length if request.shape else None
    width = min(request.hard_limit or _declared(request) or learned or _BITS, 64)
    places = np.arange(width)[::-1] % np.int64(40)
    return fixed_width((48 + (numbers[:, None] >> places & 1)).astype(np.uint8))


def _declared(request: Request) -> int | None:
    found = re.search(r"\((\d+)\)", request.column.native_type)
    return int(found[1]) if found else None


def _hardware_address(numbers: Integers, _: Request) -> pa.Array:
    """Of those that everybody may give out: their second digit is 2."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    matrix = np.full((len(numbers), 17), ord(":"), np.uint8)
    matrix[:, :2] = ord("0"), ord("2")
    free = [place for place in range(3, 17) if place % 3 < 2]  # noqa: PLR2004  two digits and a colon
    for shift, place in enumerate(free):
        matrix[:, place] = digits[numbers >> (4 * shift) & 15]
    return fixed_width(matrix)


def _network_address(numbers: Integers, _: Request) -> pa.Array:
    """Of a net that leads nowhere outside."""
    octets = (pa.array(numbers >> shift & 255).cast(pa.string()) for shift in (0, 8, 16))
    return pc.binary_join_element_wise("10", *octets, ".")


def _duration(numbers: Integers, _: Request) -> pa.Array:
    return _clock(numbers % (_HOURS * 3600))


def _zoned_time(numbers: Integers, _: Request) -> pa.Array:
    return _joined(_clock(numbers % _DAY_S), "+00")


def _number_range(numbers: Integers, _: Request) -> pa.Array:
    low = numbers % _LOWEST
    return _range(low, low + 1 + numbers // _LOWEST % _LONGEST)


def _date_range(numbers: Integers, _: Request) -> pa.Array:
    low = _FIRST_DAY + numbers % _DAYS
    ends = (low, low + 1 + numbers // _DAYS % _LONGEST)
    return _range(*(pa.array(end.astype(np.int32)).cast(pa.date32()) for end in ends))


def _point(numbers: Integers, _: Request) -> pa.Array:
    x, y = (pa.array(part % _LOWEST).cast(pa.string()) for part in (numbers, numbers // _LOWEST))
    return _joined("(", x, ",", y, ")")


def _segment(numbers: Integers, request: Request) -> pa.Array:
    ends = _point(numbers, request), _point(numbers + _LONGEST * (_LOWEST + 1), request)
    return _joined("(", ends[0], ",", ends[1], ")")


def _circle(numbers: Integers, request: Request) -> pa.Array:
    radius = pa.array(1 + numbers % _LONGEST).cast(pa.string())
    return _joined("<", _point(numbers, request), ",", radius, ">")


def _range(low: Integers | pa.Array, high: Integers | pa.Array) -> pa.Array:
    return _joined("[", pa.array(low).cast(pa.string()), ",", pa.array(high).cast(pa.string()), ")")


def _clock(seconds: Integers) -> pa.Array:
    hour, minute, second = (
        pc.utf8_lpad(pa.array(part).cast(pa.string()), 2, "0")
        for part in (seconds // 3600, seconds // 60 % 60, seconds % 60)
    )
    return _joined(hour, ":", minute, ":", second)


def _joined(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts, "")


_WRITERS: Mapping[str, Callable[[Integers, Request], pa.Array]] = {
    "bit": _bits,
    "bit varying": _bits,
    "varbit": _bits,
    "macaddr": _hardware_address,
    "inet": _network_address,
    "cidr": _network_address,
    "interval": _duration,
    "time with time zone": _zoned_time,
    "timetz": _zoned_time,
    "int4range": _number_range,
    "int8range": _number_range,
    "numrange": _number_range,
    "daterange": _date_range,
    "tsrange": _date_range,
    "tstzrange": _date_range,
    "point": _point,
    "lseg": _segment,
    "box": _segment,
    "circle": _circle,
}
