"""Rows in order under their parents: numbered, and drawn position by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import CategoryCodec, Codec, NumberCodec
from synth_ops.generators.relational_trees.differences import distance_codes, pace_codes, time_units
from synth_ops.generators.relational_trees.drawing.counted import (
    counted_values,
    draw_counted,
    exact_columns,
    parent_times,
)
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import draw_target, rule_inputs
from synth_ops.generators.relational_trees.drawing.values import cast, chunked
from synth_ops.generators.relational_trees.drawing.variables import decode_column
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import (
    BEFORE,
    CHILDREN,
    COLUMN,
    LEFT,
    NOW,
    PACE,
    RECALLED,
    REFERENCE,
    ROLE,
    advance_name,
    column_name,
    elapsed_name,
    recalled_name,
    reference_name,
    running_name,
    same_name,
    share_name,
)
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.sequences import (
    Order,
    Running,
    SequenceModel,
    Strands,
    order_of,
    place_variables,
)
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.unique import identify

_MORE_TRIES = 4


def number_within_parents(drawing: TableDrawing) -> None:
    """Fill the key columns that number the rows of a parent."""
    made = drawing.made
    for column, start in made.model.ranks.items():
        key = next(key for key in made.structure.table.keys if column in key and len(key) > 1)
        group, _ = identify([made.columns[name] for name in key if name != column])
        values = cast(pa.array(order_of(group).position + start), made.model.schema.field(column).type)
        made.columns[column] = values
        made.codes[column_name(column)] = made.model.codecs[column].encode(chunked(values))


def draw_in_order(drawing: TableDrawing, sequence: SequenceModel) -> None:
    """Draw the rows of all parents position by position, each from the ones before it."""
    made, key = drawing.made, drawing.made.structure.primary
    if key is None or not made.rows:
        return
    order = order_of(made.parents[made.number(key)])
    # rows of one position lie side by side while they are drawn: what they need is read in a row, not here and there
    laid = order.by_position()
    made.keep(laid)
    made.order = order.take(laid)
    made.codes |= {name: each.codes for name, each in place_variables(made.order).items()}
    late = {reference_name(made.number(key)) for key in made.structure.deferred}
    known = {*late, *made.codes}  # what is filled later, or was taken over from the parent
    targets = [t for t in made.model.targets if t.name.startswith((COLUMN, REFERENCE)) and t.name not in known]
    walk = _Walk.start(drawing, sequence, made.order, targets)
    for rows in made.order.steps():
        walk.step(rows)
    for target in targets:
        column = target.name.removeprefix(COLUMN)
        if column in walk.exact:
            made.columns[column] = counted_values(drawing, column, np.arange(made.rows))
    made.keep(np.argsort(laid))
    made.order = order
    for target in targets:
        column = target.name.removeprefix(COLUMN)
        if column != target.name and column not in walk.exact:
            decode_column(drawing, column)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """What is carried from one position to the next.

    Attributes:
        looked_back: Variables that rows know of the row before.
        running: Variables that rows know the sum of.
        strands: The sequences that mix under one parent.
        recalled: Variables that rows know of the last row of their strand.
        anchors: Times of the parent, in units, and where they are known.
        exact: Columns whose units are kept.
    """

    drawing: TableDrawing
    sequence: SequenceModel
    order: Order
    targets: list[Target]
    looked_back: list[str]
    running: dict[str, Running]
    strands: Strands | None
    recalled: list[str]
    anchors: dict[str, tuple[Rows, np.ndarray[tuple[int], np.dtype[np.bool_]]]]
    exact: set[str]
    position: int = 0

    @classmethod
    def start(cls, drawing: TableDrawing, sequence: SequenceModel, order: Order, targets: list[Target]) -> _Walk:
        made = drawing.made
        needed = {name for target in made.model.targets for name in (*target.inputs, *rule_inputs(target))}
        owners = int(order.owner.max(initial=-1)) + 1
        for name in (*(target.name for target in made.model.targets), *needed):
            if name.startswith(("sequence|", "through|", ROLE, CHILDREN, "depth|")):
                continue
            made.codes.setdefault(name, np.zeros(made.rows, np.int32))
        exact = exact_columns(drawing)
        made.units |= {column: np.zeros(made.rows, np.int64) for column in exact}
        for column in exact & made.columns.keys():
            made.units[column], _ = time_units(chunked(made.columns[column]), made.model.schema.field(column).type)
        rows = np.arange(made.rows)
        anchors = {
            name: parent_times(drawing, name, sequence.time, rows)
            for name in sequence.anchors
            if sequence.time and {elapsed_name(when, name) for when in (LEFT, PACE, NOW)} & needed
        }
        return cls(
            drawing=drawing,
            sequence=sequence,
            order=order,
            targets=targets,
            looked_back=sorted({name.removeprefix(BEFORE) for name in needed if name.startswith(BEFORE)}),
            running={
                name: Running(each, owners) for name, each in sequence.running.items() if running_name(name) in needed
            },
            strands=Strands(owners, sequence.strands) if sequence.strand else None,
            recalled=sorted(name.removeprefix(RECALLED) for name in needed if name.startswith(RECALLED)),
            anchors=anchors,
            exact=exact,
        )

    def step(self, rows: Rows) -> None:
        """Draw one more row of every parent that has one."""
        codes, owners = self.drawing.made.codes, self.order.owner[rows]
        if self.position:
            for name in self.looked_back:
                codes[f"{BEFORE}{name}"][rows] = codes[name][self.order.before[rows]] + 1
            for name, running in self.running.items():
                codes[running_name(name)][rows] = running.codes(owners)
            self._compare(LEFT, rows, self.order.before[rows])
            self._compare(PACE, rows, self.order.before[rows])
            self._share(rows)
        for target in self.targets:
            self._draw(target, rows, f"draw {self.position}")
        for name, running in self.running.items():
            running.add(owners, codes[name][rows])
        if self.strands and self.sequence.strand:
            self.strands.add(owners, codes[self.sequence.strand][rows], rows)
        self.position += 1

    def _compare(self, when: str, rows: Rows, others: Rows) -> None:
        time, made = self.sequence.time, self.drawing.made
        for name, (units, known) in self.anchors.items():
            if time is None or elapsed_name(when, name) not in made.codes:
                continue
            codec = made.model.codecs[time]
            told = made.codes[column_name(time)][others] > 0
            told &= made.codes[column_name(time)][others] <= (len(codec.low) if isinstance(codec, NumberCodec) else 0)
            distances = units[rows] - made.units[time][others]
            both = told & known[rows]
            if when == PACE:
                following = self.order.siblings[rows] - 1 - self.position
                codes = pace_codes(distances, self.sequence.step, both, following)
            else:
                codes = distance_codes(distances, self.sequence.step, both)
            made.codes[elapsed_name(when, name)][rows] = codes

    def _share(self, rows: Rows) -> None:
        codes = self.drawing.made.codes
        for number in range(1, self.sequence.strands):
            if self.strands and share_name(number) in codes:
                codes[share_name(number)][rows] = self.strands.share(self.order.owner[rows], number, self.position)

    def _recall(self, rows: Rows) -> None:
        """Look back to the last row of the strand that was just drawn."""
        codes = self.drawing.made.codes
        if self.strands is None or self.sequence.strand is None or not self.recalled:
            return
        last = self.strands.last(self.order.owner[rows], codes[self.sequence.strand][rows])
        place = np.maximum(last, 0)
        for name in self.recalled:
            codes[recalled_name(name)][rows] = np.where(last >= 0, codes[name][place] + 1, 0)

    def _draw(self, target: Target, rows: Rows, purpose: str) -> None:
        column = target.name.removeprefix(COLUMN)
        if column in self.exact:
            draw_counted(self.drawing, column, rows, purpose)
        elif self.position and advance_name(column) in self.drawing.targets:
            self._advance(target, column, rows, purpose)
        else:
            self._draw_or_keep(target, rows, purpose)
        if column == self.sequence.time:
            self._compare(NOW, rows, rows)
        if self.position and target.name == self.sequence.strand:
            self._recall(rows)

    def _draw_or_keep(self, target: Target, rows: Rows, purpose: str) -> None:
        """Draw a variable; first whether it stays what it was, where that is drawn."""
        codes, name = self.drawing.made.codes, target.name
        if self.position and name in self.sequence.same and target.rule is None:
            same = draw_target(self.drawing, self.drawing.targets[same_name(name)], rows, purpose) == 1
            codes[same_name(name)][rows] = same
            kept, rows = rows[same], rows[~same]
            codes[name][kept] = codes[name][self.order.before[kept]]
        codes[name][rows] = draw_target(self.drawing, target, rows, purpose)

    def _advance(self, target: Target, column: str, rows: Rows, purpose: str) -> None:
        """Draw an ordering column: from the row before, where that is the same in all that come first; else anew."""
        drawing = self.drawing
        tied = self._equal(rows, self.sequence.ordered_by[: self.sequence.ordered_by.index(column)])
        codes = drawing.made.codes[target.name]
        codes[rows[tied]] = self._moved_on(column, rows[tied], purpose)
        codes[rows[~tied]] = draw_target(drawing, target, rows[~tied], purpose)

    def _moved_on(self, column: str, rows: Rows, purpose: str) -> Codes:
        """Codes that come after the row before's, or may be the same where other columns follow; the next one at last.

        Numbers are drawn as how far they move, categories as what they become.
        """
        drawing, moves, codec = self.drawing, self.drawing.targets[advance_name(column)], self._codec(column)
        before = self._places(column)[self.order.before[rows]]
        category = isinstance(codec, CategoryCodec)
        places = codec.places() if isinstance(codec, CategoryCodec) else np.empty(0, np.int64)
        least = before + (1 if column == self.sequence.ordered_by[-1] else 0)
        highest = codec.size - (3 if category else 1)
        found = np.full(len(rows), -1, np.int64)
        for attempt in range(1 + _MORE_TRIES):
            again = np.flatnonzero((found < least) | (found > highest))
            if not len(again):
                break
            drawn = draw_target(drawing, moves, rows[again], f"{purpose} again {attempt}" if attempt else purpose)
            found[again] = places[drawn] if category else before[again] + drawn
        found = np.minimum(np.maximum(found, least), highest)
        return np.argsort(places)[found + 1].astype(np.int32) if category else found.astype(np.int32)

    def _equal(self, rows: Rows, columns: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which rows agree in some columns with the ones before."""
        equal = np.ones(len(rows), dtype=bool)
        for column in columns:
            places = self._places(column)
            equal &= places[rows] == places[self.order.before[rows]]
        return equal

    def _places(self, column: str) -> Rows:
        """What rows are sorted by."""
        made, codec = self.drawing.made, self._codec(column)
        if column in self.exact:
            return made.units[column]
        codes = made.codes[column_name(column)]
        return codec.places()[codes] if isinstance(codec, CategoryCodec) else codes.astype(np.int64)

    def _codec(self, column: str) -> Codec:
        return self.drawing.made.model.codecs[column]
