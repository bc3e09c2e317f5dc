"""Persons: in one row, the name, its parts, the e-mail address and the user name are the same person's."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.providers.arrow_text import digits, joined, where
from synth_ops.generators.providers.pattern import PatternProvider
from synth_ops.generators.providers.pools import pool, slugs, within
from synth_ops.generators.providers.randomness import Integers, Stream, rows
from synth_ops.generators.providers.request import Provider, Request
from synth_ops.kinds import role_of

_DOMAINS = ("@example.com", "@example.org", "@example.net")
_SHORT_DOMAIN = "@x.test"
"""Domains that RFC 2606 reserves: no mail gets anywhere."""
_INITIALS = "ABCDEFGHIJKLMNOPRSTVW"
_FEWEST = 8


class Person:
    """The person of each row of a table, by role: a row of orders may have a billing and a shipping one."""

    def __init__(self, request: Request) -> None:
        role = role_of(request.column.name, request.table)
        self._stream = Stream.named(request.seed, request.table, role, "person")
        self._first = len(pool("first_name", request.locale))
        self._last = len(pool("last_name", request.locale))

    def of(self, start: int, count: int) -> tuple[Integers, Integers, Integers, Integers]:
        """Of each row: numbers of the first name, the initial and the last name, and how often these came before."""
        size = self._first * len(_INITIALS) * self._last
        index = rows(start, count)
        who = self._stream.permuted(index % size, size)
        first, rest = who % self._first, who // self._first
        return first, rest % len(_INITIALS), rest // len(_INITIALS), index // size


class NameProvider:
    """Full names, first names or last names.

    A full name has an initial in the middle where there is room: not for looks, but because two plain common names
    would often meet in a real person's.
    """

    def __init__(self, request: Request, part: str) -> None:
        self._request, self._part = request, part
        self._person = Person(request)
        self._limit = request.limit
        self._initials = pa.array([f" {initial}. " for initial in _INITIALS])

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        first, initial, last, turn = self._person.of(start, count)
        if self._part == "name":
            names = self._full(first, initial, last)
        else:
            names = self._cut(self._part, first if self._part == "first_name" else last, self._limit)
        if not self._request.unique:
            return names
        if self._part == "name" and self._limit is None:
            return joined(names, where(turn > 0, joined(" ", digits(turn + 1)), ""))
        number = joined(" ", digits(rows(start, count) + 1))
        if self._limit is not None:
            names = pc.utf8_slice_codeunits(names, 0, max(self._limit - 1 - _digits_of(self._request), 1))
        return within(self._request, joined(names, number))

    def _full(self, first: Integers, initial: Integers, last: Integers) -> pa.Array:
        middle = self._initials.take(pa.array(initial))
        if self._limit is None:
            return joined(self._cut("first_name", first, None), middle, self._cut("last_name", last, None))
        half = (self._limit - len(" A. ")) // 2
        if half < _FEWEST // 2:
            half, middle = max((self._limit - 1) // 2, 1), " "
        names = joined(self._cut("first_name", first, half), middle, self._cut("last_name", last, half))
        return pc.utf8_slice_codeunits(names, 0, self._limit)

    def _cut(self, part: str, numbers: Integers, limit: int | None) -> pa.Array:
        """The names of these numbers, or shorter ones in place of those that are too long."""
        texts = pool(part, self._request.locale)
        if limit is None:
            return texts.take(pa.array(numbers))
        fitting = pool(part, self._request.locale, limit)
        if len(fitting) < _FEWEST:
            return pc.utf8_slice_codeunits(texts.take(pa.array(numbers)), 0, limit)
        own = texts.take(pa.array(numbers))
        return pc.if_else(
            pc.less_equal(pc.utf8_length(own), limit), own, fitting.take(pa.array(numbers % len(fitting)))
        )


def name_provider(request: Request, part: str) -> Provider:
    """Names; codes where names that must differ have no room for a number."""
    room = None if request.limit is None else request.limit - _digits_of(request) - 1
    return PatternProvider(request) if request.unique and room is not None and room < 1 else NameProvider(request, part)


class AccountProvider:
    """E-mail addresses or user names: a person's name and the row's number, so no two are the same."""

    def __init__(self, request: Request, *, mail: bool) -> None:
        self._request, self._mail = request, mail
        self._person = Person(request)
        self._first = slugs("first_name", request.locale)
        self._last = slugs("last_name", request.locale)
        self._initials = pc.utf8_slice_codeunits(self._first, 0, 1)

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        first, _, last, _ = self._person.of(start, count)
        number = digits(rows(start, count) + 1)
        limit = self._request.limit
        domain, room = self._domain(start, count)
        last_name = self._last.take(pa.array(last))
        if self._mail and (limit is None or room >= 2 * _FEWEST):
            name = joined(self._first.take(pa.array(first)), ".", last_name)
        else:
            name = joined(self._initials.take(pa.array(first)), last_name)
        if limit is not None:
            name = pc.utf8_slice_codeunits(name, 0, max(room, 1))
        return within(self._request, joined(name, number, domain))

    def _domain(self, start: int, count: int) -> tuple[pa.Array | str, int]:
        """The domain, and how many characters it leaves for the name."""
        left = (self._request.limit or 0) - _digits_of(self._request)
        if not self._mail:
            return "", left
        room = left - len(_DOMAINS[0])
        if self._request.limit is None or room > 1:
            chosen = self._request.stream("domain").below(start, count, len(_DOMAINS))
            return pa.array(_DOMAINS).take(pa.array(chosen)), room
        return _SHORT_DOMAIN, left - len(_SHORT_DOMAIN)


def _digits_of(request: Request) -> int:
    """How many digits to keep free for the row's number: the same for every shard."""
    return len(str(request.expected_rows))
