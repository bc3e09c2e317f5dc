"""Candidates for rules within one row: a column, or a pair of columns, against all others at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations, permutations, product

import numpy as np

from synth_ops.metadata import Relation, Rule
from synth_ops.rules.chance import FEWEST_ROWS, Floats, agrees, never_below
from synth_ops.rules.queries import number
from synth_ops.rules.sample import WHOLE, Measure, Sample
from synth_ops.sql import quote

_FIRST_ROWS = 48
_MOST_COMBINED = 64
_MOST_DISCOUNTED = 24
_RATE_DECIMALS = 4
_DAY_MINUTES = 24 * 60
_LAST_CLOCK = 2400
_FEWEST_CLOCK_VALUES = 60
_UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def from_row(sample: Sample) -> Iterator[Rule]:
    """Rules that no row of the sample breaks, those that determine a column first."""
    yield from _copies(sample)
    yield from _parts(sample)
    yield from _spans(sample)
    yield from _clocks(sample)
    yield from _combinations(sample)
    yield from _discounts(sample)
    yield from _rates(sample)
    yield from _orders(sample.columns[Measure.TIME])
    yield from _orders(sample.columns[Measure.NUMBER])


def _copies(sample: Sample) -> Iterator[Rule]:
    """A column that repeats another one."""
    for columns in sample.columns.values():
        for one, other in combinations(columns, 2):
            if agrees(columns[other], columns[one], 0.0):
                yield Rule(relation=Relation.EQUALS, column=other, expression=quote(one), inputs=(one,))


def _parts(sample: Sample) -> Iterator[Rule]:
    """A number that is a part of a date: its year, its weekday."""
    numbers = sample.columns[Measure.NUMBER]
    for (name, part), values in sample.parts.items():
        for column in sorted(sample.whole):
            if agrees(numbers[column], values, WHOLE):
                expression = f"CAST(date_part('{part}', {quote(name)}) AS DOUBLE)"
                yield _determined(column, expression, (name,), WHOLE, words=f"{part} of {name}")


def _spans(sample: Sample) -> Iterator[Rule]:
    """A whole number of days, hours, minutes or seconds from one time to another."""
    times, numbers = sample.columns[Measure.TIME], sample.columns[Measure.NUMBER]
    for start, end in permutations(times, 2):
        for unit, seconds in _UNITS.items():
            span = np.floor((times[end] - times[start]) / seconds)
            for column in sorted(sample.whole):
                if agrees(numbers[column], span, WHOLE):
                    expression = f"floor((epoch({quote(end)}) - epoch({quote(start)})) / {seconds})"
                    words = f"{unit}s from {start} to {end}"
                    yield _determined(column, expression, (start, end), WHOLE, words=words)


def _clocks(sample: Sample) -> Iterator[Rule]:
    """Times of day written as numbers (1305 is five past one) that are another one plus some minutes."""
    numbers = sample.columns[Measure.NUMBER]
    clocks = [name for name in sorted(sample.whole) if _is_clock(numbers[name])]
    for column, start in permutations(clocks, 2):
        for added in sorted(sample.whole - set(clocks)):
            minutes = np.mod(_minutes(numbers[start]) + numbers[added], _DAY_MINUTES)
            for midnight in (0.0, float(_LAST_CLOCK)):
                if agrees(numbers[column], _clock(minutes, midnight), WHOLE):
                    expression = _clock_sql(start, added, midnight)
                    words = f"{start} + {added} minutes, as a clock"
                    yield _determined(column, expression, (start, added), WHOLE, words=words)


def _combinations(sample: Sample) -> Iterator[Rule]:
    """Sums and products of two columns."""
    names, matrix, tolerances = _varying(sample, _MOST_COMBINED)
    first = matrix[:, :: max(matrix.shape[1] // _FIRST_ROWS, 1)]
    for one, other in combinations(range(len(names)), 2):
        for sign, combine in (("+", np.add), ("*", np.multiply)):
            off = np.abs(first - combine(first[one], first[other])) > tolerances[:, None]
            for place in np.flatnonzero(~off.any(axis=1)):
                expected = combine(matrix[one], matrix[other])
                if place not in (one, other) and agrees(matrix[place], expected, tolerances[place]):
                    inputs = (names[one], names[other])
                    expression = f"{number(inputs[0])} {sign} {number(inputs[1])}"
                    words = f" {sign} ".join(inputs)
                    yield _determined(names[place], expression, inputs, float(tolerances[place]), words=words)


def _discounts(sample: Sample) -> Iterator[Rule]:
    """Products of two columns less a share, as of one or in percent; where there is none, nothing is taken off."""
    names, matrix, tolerances = _varying(sample, _MOST_DISCOUNTED)
    whole_parts = [(place, _whole_of(values)) for place, values in enumerate(matrix)]
    shares = [(place, whole) for place, whole in whole_parts if whole]
    first = matrix[:, :: max(matrix.shape[1] // _FIRST_ROWS, 1)]
    for (share, whole), (one, other) in product(shares, combinations(range(len(names)), 2)):
        if share in (one, other):
            continue
        off = np.abs(first - _discounted(first[[one, other, share]], whole)) > tolerances[:, None]
        for place in np.flatnonzero(~off.any(axis=1)):
            if place in (one, other, share):
                continue
            if agrees(matrix[place], _discounted(matrix[[one, other, share]], whole), tolerances[place]):
                inputs = (names[one], names[other], names[share])
                left = f"(1 - coalesce({number(inputs[2])}, 0) / {whole})"
                expression = f"{number(inputs[0])} * {number(inputs[1])} * {left}"
                words = f"{inputs[0]} * {inputs[1]} less {inputs[2]}{' percent' if whole > 1 else ''}"
                yield _determined(names[place], expression, inputs, float(tolerances[place]), words=words)


def _discounted(rows: Floats, whole: int) -> Floats:
    """The product of two columns less the share that the third one is of a whole."""
    found: Floats = rows[0] * rows[1] * (1 - np.nan_to_num(rows[2]) / whole)
    return found


def _rates(sample: Sample) -> Iterator[Rule]:
    """A column that is another one times a rate of few decimals, the same in all rows."""
    names, matrix, tolerances = _varying(sample, _MOST_COMBINED)
    for base, values in enumerate(matrix):
        known = values > 0
        if known.sum() < FEWEST_ROWS:
            continue
        with np.errstate(invalid="ignore"):
            least = np.nanmax((matrix[:, known] - tolerances[:, None]) / values[known], axis=1, initial=-np.inf)
            most = np.nanmin((matrix[:, known] + tolerances[:, None]) / values[known], axis=1, initial=np.inf)
        for place in np.flatnonzero((least <= most) & np.isfinite(most)):
            rate = _shortest(float(least[place]), float(most[place]))
            if place == base or rate in (None, 0.0, 1.0):
                continue
            if agrees(matrix[place], rate * values, tolerances[place]):
                words = f"{rate} * {names[base]}"
                expression = f"{rate!r} * {number(names[base])}"
                yield _determined(names[place], expression, (names[base],), float(tolerances[place]), words=words)


def _shortest(least: float, most: float) -> float | None:
    """The number of the fewest decimals between two; None where it takes too many: then it is no rate.

    >>> _shortest(0.1899, 0.1901), _shortest(1.1, 2.9), _shortest(0.33331, 0.33334)
    (0.19, 2.0, None)
    """
    for decimals in range(_RATE_DECIMALS + 1):
        rate: float = math.ceil(least * 10.0**decimals) / 10.0**decimals
        if rate <= most:
            return rate
    return None


def _varying(sample: Sample, most: int) -> tuple[list[str], Floats, Floats]:
    """The names, values and tolerances of at most so many numbers that are not always the same."""
    numbers = sample.columns[Measure.NUMBER]
    names = [name for name, values in numbers.items() if _varies(values)][:most]
    matrix = np.stack([numbers[name] for name in names]) if names else np.empty((0, 1))
    return names, matrix, np.array([sample.tolerances[name] for name in names])


def _whole_of(values: Floats) -> int:
    """What a column of shares is a share of: 1, or 100; 0 where it is none, or never more than nothing."""
    known = values[np.isfinite(values)]
    if not len(known) or known.min() < 0 or not known.max():
        return 0
    return next((whole for whole in (1, 100) if known.max() <= whole), 0)


def _orders(columns: Mapping[str, Floats]) -> Iterator[Rule]:
    """Columns that are never below another one; of several in a row, only neighbours."""
    found = {(low, high) for low, high in permutations(columns, 2) if never_below(columns[high], columns[low])}
    never = {(low, high) for low, high in found if (high, low) not in found}
    between = {(low, high) for low, middle in never for other, high in never if other == middle}
    for low, high in sorted(never - between):
        yield Rule(relation=Relation.AT_LEAST, column=high, expression=quote(low), inputs=(low,))


def _determined(column: str, expression: str, inputs: tuple[str, ...], tolerance: float, *, words: str) -> Rule:
    return Rule(
        relation=Relation.EQUALS,
        column=column,
        expression=expression,
        inputs=inputs,
        tolerance=tolerance,
        words=words,
    )


def _varies(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool((known != known[0]).any())


def _is_clock(values: Floats) -> bool:
    known = values[np.isfinite(values)]
    if not len(known) or known.min() < 0 or known.max() > _LAST_CLOCK or (np.mod(known, 100) >= 60).any():  # noqa: PLR2004
        return False
    return len(np.unique(known)) >= _FEWEST_CLOCK_VALUES


def _minutes(clock: Floats) -> Floats:
    return clock // 100 * 60 + np.mod(clock, 100)


def _clock(minutes: Floats, midnight: float) -> Floats:
    return np.where(minutes == 0, midnight, minutes // 60 * 100 + np.mod(minutes, 60))


def _clock_sql(start: str, added: str, midnight: float) -> str:
    since = f"floor({number(start)} / 100) * 60 + {number(start)} % 100 + {number(added)}"
    passed = f"((({since}) % {_DAY_MINUTES} + {_DAY_MINUTES}) % {_DAY_MINUTES})"
    return f"CASE WHEN {passed} = 0 THEN {midnight!r} ELSE floor({passed} / 60) * 100 + {passed} % 60 END"
