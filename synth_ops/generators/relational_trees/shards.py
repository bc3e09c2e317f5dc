"""How a copy is cut into shards: small databases of their own, that can be drawn apart and in any order.

A table's rows are spread evenly over the shards, and refer to rows of their own shard. Tables that can't be cut, since
they are small or their keys would clash, are whole: every shard draws all of them alike, and one writes them. The plan
follows from the model and the scale alone, so that the same seed gives the same bytes on any number of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synth_ops.generators.relational_trees.codec import NumberCodec
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.structure import Maker, TableStructure
from synth_ops.metadata import ForeignKey, Orphans

_FEWEST_PARENTS = 64
_STEPS_PER_SHARD = 10_000

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """Which shard draws which rows.

    Attributes:
        count: How many shards there are.
        rows: Of each table, in all shards together.
        whole: The tables that every shard draws alike.
        shared: Tables whose primary parents all shards have children of, each a part.
        strided: Keys of own numbers, by table, and the column of which each shard takes every `count`-th number.
    """

    count: int
    rows: Mapping[str, int]
    whole: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    strided: Mapping[str, Mapping[Key, str]] = field(default_factory=dict)

    def part(self, table: str, shard: int) -> range:
        """The rows of a table that a shard draws, numbered through the table."""
        rows = self.rows[table]
        return range(rows) if table in self.whole else _slice(rows, shard, self.count)

    def of_parent(self, child: str, parent_rows: int, shard: int) -> slice:
        """The rows of a whole table under which a shard's children go, where it is their primary parent."""
        if child in self.whole or child in self.shared:
            return slice(0, parent_rows)
        part = _slice(parent_rows, shard, self.count)
        return slice(part.start, part.stop)


def plan_shards(
    structures: Sequence[TableStructure], models: Mapping[str, TableModel], *, scale: float, cells: int
) -> ShardPlan:
    """Cut a copy into as many shards as its size asks for, and its keys and parents allow.

    Args:
        structures: In the order in which the tables are made.
        scale: Of the copy.
        cells: How large a shard may be.
    """
    rows = {each.table.name: _planned_rows(each, models[each.table.name].rows, scale) for each in structures}
    size = sum(
        rows[each.table.name] * (len(each.table.columns) + len(each.table.foreign_keys))
        for each in structures
        if not each.lookup
    )
    count = -(-size // cells) if size > 2 * cells else 1
    while count > 1:
        plan = _Cutting(structures, models, rows, count).plan()
        fewest = min((rows[name] for name in _divided_parents(structures, plan)), default=count * _FEWEST_PARENTS)
        if fewest >= count * _FEWEST_PARENTS:
            return plan
        count = max(fewest // _FEWEST_PARENTS, 1)
    return ShardPlan(count=1, rows=rows)


def _planned_rows(structure: TableStructure, learned: int, scale: float) -> int:
    if structure.lookup:
        return learned
    return max(round(learned * scale), min(learned, 1) if structure.primary is None else 0)


def _slice(rows: int, shard: int, count: int) -> range:
    return range(rows * shard // count, rows * (shard + 1) // count)


def _divided_parents(structures: Sequence[TableStructure], plan: ShardPlan) -> set[str]:
    """Tables of which a shard's rows have a part only to refer to."""
    found = set()
    for each in structures:
        child = each.table.name
        for key in each.table.foreign_keys if child not in plan.whole else ():
            sliced = key == each.primary and child not in plan.shared
            if key.parent != child and (key.parent not in plan.whole or sliced):
                found.add(key.parent)
    return found


class _Cutting:
    """Decides which tables are whole, for one number of shards."""

    def __init__(
        self,
        structures: Sequence[TableStructure],
        models: Mapping[str, TableModel],
        rows: Mapping[str, int],
        count: int,
    ) -> None:
        self.structures = {each.table.name: each for each in structures}
        self.models, self.rows, self.count = models, rows, count
        self.whole: set[str] = set()

    def plan(self) -> ShardPlan:
        """Make tables whole until every key of the others is sure to differ from shard to shard."""
        for name, each in self.structures.items():
            small = self.rows[name] < self.count * _FEWEST_PARENTS
            if each.lookup or (small and all(parent in self.whole for parent in self._parents(name))):
                self._make_whole(name)
        while clashing := [name for name in self.structures if name not in self.whole and self._clashes(name)]:
            self._make_whole(clashing[0])
        strided = {
            name: {key: column for key in each.table.keys if (column := self._stride(name, key))}
            for name, each in self.structures.items()
            if name not in self.whole
        }
        return ShardPlan(
            count=self.count if len(self.whole) < len(self.structures) else 1,
            rows=self.rows,
            whole=frozenset(self.whole),
            shared=frozenset(name for name in self.structures if self._is_shared(name)),
            strided={name: keys for name, keys in strided.items() if keys},
        )

    def _parents(self, name: str) -> list[str]:
        return [key.parent for key in self.structures[name].table.foreign_keys if key.parent != name]

    def _make_whole(self, name: str) -> None:
        """A whole table's rows are the same for every shard, so what they refer to must be, too."""
        if name not in self.whole:
            self.whole.add(name)
            for parent in self._parents(name):
                self._make_whole(parent)

    def _is_shared(self, name: str) -> bool:
        """Whether the children of a few large parents are spread over all shards: no key counts on the parent."""
        each, model = self.structures[name], self.models[name]
        if name in self.whole or each.primary is None or each.primary.parent not in self.whole:
            return False
        few = self.rows[each.primary.parent] < self.count * _FEWEST_PARENTS
        counted_on = any(set(each.primary.columns) <= set(key) for key in each.table.keys)
        return few and not (counted_on or model.sequence or model.ranks)

    def _clashes(self, name: str) -> bool:
        keys = self.structures[name].table.keys
        return not all(self._differs(name, key) or self._stride(name, key) for key in keys)

    def _differs(self, name: str, key: Key) -> bool:
        """Whether a key is sure to differ between shards: a provider numbers it, or it holds a parent of the shard."""
        each, makers = self.structures[name], self.models[name].makers
        if any(makers[column] is Maker.PROVIDED for column in key):
            return True
        return any(self._holds_own_parent(each, key, reference) for reference in each.table.foreign_keys)

    def _holds_own_parent(self, each: TableStructure, key: Key, reference: ForeignKey) -> bool:
        name = each.table.name
        if not set(reference.columns) <= set(key) or reference.orphans is Orphans.KEEP:
            return False
        if reference.parent == name:
            return set(reference.parent_columns) != set(key)
        own = reference == each.primary and not self._is_shared(name)
        parent = self.structures[reference.parent].table
        known_by = any(set(unique) <= set(reference.parent_columns) for unique in parent.keys)
        return known_by and (own or reference.parent not in self.whole)

    def _stride(self, name: str, key: Key) -> str | None:
        """A whole-number column of a key so fine that nobody sees when a shard takes every n-th number only."""
        if self._differs(name, key):
            return None
        model = self.models[name]
        for column in key:
            codec = model.codecs.get(column)
            if not isinstance(codec, NumberCodec) or codec.continuous or not len(codec.low) or column in model.ranks:
                continue
            if (int(codec.high.max()) - int(codec.low.min())) // codec.step >= self.count * _STEPS_PER_SHARD:
                return column
        return None
