"""Candidates for rules within one row: a column, or a pair of columns, against all others at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, permutations

import numpy as np

from synth_ops.metadata import Relation, Rule
from synth_ops.rules.chance import Floats, agrees, never_below
from synth_ops.rules.queries import number
from synth_ops.rules.sample import WHOLE, Measure, Sample
from synth_ops.sql import quote

_FIRST_ROWS = 48
_MOST_COMBINED = 64
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
    numbers = sample.columns[Measure.NUMBER]
    names = [name for name, values in numbers.items() if _varies(values)][:_MOST_COMBINED]
    if not names:
        return
    matrix = np.stack([numbers[name] for name in names])
    tolerances = np.array([sample.tolerances[name] for name in names])
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
