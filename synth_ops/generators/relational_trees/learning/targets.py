"""Learn a block for every variable of a table, in the order in which they are drawn."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import numpy as np

from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.codec import CategoryCodec, PseudonymCodec
from synth_ops.generators.relational_trees.dependencies import Dependency, determined, find_dependency
from synth_ops.generators.relational_trees.differences import Origin
from synth_ops.generators.relational_trees.learning.context import clusters_of, seen_through
from synth_ops.generators.relational_trees.learning.method import BlockMethod
from synth_ops.generators.relational_trees.learning.sequences import (
    find_repetitions,
    recalled_variables,
    sequence_variables,
)
from synth_ops.generators.relational_trees.learning.state import Learning
from synth_ops.generators.relational_trees.model import Target
from synth_ops.generators.relational_trees.names import (
    CHILDREN,
    COLUMN,
    NOW,
    QUOTA,
    ROLE,
    advance_name,
    column_name,
    depth_name,
    elapsed_name,
    reference_name,
    role_name,
    same_name,
)
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import Relation
from synth_ops.processors import usable_processors
from synth_ops.sql import K_SUBJECTS

_FEWEST_ROWS = 40
_LEAST_EXPOSURE = 1 / 3
_FEWEST_IN_GROUP = 50
"""How many rows a group of a lookup must have on average to say anything of one of them."""
_MOST_THREADS = 8


def learn_targets(tables: Mapping[str, Learning], learning: Learning, method: BlockMethod) -> Iterator[Target]:
    """A block for every variable of a table, each from what is drawn before it; several at a time."""
    find_repetitions(learning)
    rules = _rules(learning)
    jobs = list(_jobs(tables, learning, rules, method))
    clusters, pooled = clusters_of(tables, learning), _pooled(learning)

    def learn_one(job: tuple[str, Variable, dict[str, Variable]]) -> Target:
        name, target, inputs = job
        finer = {coarse: rule for coarse, found in rules.items() for rule in found if rule.inputs == (name,)}
        ruled = name.startswith(COLUMN) and name.removeprefix(COLUMN) not in learning.counted()
        return learn_target(name, target, inputs, method, clusters, finer, pooled if ruled else None)

    with ThreadPoolExecutor(min(usable_processors(), _MOST_THREADS)) as executor:
        yield from executor.map(learn_one, jobs)


def _rules(learning: Learning) -> dict[str, list[Dependency]]:
    """What single columns determine; those that are counted from others are not determined."""
    counted = {column_name(name) for name in learning.counted()}
    columns = {name: each for name, each in learning.variables.items() if name.startswith(COLUMN)}
    columns = {name: each for name, each in columns.items() if name not in counted}
    return determined(columns, K_SUBJECTS, _pooled(learning))


def _pooled(learning: Learning) -> frozenset[str]:
    """The variables whose last code stands for all values that few share."""
    codecs = learning.codecs.items()
    return frozenset(column_name(name) for name, codec in codecs if isinstance(codec, CategoryCodec | PseudonymCodec))


def _jobs(
    tables: Mapping[str, Learning],
    learning: Learning,
    rules: Mapping[str, Sequence[Dependency]],
    method: BlockMethod,
) -> Iterator[tuple[str, Variable, dict[str, Variable]]]:
    """Every variable to draw, in order, with what it may depend on."""
    made = learning.structure
    pool: dict[str, Variable] = {}
    if made.lookup:
        # groups of few rows each would tell which row it is, and a block would keep its values
        roles = {name: each for name, each in learning.variables.items() if name.startswith(ROLE)}
        pool |= {name: each for name, each in roles.items() if learning.rows >= _FEWEST_IN_GROUP * each.size}
    if made.primary:
        number = learning.number(made.primary)
        pool |= seen_through(tables, learning, number, role_name(made.table.name, number))
    pool |= sequence_variables(learning)
    pool |= {column_name(name): learning.variables[column_name(name)] for name in learning.ranks}
    time = learning.sequence.time if learning.sequence else None
    if time:
        yield from _with_parts(learning, column_name(time), pool)
        pool |= {name: each for name, each in learning.variables.items() if name.startswith(elapsed_name(NOW, ""))}
    strand = learning.sequence.strand if learning.sequence else None
    for key in made.references:
        number = learning.number(key)
        yield from _with_parts(learning, reference_name(number), pool)
        pool |= recalled_variables(learning) if reference_name(number) == strand else {}
        if not (learning.order or tables[key.parent].structure.lookup):
            pool |= seen_through(tables, learning, number, "")
    names = drawing_order(learning, rules)
    for name in method.order(names, _free_columns(learning, rules), learning.variables, pool):
        yield from _with_parts(learning, name, pool)
        pool |= recalled_variables(learning) if name == strand else {}


def _with_parts(
    learning: Learning, name: str, pool: dict[str, Variable]
) -> Iterator[tuple[str, Variable, dict[str, Variable]]]:
    """A variable after its parts: its distances, or whether it stays the same. All but the latter join the pool."""
    whole = learning.variables[name]
    rest = whole.codes.copy()
    inputs = dict(pool)
    parts = [each.name for each in learning.differences if column_name(each.column) == name]
    for part in parts:
        yield part, learning.variables[part], inputs
        rest[learning.variables[part].codes >= 0] = -1
        pool[part] = learning.variables[part]
    advance = advance_name(name.removeprefix(COLUMN))
    if advance in learning.variables:
        yield advance, learning.variables[advance], inputs
        rest[learning.variables[advance].codes >= 0] = -1
    if same_name(name) in learning.variables:
        same = learning.variables[same_name(name)]
        yield same_name(name), same, inputs
        rest[same.codes == 1] = -1
    enough = (rest >= 0).sum() >= _FEWEST_ROWS
    yield name, dataclasses.replace(whole, codes=rest) if enough else whole, inputs
    pool[name] = whole


def drawing_order(learning: Learning, rules: Mapping[str, Sequence[Dependency]]) -> list[str]:
    """Own variables in the order in which they are drawn: what orders rows, keys, then the fewest codes first.

    A column that a finer one determines follows the finer one, which takes its place.
    """
    made = learning.structure
    keys, ordered_by = made.own_key_columns(), learning.sequence.ordered_by if learning.sequence else ()
    time = learning.sequence.time if learning.sequence else None
    columns = [column for column in learning.codecs if column not in learning.ranks and column != time]
    strand = learning.sequence.strand if learning.sequence else None
    columns.sort(key=lambda name: (column_name(name) != strand, name not in keys, learning.codecs[name].size, name))
    columns.sort(key=lambda name: ordered_by.index(name) if name in ordered_by else len(ordered_by))
    finer = {name.removeprefix(COLUMN): (found[0].inputs[0].removeprefix(COLUMN),) for name, found in rules.items()}
    names = [column_name(column) for column in _after_what_they_follow(learning, columns, finer)]
    if time:
        names = [name for name in names if name != column_name(time)]
    names += [depth_name(learning.number(key)) for key in made.self_references]
    names += [reference_name(learning.number(key)) for key in made.deferred]
    # how many children there are tells what they are like, more than the other way round
    names += [name for name in learning.variables if name.startswith(CHILDREN)]
    if not made.lookup:
        names += [name for name in learning.variables if name.startswith(ROLE)]
    return names


def _free_columns(learning: Learning, rules: Mapping[str, Sequence[Dependency]]) -> set[str]:
    """Columns that may be drawn in any order: no key, and nothing follows from them exactly, nor they from anything."""
    bound = set(rules) | {name for found in rules.values() for rule in found for name in rule.inputs}
    own = {*learning.structure.own_key_columns(), *learning.bases, *learning.counted()}
    own |= {base.column for base in learning.bases.values()} | {each.base_column for each in learning.differences}
    own |= {name for rule in learning.structure.table.rules for name in (rule.column, *rule.inputs)}
    if learning.sequence:
        strand = learning.sequence.strand or ""
        own |= {*learning.sequence.ordered_by, strand.removeprefix(COLUMN)}
    return {column_name(name) for name in learning.codecs if name not in own} - bound


def _after_what_they_follow(
    learning: Learning, columns: Sequence[str], finer: Mapping[str, Sequence[str]]
) -> list[str]:
    """The same order, but a column after its base and after the columns of its row that determine it.

    Args:
        finer: By column, what comes right before it; that, too, comes after its base.
    """
    follows = _followed(learning)
    ordered: dict[str, None] = {}

    waiting: set[str] = set()

    def add(name: str, *others: str) -> None:
        waiting.add(name)  # what follows from itself by way of others stays where it is
        for other in follows.get(name, ()):
            if other in columns and other not in ordered and other not in waiting:
                add(other, *finer.get(other, ()))
        for other in others:
            if other not in ordered and other not in waiting:
                add(other)
        ordered[name] = None

    for name in columns:
        if name not in ordered:
            add(name, *finer.get(name, ()))
    return list(ordered)


def _followed(learning: Learning) -> dict[str, tuple[str, ...]]:
    """By column, those of its row that it is counted or computed from."""
    follows: dict[str, tuple[str, ...]] = {
        name: (base.column,) for name, base in learning.bases.items() if not base.through
    }
    for each in learning.differences:
        if each.base is Origin.ROW:
            follows[each.column] = (*follows.get(each.column, ()), each.base_column)
    for rule in learning.structure.table.rules:
        if rule.relation is Relation.EQUALS and not (rule.through or rule.child):
            follows[rule.column] = (*follows.get(rule.column, ()), *rule.inputs)
    return follows


def learn_target(
    name: str,
    target: Variable,
    pool: Mapping[str, Variable],
    method: BlockMethod,
    clusters: Codes | None,
    finer: Mapping[str, Dependency] = MappingProxyType({}),
    pooled: frozenset[str] | None = None,
) -> Target:
    """A block for one variable, and the rule that determines it, where one does.

    Args:
        pooled: See `find_dependency`; None where no rule is looked for.
    """
    generator = stream(0, "learn", name)
    names = method.choose(target, pool, generator)
    usable = [Variable(codes=np.maximum(pool[n].codes, 0), size=pool[n].size, ordered=pool[n].ordered) for n in names]
    rule = None if pooled is None else find_dependency(target, pool, K_SUBJECTS, pooled)
    guards = {other: each for other, each in finer.items() if other in pool}
    made_of = _digest(target, usable, clusters, generator)
    block = (
        method.known[made_of]
        if made_of in method.known
        else method.fit(target, usable, generator, clusters, _exposure(name, clusters))
    )
    return Target(name=name, inputs=tuple(names), block=block, rule=rule, guards=guards, made_of=made_of)


def _exposure(name: str, clusters: Codes | None) -> float:
    """How much of a subject one code tells: less where a subject has many rows, or where the copy does not show it."""
    if name.startswith((CHILDREN, QUOTA, ROLE)):
        return _LEAST_EXPOSURE
    if clusters is None or not len(clusters):
        return 1.0
    subjects = int(clusters.max()) + 1
    return max(math.sqrt(subjects / len(clusters)), _LEAST_EXPOSURE)


def _digest(
    target: Variable, inputs: Sequence[Variable], clusters: Codes | None, generator: np.random.Generator
) -> str:
    """Of every row's codes and cluster, and of the randomness to come."""
    digest = hashlib.blake2b(repr(generator.bit_generator.state).encode(), digest_size=16)
    for each in (target, *inputs):
        digest.update(f"{each.size} {each.ordered} {each.between} {each.codes.dtype} {len(each.codes)}".encode())
        digest.update(np.ascontiguousarray(each.codes).data)
    if clusters is not None:
        digest.update(clusters.data)
    return digest.hexdigest()
