"""Small databases that a generator is tried on, each with one thing that is hard, and what a copy of one may break."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot, TableData
from synth_ops.metadata import Check, Column, ForeignKey, Kind, Metadata, Table
from synth_ops.sql import connect, quote, register
from synth_ops.testing.warehouses import CANARY_TEXT, SMALL_WAREHOUSE, small_warehouse_rows, write_table

Rows = Sequence[tuple[Any, ...]]
_COPY = "copy"
_HOURS = [dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=61 * n) for n in range(200)]
_MANY = 12_000


class Capability(StrEnum):
    """What a generator may be able to do. It does what it declares, and refuses the rest or does it all the same."""

    NO_SEQUENCES = "no sequences"
    """Databases in which no rows follow each other under a parent are copied."""
    RELATIONS = "relations"
    """Foreign keys hold."""
    ONE_TO_ONE = "one to one"
    """Keys hold that are foreign keys, too."""
    COMPOSITE_KEYS = "composite keys"
    """Keys of several columns hold."""
    SELF_REFERENCES = "self-references"
    """Foreign keys of a table to itself hold."""
    CYCLES = "cycles"
    """Foreign keys hold that lead round in a circle."""
    CHECKS = "checks"
    """CHECK constraints hold."""
    ANY_DATA = "any data"
    """Every type and every odd column is copied, none refused."""
    PUBLIC_VALUES = "public values"
    """Neither model nor copy holds a value that one subject alone has, of whatever kind its column is."""
    SAME_SEED = "same seed"
    """The same snapshot, settings and seed give the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A database.

    Attributes:
        needs: What a generator must be able to do to copy it.
    """

    needs: frozenset[Capability]
    metadata: Metadata
    rows: Mapping[str, Rows]

    def snapshot(self, folder: Path) -> Snapshot:
        """Write it as a snapshot; its canaries are those of the small warehouse."""
        tables = {
            table.name: write_table(folder, table, self.rows[table.name], rows_per_file=5_000)
            for table in self.metadata.tables
        }
        return Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="case"), metadata=self.metadata, tables=tables)


def broken_constraints(metadata: Metadata, tables: Mapping[str, TableData]) -> dict[str, int]:
    """Every declared constraint that the data breaks, in words, and by how many rows or groups."""
    with connect() as connection:
        register(connection, tables, _COPY)
        queries = {what: query for table in metadata.tables for what, query in _questions(table).items()}
        counts = {what: connection.sql(query).fetchall()[0][0] for what, query in queries.items()}
    return {what: count for what, count in counts.items() if count}


def _questions(table: Table) -> dict[str, str]:
    """A query a constraint, that counts what breaks it."""
    here = f"{_COPY}.{quote(table.name)}"
    queries = {
        f"{table.name}.{name}: NOT NULL": f"SELECT count(*) FROM {here} WHERE {quote(name)} IS NULL"
        for name in table.required
    }
    for key in table.keys:
        known = " AND ".join(f"{quote(name)} IS NOT NULL" for name in key)
        groups = f"SELECT 1 FROM {here} WHERE {known} GROUP BY {', '.join(map(quote, key))} HAVING count(*) > 1"
        queries[f"{table.name}: unique {key}"] = f"SELECT count(*) FROM ({groups})"
    for reference in table.foreign_keys:
        pairs = list(zip(reference.columns, reference.parent_columns, strict=True))
        known = " AND ".join(f"c.{quote(child)} IS NOT NULL" for child, _ in pairs)
        match = " AND ".join(f"p.{quote(parent)} = c.{quote(child)}" for child, parent in pairs)
        parent = f"SELECT 1 FROM {_COPY}.{quote(reference.parent)} p WHERE {match}"
        queries[f"{table.name}: {reference.columns} -> {reference.parent}"] = (
            f"SELECT count(*) FROM {here} c WHERE {known} AND NOT EXISTS ({parent})"
        )
    for check in table.checks:
        queries[f"{table.name}: CHECK {check.expression}"] = (
            f"SELECT count(*) FROM {here} WHERE NOT ({check.expression})"
        )
    return queries


def _of_the_shop(*names: str, needs: Sequence[Capability] = (), customers: int = 60) -> Callable[[], Case]:
    """Some tables of the small warehouse, with the foreign keys between them."""

    def make() -> Case:
        tables = [SMALL_WAREHOUSE.table(name) for name in names]
        kept = [
            dataclasses.replace(table, foreign_keys=tuple(key for key in table.foreign_keys if key.parent in names))
            for table in tables
        ]
        rows = small_warehouse_rows(customers=customers)
        alone = f"{CANARY_TEXT}stadt"
        rows["customers"] = [
            (*row[:3], alone, *row[4:]) if row == rows["customers"][0] else row for row in rows["customers"]
        ]
        metadata = Metadata(tables=tuple(dataclasses.replace(t, rows=len(rows[t.name])) for t in kept))
        return Case(needs=frozenset(needs), metadata=metadata, rows={name: rows[name] for name in names})

    return make


def _table(name: str, columns: Mapping[str, tuple[str, Kind]], **more: Any) -> Table:
    described = tuple(Column(name=each, type=kind, kind=meaning) for each, (kind, meaning) in columns.items())
    return Table(name=name, path=(name,), columns=described, **more)


def _of_tables(needs: Sequence[Capability], *tables: tuple[Table, Rows]) -> Case:
    described = tuple(dataclasses.replace(table, rows=len(rows)) for table, rows in tables)
    rows = {table.name: rows for table, rows in tables}
    return Case(needs=frozenset(needs), metadata=Metadata(tables=described), rows=rows)


def _of_column(kind: str, meaning: Kind, values: Sequence[Any]) -> Callable[[], Case]:
    """A table of a key and one odd column."""
    table = _table("odd", {"id": ("INTEGER", Kind.ID), "it": (kind, meaning)}, primary_key=("id",))
    return lambda: _of_tables([Capability.NO_SEQUENCES, Capability.ANY_DATA], (table, list(enumerate(values))))


def _cycle() -> Case:
    keyed = {"id": ("INTEGER", Kind.ID), "other": ("INTEGER", Kind.ID)}
    to = [(ForeignKey(columns=("other",), parent=name, parent_columns=("id",)),) for name in ("team", "person")]
    person = _table("person", keyed, primary_key=("id",), foreign_keys=to[0], subject=True)
    team = _table("team", keyed, primary_key=("id",), foreign_keys=to[1])
    people, teams = [(n, n % 9) for n in range(60)], [(n, n * 6 if n % 2 else None) for n in range(9)]
    return _of_tables(
        [Capability.NO_SEQUENCES, Capability.RELATIONS, Capability.CYCLES], (person, people), (team, teams)
    )


def _one_to_one() -> Case:
    one = _table("one", {"id": ("VARCHAR", Kind.ID), "size": ("INTEGER", Kind.NUMERICAL)}, primary_key=("id",))
    key = ForeignKey(columns=("id",), parent="one", parent_columns=("id",))
    more = _table("more", {"id": ("VARCHAR", Kind.ID)}, primary_key=("id",), foreign_keys=(key,))
    rows = [(f"A-{n:04}", n % 7) for n in range(80)]
    return _of_tables(
        [Capability.NO_SEQUENCES, Capability.RELATIONS, Capability.ONE_TO_ONE],
        (one, rows),
        (more, [(name,) for name, _ in rows[::2]]),
    )


def _checks() -> Case:
    columns = dict.fromkeys(("low", "high", "share"), ("INTEGER", Kind.NUMERICAL))
    checks = (
        Check(expression="low < high", columns=("low", "high")),
        Check(expression="share IS NULL OR share BETWEEN 0 AND 100", columns=("share",)),
    )
    rows = [(n % 40, n % 40 + 1 + n % 3, None if n % 5 else n % 100) for n in range(200)]
    return _of_tables([Capability.NO_SEQUENCES, Capability.CHECKS], (_table("range", columns, checks=checks), rows))


def _crowd() -> Case:
    """One parent has nearly all the children."""
    key = ForeignKey(columns=("parent",), parent="parent", parent_columns=("id",))
    child_columns = {"id": ("INTEGER", Kind.ID), "parent": ("INTEGER", Kind.ID), "size": ("INTEGER", Kind.NUMERICAL)}
    parent = _table("parent", {"id": ("INTEGER", Kind.ID)}, primary_key=("id",))
    child = _table("child", child_columns, primary_key=("id",), foreign_keys=(key,))
    children = [(n, 1 if n % 100 else n // 100 % 50, n % 13) for n in range(_MANY)]
    needs = [Capability.NO_SEQUENCES, Capability.RELATIONS]
    return _of_tables(needs, (parent, [(n,) for n in range(50)]), (child, children))


def _empty(*names: str) -> Callable[[], Case]:
    """The shop, some of its tables without a row."""

    def make() -> Case:
        whole = SHOP()
        rows = {name: [] if name in names else rows for name, rows in whole.rows.items()}
        needs = {Capability.ANY_DATA} if any(rows.values()) else {Capability.ANY_DATA, Capability.NO_SEQUENCES}
        return dataclasses.replace(whole, rows=rows, needs=whole.needs | needs)

    return make


_KEYS = (Capability.RELATIONS, Capability.COMPOSITE_KEYS)
_ALL_KEYS = (*_KEYS, Capability.SELF_REFERENCES, Capability.CHECKS)
PEOPLE = _of_the_shop("customers", needs=[Capability.NO_SEQUENCES])
"""One table of persons."""
CROWD = _of_the_shop("customers", needs=[Capability.NO_SEQUENCES], customers=600)
"""The same of more persons, for those that need many to learn anything."""
SHOP = _of_the_shop(*SMALL_WAREHOUSE.table_names, needs=_ALL_KEYS)
"""All tables of the small warehouse, and a city where one customer lives alone."""

SCHEMAS: Mapping[str, Callable[[], Case]] = {
    "one table": PEOPLE,
    "a child": _of_the_shop("customers", "orders", needs=[Capability.RELATIONS]),
    "a chain": _of_the_shop("customers", "orders", "order_lines", "returns", needs=[*_KEYS, Capability.CHECKS]),
    "many to many": _of_the_shop("orders", "tags", "order_tags", needs=[Capability.NO_SEQUENCES, *_KEYS]),
    "one to one": _one_to_one,
    "a tree": _of_the_shop("employees", needs=[Capability.NO_SEQUENCES, Capability.SELF_REFERENCES]),
    "a cycle": _cycle,
    "checks": _checks,
    "the shop": SHOP,
}
"""What keys and constraints may be like."""

ODD_DATA: Mapping[str, Callable[[], Case]] = {
    "no rows at all": _empty(*SMALL_WAREHOUSE.table_names),
    "no children": _empty("order_lines", "returns"),
    "no parents": _empty("employees", "tags", "order_tags"),
    "one row": _of_column("VARCHAR", Kind.CATEGORICAL, ["alone"]),
    "fewer rows than k": _of_column("INTEGER", Kind.NUMERICAL, [1, 2, 3]),
    "a constant": _of_column("VARCHAR", Kind.CATEGORICAL, ["same"] * 200),
    "only NULL": _of_column("DATE", Kind.DATETIME, [None] * 200),
    "all different": _of_column("VARCHAR", Kind.CATEGORICAL, [f"value {n * 7919}" for n in range(200)]),
    "many categories": _of_column("VARCHAR", Kind.CATEGORICAL, [f"c{n % 2_000}" for n in range(_MANY)]),
    "NaN and infinity": _of_column("DOUBLE", Kind.NUMERICAL, [math.nan, math.inf, -math.inf, None, 0.5, -1.5] * 40),
    "the widest integers": _of_column("BIGINT", Kind.NUMERICAL, [2**63 - 1, -(2**63), 0, None] * 40),
    "wide decimals": _of_column("DECIMAL(38,10)", Kind.NUMERICAL, [None, 10**20, -1, 0] * 40),
    "time zones": _of_column("TIMESTAMP WITH TIME ZONE", Kind.DATETIME, _HOURS),
    "times": _of_column("TIME", Kind.DATETIME, [hour.time() for hour in _HOURS]),
    "booleans": _of_column("BOOLEAN", Kind.CATEGORICAL, [True, False, None] * 60),
    "arrays": _of_column("VARCHAR[]", Kind.TEXT, [["a", None], [], None] * 60),
    "structs": _of_column("STRUCT(a INTEGER, b VARCHAR)", Kind.TEXT, [{"a": 1, "b": "x"}, None] * 60),
    "blobs": _of_column("BLOB", Kind.MEDIA, [b"\x00\xff", b"", None] * 60),
    "odd texts": _of_column("VARCHAR", Kind.CATEGORICAL, ["", " ", "null", "ä\u0301🎈", '"\\\n', None] * 40),
    "a crowd": _crowd,
}  # fmt: skip
"""What columns and counts may be like."""
