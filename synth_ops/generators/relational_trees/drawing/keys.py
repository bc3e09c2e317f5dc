"""Make every key unique by drawing again, moving, or, at last, leaving rows out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec
from synth_ops.generators.relational_trees.drawing.references import pick_again, spread_parents
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import ROUNDS
from synth_ops.generators.relational_trees.drawing.values import chunked, units_of
from synth_ops.generators.relational_trees.drawing.variables import decode_column, redraw
from synth_ops.generators.relational_trees.names import column_name
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.unique import identify, repeats, spread
from synth_ops.metadata import ForeignKey


def _make_unique(drawing: TableDrawing, key: tuple[str, ...]) -> None:
    """Move, redraw or, at last, leave out rows until no key repeats."""
    made = drawing.made
    if any(name not in made.columns for name in key) or not made.rows:
        return  # a provided part is unique by construction; a deferred part is settled later
    strided = drawing.plan.strided.get(drawing.name, {}).get(key)
    if strided:
        _spread_column(drawing, key, strided, stride=drawing.plan.count)
    for attempt in range(0 if strided else ROUNDS):
        again = repeating(drawing, key)
        if not again.any():
            return
        if not _move(drawing, key, again, attempt):
            break
    drawing.drop(repeating(drawing, key))


def unique_all(drawing: TableDrawing) -> None:
    """Make every key unique whose columns are all there."""
    for key in drawing.made.structure.table.keys:
        _make_unique(drawing, key)


def repeating(drawing: TableDrawing, key: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """The rows whose key another row before them has; a NULL repeats nothing but in a primary key."""
    numbers, null = identify([drawing.made.columns[name] for name in key])
    exempt = null if key != drawing.made.structure.table.primary_key else np.zeros(len(null), dtype=bool)
    return repeats(numbers, exempt)


def _move(drawing: TableDrawing, key: tuple[str, ...], again: npt.NDArray[np.bool_], attempt: int) -> bool:
    """One attempt to make repeating rows unique; False when nothing is left to try."""
    made = drawing.made
    own = [name for name in key if made.model.makers[name] is Maker.LEARNED]
    numeric = [name for name in own if isinstance(made.model.codecs.get(name), NumberCodec)]
    if own and attempt < ROUNDS // 2:
        redraw(drawing, np.flatnonzero(again), own, attempt)
        return True
    if numeric:
        _spread_column(drawing, key, max(numeric, key=lambda name: made.model.codecs[name].size))
        return attempt == ROUNDS // 2
    categories = [name for name in own if isinstance(made.model.codecs.get(name), CategoryCodec)]
    if categories:
        _spread_categories(drawing, key, max(categories, key=lambda name: made.model.codecs[name].size))
        return attempt == ROUNDS // 2
    movable = _movable_reference(drawing, key)
    if movable is None:
        return bool(own)
    _pick_again(drawing, key, movable, again, attempt)
    return True


def _spread_column(drawing: TableDrawing, key: tuple[str, ...], column: str, *, stride: int = 1) -> None:
    """Move numbers until none repeats, each to one that stands in the shard's place among every `stride`."""
    made, place = drawing.made, drawing.shard % stride
    codec = made.model.codecs[column]
    if not isinstance(codec, NumberCodec) or codec.continuous:
        return
    present = np.flatnonzero(made.columns[column].is_valid().to_numpy(zero_copy_only=False))
    others = [made.columns[name].take(pa.array(present)) for name in key if name != column]
    group = identify(others)[0] if others else np.zeros(len(present), np.int64)
    arrow_type = made.model.schema.field(column).type
    units = units_of(codec, made.columns[column])
    start, room = codec.span(int(np.bincount(group).max(initial=1)) * stride, arrow_type)
    first = int(codec.low.min()) if stride > 1 else start  # the same for every shard
    lowest = (start - first) // codec.step - place
    moved = spread(
        group,
        ((units[present] - first) // codec.step - place) // stride,
        -(-lowest // stride),
        (lowest + room) // stride,
    )
    units[present] = first + (moved * stride + place) * codec.step
    codes = np.zeros(made.rows, np.int32)
    codes[present] = codec.encode(
        chunked(codec.from_units(units[present], np.ones(len(present), np.int32), arrow_type))
    )
    made.codes[column_name(column)] = codes
    made.columns[column] = codec.from_units(units, codes, arrow_type)


def _spread_categories(drawing: TableDrawing, key: tuple[str, ...], column: str) -> None:
    """Move repeating rows to categories that the rest of their key does not have yet, frequent ones first."""
    made = drawing.made
    codec = made.model.codecs[column]
    codes = codec.encode(chunked(made.columns[column]))
    present = np.flatnonzero(codes > 0)
    others = [made.columns[name].take(pa.array(present)) for name in key if name != column]
    group = identify(others)[0] if others else np.zeros(len(present), np.int64)
    codes[present] = spread(group, codes[present].astype(np.int64), 1, codec.size - 2)
    made.codes[column_name(column)] = codes
    decode_column(drawing, column)


def _movable_reference(drawing: TableDrawing, key: tuple[str, ...]) -> ForeignKey | None:
    """The foreign key to pick anew: the last of those that fill a part of the key all by themselves."""
    candidates = [
        each for each in drawing.made.structure.references if drawing.made.structure.filled_by(each) & set(key)
    ]
    return candidates[-1] if candidates else None


def _pick_again(
    drawing: TableDrawing, key: tuple[str, ...], reference: ForeignKey, again: npt.NDArray[np.bool_], attempt: int
) -> None:
    """A few fresh draws; then the next parents that the rest of the key does not have yet."""
    if attempt < ROUNDS - 2:
        pick_again(drawing, reference, np.flatnonzero(again), attempt)
    else:
        spread_parents(drawing, key, reference)
