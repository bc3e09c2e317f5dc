"""Draw one table: rows under their parents, references, variables in order, keys made unique on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.providers import provider_for
from synth_ops.generators.relational_trees.codec import CategoryCodec, NumberCodec, PseudonymCodec
from synth_ops.generators.relational_trees.learn import column_name, depth_name, reference_name, role_name, through
from synth_ops.generators.relational_trees.model import Quota, TableModel, Target
from synth_ops.generators.relational_trees.references import (
    BROKEN,
    FIRST_GROUP,
    NO_PARENT,
    NULL,
    ORPHAN,
    Candidates,
    Rows,
    choose,
    match_rows,
)
from synth_ops.generators.relational_trees.sequences import before_name, order_of, place_variables
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import Maker, TableStructure, as_provided
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.unique import densify, identify, repeats, spread
from synth_ops.metadata import ForeignKey, Orphans

_ROUNDS = 6
_BROKEN_TRIES = 50


@dataclass(slots=True, kw_only=True)
class Made:
    """One table while it is being made, and afterwards as a parent.

    Attributes:
        codes: Of every variable drawn.
        columns: Finished values.
        parents: Of each foreign key: the parent's row, or NO_PARENT or BROKEN.
    """

    structure: TableStructure
    model: TableModel
    rows: int
    codes: dict[str, Codes] = field(default_factory=dict)
    columns: dict[str, pa.Array] = field(default_factory=dict)
    parents: dict[int, Rows] = field(default_factory=dict)

    def number(self, key: ForeignKey) -> int:
        """The foreign key's position in the metadata."""
        return self.structure.table.foreign_keys.index(key)

    def keep(self, rows: Rows) -> None:
        """Leave out all rows but these."""
        self.codes = {name: codes[rows] for name, codes in self.codes.items()}
        taken = pa.array(rows)
        self.columns = {name: column.take(taken) for name, column in self.columns.items()}
        self.parents = {number: parents[rows] for number, parents in self.parents.items()}
        self.rows = len(rows)


