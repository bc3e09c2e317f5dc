"""Who makes which column of a table, and in which order: decided from the metadata and row counts alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import pyarrow as pa

from synth_ops.generators.relational_trees.units import is_numeric
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Table, generation_order, subject_path

_LEARNED = frozenset({Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO})
_MOST_LOOKUP_ROWS = 5_000


class Maker(StrEnum):
    """Who makes a column's values."""

    REFERENCE = "reference"
    """A foreign key: the value of the chosen parent."""
    LEARNED = "learned"
    """A codec and a block."""
    PROVIDED = "provided"
    """A provider; only whether it is NULL is learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStructure:
    """How one table is made.

    Attributes:
        table: The table.
        makers: Who makes each column.
        primary: The foreign key that decides how many rows each parent has; None for a table that stands alone.
        references: The other foreign keys into tables made before, those that share columns with another one first.
        self_references: Foreign keys into the table itself.
        deferred: Foreign keys into tables made later, filled in then.
        lookup: Whether it is reference data: small, referred to, about nobody. Its rows keep their identity, so that
            what depends on them still does, and their number.
    """

    table: Table
    makers: Mapping[str, Maker]
    primary: ForeignKey | None
    references: tuple[ForeignKey, ...]
    self_references: tuple[ForeignKey, ...]
    deferred: tuple[ForeignKey, ...]
    lookup: bool

    @property
    def learned(self) -> tuple[Column, ...]:
        """The columns with a codec."""
        return tuple(column for column in self.table.columns if self.makers[column.name] is Maker.LEARNED)

    @property
    def provided(self) -> tuple[Column, ...]:
        """The columns with a provider."""
        return tuple(column for column in self.table.columns if self.makers[column.name] is Maker.PROVIDED)

    def own_key_columns(self) -> frozenset[str]:
        """Columns of any key of the table that no foreign key fills."""
        return frozenset(name for key in self.table.keys for name in key if self.makers[name] is not Maker.REFERENCE)

    def filled_by(self, key: ForeignKey) -> set[str]:
        """The columns that a foreign key fills and no other one."""
        others = (each for each in self.table.foreign_keys if each != key)
        return set(key.columns) - {name for other in others for name in other.columns}

    def is_single(self, key: ForeignKey) -> bool:
        """Whether a parent can have one child at most: the foreign key holds a key of the table."""
        return any(set(unique) <= set(key.columns) for unique in self.table.keys)


def structure(
    metadata: Metadata,
    rows: Mapping[str, int],
    schemas: Mapping[str, pa.Schema],
    families: Mapping[str, Collection[tuple[str, ...]]] = MappingProxyType({}),
) -> list[TableStructure]:
    """The tables in the order in which they are made.

    Args:
        rows: Row counts of the snapshot.
        schemas: Arrow schemas of the snapshot.
        families: By table, the columns of references to reference data under whose rows its own may be laid.
    """
    order, deferred = generation_order(metadata)
    return [
        _table_structure(metadata, metadata.table(name), rows, schemas[name], deferred, families.get(name, ()))
        for name in order
    ]


def _table_structure(
    metadata: Metadata,
    table: Table,
    rows: Mapping[str, int],
    schema: pa.Schema,
    deferred: frozenset[tuple[str, ForeignKey]],
    families: Collection[tuple[str, ...]],
) -> TableStructure:
    put_off = tuple(key for key in table.foreign_keys if (table.name, key) in deferred)
    selves = tuple(key for key in table.foreign_keys if key.parent == table.name)
    now = [key for key in table.foreign_keys if key not in put_off and key not in selves]
    primary = _primary(metadata, now, rows, families)
    others = sorted((key for key in now if key != primary), key=lambda key: (-_shared(key, now), rows[key.parent]))
    late = {name for key in (*put_off, *selves) for name in key.columns}
    filled = {name for key in now for name in key.columns} | (late - _identity(metadata, table))
    return TableStructure(
        table=table,
        makers={column.name: _maker(column, schema, filled) for column in table.columns},
        primary=primary,
        references=tuple(others),
        self_references=selves,
        deferred=put_off,
        lookup=_is_lookup(metadata, table, rows),
    )


def _identity(metadata: Metadata, table: Table) -> set[str]:
    """The columns by which a row is known, which can't wait for other rows."""
    return {*table.primary_key, *(name for _, key in metadata.children(table.name) for name in key.parent_columns)}


def _primary(
    metadata: Metadata,
    candidates: list[ForeignKey],
    rows: Mapping[str, int],
    families: Collection[tuple[str, ...]],
) -> ForeignKey | None:
    """The finest parent that leads to a person, else the finest that is no lookup, else the finest with families."""

    def leads_to_person(key: ForeignKey) -> bool:
        return subject_path(metadata, key.parent) is not None

    useful = [key for key in candidates if not _is_lookup(metadata, metadata.table(key.parent), rows)]
    personal = [key for key in useful if leads_to_person(key)]
    choice = personal or useful or [key for key in candidates if key.columns in families]
    return max(choice, key=lambda key: (rows[key.parent], key.columns)) if choice else None


def _is_lookup(metadata: Metadata, table: Table, rows: Mapping[str, int]) -> bool:
    if rows[table.name] > _MOST_LOOKUP_ROWS or subject_path(metadata, table.name) is not None:
        return False
    referred = any(child.name != table.name for child, _ in metadata.children(table.name))
    return referred and all(rows[key.parent] <= _MOST_LOOKUP_ROWS for key in table.foreign_keys)


def _shared(key: ForeignKey, others: list[ForeignKey]) -> int:
    """How many of a key's columns other keys fill, too: such keys go first, the wider the sooner."""
    return max(
        (len(key.columns) for other in others if other != key and set(other.columns) & set(key.columns)), default=0
    )


def _maker(column: Column, schema: pa.Schema, filled: set[str]) -> Maker:
    if column.name in filled:
        return Maker.REFERENCE
    arrow_type = schema.field(column.name).type
    if pa.types.is_temporal(arrow_type) or pa.types.is_boolean(arrow_type):
        return Maker.LEARNED if is_numeric(arrow_type) else Maker.PROVIDED
    learnable = is_numeric(arrow_type) or pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type)
    return Maker.LEARNED if column.kind in _LEARNED and learnable else Maker.PROVIDED


def as_provided(column: Column) -> Column:
    """The column as providers know it: one that was to be learned, but has too little to keep, is made as text."""
    return dataclasses.replace(column, kind=Kind.TEXT, provider="") if column.kind in _LEARNED else column
