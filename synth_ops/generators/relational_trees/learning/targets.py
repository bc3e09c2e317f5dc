"""Learn a block for every variable of a table, in the order in which they are drawn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import numpy as np

from synth_ops.generators.relational_trees.block import BlockSettings, Variable, fit_block
from synth_ops.generators.relational_trees.learning.context import most_telling, seen_through
from synth_ops.generators.relational_trees.learning.sequences import order_rows, row_variables
from synth_ops.generators.relational_trees.learning.state import Learning
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import COLUMN, ROLE, column_name, depth_name, reference_name, role_name
from synth_ops.generators.relational_trees.rules import Rule, determined, find_rule
from synth_ops.generators.relational_trees.sequences import before_variables, place_variables
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.metadata import Relation
from synth_ops.sql import K_SUBJECTS

_THREADS = min(os.cpu_count() or 1, 8)


def learn_targets(tables: Mapping[str, Learning], learning: Learning, settings: BlockSettings) -> Iterator[Target]:
    """A block for every variable of a table, each from what is drawn before it; several at a time."""
    made = learning.structure
    pool: dict[str, Variable] = {}
    if made.lookup:
        pool |= {name: each for name, each in learning.variables.items() if name.startswith(ROLE)}
    if made.primary:
        number = learning.number(made.primary)
        pool |= seen_through(tables, learning, number, role_name(made.table.name, number))
    order = order_rows(learning)
    if order:
        pool |= place_variables(order.position, order.siblings)
        pool |= before_variables(row_variables(learning), order.before)
    jobs: list[tuple[str, Variable, dict[str, Variable]]] = []
    pool |= {column_name(name): learning.variables[column_name(name)] for name in learning.ranks}
    for key in made.references:
        number = learning.number(key)
        name = reference_name(number)
        jobs.append((name, learning.variables[name], dict(pool)))
        pool[name] = learning.variables[name]
        if not (order or tables[key.parent].structure.lookup):
            pool |= seen_through(tables, learning, number, "")
    rules = determined({name: each for name, each in learning.variables.items() if name.startswith(COLUMN)}, K_SUBJECTS)
    for name in drawing_order(learning, rules):
        jobs.append((name, learning.variables[name], dict(pool)))
        pool[name] = learning.variables[name]

    def learn_one(job: tuple[str, Variable, dict[str, Variable]]) -> Target:
        name, target, inputs = job
        finer = {coarse: rule for coarse, found in rules.items() for rule in found if rule.inputs == (name,)}
        return learn_target(name, target, inputs, settings, finer)

    with ThreadPoolExecutor(_THREADS) as executor:
        yield from executor.map(learn_one, jobs)


def drawing_order(learning: Learning, rules: Mapping[str, Sequence[Rule]]) -> list[str]:
    """Own variables in the order in which they are drawn: keys, then the fewest codes first, then what others need.

    A column that a finer one determines follows the finer one, which takes its place.
    """
    made = learning.structure
    keys = made.own_key_columns()
    columns = [column for column in learning.codecs if column not in learning.ranks]
    timed = learning.ordered_by
    columns.sort(key=lambda name: (name != timed, name not in keys, learning.codecs[name].size, name))
    names: list[str] = []
    for name in (column_name(column) for column in _after_what_they_follow(learning, columns)):
        first = rules[name][0].inputs[0] if name in rules else name
        names += [each for each in dict.fromkeys((first, name)) if each not in names]
    names += [depth_name(learning.number(key)) for key in made.self_references]
    names += [reference_name(learning.number(key)) for key in made.deferred]
    if not made.lookup:
        names += [name for name in learning.variables if name.startswith(ROLE)]
    return names


def _after_what_they_follow(learning: Learning, columns: Sequence[str]) -> list[str]:
    """The same order, but a column after its base and after the columns of its row that determine it."""
    follows = {name: (base.column,) for name, base in learning.bases.items() if not base.through}
    for rule in learning.structure.table.rules:
        if rule.relation is Relation.EQUALS and not (rule.through or rule.child):
            follows[rule.column] = (*follows.get(rule.column, ()), *rule.inputs)
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        for other in follows.get(name, ()):
            if other in columns and other not in ordered:
                add(other)
        ordered[name] = None

    for name in columns:
        if name not in ordered:
            add(name)
    return list(ordered)


def learn_target(
    name: str,
    target: Variable,
    pool: Mapping[str, Variable],
    settings: BlockSettings,
    finer: Mapping[str, Rule] = MappingProxyType({}),
) -> Target:
    """A block for one variable, and the rule that determines it, where one does."""
    generator = stream(0, "learn", name)
    names = most_telling(target, pool, generator)
    usable = [Variable(codes=np.maximum(pool[n].codes, 0), size=pool[n].size, ordered=pool[n].ordered) for n in names]
    rule = find_rule(target, pool, K_SUBJECTS) if name.startswith(COLUMN) else None
    guards = {other: each for other, each in finer.items() if other in pool}
    block = fit_block(target, usable, settings, generator)
    return Target(name=name, inputs=tuple(names), block=block, rule=rule, guards=guards)
