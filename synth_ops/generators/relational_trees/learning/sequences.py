"""Find the order of rows under their parents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec, variable
from synth_ops.generators.relational_trees.differences import is_timelike
from synth_ops.generators.relational_trees.learning.codecs import fit_number
from synth_ops.generators.relational_trees.learning.columns import threshold
from synth_ops.generators.relational_trees.learning.state import SOURCE, Learning, read_columns
from synth_ops.generators.relational_trees.names import (
    COLUMN,
    DIFFERENCE,
    LEFT,
    PACE,
    advance_name,
    column_name,
    elapsed_name,
    reference_name,
    running_name,
    same_name,
)
from synth_ops.generators.relational_trees.sequences import (
    LONGEST,
    Order,
    SequenceModel,
    Summed,
    before_variables,
    order_of,
    place_variables,
    running_codes,
    strand_variables,
)
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.units import PER_SECOND
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb

_FEWEST_PER_PARENT = 1.5
_NEARLY_ALL = 0.95
_FEWEST_ROWS = 40
_OFTEN_BACK, _FEWEST_STRANDS, _MOST_STRANDS, _MOST_SHARES = 0.05, 3, 64, 16
_OFTEN_SAME, _MANY_CODES = 0.2, 12


def find_rank(connection: duckdb.DuckDBPyConnection, learning: Learning, key: tuple[str, ...]) -> None:
    """Whether the one own column of a key numbers the rows of a parent: 1, 2, 3, ..."""
    own = [name for name in key if learning.makers[name] is not Maker.REFERENCE]
    if len(own) != 1 or len(key) < 2 or not pa.types.is_integer(learning.schema.field(own[0]).type):  # noqa: PLR2004
        return
    primary = learning.structure.primary
    if primary is None or not set(key) - set(own) <= set(primary.columns):
        return
    group = ", ".join(quote(name) for name in key if name != own[0])
    place = f"{quote(SOURCE)}.{quote(learning.structure.table.name)}"
    (consecutive, starts, lowest), *_ = connection.sql(
        f"SELECT avg((high - low + 1 = n AND n = distinct_n)::INT), avg((low IN (0, 1))::INT), min(low) FROM ("
        f"SELECT min({quote(own[0])}) low, max({quote(own[0])}) high, count(*) n,"
        f" count(DISTINCT {quote(own[0])}) distinct_n FROM {place} GROUP BY {group})"
    ).fetchall()
    if consecutive and min(consecutive, starts) >= _NEARLY_ALL:
        learning.ranks[own[0]] = min(max(int(lowest), 0), 1)
        values = read_columns(connection, learning.structure.table.name, own)[0]
        codec = fit_number(values, learning.subjects, threshold(learning.structure.table.name, own[0]))
        learning.makers[own[0]], learning.codecs[own[0]] = Maker.LEARNED, codec
        learning.variables[column_name(own[0])] = variable(codec, codec.encode(values))


def find_sequence(learning: Learning) -> None:
    """Order the rows under their primary parents, where these have several and not too many."""
    primary = learning.structure.primary
    if primary is None:
        return
    parent_of = learning.parents[learning.number(primary)]
    counts = np.bincount(parent_of[parent_of >= 0]) if (parent_of >= 0).any() else np.zeros(1, np.int64)
    used = counts[counts > 0]
    if not len(used) or used.mean() < _FEWEST_PER_PARENT or used.max() > LONGEST:
        return
    ordered_by = _ordering_columns(learning, parent_of)
    learning.places = {name: _places(learning, name) for name in ordered_by}
    learning.order = order_of(parent_of, list(learning.places.values()))
    timed = [name for name in ordered_by[:1] if name not in learning.ranks] or _times(learning)
    time = next((name for name in timed if _is_time(learning, name) and _increases(learning, name)), None)
    codec = learning.codecs[time] if time else None
    learning.sequence = SequenceModel(
        ordered_by=ordered_by, time=time, step=codec.step if isinstance(codec, NumberCodec) else 1
    )


def _ordering_columns(learning: Learning, parent_of: npt.NDArray[np.int64]) -> tuple[str, ...]:
    """What orders the rows of a parent: their number; the own columns of a key; a date; a number that grows by row.

    Own columns only where they make the key together with the parent: else rows of one parent may repeat them.
    """
    if learning.ranks:
        return tuple(learning.ranks)[:1]
    primary = set(learning.structure.primary.columns) if learning.structure.primary else set()
    for key in learning.structure.table.keys:
        own = [name for name in key if name in learning.codecs and learning.makers[name] is Maker.LEARNED]
        if primary & set(key) and own and set(key) <= primary | set(own):
            return tuple(sorted(own, key=lambda name: not _is_time(learning, name)))
    stored = order_of(parent_of)
    followers = np.flatnonzero(stored.before >= 0)

    def codes(name: str) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        found = learning.variables[column_name(name)].codes
        return found[stored.before[followers]], found[followers]

    times = _times(learning)
    if times:
        tied = {name: float(np.equal(*codes(name)).mean()) for name in times}
        sorted_already = [name for name in times if np.less_equal(*codes(name)).mean() >= _NEARLY_ALL]
        telling = [name for name in sorted_already or times if tied[name] <= 1 / 2]
        if telling:
            return (telling[0],)
    growing = [name for name in learning.codecs if _is_time(learning, name) and not _is_temporal(learning, name)]
    for name in growing:
        if np.less_equal(*codes(name)).mean() >= _NEARLY_ALL and np.less(*codes(name)).mean() > 1 / 2:
            return (name,)
    return ()


def _times(learning: Learning) -> list[str]:
    """Columns of dates and times that are hardly ever NULL, the earliest first."""
    found = [name for name in learning.codecs if _is_temporal(learning, name) and _is_time(learning, name)]
    known = [name for name in found if (learning.variables[column_name(name)].codes > 0).mean() >= _NEARLY_ALL]

    def middle(name: str) -> float:
        codec, codes = learning.codecs[name], learning.variables[column_name(name)].codes
        low = codec.low if isinstance(codec, NumberCodec) else np.zeros(1)
        arrow_type = learning.schema.field(name).type
        a_day = 1 if pa.types.is_date32(arrow_type) else 86_400 * PER_SECOND[getattr(arrow_type, "unit", "ms")]
        return float(low[np.clip(int(np.median(codes)) - 1, 0, len(low) - 1)]) / a_day

    return sorted(known, key=middle)


def _is_time(learning: Learning, name: str) -> bool:
    codec = None if name in learning.bases else learning.codecs.get(name)
    timelike = isinstance(codec, NumberCodec) and is_timelike(learning.schema.field(name).type)
    return timelike and not codec.continuous and len(codec.low) > 0 and codec.size > 3  # type: ignore[union-attr]  # noqa: PLR2004


def _is_temporal(learning: Learning, name: str) -> bool:
    return bool(pa.types.is_temporal(learning.schema.field(name).type))


def _increases(learning: Learning, name: str) -> bool:
    """Whether a column hardly ever falls from a row to the next."""
    if learning.order is None:
        return False
    codes, followers = learning.variables[column_name(name)].codes, np.flatnonzero(learning.order.before >= 0)
    return bool((codes[learning.order.before[followers]] <= codes[followers]).mean() >= _NEARLY_ALL)


def _places(learning: Learning, name: str) -> npt.NDArray[Any]:
    """What sorts rows by a column: numbers by their value, texts alphabetically."""
    codec, codes = learning.codecs[name], np.maximum(learning.variables[column_name(name)].codes, 0)
    return codec.places()[codes] if isinstance(codec, CategoryCodec) else codes


def row_variables(learning: Learning) -> dict[str, Variable]:
    """What a row of a sequence may know of the one before: its columns and the groups of what it refers to."""
    names = [reference_name(learning.number(key)) for key in learning.structure.references]
    names += [name for name in learning.variables if name.startswith((COLUMN, DIFFERENCE))]
    return {name: learning.variables[name] for name in names}


def _find_strand(learning: Learning, order: Order) -> str | None:
    """The category that comes back most often after another one stood between."""
    rows, best = row_variables(learning), _OFTEN_BACK
    found: str | None = None
    for name, each in rows.items():
        if each.ordered or not _FEWEST_STRANDS < each.size <= _MOST_STRANDS or name.startswith(DIFFERENCE):
            continue
        codes = np.maximum(each.codes, 0)
        earlier = order_of(order.owner * each.size + codes, [order.position]).before
        changed = (order.before >= 0) & (codes[np.maximum(order.before, 0)] != codes)
        back = float((changed & (earlier >= 0)).sum() / max((order.before >= 0).sum(), 1))
        if back > best:
            best, found = back, name
    return found


def recalled_variables(learning: Learning) -> dict[str, Variable]:
    """What a row knows of the last one of its strand, once that is drawn."""
    order, sequence = learning.order, learning.sequence
    if order is None or sequence is None or sequence.strand is None:
        return {}
    return strand_variables(order, row_variables(learning), sequence.strand, shared=False)[0]


def sequence_variables(learning: Learning) -> dict[str, Variable]:
    """All that a row knows of its place and of the rows before it."""
    order, sequence = learning.order, learning.sequence
    if order is None or sequence is None:
        return {}
    rows = row_variables(learning)
    summed = running_codes(order, rows, sequence.running)
    shares: dict[str, Variable] = {}
    if sequence.strand and sequence.strands <= _MOST_SHARES:
        shares = strand_variables(order, {sequence.strand: rows[sequence.strand]}, sequence.strand, shared=True)[1]
    return {
        **shares,
        **place_variables(order),
        **before_variables(rows, order.before),
        **{running_name(name): each for name, each in summed.items()},
        **{
            name: each
            for name, each in learning.variables.items()
            if name.startswith((elapsed_name(LEFT, ""), elapsed_name(PACE, "")))
        },
    }


def _find_advances(learning: Learning, order: Order, ordered_by: Sequence[str]) -> None:
    """How the ordering columns behind the first one move on where the ones before them stay: numbers by how much.

    Categories move on to another one, as far apart as the alphabet may put them.
    """
    before = np.maximum(order.before, 0)
    tied = order.before >= 0
    for column, following in pairwise(ordered_by):
        places = learning.places[column]
        tied = tied & (places == places[before])
        moved = learning.places[following] - learning.places[following][before]
        whole = learning.variables[column_name(following)]
        category = isinstance(learning.codecs[following], CategoryCodec)
        codes = np.where(tied & (moved >= 0), whole.codes if category else moved, -1).astype(np.int32)
        if (codes >= 0).sum() >= _FEWEST_ROWS:
            learning.variables[advance_name(following)] = Variable(
                codes=codes, size=whole.size + 1, ordered=not category
            )


def find_repetitions(learning: Learning) -> None:
    """Variables that often stay what they were, and those that are summed up: decided once all of them are known."""
    order, sequence = learning.order, learning.sequence
    if order is None or sequence is None:
        return
    _find_advances(learning, order, sequence.ordered_by)
    followers = np.flatnonzero(order.before >= 0)
    before = order.before[followers]
    same: list[str] = []
    for name, each in row_variables(learning).items():
        counted = name.startswith(DIFFERENCE) or name.removeprefix(COLUMN) in {
            *sequence.ordered_by,
            *learning.counted(),
        }
        if counted or not len(followers):
            continue
        equal = each.codes[before] == each.codes[followers]
        if not name.startswith(COLUMN):
            parents = learning.parents[int(name.split("|")[1])]
            equal = parents[before] == parents[followers]
        if equal.mean() < _OFTEN_SAME or (name.startswith(COLUMN) and each.size < _MANY_CODES):
            continue
        same.append(name)
        codes = np.full(len(each.codes), -1, np.int32)
        codes[followers] = equal
        codes[each.codes < 0] = -1
        learning.variables[same_name(name)] = Variable(codes=codes, size=2, ordered=False)
    running = {
        name: Summed(size=each.size, ordered=each.ordered)
        for name, each in row_variables(learning).items()
        if name.removeprefix(COLUMN) not in sequence.ordered_by[:1]
    }
    strand = _find_strand(learning, order)
    learning.sequence = dataclasses.replace(
        sequence,
        same=tuple(same),
        running=running,
        strand=strand,
        strands=learning.variables[strand].size if strand else 0,
    )