class TableDrawing:
    """Draws one table.

    Args:
        made: What is to be filled; its rows are not known yet.
        others: The tables made before, by name.
        seed: Of the copy.
        scale: Of the copy, for tables that stand alone.
        models: Of all tables, also those made later.
    """

    def __init__(
        self, made: Made, others: Mapping[str, Made], *, models: Mapping[str, TableModel], seed: int, scale: float
    ) -> None:
        self.made, self.others, self.models, self.seed, self.scale = made, others, models, seed, scale
        self.name = made.structure.table.name
        self.targets = {target.name: target for target in made.model.targets}
        self.fixed: set[str] = set()
        self.pseudonyms: dict[str, pa.Array] = {}

    def stream(self, *purpose: str | int) -> np.random.Generator:
        """Randomness for one purpose of this table."""
        return stream(self.seed, self.name, *purpose)

    def draw(self) -> None:
        """Fill all but self-references, deferred ones and provided columns."""
        self._lay_rows()
        self._number_within_parents()
        if self.made.model.ordered_by:
            self._draw_in_order()
        for key in self.made.structure.references:
            self._refer(key)
        for target in self.made.model.targets:
            if target.name.startswith("column|") and self.made.structure.own_key_columns() & {target.name[7:]}:
                self._draw_column(target)
        self.unique_all()
        for target in self.made.model.targets:
            self._draw_column(target)

    # rows

    def _lay_rows(self) -> None:
        made, primary = self.made, self.made.structure.primary
        if primary is None:
            wanted = made.model.rows if made.structure.lookup else round(made.model.rows * self.scale)
            made.rows = max(wanted, min(made.model.rows, 1))
        else:
            self._lay_children(primary)
        if made.structure.lookup:
            self._keep_identity()

    def _lay_children(self, key: ForeignKey) -> None:
        made, number = self.made, self.made.number(key)
        reference, parent = made.model.references[number], self.others[key.parent]
        growth = parent.rows / max(parent.model.rows, 1)
        total = round(made.model.rows * (growth if made.model.rows and parent.model.rows else self.scale))
        loose = {NO_PARENT: 0, BROKEN: 0}
        if not any(name in made.structure.table.required for name in key.columns):
            loose[NO_PARENT] = round(total * reference.null_share)
        if key.orphans is Orphans.KEEP:
            loose[BROKEN] = round(total * reference.broken_share)
        counts = self._children_per_parent(key, number, total - sum(loose.values()))
        order = np.repeat(np.arange(parent.rows), counts)
        parents = np.concatenate([order, *(np.full(count, row) for row, count in loose.items())]).astype(np.int64)
        made.rows = len(parents)
        made.parents[number] = parents
        made.codes[reference_name(number)] = self._group_codes(number, parents)
        self._see_through(number)
        self._fill_reference(key)

    def _children_per_parent(self, key: ForeignKey, number: int, total: int) -> Rows:
        """As drawn for each parent, then corrected to the wanted total where chance left it."""
        parent = self.others[key.parent]
        if not parent.rows or total <= 0:
            return np.zeros(parent.rows, np.int64)
        generator = self.stream("cardinality", number)
        quota = self._quotas(parent, number, generator)
        counts = np.floor(quota + generator.random(parent.rows)).astype(np.int64)
        keyed = has_key(parent, key)
        most = np.where(keyed, self._most_children(key, total, max(int(keyed.sum()), 1)), 0)
        counts = np.clip(counts, 0, most)
        missing = total - int(counts.sum())
        if missing > 0:
            counts = self._give_more(counts, quota, missing, most, generator)
        elif missing < 0:
            ranked = np.repeat(np.arange(parent.rows), counts)
            counts -= np.bincount(generator.choice(ranked, -missing, replace=False), minlength=parent.rows)
        return counts

    def _give_more(
        self, counts: Rows, quota: npt.NDArray[np.float64], missing: int, most: Rows, generator: np.random.Generator
    ) -> Rows:
        for _ in range(_ROUNDS):
            room = np.flatnonzero(counts < most)
            if missing <= 0 or not len(room):
                break
            weights = quota[room] + 1e-3
            more = np.bincount(generator.choice(room, missing, p=weights / weights.sum()), minlength=len(counts))
            given = np.minimum(counts + more, most) - counts
            counts = counts + given
            missing -= int(given.sum())
        return counts

    def _most_children(self, key: ForeignKey, total: int, parents: int) -> int:
        """One where the foreign key is a key itself; else what k parents have at least, if that is enough for all."""
        if self._is_single(key):
            return 1
        high = self.made.model.references[self.made.number(key)].quota.codec.high
        shared = int(high.max()) if len(high) else 0
        return shared if shared * parents >= total else 2 * -(-total // parents)

    def _is_single(self, key: ForeignKey) -> bool:
        """Whether a parent can have one child at most: the foreign key holds a key of the table."""
        return any(set(unique) <= set(key.columns) for unique in self.made.structure.table.keys)

    def _quotas(self, parent: Made, number: int, generator: np.random.Generator) -> npt.NDArray[np.float64]:
        """Children wanted by each parent row."""
        quota: Quota = self.made.model.references[number].quota
        if not len(quota.codec.low):
            return np.full(parent.rows, quota.mean)
        inputs = [self._parent_codes(parent, name, number) for name in quota.target.inputs]
        codes = quota.target.block.draw(inputs, parent.rows, generator)
        return quota.codec.units(codes, generator).astype(np.float64)

    def _parent_codes(self, parent: Made, name: str, number: int) -> Codes:
        if name == role_name(self.name, number):
            return self._roles(parent, number)
        return parent.codes[name] if name in parent.codes else np.zeros(parent.rows, np.int32)

    def _roles(self, parent: Made, number: int) -> Codes:
        """The group of each parent row, plus one."""
        group_of = self.made.model.references[number].group_of
        if group_of:
            return np.asarray(group_of, dtype=np.int32)[np.arange(parent.rows) % len(group_of)] + 1
        return parent.codes.get(role_name(self.name, number), np.ones(parent.rows, np.int32))

    def _keep_identity(self) -> None:
        """A lookup's rows stand for the real ones: same group in every foreign key that refers to them."""
        for target in self.made.model.targets:
            for name in target.inputs:
                if name.startswith("role|") and name not in self.made.codes:
                    _, number, child = name.split("|", 2)
                    group_of = self.models[child].references[int(number)].group_of
                    self.made.codes[name] = np.asarray(group_of, np.int32)[: self.made.rows] + 1

    # sequences

    def _draw_in_order(self) -> None:
        """Draw the rows of all parents position by position, each from the one before it."""
        made = self.made
        parents = made.parents[made.number(made.structure.primary)] if made.structure.primary else np.empty(0, np.int64)
        alone = int(parents.max(initial=0)) + 1 + np.arange(made.rows)
        order = order_of(np.where(parents >= 0, parents, alone), np.zeros(made.rows, np.int32))
        made.codes |= {name: each.codes for name, each in place_variables(order.position, order.siblings).items()}
        late = {reference_name(made.number(key)) for key in made.structure.deferred}
        targets = [t for t in made.model.targets if t.name.startswith(("column|", "reference|")) and t.name not in late]
        looked_back = {
            name
            for target in made.model.targets
            for name in (*target.inputs, *_rule_inputs(target))
            if name.startswith(before_name(""))
        }
        for name in (*(target.name for target in targets), *looked_back):
            made.codes[name] = np.zeros(made.rows, np.int32)
        by_position = np.argsort(order.position, kind="stable")
        ends = np.cumsum(np.bincount(order.position))
        for step, rows in enumerate(np.split(by_position, ends[:-1])):
            for name in looked_back if step else ():
                made.codes[name][rows] = made.codes[name.removeprefix(before_name(""))][order.before[rows]] + 1
            for target in targets:
                made.codes[target.name][rows] = self._draw_target(target, rows, f"draw {step}")
        for target in targets:
            if target.name.startswith("column|"):
                self._decode(target.name.removeprefix("column|"))

    # references

    def _refer(self, key: ForeignKey) -> None:
        """Draw the group, then a parent in it that agrees with the key columns which are filled already."""
        made, number = self.made, self.made.number(key)
        if self.fixed >= set(key.columns):
            made.parents[number] = match_rows(
                [_chunked(made.columns[name]) for name in key.columns],
                [_chunked(self.others[key.parent].columns[name]) for name in key.parent_columns],
            )
            if key.orphans is Orphans.REPAIR:
                self._drop(made.parents[number] == BROKEN)
            made.codes[reference_name(number)] = self._group_codes(number, made.parents[number])
            self._see_through(number)
            return
        name = reference_name(number)
        codes = made.codes[name] if name in made.codes else self._draw_target(self.targets[name])
        made.codes[name] = codes
        made.parents[number] = self._pick(key, number, codes, np.arange(made.rows), "pick")
        self._settle_without_parent(key, number)
        self._see_through(number)
        self._fill_reference(key)

    def _pick(self, key: ForeignKey, number: int, codes: Codes, rows: Rows, purpose: str) -> Rows:
        parent = self.others[key.parent]
        generator = self.stream(purpose, number)
        picked = np.full(len(rows), NO_PARENT, dtype=np.int64)
        picked[codes == ORPHAN] = BROKEN
        wanted = np.flatnonzero(codes >= FIRST_GROUP)
        child_strata, parent_strata = self._strata(key, rows[wanted])
        keyed = np.flatnonzero(has_key(parent, key))
        candidates = Candidates(
            groups=self._roles(parent, number)[keyed] - 1,
            quotas=self._quotas(parent, number, generator)[keyed],
            strata=None if parent_strata is None else parent_strata[keyed],
        )
        found = choose(candidates, codes[wanted] - FIRST_GROUP, child_strata, generator)
        picked[wanted[found >= 0]] = keyed[found[found >= 0]]
        return picked

    def _strata(self, key: ForeignKey, rows: Rows) -> tuple[Rows | None, Rows | None]:
        """Numbers for the values that child rows and parents must share, because another key filled those columns."""
        shared = [pair for pair in zip(key.columns, key.parent_columns, strict=True) if pair[0] in self.fixed]
        if not shared:
            return None, None
        parent = self.others[key.parent]
        ours = [_chunked(self.made.columns[child].take(pa.array(rows))) for child, _ in shared]
        theirs = [_chunked(parent.columns[name]) for _, name in shared]
        representative = match_rows(theirs, theirs)
        return match_rows(ours, theirs), representative

    def _settle_without_parent(self, key: ForeignKey, number: int) -> None:
        """Rows for which no parent agrees: NULL where the columns may be, else left out."""
        made = self.made
        lost = (made.parents[number] == NO_PARENT) & (made.codes[reference_name(number)] != NULL)
        free = [name for name in key.columns if name not in self.fixed and name not in made.structure.table.required]
        if free:
            made.codes[reference_name(number)][lost] = NULL
        else:
            self._drop(made.parents[number] == NO_PARENT)

    def _fill_reference(self, key: ForeignKey) -> None:
        """The columns of a foreign key, from the parents chosen; those that another key filled stay as they are."""
        made, number = self.made, self.made.number(key)
        parents, parent = made.parents[number], self.others[key.parent]
        index = pa.array(parents, mask=parents < 0)
        broken = np.flatnonzero(parents == BROKEN)
        made_up = self._broken_values(key, number, len(broken)) if len(broken) else {}
        for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
            if name in self.fixed:
                continue
            values = _cast(parent.columns[parent_name].take(index), made.model.schema.field(name).type)
            made.columns[name] = _put(values, broken, made_up[name]) if name in made_up else values
            self.fixed.add(name)

    def _broken_values(self, key: ForeignKey, number: int, count: int) -> dict[str, pa.Array]:
        """Key values that no parent has: real ones of parents where another foreign key needs them, else made up."""
        made, parent = self.made, self.others[key.parent]
        generator = self.stream("broken", number)
        elsewhere = {name for other in made.structure.table.foreign_keys if other != key for name in other.columns}
        free = [name for name in key.columns if name not in self.fixed]
        tries = min(max(_BROKEN_TRIES * count, 1_000), 200_000)
        tried = {}
        for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
            if name in elsewhere and len(key.columns) > 1 and parent.rows:
                tried[name] = parent.columns[parent_name].take(pa.array(generator.integers(0, parent.rows, tries)))
            else:
                tried[name] = self._made_up(parent, parent_name, number, tries, generator)
        unmatched = match_rows(
            [_chunked(tried[name]) for name in key.columns],
            [_chunked(parent.columns[parent_name]) for parent_name in key.parent_columns],
        )
        usable = np.flatnonzero(unmatched == BROKEN)
        usable = usable if len(usable) else np.arange(tries)
        chosen = pa.array(usable[generator.integers(0, len(usable), count)])
        return {name: _cast(tried[name].take(chosen), made.model.schema.field(name).type) for name in free}

    def _made_up(self, parent: Made, column: str, number: int, count: int, generator: np.random.Generator) -> pa.Array:
        """Values that look like a parent's key, as many different ones as the source's broken references have."""
        codec, arrow_type = parent.model.codecs.get(column), parent.model.schema.field(column).type
        if isinstance(codec, NumberCodec) and len(codec.low):
            codes = generator.integers(1, len(codec.low) + 1, count).astype(np.int32)
            return codec.decode(codes, generator, arrow_type)
        if parent.model.makers[column] is Maker.LEARNED or column not in parent.model.schema.names:
            return pa.nulls(count, arrow_type)
        existing = parent.columns[column]
        if parent.model.makers[column] is Maker.PROVIDED:
            distinct = max(self.made.model.references[number].broken_values, 1)
            provider = provider_of(parent, column, self.seed)
            values = _cast(provider.values(parent.rows, 2 * distinct + 200), arrow_type)
            fresh = values.filter(pc.invert(pc.is_in(values, value_set=existing)))[:distinct]
            existing = fresh if len(fresh) else existing
        return existing.take(pa.array(generator.integers(0, len(existing), count)))

    def _group_codes(self, number: int, parents: Rows) -> Codes:
        key = self.made.structure.table.foreign_keys[number]
        roles = self._roles(self.others[key.parent], number)
        codes = np.where(parents >= 0, (roles[np.maximum(parents, 0)] if len(roles) else 0) - 1 + FIRST_GROUP, NULL)
        codes[parents == BROKEN] = ORPHAN
        return codes.astype(np.int32)

    def _see_through(self, number: int) -> None:
        made = self.made
        parent = self.others[made.structure.table.foreign_keys[number].parent]
        parents = made.parents[number]
        prefix = through(number, "")
        wanted = {name for target in made.model.targets for name in (*target.inputs, *_rule_inputs(target))}
        for name in {name for name in wanted if name.startswith(prefix)}:
            codes = self._parent_codes(parent, name[len(prefix) :], number)
            seen = codes[np.maximum(parents, 0)] if len(codes) else np.zeros(len(parents), np.int32)
            made.codes[name] = np.where(parents >= 0, seen, 0).astype(np.int32)

    # variables

    def _draw_target(self, target: Target, rows: Rows | None = None, purpose: str = "draw") -> Codes:
        made = self.made

        def given(name: str, of: Rows | None = rows) -> Codes:
            return made.codes[name] if of is None else made.codes[name][of]

        count = made.rows if rows is None else len(rows)
        generator = self.stream(purpose, target.name)
        codes = target.block.draw([given(name) for name in target.inputs], count, generator)
        if target.rule:
            exact = target.rule.apply([given(name) for name in target.rule.inputs])
            codes = np.where(exact >= 0, exact, codes)
        for _ in range(_ROUNDS if target.guards else 0):
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

    def _draw_column(self, target: Target) -> None:
        if target.name in self.made.codes:
            return
        self.made.codes[target.name] = self._draw_target(target)
        if target.name.startswith("column|"):
            self._decode(target.name[len("column|") :])

    def _decode(self, column: str) -> None:
        made = self.made
        if made.model.makers[column] is Maker.LEARNED:
            codes = made.codes[column_name(column)]
            made.columns[column] = self._values(column, codes, self.stream("value", column))

    def _values(self, column: str, codes: Codes, generator: np.random.Generator) -> pa.Array:
        codec, arrow_type = self.made.model.codecs[column], self.made.model.schema.field(column).type
        if isinstance(codec, PseudonymCodec):
            if column not in self.pseudonyms:
                provider = provider_of(self.made, column, self.seed, unique=True)
                self.pseudonyms[column] = _cast(provider.values(0, codec.common + codec.rare), arrow_type)
            return codec.decode(codes, generator, self.pseudonyms[column])
        return decode(self.made.model, column, codes, generator)

    def redraw(self, rows: Rows, columns: Sequence[str], attempt: int) -> None:
        """Draw learned columns of some rows again, in order, and what follows from them by a rule."""
        made = self.made
        changed: set[str] = set()
        keys = made.structure.own_key_columns() - set(columns)
        for target in made.model.targets:
            column = target.name.removeprefix("column|")
            follows = target.rule is not None and bool(changed & set(target.rule.inputs))
            if column == target.name or not (column in columns or follows) or column in keys:
                continue
            if made.model.makers[column] is not Maker.LEARNED or target.name not in made.codes:
                continue
            changed.add(target.name)
            codes = self._draw_target(target, rows, f"again {attempt}")
            made.codes[target.name][rows] = codes
            values = self._values(column, codes, self.stream("value again", attempt, column))
            made.columns[column] = _put(made.columns[column], rows, values)

    # keys

    def _number_within_parents(self) -> None:
        made = self.made
        for column, start in made.model.ranks.items():
            key = next(key for key in made.structure.table.keys if column in key and len(key) > 1)
            group, _ = identify([made.columns[name] for name in key if name != column])
            order = np.argsort(group, kind="stable")
            ordered = group[order]
            first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if made.rows else order
            sizes = np.diff(np.concatenate([first, [made.rows]]))
            ranks = np.empty(made.rows, np.int64)
            ranks[order] = np.arange(made.rows) - np.repeat(first, sizes) + start
            values = _cast(pa.array(ranks), made.model.schema.field(column).type)
            made.columns[column] = values
            made.codes[column_name(column)] = made.model.codecs[column].encode(_chunked(values))

    def _make_unique(self, key: tuple[str, ...]) -> None:
        """Move, redraw or, at last, leave out rows until no key repeats."""
        made = self.made
        if any(name not in made.columns for name in key) or not made.rows:
            return  # a provided part is unique by construction; a deferred part is settled later
        for attempt in range(_ROUNDS):
            again = self._repeating(key)
            if not again.any():
                return
            if not self._move(key, again, attempt):
                break
        self._drop(self._repeating(key))

    def unique_all(self) -> None:
        """Make every key unique whose columns are all there."""
        for key in self.made.structure.table.keys:
            self._make_unique(key)

    def _repeating(self, key: tuple[str, ...]) -> npt.NDArray[np.bool_]:
        numbers, null = identify([self.made.columns[name] for name in key])
        exempt = null if key != self.made.structure.table.primary_key else np.zeros(len(null), dtype=bool)
        return repeats(numbers, exempt)

    def _move(self, key: tuple[str, ...], again: npt.NDArray[np.bool_], attempt: int) -> bool:
        """One attempt to make repeating rows unique; False when nothing is left to try."""
        made = self.made
        own = [name for name in key if made.model.makers[name] is Maker.LEARNED]
        numeric = [name for name in own if isinstance(made.model.codecs.get(name), NumberCodec)]
        if own and attempt < _ROUNDS // 2:
            self.redraw(np.flatnonzero(again), own, attempt)
            return True
        if numeric:
            self._spread_column(key, max(numeric, key=lambda name: made.model.codecs[name].size))
            return attempt == _ROUNDS // 2
        categories = [name for name in own if isinstance(made.model.codecs.get(name), CategoryCodec)]
        if categories:
            self._spread_categories(key, max(categories, key=lambda name: made.model.codecs[name].size))
            return attempt == _ROUNDS // 2
        movable = self._movable_reference(key)
        if movable is None:
            return bool(own)
        self._pick_again(key, movable, again, attempt)
        return True

    def _spread_column(self, key: tuple[str, ...], column: str) -> None:
        made = self.made
        codec = made.model.codecs[column]
        if not isinstance(codec, NumberCodec) or codec.continuous:
            return
        present = np.flatnonzero(made.columns[column].is_valid().to_numpy(zero_copy_only=False))
        others = [made.columns[name].take(pa.array(present)) for name in key if name != column]
        group = identify(others)[0] if others else np.zeros(len(present), np.int64)
        arrow_type = made.model.schema.field(column).type
        units = units_of(codec, made.columns[column])
        start, room = codec.span(int(np.bincount(group).max(initial=1)), arrow_type)
        moved = spread(group, (units[present] - start) // codec.step, 0, room)
        units[present] = start + moved * codec.step
        codes = np.zeros(made.rows, np.int32)
        codes[present] = codec.encode(
            _chunked(codec.from_units(units[present], np.ones(len(present), np.int32), arrow_type))
        )
        made.codes[column_name(column)] = codes
        made.columns[column] = codec.from_units(units, codes, arrow_type)

    def _spread_categories(self, key: tuple[str, ...], column: str) -> None:
        """Move repeating rows to categories that the rest of their key does not have yet, frequent ones first."""
        made = self.made
        codec = made.model.codecs[column]
        codes = codec.encode(_chunked(made.columns[column]))
        present = np.flatnonzero(codes > 0)
        others = [made.columns[name].take(pa.array(present)) for name in key if name != column]
        group = identify(others)[0] if others else np.zeros(len(present), np.int64)
        codes[present] = spread(group, codes[present].astype(np.int64), 1, codec.size - 2)
        made.codes[column_name(column)] = codes
        self._decode(column)

    def _movable_reference(self, key: tuple[str, ...]) -> ForeignKey | None:
        """The foreign key to pick anew: the last of those that fill a part of the key all by themselves."""
        candidates = [each for each in self.made.structure.references if self.filled_by(each) & set(key)]
        return candidates[-1] if candidates else None

    def filled_by(self, key: ForeignKey) -> set[str]:
        """The columns that a foreign key fills and no other one."""
        others = (each for each in self.made.structure.table.foreign_keys if each != key)
        return set(key.columns) - {name for other in others for name in other.columns}

    def _pick_again(
        self, key: tuple[str, ...], reference: ForeignKey, again: npt.NDArray[np.bool_], attempt: int
    ) -> None:
        """A few fresh draws; then the next parents that the rest of the key does not have yet."""
        if attempt < _ROUNDS - 2:
            self.pick_again(reference, np.flatnonzero(again), attempt)
        else:
            self._spread_parents(key, reference)

    def pick_again(self, reference: ForeignKey, rows: Rows, attempt: int) -> None:
        """Draw other parents for some rows; what other foreign keys fill stays."""
        made, number = self.made, self.made.number(reference)
        self.fixed -= self.filled_by(reference)
        codes = self._draw_target(self.targets[reference_name(number)], rows, f"again {attempt}")
        made.parents[number][rows] = self._pick(reference, number, codes, rows, f"pick again {attempt}")
        self._refill(reference, number)

    def _spread_parents(self, key: tuple[str, ...], reference: ForeignKey) -> None:
        """Move rows to the next parents that the rest of the key does not have yet and that agree with it."""
        made, number = self.made, self.made.number(reference)
        own = self.filled_by(reference)
        self.fixed -= own
        chosen = np.flatnonzero(made.parents[number] >= 0)
        others = [made.columns[name].take(pa.array(chosen)) for name in key if name not in own]
        group = identify(others)[0] if others else np.zeros(len(chosen), np.int64)
        parents = self.others[reference.parent].rows
        _, theirs = self._strata(reference, chosen[:0])
        stratum = np.zeros(parents, np.int64) if theirs is None else theirs.copy()
        stratum[~has_key(self.others[reference.parent], reference)] = parents  # of their own: nobody moves there
        order = np.lexsort((self.stream("spread", number).permutation(parents), stratum))
        first = np.searchsorted(stratum[order], stratum, "left")
        last = np.searchsorted(stratum[order], stratum, "right") - 1
        place = np.empty(parents, np.int64)
        place[order] = np.arange(parents)
        held = made.parents[number][chosen]
        moved = spread(densify(group), place[held] - first[held], 0, last[held] - first[held])
        made.parents[number][chosen] = order[first[held] + moved]
        self._refill(reference, number)

    def _refill(self, reference: ForeignKey, number: int) -> None:
        made = self.made
        made.codes[reference_name(number)] = self._group_codes(number, made.parents[number])
        self._see_through(number)
        self._fill_reference(reference)
        self._drop_unparented(reference, number)

    def _drop_unparented(self, key: ForeignKey, number: int) -> None:
        if any(name in self.made.structure.table.required for name in key.columns):
            self._drop(self.made.parents[number] == NO_PARENT)

    def _drop(self, rows: npt.NDArray[np.bool_]) -> None:
        if rows.any():
            self.made.keep(np.flatnonzero(~rows))

    # what needs the finished rows

    def provide(self) -> None:
        """Fill the provided columns, NULL where their codes say so."""
        made = self.made
        for column in made.structure.table.columns:
            if made.model.makers[column.name] is not Maker.PROVIDED or column.name in made.model.ranks:
                continue
            arrow_type = made.model.schema.field(column.name).type
            values = provider_of(made, column.name, self.seed).values(0, made.rows)
            values = self._with_public_keys(column.name, _cast(values, arrow_type))
            codes = made.codes.get(column_name(column.name))
            if codes is not None and column.name not in made.structure.table.required:
                values = _put(values, np.flatnonzero(codes == 0), pa.nulls(int((codes == 0).sum()), arrow_type))
            made.columns[column.name] = values

    def _with_public_keys(self, column: str, values: pa.Array) -> pa.Array:
        made = self.made
        public = {row: value for row, value in made.model.public_keys.get(column, {}).items() if row < made.rows}
        if not public:
            return values
        kept = pa.array(list(public.values()), values.type)
        result = _put(values, np.array(list(public), np.int64), kept)
        others = np.setdiff1d(np.arange(made.rows), np.array(list(public)))
        provider, start = provider_of(made, column, self.seed), made.rows
        while len(others):
            taken = pc.is_in(result.take(pa.array(others)), value_set=kept).to_numpy(zero_copy_only=False)
            others = others[taken]
            if len(others):
                result = _put(result, others, _cast(provider.values(start, len(others)), values.type))
                start += len(others)
        return result

    def refer_to_itself(self, key: ForeignKey) -> None:
        """Give every row a parent one level up: acyclic, where the data is."""
        made, number = self.made, self.made.number(key)
        depths = made.codes.get(depth_name(number), np.zeros(made.rows, np.int32)).copy()
        generator = self.stream("self", number)
        deepest = made.model.deepest[number]
        nullable = not self.filled_by(key) <= made.structure.table.required
        if not (depths == 0).any() and made.rows:
            depths[0] = 0
        first_attempt = {name for name in self.filled_by(key) if made.model.makers[name] is Maker.REFERENCE}
        made.columns = {name: values for name, values in made.columns.items() if name not in first_attempt}
        own = made.parents[number] = np.full(made.rows, NO_PARENT, np.int64)
        single = self._is_single(key)
        quotas = np.ones(made.rows) if single else np.maximum(self._quotas(made, number, generator), 1e-3)
        shared = [pair for pair in zip(key.columns, key.parent_columns, strict=True) if pair[0] in made.columns]
        strata = None
        if shared:
            theirs = [_chunked(made.columns[name]) for _, name in shared]
            ours = [_chunked(made.columns[name]) for name, _ in shared]
            strata = (match_rows(ours, theirs), match_rows(theirs, theirs))
        keyed = has_key(made, key)
        for depth in range(1, int(depths.max(initial=0)) + 1):
            rows = np.flatnonzero(depths == depth)
            above = np.flatnonzero(keyed if deepest < 0 else keyed & (depths < depth))
            nearest = above[depths[above] == depths[above].max()] if deepest >= 0 and len(above) else above
            for candidates_above in (nearest, above):
                pool = np.setdiff1d(candidates_above, own) if single else candidates_above
                waiting = rows[own[rows] < 0][: len(pool) if single else None]
                if not len(waiting) or not len(pool):
                    continue
                candidates = Candidates(
                    groups=np.zeros(len(pool), np.int32),
                    quotas=quotas[pool],
                    strata=strata[1][pool] if strata else None,
                )
                wanted = strata[0][waiting] if strata else None
                found = choose(candidates, np.zeros(len(waiting), np.int32), wanted, generator)
                own[waiting] = np.where(found >= 0, pool[np.maximum(found, 0)], NO_PARENT)
        if not nullable:
            own[own < 0] = np.flatnonzero(own < 0)
        index = pa.array(own, mask=own < 0)
        for name, parent_name in zip(key.columns, key.parent_columns, strict=True):
            if name not in made.columns:
                arrow_type = made.model.schema.field(name).type
                made.columns[name] = _cast(made.columns[parent_name].take(index), arrow_type)

    def refer_later(self, key: ForeignKey) -> None:
        """Fill a foreign key whose parent was made after this table."""
        number = self.made.number(key)
        codes = self.made.codes[reference_name(number)]
        self.fixed = set(self.made.columns)
        self.made.parents[number] = self._pick(key, number, codes, np.arange(self.made.rows), "pick")
        self._settle_without_parent(key, number)
        self._fill_reference(key)
        for unique in self.made.structure.table.keys:
            ours = self.filled_by(key) & set(unique)
            if ours and set(unique) <= set(self.made.columns) and self._repeating(unique).any():
                self._spread_parents(unique, key)


def _rule_inputs(target: Target) -> tuple[str, ...]:
    return target.rule.inputs if target.rule else ()


def has_key(parent: Made, key: ForeignKey) -> npt.NDArray[np.bool_]:
    """Which rows of a parent a foreign key can refer to: those whose unique columns are not NULL."""
    found = np.ones(parent.rows, dtype=bool)
    for name in key.parent_columns:
        found &= parent.columns[name].is_valid().to_numpy(zero_copy_only=False)
    return found


def decode(model: TableModel, column: str, codes: Codes, generator: np.random.Generator) -> pa.Array:
    """Values of a learned column."""
    codec, arrow_type = model.codecs[column], model.schema.field(column).type
    if isinstance(codec, NumberCodec):
        return codec.decode(codes, generator, arrow_type)
    if isinstance(codec, CategoryCodec):
        return codec.decode(codes, generator).cast(arrow_type)
    raise TypeError(f"column {column!r} is not learned")


def units_of(codec: NumberCodec, values: pa.Array) -> npt.NDArray[np.int64]:
    """The whole numbers that a column's values stand for."""
    from synth_ops.generators.relational_trees.codec import to_floats_or_integers

    units, _ = to_floats_or_integers(_chunked(values), codec.scale, continuous=False)
    whole: npt.NDArray[np.int64] = np.nan_to_num(units, posinf=0, neginf=0).astype(np.int64)
    return whole


def provider_of(made: Made, column: str, seed: int, *, unique: bool = False) -> Any:
    """Who makes a provided column's values: the same rows always get the same ones.

    Args:
        unique: Whether they must differ even though the column is no key.
    """
    table = made.structure.table
    return provider_for(
        as_provided(table.column(column)),
        made.model.shapes.get(column),
        seed=seed,
        table=table.name,
        unique=unique or any(column in key for key in table.keys),
        rows=made.rows,
    )


def _chunked(values: pa.Array) -> pa.ChunkedArray:
    return pa.chunked_array([values])


def _cast(values: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_decimal(arrow_type) and pa.types.is_integer(values.type):
        values = values.cast(pa.string())  # Arrow casts an int64 straight to a decimal of 19 whole digits only
    return values if values.type == arrow_type else values.cast(arrow_type)


def _put(values: pa.Array, rows: Rows, replacement: pa.Array) -> pa.Array:
    """The values with some rows replaced."""
    if not len(rows):
        return values
    index = np.arange(len(values))
    index[rows] = len(values) + np.arange(len(rows))
    both = pa.concat_arrays([values, _cast(replacement, values.type)])
    return both.take(pa.array(index))
