"""Codes by mask: a bijection from row numbers where they must differ, random where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from synth_ops.generators.providers.arrow_text import fixed_width, from_buffer
from synth_ops.generators.providers.randomness import Integers, rows
from synth_ops.generators.providers.request import Request
from synth_ops.generators.providers.shape import Weighted

_UPPER, _DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
_CLASSES = {"A": _UPPER, "a": _UPPER.lower(), "9": _DIGITS, "1": _DIGITS[1:], "X": _DIGITS + _UPPER}
_CYCLE = 100
"""Over how many rows the masks' weights are kept exactly, where values must differ."""
_LARGEST_CHUNK = 2**62
_EXTRA_DIGITS = 9
_DEFAULT_LENGTH = 8


@dataclass(frozen=True)
class Mask:
    """One mask, read.

    Attributes:
        places: The characters that each place may have.
    """

    places: tuple[str, ...]

    @classmethod
    def read(cls, mask: str) -> Mask:
        r"""Read a mask.

        >>> [len(place) for place in Mask.read(r"\N9A-").places]
        [1, 10, 26, 1]
        """
        characters = iter(mask)
        return cls(tuple(next(characters) if each == "\\" else _CLASSES.get(each, each) for each in characters))

    @cached_property
    def chunks(self) -> list[tuple[list[int], int]]:
        """The free places in groups, each group's combinations fitting into 62 bits: (places, combinations)."""
        groups: list[tuple[list[int], int]] = []
        for number, place in enumerate(self.places):
            if len(place) == 1:
                continue
            if not groups or groups[-1][1] * len(place) > _LARGEST_CHUNK:
                groups.append(([], 1))
            members, size = groups[-1]
            groups[-1] = ([*members, number], size * len(place))
        return groups

    @property
    def space(self) -> int:
        """How many codes surely differ: those of the first group."""
        return self.chunks[0][1] if self.chunks else 1

    def overlaps(self, other: Mask) -> bool:
        """Whether some code fits both."""
        same_length = len(self.places) == len(other.places)
        return same_length and all(set(a) & set(b) for a, b in zip(self.places, other.places, strict=True))

    def write(self, numbers: Sequence[Integers], count: int) -> NDArray[np.uint8]:
        """The codes, as a matrix of ASCII codes, of one number a chunk and row."""
        matrix = np.empty((count, len(self.places)), np.uint8)
        for number, place in enumerate(self.places):
            if len(place) == 1:
                matrix[:, number] = ord(place)
        for (members, _), values in zip(self.chunks, numbers, strict=True):
            rest = values
            for number in reversed(members):
                rest, remainder = np.divmod(rest, len(self.places[number]))
                matrix[:, number] = np.frombuffer(self.places[number].encode(), np.uint8)[remainder]
        return matrix


class PatternProvider:
    """Codes in the masks of a request's shape, or in those given.

    Args:
        masks: Instead of the shape's.
    """

    def __init__(self, request: Request, masks: Weighted = ()) -> None:
        self._request = request
        weighted = masks or (request.shape.masks if request.shape else ()) or ((_default_mask(request), 1.0),)
        self._masks, weights = _within(weighted, request.hard_limit)
        if request.unique:
            self._masks, weights = _disjoint(self._masks, weights)
            self._masks, weights = _roomy(self._masks, weights, max(request.rows, 1))
            if len(self._masks) == 1 and self._masks[0].space < request.rows and self._longer_mask() is None:
                self._masks, weights = [Mask((_CLASSES["X"],) * len(self._masks[0].places))], [1.0]
        self._cumulative = np.cumsum(weights) / np.sum(weights)
        self._slots = _slots(weights)
        self._cycle = int(self._slots.sum())
        layout = np.repeat(np.arange(len(weights)), self._slots)
        self._order = layout[request.stream("cycle").permuted(np.arange(self._cycle), self._cycle)]
        self._rank = np.zeros(self._cycle, np.int64)
        for number, slots in enumerate(self._slots):
            self._rank[self._order == number] = np.arange(slots)
        self._full = _capacity(self._masks, self._slots)

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        index = rows(start, count)
        if not self._request.unique:
            uniform = self._request.stream("mask").below(start, count, 2**53) / 2.0**53
            return self._written(start, count, np.searchsorted(self._cumulative, uniform, side="right"), None)
        if start + count > self._full:
            return self._overflowing(start, count)
        place = index % self._cycle
        rank = index // self._cycle * self._slots[self._order[place]] + self._rank[place]
        return self._written(start, count, self._order[place], rank)

    def _overflowing(self, start: int, count: int) -> pa.Array:
        """Rows of which some come after the masks are used up: these get longer codes, which no mask makes."""
        inside = max(0, self._full - start)
        longer = self._longer_mask()
        if longer is None or start + count - self._full > longer.space:
            raise self._request.too_few("that its codes have")
        index = rows(start + inside, count - inside)
        first = self._request.stream("longer").permuted(index - self._full, longer.space)
        matrix = longer.write([first, *self._random(longer, start + inside, len(index))[1:]], len(index))
        return pa.concat_arrays([self.values(start, inside), fixed_width(matrix)])

    def _longer_mask(self) -> Mask | None:
        longest = max(len(mask.places) for mask in self._masks)
        limit = self._request.hard_limit
        extra = _EXTRA_DIGITS if limit is None else min(_EXTRA_DIGITS, limit - longest)
        heaviest = self._masks[0].places
        return Mask(heaviest + (_DIGITS,) * (longest - len(heaviest) + extra)) if extra > 0 else None

    def _written(self, start: int, count: int, chosen: Integers, rank: Integers | None) -> pa.Array:
        lengths = np.array([len(mask.places) for mask in self._masks])[chosen]
        ends = np.cumsum(lengths)
        characters = np.empty(int(ends[-1]) if count else 0, np.uint8)
        for number, mask in enumerate(self._masks):
            mine = np.flatnonzero(chosen == number)
            if not len(mine):
                continue
            numbers = [each[mine] for each in self._random(mask, start, count)]
            if rank is not None and numbers:
                numbers[0] = self._request.stream(f"mask {number}").permuted(rank[mine], mask.space)
            width = len(mask.places)
            places = (ends[mine] - width)[:, None] + np.arange(width)
            characters[places] = mask.write(numbers, len(mine))
        return from_buffer(characters, lengths)

    def _random(self, mask: Mask, start: int, count: int) -> list[Integers]:
        return [
            (self._request.stream(f"chunk {number}").words(start, count) % np.uint64(size)).astype(np.int64)
            for number, (_, size) in enumerate(mask.chunks)
        ]


