"""Let another model make columns of a table: its rows take the place of what was drawn for them.

What was drawn says which rows are wanted where: a row that was drawn under a rich parent gets a guest that looks alike,
so that what the table has to do with its parents, its keys and the row before stays, while all that the columns have to
do with each other is the guest's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec
from synth_ops.generators.relational_trees.drawing.counted import differences_of
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import rule_inputs
from synth_ops.generators.relational_trees.drawing.values import cast, chunked, decode, put
from synth_ops.generators.relational_trees.drawing.variables import redraw
from synth_ops.generators.relational_trees.learning.context import coarse, information_beyond_chance
from synth_ops.generators.relational_trees.names import COLUMN, column_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.sequences import order_of
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.unique import densify
from synth_ops.generators.relational_trees.units import to_floats_or_integers

_MOST_TELLING = 8
_BINS = 12
_SCREENING_ROWS = 20_000
_ATTEMPT = 300
"""The number of an attempt, so that its draws differ from those for keys, checks and rules."""


def host(drawing: TableDrawing) -> None:
    """Take in the guest's rows, if the table has a guest; what follows from its columns is drawn again."""
    guest, made = drawing.sampling.guests.get(drawing.name), drawing.made
    if guest is None or not made.rows:
        return
    seed, primary = int(drawing.stream("guest").integers(0, 2**62)), made.structure.primary
    in_order = order_of(made.parents[made.number(primary)]) if guest.in_sequence and primary else None
    count = int(in_order.owner.max()) + 1 if in_order else made.rows
    pool = guest.rows(count, seed=seed)
    admitted = {name: _admit(drawing, name, pool.column(name)) for name in guest.columns}
    if in_order:  # a sequence that is longer than those of the guest begins again
        length = pool.num_rows // count
        seats = in_order.owner * length + in_order.position % length
    else:
        seats = _seats(drawing, {name: codes for name, (codes, _) in admitted.items()})
    for name, (codes, values) in admitted.items():
        seated = values.take(pa.array(seats))
        empty = np.flatnonzero(codes[seats] == 0) if name in made.structure.table.required else seats[:0]
        own_codes, own_values = made.codes[column_name(name)][empty], made.columns[name].take(pa.array(empty))
        made.codes[column_name(name)] = codes[seats]
        made.codes[column_name(name)][empty] = own_codes
        made.columns[name] = put(seated, empty, own_values)
    redraw(drawing, np.arange(made.rows), _followers(drawing, guest.columns), _ATTEMPT)


def _admit(drawing: TableDrawing, column: str, values: pa.ChunkedArray) -> tuple[Codes, pa.Array]:
    """A guest's values by the codec's rule: what fewer than k subjects share becomes something that k do."""
    model, generator = drawing.made.model, drawing.stream("guest", column)
    codec, arrow_type = model.codecs[column], model.schema.field(column).type
    if isinstance(codec, CategoryCodec):
        codes = codec.encode(chunked(cast(values, pa.string())))
        return codes, decode(model, column, codes, generator)
    if not isinstance(codec, NumberCodec):
        raise TypeError(f"column {column!r} is not learned")
    known = chunked(cast(values, arrow_type))
    codes = codec.encode(known)
    if not len(codec.low):
        return codes, codec.decode(codes, generator, arrow_type)
    units, _ = to_floats_or_integers(known, codec.scale, continuous=codec.continuous)
    drawn, place = codec.units(codes, generator), np.clip(codes - 1, 0, len(codec.low) - 1)
    inside = (units >= codec.low[place]) & (units <= codec.high[place])
    if not codec.continuous:
        inside &= (np.where(inside, units, codec.low[place]) - codec.low[place]) % codec.step == 0
    return codes, codec.from_units(np.where(inside, units, drawn).astype(drawn.dtype), codes, arrow_type)


def _seats(drawing: TableDrawing, guests: Mapping[str, Codes]) -> Rows:
    """The guest row that each row gets: one that is as it was drawn, first of all in what the rest tells most of."""
    made = drawing.made
    own = {column_name(name) for name in guests}
    context = [codes for name, codes in made.codes.items() if name not in own]
    some = np.unique(np.linspace(0, made.rows - 1, min(made.rows, _SCREENING_ROWS)).astype(np.int64))
    binned = [coarse(codes[some], _BINS) for codes in context]
    telling: dict[str, float] = {}
    for name in guests:
        wanted = coarse(made.codes[column_name(name)][some], _BINS)
        telling[name] = max((information_beyond_chance(each, wanted, _BINS) for each in binned), default=0.0)
    chosen = sorted((name for name in telling if telling[name] > 0), key=lambda name: (-telling[name], name))
    pairs = [_binned_alike(made.codes[column_name(name)], guests[name]) for name in chosen[:_MOST_TELLING]]
    return seat_alike([host for host, _ in pairs], [guest for _, guest in pairs], made.rows)


def _binned_alike(one: Codes, other: Codes) -> tuple[Codes, Codes]:
    both = coarse(np.concatenate([one, other]), _BINS)
    return both[: len(one)], both[len(one) :]


def seat_alike(hosts: Sequence[Codes], guests: Sequence[Codes], rows: int) -> Rows:
    """Give every row another guest, one that agrees with it in as many leading variables as can be.

    Coarsened exact matching (Iacus, King and Porro, 2012) in rounds: first those that agree in all variables are
    paired, then of the rest those that agree in all but the last, and so on. One sort a round.

    Args:
        hosts, guests: The variables of both sides, the most telling first.
        rows: How many there are on either side.

    >>> seat_alike([np.array([1, 2, 2])], [np.array([2, 1, 1])], 3).tolist()
    [1, 0, 2]
    """
    keys = [np.zeros(2 * rows, np.int64)]
    for host_codes, guest_codes in zip(hosts, guests, strict=True):
        both = densify(np.concatenate([host_codes, guest_codes]).astype(np.int64))
        keys.append(densify(keys[-1] * (int(both.max(initial=0)) + 1) + both))
    seats, waiting, free = np.empty(rows, np.int64), np.arange(rows), np.arange(rows)
    for key in reversed(keys):
        _, here, there = np.intersect1d(
            _numbered(key[:rows][waiting], rows),
            _numbered(key[rows:][free], rows),
            assume_unique=True,
            return_indices=True,
        )
        seats[waiting[here]] = free[there]
        waiting, free = np.delete(waiting, here), np.delete(free, there)
    return seats


def _numbered(key: Rows, rows: int) -> Rows:
    """Keys with the number that each row has among those of the same key, as one number."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    first = np.searchsorted(ordered, ordered, "left")
    numbered = np.empty(len(key), np.int64)
    numbered[order] = ordered * rows + np.arange(len(key)) - first
    return numbered


def _followers(drawing: TableDrawing, columns: Sequence[str]) -> list[str]:
    """The table's own columns that depend on a guest's, or on such; in a sequence, those that follow by a rule."""
    made = drawing.made
    changed = {column_name(name) for name in columns}
    keys, followers = {name for key in made.structure.table.keys for name in key}, []
    for target in made.model.targets:
        column = target.name.removeprefix(COLUMN)
        if target.name in changed or column == target.name or column in keys or column in made.model.ranks:
            continue
        if made.model.makers[column] is not Maker.LEARNED:
            continue
        base = made.model.bases.get(column)
        depends = {*rule_inputs(target), *(column_name(each.base_column) for each in differences_of(drawing, column))}
        depends |= {column_name(base.column)} if base else set()
        depends |= set() if made.model.sequence else set(target.inputs)
        if depends & changed:
            changed.add(target.name)
            followers.append(column)
    return followers
