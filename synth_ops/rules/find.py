"""Find rules: candidates from samples, then each one counted over all rows, and only what no row breaks is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from synth_ops.artifacts import TableData
from synth_ops.metadata import Column, Kind, Metadata, Relation, Rule, Table, generation_order
from synth_ops.rules.chance import FEWEST_ROWS
from synth_ops.rules.queries import describe, support_sql
from synth_ops.rules.references import from_children, from_parent
from synth_ops.rules.rows import from_row
from synth_ops.rules.sample import read_sample
from synth_ops.sql import connect, quote, register

if TYPE_CHECKING:
    import duckdb

_SOURCE = "source"
_COUNTED = 200
_MOST_RULES = 60
"""A table of more is one of codes that say the same thing over and over."""


def find_rules(
    metadata: Metadata,
    tables: Mapping[str, TableData],
    *,
    ignored: Collection[str] = (),
    decided: Collection[tuple[str, str]] = (),
) -> Metadata:
    """The metadata with the rules that every row obeys, those between tables first.

    No column is determined twice, and none by itself on a detour. Keys are left to the keys. A column that repeats
    another one means what that one means, and is of its kind from now on.

    Args:
        ignored: Tables to look for none in.
        decided: Tables and columns whose kind is not to be changed: they repeat only what is of that kind.
    """
    with connect() as connection:
        register(connection, tables, _SOURCE)
        finding = _Finding(connection, metadata, tables)
        for look in (finding.to_parents, finding.to_children, finding.within_rows):
            for table in metadata.tables:
                if tables[table.name].rows >= FEWEST_ROWS and table.name not in ignored:
                    finding.keep(table, look(table))
    return _with_rules(metadata, finding.kept, decided)


def _with_rules(
    metadata: Metadata, found: Mapping[str, Sequence[Rule]], decided: Collection[tuple[str, str]]
) -> Metadata:
    tables = {table.name: table for table in metadata.tables}
    for name in generation_order(metadata)[0]:
        table, rules = tables[name], list(found[name])
        columns = {column.name: column for column in table.columns}
        references = {each for key in table.foreign_keys for each in key.columns}
        for rule in found[name]:
            original = _original(rule, table, tables, columns)
            column = columns[rule.column]
            if original is None or rule.column in references or _means_the_same(column, original):
                continue
            if (name, rule.column) in decided:
                rules.remove(rule)
                continue
            evidence = f"{describe(rule)}: {original.evidence}"
            columns[rule.column] = dataclasses.replace(
                column, kind=original.kind, provider=original.provider, evidence=evidence
            )
        tables[name] = dataclasses.replace(table, columns=tuple(columns.values()), rules=tuple(rules))
    return dataclasses.replace(metadata, tables=tuple(tables[table.name] for table in metadata.tables))


def _original(rule: Rule, table: Table, tables: Mapping[str, Table], columns: Mapping[str, Column]) -> Column | None:
    """The column that a rule repeats; None where it does something else."""
    if rule.relation is not Relation.EQUALS or rule.child or rule.expression != quote(rule.inputs[0]):
        return None
    if not rule.through:
        return columns[rule.inputs[0]]
    key = next(key for key in table.foreign_keys if key.columns == rule.through)
    return tables[key.parent].column(rule.inputs[0])


def _means_the_same(one: Column, other: Column) -> bool:
    return (one.kind, one.provider) == (other.kind, other.provider)


class _Finding:
    """The rules kept so far, by table."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, metadata: Metadata, tables: Mapping[str, TableData]
    ) -> None:
        self._connection, self._metadata, self._tables = connection, metadata, tables
        self.kept: dict[str, list[Rule]] = {table.name: [] for table in metadata.tables}

    def to_parents(self, table: Table) -> Iterator[Rule]:
        """Candidates."""
        for key in table.foreign_keys:
            if key.parent != table.name:
                parent, data = self._metadata.table(key.parent), self._tables[table.name]
                yield from from_parent(self._connection, table, key, parent, data, schema=_SOURCE)

    def to_children(self, table: Table) -> Iterator[Rule]:
        """Candidates; what a child takes over from this table is no news.

        Not by way of a reference that closes a cycle: who refers by that is known when this table's rows are done.
        """
        _, deferred = generation_order(self._metadata)
        for child, key in self._metadata.children(table.name):
            if child.name == table.name or (child.name, key) in deferred or not self._tables[child.name].rows:
                continue
            carried = {rule.column for rule in self.kept[child.name] if rule.through == key.columns}
            for rule in from_children(self._connection, table, child, key, self._tables[table.name], schema=_SOURCE):
                if not carried & set(rule.inputs):
                    yield rule

    def within_rows(self, table: Table) -> Iterator[Rule]:
        """Candidates."""
        with np.errstate(over="ignore", invalid="ignore"):  # what the widest numbers make is compared, and agrees not
            found = list(from_row(read_sample(self._connection, table, self._tables[table.name])))
        yield from found

    def keep(self, table: Table, found: Iterable[Rule]) -> None:
        """Those that no row breaks."""
        kept = self.kept[table.name]
        for rules in _counted_together(found):
            free = [rule for rule in rules if _is_free(table, rule, kept)]
            if not free:
                continue
            counts = self._connection.sql(support_sql(table, free, schema=_SOURCE)).fetchall()[0]
            for rule, known, broken, differing in zip(free, counts[::3], counts[1::3], counts[2::3], strict=True):
                if len(kept) == _MOST_RULES:
                    return
                if known >= FEWEST_ROWS and not broken and _is_free(table, rule, kept):
                    kept.append(dataclasses.replace(rule, rows=int(known), strict=not differing))


def _counted_together(found: Iterable[Rule]) -> Iterator[Sequence[Rule]]:
    """Rules between tables one by one, rules within rows many at a time."""
    within: list[Rule] = []
    for rule in found:
        if rule.through or rule.child:
            yield (rule,)
        else:
            within.append(rule)
    yield from (within[start : start + _COUNTED] for start in range(0, len(within), _COUNTED))


def _is_free(table: Table, rule: Rule, kept: Iterable[Rule]) -> bool:
    """Whether nothing else decides the column yet, and it does not decide what decides it."""
    if rule.relation is Relation.AT_LEAST:
        pair = {rule.column, *rule.inputs}
        return not any(pair == {each.column, *each.inputs} and each.through == rule.through for each in kept)
    in_key = any(rule.column in key for key in table.keys)
    is_reference = any(rule.column in key.columns for key in table.foreign_keys)
    if in_key or (is_reference and not rule.through) or table.column(rule.column).kind is Kind.MEDIA:
        return False
    equal = [each for each in kept if each.relation is Relation.EQUALS]
    if any(each.column == rule.column for each in equal):
        return False
    if rule.through or rule.child:
        return True
    within = {each.column: each.inputs for each in equal if not (each.through or each.child)}
    waiting, seen = list(rule.inputs), set()
    while waiting:
        name = waiting.pop()
        if name == rule.column:
            return False
        if name not in seen:
            seen.add(name)
            waiting += within.get(name, ())
    return True
