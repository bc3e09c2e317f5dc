"""Draw the codes of a variable from its block and its rule."""

from __future__ import annotations

import numpy as np

from synth_ops.generators.relational_trees.drawing.state import TableDrawing
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.references import Rows
from synth_ops.generators.relational_trees.tree import Codes

ROUNDS = 6
"""How often rows that break a rule or a key are drawn again."""


def draw_target(drawing: TableDrawing, target: Target, rows: Rows | None = None, purpose: str = "draw") -> Codes:
    """Codes of a variable, for all rows or some: from its block, or as a rule has it."""
    made = drawing.made
    place = slice(None) if rows is None else _neighbours(rows)

    def given(name: str) -> Codes:
        return made.codes[name][place]

    count = made.rows if rows is None else len(rows)
    generator = drawing.stream(purpose, target.name)
    codes = target.block.draw([given(name) for name in target.inputs], count, generator)
    if target.rule:
        exact = target.rule.apply([given(name) for name in target.rule.inputs])
        codes = np.where(exact >= 0, exact, codes)
    for _ in range(ROUNDS if target.guards else 0):
        wrong = np.zeros(count, dtype=bool)
        for name, guard in target.guards.items():
            implied = guard.apply([codes])
            wrong |= (implied >= 0) & (implied != given(name))
        again = np.flatnonzero(wrong)
        if not len(again):
            break
        inputs = [given(name)[again] for name in target.inputs]
        codes[again] = target.block.draw(inputs, len(again), generator)
    return codes


def _neighbours(rows: Rows) -> slice | Rows:
    """Rows that lie side by side as a slice, which copies nothing."""
    if len(rows) and rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def rule_inputs(target: Target) -> tuple[str, ...]:
    """What a variable's rule needs."""
    return target.rule.inputs if target.rule else ()
