"""Find the times that are told best by their distance from other times."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import NumberCodec
from synth_ops.generators.relational_trees.dependencies import determined
from synth_ops.generators.relational_trees.differences import (
    DISTANCE_CODES,
    Difference,
    Flags,
    Origin,
    Units,
    can_be_compared,
    distance_codes,
    pace_codes,
    time_units,
)
from synth_ops.generators.relational_trees.learning.codecs import fit_number
from synth_ops.generators.relational_trees.learning.columns import threshold
from synth_ops.generators.relational_trees.learning.state import Learning, read_columns
from synth_ops.generators.relational_trees.names import LEFT, NOW, PACE, column_name, elapsed_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

_FEWEST_ROWS = 40
_NARROWER = 0.6
_FAR = 2
_NEARLY_ALL = 0.95
_MOST_ANCHORS = 4
_YEARS = (1000, 3000)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """A column of times.

    Attributes:
        known: Where it holds a time: neither NULL, nor infinite, nor a constant that stands for something else.
    """

    column: str
    arrow_type: pa.DataType
    units: Units
    null: Flags
    known: Flags
    constants: tuple[int, ...]

    def take(self, rows: Rows, valid: Flags) -> _Times:
        """The same for other rows; what is not valid is unknown."""
        place = np.maximum(rows, 0)
        return dataclasses.replace(
            self, units=self.units[place], null=self.null[place] | ~valid, known=self.known[place] & valid
        )


def find_differences(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Learning], learning: Learning) -> None:
    """Find what each time of a table is counted from, and what the time of a sequence is compared with."""
    times = {each.column: each for each in _times(connection, learning)}
    if not times:
        return
    anchors = _anchors(connection, tables, learning)
    time = learning.sequence.time if learning.sequence else None
    found: list[Difference | None] = []
    if time in times:
        found += _of_sequence(learning, times, time, anchors)
    by_middle = sorted(
        (each for each in times.values() if _is_date(each)), key=lambda each: _middle(each.units, each.known)
    )
    exact = _ruled(learning, [each.column for each in by_middle]) | learning.structure.table.determined
    for number, each in enumerate(by_middle):
        if each.column == time or each.column in exact:
            continue
        bases = [other for other in by_middle[:number] if other.arrow_type == each.arrow_type]
        bases = [other for other in bases if other.column not in learning.structure.table.determined]
        found.append(_best(learning, each, bases, Origin.ROW))
        if found[-1] is None:
            found.append(_best(learning, each, list(_aligned(anchors, each.arrow_type)), Origin.PARENT))
    for difference in found:
        if difference is not None and difference.name not in learning.variables:
            _keep(learning, difference, times, anchors)


def _times(connection: duckdb.DuckDBPyConnection, learning: Learning) -> Iterator[_Times]:
    """The columns that may be counted: dates, times, and the whole numbers that order a sequence."""
    time = learning.sequence.time if learning.sequence else None
    for name, codec in learning.codecs.items():
        arrow_type = learning.schema.field(name).type
        dated = pa.types.is_date32(arrow_type) or pa.types.is_timestamp(arrow_type)
        counts = isinstance(codec, NumberCodec) and not (codec.continuous or codec.specials) and len(codec.low) > 0
        apart = name in learning.ranks or name in learning.bases
        if counts and (dated or name == time) and not apart:
            values = read_columns(connection, learning.structure.table.name, [name])[0]
            yield _times_of(values, arrow_type, learning, name)


def _times_of(values: pa.ChunkedArray, wanted: pa.DataType, learning: Learning, name: str) -> _Times:
    own, known = time_units(values, values.type)
    apart = known & np.isin(own, _constants(own, known, learning, name))
    units, _ = time_units(values, wanted)
    return _Times(
        column=name,
        arrow_type=wanted,
        units=units,
        null=~known,
        known=known & ~apart,
        constants=tuple(np.unique(units[apart]).tolist()),
    )


def _constants(units: Units, known: Flags, learning: Learning, name: str) -> tuple[int, ...]:
    """The lowest or highest value, where all others are far from it and k subjects share it."""
    codec, found = learning.codecs.get(name), []
    distinct = np.unique(units[known])
    for value, others in ((distinct[-1:], distinct[:-1]), (distinct[:1], distinct[1:])):
        if not len(others) or not isinstance(codec, NumberCodec):
            continue
        gap = min(abs(int(value[0]) - int(others[0])), abs(int(value[0]) - int(others[-1])))
        shared = ((codec.low == value[0]) & (codec.high == value[0])).any()
        if shared and gap > _FAR * (int(others[-1]) - int(others[0])):
            found.append(int(value[0]))
    return tuple(found)


def _anchors(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Learning], learning: Learning
) -> dict[str, tuple[pa.ChunkedArray, Learning]]:
    """The times of the primary parent, for every row."""
    primary = learning.structure.primary
    if primary is None:
        return {}
    parent, parent_of = tables[primary.parent], learning.parents[learning.number(primary)]
    index = pa.array(np.maximum(parent_of, 0), mask=parent_of < 0)
    result = {}
    for name, codec in parent.codecs.items():
        plain = isinstance(codec, NumberCodec) and not codec.continuous and name not in parent.bases
        if plain and parent.rows:
            arrow_type = parent.schema.field(name).type
            if pa.types.is_temporal(arrow_type) or pa.types.is_integer(arrow_type):
                values = read_columns(connection, primary.parent, [name])[0]
                result[name] = (values.take(index), parent)
    return result


def _aligned(anchors: Mapping[str, tuple[pa.ChunkedArray, Learning]], wanted: pa.DataType) -> Iterator[_Times]:
    for name, (values, parent) in anchors.items():
        if can_be_compared(values.type, wanted):
            yield _times_of(values, wanted, parent, name)


def _of_sequence(
    learning: Learning, times: Mapping[str, _Times], time: str, anchors: Mapping[str, tuple[pa.ChunkedArray, Learning]]
) -> list[Difference | None]:
    """From the end before, where periods touch; else from the row before; for the first row, from the parent."""
    order, sequence, own = learning.order, learning.sequence, times[time]
    if order is None or sequence is None:
        return []
    aligned = [each for each in _aligned(anchors, own.arrow_type) if _is_date(own) or _is_year(own)]
    learning.places[time] = own.units
    first = dataclasses.replace(own, known=own.known & (order.before < 0))
    near = [each for each in aligned if _width(own.units - each.units, own.known & each.known) < _width_of(own)]
    near.sort(key=lambda each: _width(own.units - each.units, own.known & each.known))
    learning.sequence = dataclasses.replace(sequence, anchors=tuple(each.column for each in near[:_MOST_ANCHORS]))
    before = {each.column: each.take(order.before, order.before >= 0) for each in times.values()}
    for each in near[:_MOST_ANCHORS]:
        for when, start in ((LEFT, before[time]), (PACE, before[time]), (NOW, own)):
            distances, both = each.units - start.units, start.known & each.known
            if when == PACE:
                codes = pace_codes(distances, sequence.step, both, order.siblings - 1 - order.position)
            else:
                codes = distance_codes(distances, sequence.step, both)
            learning.variables[elapsed_name(when, each.column)] = Variable(
                codes=codes, size=DISTANCE_CODES, ordered=True
            )
    touching = [
        each
        for each in before.values()
        if each.column != time and each.arrow_type == own.arrow_type and _touches(own, each)
    ]
    return [
        *(_fit(learning, own, each, Origin.BEFORE) for each in touching[:1]),
        _fit(learning, own, before[time], Origin.BEFORE),
        _best(learning, first, aligned, Origin.PARENT),
    ]


def _touches(own: _Times, end_before: _Times) -> bool:
    both = own.known & end_before.known
    return bool(both.sum() >= _FEWEST_ROWS and (own.units == end_before.units)[both].mean() >= _NEARLY_ALL)


def _best(learning: Learning, own: _Times, bases: list[_Times], base: Origin) -> Difference | None:
    """Counted from the base with the narrowest distances, if they are narrower than the times, or never negative."""
    usable = []
    for each in bases:
        both = own.known & each.known
        if both.sum() < _FEWEST_ROWS or both.sum() < own.known.sum() / 2:
            continue
        distances = own.units - each.units
        narrow = _width(distances, both) <= _NARROWER * _width(own.units, both)
        overlapping = own.units[both].min() < each.units[both].max()
        if narrow or (overlapping and distances[both].min() >= 0):
            usable.append((_width(distances, both), each))
    if not usable:
        return None
    return _fit(learning, own, min(usable, key=lambda pair: pair[0])[1], base)


def _fit(learning: Learning, own: _Times, base: _Times, where: Origin) -> Difference | None:
    both = own.known & base.known
    if both.sum() < _FEWEST_ROWS:
        return None
    k = threshold(learning.structure.table.name, own.column)
    distances = pa.chunked_array([pa.array(own.units - base.units, mask=~both)])
    codec = fit_number(distances, learning.subjects, k)
    if not len(codec.low):
        return None
    return Difference(
        column=own.column,
        base=where,
        base_column=base.column,
        codec=codec,
        constants=own.constants,
        base_constants=base.constants,
    )


def _keep(
    learning: Learning,
    difference: Difference,
    times: Mapping[str, _Times],
    anchors: Mapping[str, tuple[pa.ChunkedArray, Learning]],
) -> None:
    own = times[difference.column]
    if difference.base is Origin.PARENT:
        base = next(each for each in _aligned(anchors, own.arrow_type) if each.column == difference.base_column)
    else:
        base = times[difference.base_column]
        if difference.base is Origin.BEFORE and learning.order is not None:
            base = base.take(learning.order.before, learning.order.before >= 0)
    codes = difference.encode(own.units, own.null, base.units, base.known)
    if learning.order is not None and difference.base is Origin.ROW:
        followed = learning.order.position + 1 < learning.order.siblings
        apart = difference.is_constant(codes) & (codes >= 0)
        closing = bool(apart.any() and not (apart & followed).any())
        difference = dataclasses.replace(difference, closing=closing)
    earlier = [each for each in learning.differences if each.column == difference.column]
    rest = codes.copy()
    for each in earlier:  # a row is counted from the first base that it has
        rest[learning.variables[each.name].codes >= 0] = -1
    codes = rest if (rest > 0).sum() >= _FEWEST_ROWS else codes
    if difference.column in learning.structure.table.required:
        codes[codes == 0] = -1
    learning.differences.append(difference)
    learning.variables[difference.name] = Variable(codes=codes, size=difference.size, ordered=True)


def _ruled(learning: Learning, columns: list[str]) -> set[str]:
    """Times that determine each other in other ways, such as a day and its month: rules keep those exactly."""
    rules = determined({name: learning.variables[column_name(name)] for name in columns}, K_SUBJECTS)
    return {*rules, *(rule.inputs[0] for found in rules.values() for rule in found)}


def _is_date(times: _Times) -> bool:
    return bool(pa.types.is_temporal(times.arrow_type))


def _is_year(times: _Times) -> bool:
    low, high = _YEARS
    return bool(times.known.any()) and low <= times.units[times.known].min() and times.units[times.known].max() <= high


def _middle(units: Units, known: Flags) -> float:
    return float(np.median(units[known])) if known.any() else 0.0


def _width_of(times: _Times) -> float:
    return _width(times.units, times.known)


def _width(units: Units, known: Flags) -> float:
    """The span of the middle nine tenths."""
    if not known.any():
        return 0.0
    low, high = np.quantile(units[known], [0.05, 0.95])
    return float(high - low)
