"""Show something that fits where a value stood that too few share: it is one of the kept, but not any of them.

That a rare value stands there is learned, with all that goes with it; the value itself is not. A town of its own
becomes one that lies in the row's country, a product nobody else bought one of the row's category.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from synth_ops.generators.relational_trees.codec import CategoryCodec
from synth_ops.generators.relational_trees.dependencies import Dependency
from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.drawing.targets import ROUNDS, draw_target
from synth_ops.generators.relational_trees.drawing.values import cast, put
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import COLUMN, same_name
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes


def fit_in(drawing: TableDrawing) -> None:
    """Choose anew, for the rows of a table that are drawn, what stands for their rare values."""
    made = drawing.made
    keys = {name for key in made.structure.table.keys for name in key}
    for target in made.model.targets:
        column = target.name.removeprefix(COLUMN)
        codec = made.model.codecs.get(column)
        if column == target.name or not isinstance(codec, CategoryCodec) or codec.ordered or not codec.values:
            continue
        if made.model.makers[column] is not Maker.LEARNED or column in keys | made.structure.table.determined:
            continue
        if target.name not in made.codes or same_name(target.name) in drawing.targets:
            continue  # a run of rows shows one value
        rows = np.flatnonzero(made.codes[target.name] == codec.size - 1)
        chosen = _fitting(drawing, target, codec, rows)
        found = np.flatnonzero(chosen > 0)
        values = pa.array(codec.values, pa.string()).take(pa.array(chosen[found] - 1))
        made.columns[column] = put(made.columns[column], rows[found], cast(values, made.columns[column].type))


def _fitting(drawing: TableDrawing, target: Target, codec: CategoryCodec, rows: Rows) -> Codes:
    """A kept code for each row: as its block has it there and no rule forbids, or at least as rules have it; else 0."""
    generator = drawing.stream("rare", target.name)
    rules = _rules(drawing, target, rows)
    chosen = np.zeros(len(rows), np.int32)
    left = np.arange(len(rows))
    for attempt in range(ROUNDS if all(name in drawing.made.codes for name in target.inputs) else 0):
        if not len(left):
            break
        drawn = draw_target(drawing, target, rows[left], f"rare {attempt}")
        fits = (drawn > 0) & (drawn < codec.size - 1)
        for rule, wanted in rules:
            fits &= rule.apply([drawn]) == wanted[left]
        chosen[left[fits]] = drawn[fits]
        left = left[~fits]
    if rules and len(left):
        rule, wanted = rules[0]
        chosen[left] = _by_rule(rule, wanted[left], codec, generator)
    return chosen


def _rules(drawing: TableDrawing, target: Target, rows: Rows) -> list[tuple[Dependency, Codes]]:
    """What the target determines alone, the finest first, with what the rows have there."""
    codes = drawing.made.codes
    found = {
        each.name: each.rule
        for each in drawing.made.model.targets
        if each.rule and each.rule.inputs == (target.name,) and each.name in codes
    }
    found |= {name: guard for name, guard in target.guards.items() if name in codes}
    by_size = sorted(found.items(), key=lambda pair: (-len(np.unique(pair[1].values)), pair[0]))
    return [(rule, codes[name][rows]) for name, rule in by_size]


def _by_rule(rule: Dependency, wanted: Codes, codec: CategoryCodec, generator: np.random.Generator) -> Codes:
    """A kept code that determines what is wanted, by frequency; 0 where none does."""
    kept = (rule.keys > 0) & (rule.keys < codec.size - 1)
    order = np.argsort(rule.values[kept], kind="stable")
    keys, values = rule.keys[kept][order], rule.values[kept][order]
    running: npt.NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(np.asarray(codec.weights)[keys - 1])])
    low, high = (np.searchsorted(values, wanted, side=side) for side in ("left", "right"))
    at = running[low] + generator.random(len(wanted)) * (running[high] - running[low])
    place = np.minimum(np.searchsorted(running, at, side="right") - 1, np.maximum(high - 1, low))
    known = high > low
    return np.where(known, keys[np.where(known, place, 0)] if len(keys) else 0, 0).astype(np.int32)