class DenseIntegers:
    """Whole numbers one after the other: from 1, or from the power of ten that the source's digits begin with."""

    def __init__(self, request: Request) -> None:
        self._request = request
        shortest = min((length for length, _ in request.shape.lengths), default=1) if request.shape else 1
        first = 10 ** (shortest - 1) if shortest > 1 else 1
        self._first = first if first + max(request.rows, 1) <= request.largest else 1

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        if self._first + start + count - 1 > self._request.largest:
            raise self._request.too_few(f"whole numbers of type {self._request.column.type}")
        return pa.array(rows(start, count) + self._first)


class DigitsProvider:
    """Random whole numbers with as many digits as the source's, where the type takes them."""

    def __init__(self, request: Request) -> None:
        most = len(str(request.largest)) - 1
        learned = request.shape.lengths if request.shape else ()
        lengths = [(min(length, most), weight) for length, weight in learned] or [(min(9, most), 1.0)]
        self._codes = PatternProvider(request, tuple(("1" + "9" * (length - 1), weight) for length, weight in lengths))

    def values(self, start: int, count: int) -> pa.Array:
        """See `Provider`."""
        return self._codes.values(start, count).cast(pa.int64())


def _within(weighted: Weighted, limit: int | None) -> tuple[list[Mask], list[float]]:
    """The masks that fit a column; the heaviest, cut, where none does."""
    read = [(Mask.read(mask), weight) for mask, weight in weighted]
    fitting = [(mask, weight) for mask, weight in read if limit is None or len(mask.places) <= limit]
    if not fitting:
        heaviest, weight = max(read, key=lambda pair: pair[1])
        fitting = [(Mask(heaviest.places[:limit]), weight)]
    return [mask for mask, _ in fitting], [weight for _, weight in fitting]


def _disjoint(masks: Sequence[Mask], weights: Sequence[float]) -> tuple[list[Mask], list[float]]:
    """Masks that can't make the same code twice, the heaviest ones kept."""
    kept: list[tuple[Mask, float]] = []
    for mask, weight in sorted(zip(masks, weights, strict=True), key=lambda pair: -pair[1]):
        if not any(mask.overlaps(other) for other, _ in kept):
            kept.append((mask, weight))
    return [mask for mask, _ in kept], [weight for _, weight in kept]


def _roomy(masks: Sequence[Mask], weights: Sequence[float], needed: int) -> tuple[list[Mask], list[float]]:
    """Fewer masks, where one of them would be used up too soon."""
    kept = list(zip(masks, weights, strict=True))
    while len(kept) > 1:
        slots = _slots([weight for _, weight in kept])
        turns = [mask.space // each if each else needed for (mask, _), each in zip(kept, slots, strict=True)]
        if min(turns) * int(slots.sum()) >= needed:
            break
        kept.pop(int(np.argmin(turns)))
    return [mask for mask, _ in kept], [weight for _, weight in kept]


def _slots(weights: Sequence[float]) -> Integers:
    """How many rows of a cycle each mask gets."""
    if len(weights) == 1:
        return np.ones(1, np.int64)
    exact = np.asarray(weights) / np.sum(weights) * _CYCLE
    slots: Integers = np.floor(exact).astype(np.int64)
    for number in np.argsort(slots - exact, kind="stable")[: _CYCLE - int(slots.sum())]:
        slots[number] += 1
    return slots


def _capacity(masks: Sequence[Mask], slots: Integers) -> int:
    """For how many rows the masks suffice before one of them is used up."""
    return min(mask.space // int(each) for mask, each in zip(masks, slots, strict=True) if each) * int(slots.sum())


def _default_mask(request: Request) -> str:
    longest = request.limit or _DEFAULT_LENGTH
    needed = math.ceil(math.log(max(request.rows, 2), 36)) + 1
    return "X" * min(longest, max(_DEFAULT_LENGTH, needed))
