"""Small random schemas whose data keeps every constraint that they declare, in the words of `dataset.json`."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from synth_ops.artifacts import TableData
from synth_ops.metadata import Check, Column, ForeignKey, Kind, Metadata, Table
from synth_ops.testing.warehouses import write_table

DAY = dt.date(2024, 1, 1)
KEYS: Mapping[str, Callable[[int], Any]] = {
    "INTEGER": lambda n: 3 * n + 1,
    "SMALLINT": lambda n: n,
    "VARCHAR": lambda n: f"K{n:04}",
    "DATE": lambda n: DAY + dt.timedelta(days=n),
    "TIMESTAMP": lambda n: dt.datetime(2024, 1, 1) + dt.timedelta(hours=n),  # noqa: DTZ001
    "DECIMAL(9,2)": lambda n: Decimal(n) * 5 / 4,
    "BIGINT": lambda n: n * 10**12,
}
KINDS = {
    "VARCHAR": [Kind.CATEGORICAL, Kind.TEXT, Kind.PII],
    "DATE": [Kind.DATETIME],
    "TIMESTAMP": [Kind.DATETIME],
    "BOOLEAN": [Kind.CATEGORICAL],
}
VALUES: Mapping[str, Callable[[random.Random], Any]] = {
    "INTEGER": lambda r: r.choice([r.randint(0, 5), r.randint(-1000, 1000)]),
    "DOUBLE": lambda r: r.gauss(0, 10),
    "VARCHAR": lambda r: r.choice(["red", "green", f"text {r.randint(0, 99)}"]),
    "DATE": lambda r: DAY + dt.timedelta(days=r.randint(0, 400)),
    "BOOLEAN": lambda r: r.random() < 0.3,
    "DECIMAL(9,2)": lambda r: Decimal(r.randint(0, 10**6)) / 100,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomSchema:
    """What is declared, as facts and as metadata, and the rows."""

    facts: Mapping[str, Mapping[str, Any]]
    metadata: Metadata
    rows: Mapping[str, list[tuple[Any, ...]]]

    def write(self, folder: Path) -> dict[str, TableData]:
        """Write the rows as Parquet."""
        return {table.name: write_table(folder, table, self.rows[table.name]) for table in self.metadata.tables}


def random_schema(seed: int) -> RandomSchema:
    """A schema of one to five tables with up to 120 rows each: the same for the same seed."""
    rng = random.Random(seed)
    drafts: list[_Draft] = []
    for number in range(rng.randint(1, 5)):
        drafts.append(_Draft(rng, number, drafts))
    if len(drafts) > 1 and rng.random() < 0.4:
        drafts[0].refer_later(rng, drafts[-1])
    tables = [draft.table() for draft in drafts]
    return RandomSchema(
        facts={draft.name: draft.facts() for draft in drafts},
        metadata=Metadata(tables=tuple(tables)),
        rows={draft.name: list(zip(*draft.columns.values(), strict=True)) for draft in drafts},
    )


class _Draft:
    """One table in the making: its columns hold their values."""

    def __init__(self, rng: random.Random, number: int, before: list[_Draft]) -> None:
        self.name = f"t{number} {rng.choice(['', 'x', 'Ü', chr(34)])}".strip()
        self.size = rng.choice([0, 1, 2, rng.randint(3, 20), rng.randint(20, 120)])
        self.types: dict[str, str] = {}
        self.columns: dict[str, list[Any]] = {}
        self.required: set[str] = set()
        self.primary_key: tuple[str, ...] = ()
        self.uniques: list[tuple[str, ...]] = []
        self.references: list[tuple[tuple[str, ...], str, tuple[str, ...]]] = []
        self.checks: list[tuple[str, tuple[str, ...]]] = []
        parents = [draft for draft in before if draft.size]
        style = rng.choice(["own", "own", "none", "line", "pairs", "one"])
        if style in ("line", "pairs", "one") and parents:
            getattr(self, f"_{style}")(rng, parents)
        elif style != "none":
            self._own(rng)
        for place in range(rng.randint(0, 2)):
            if parents:
                self._refer(rng, rng.choice(parents), f"r{place}")
        if style == "own" and rng.random() < 0.4 and self.size:
            self._refer_to_itself(rng)
        self._fill(rng)

    def _add(self, name: str, kind: str, values: list[Any], *, required: bool) -> None:
        self.types[name], self.columns[name] = kind, values
        if required:
            self.required.add(name)

    def _own(self, rng: random.Random) -> None:
        kind = rng.choice(list(KEYS))
        self._add("id", kind, [KEYS[kind](n) for n in range(self.size)], required=True)
        self.primary_key = ("id",)

    def _line(self, rng: random.Random, parents: list[_Draft]) -> None:
        """A composite key: a parent's, and a number in it."""
        parent = rng.choice([draft for draft in parents if draft.primary_key] or parents)
        if not parent.primary_key:
            self._own(rng)
            return
        chosen = sorted(rng.randrange(parent.size) for _ in range(self.size))
        names = self._copy_key(parent, chosen, "p")
        lines = [chosen[:place].count(row) + 1 for place, row in enumerate(chosen)]
        self._add("line", "INTEGER", lines, required=True)
        self.primary_key = (*names, "line")

    def _pairs(self, rng: random.Random, parents: list[_Draft]) -> None:
        """Many to many, sparse or dense."""
        keyed = [draft for draft in parents if draft.primary_key]
        if not keyed:
            self._own(rng)
            return
        one, other = rng.choice(keyed), rng.choice(keyed)
        every = [(a, b) for a in range(one.size) for b in range(other.size)]
        pairs = rng.sample(every, min(len(every), max(self.size, len(every) * 3 // 4 if len(every) < 150 else 0)))
        self.size = len(pairs)
        left = self._copy_key(one, [a for a, _ in pairs], "a")
        right = self._copy_key(other, [b for _, b in pairs], "b")
        self.primary_key = (*left, *right)

    def _one(self, rng: random.Random, parents: list[_Draft]) -> None:
        """At most one row a parent."""
        keyed = [draft for draft in parents if draft.primary_key]
        if not keyed:
            self._own(rng)
            return
        parent = rng.choice(keyed)
        self.size = min(self.size, parent.size)
        self.primary_key = self._copy_key(parent, rng.sample(range(parent.size), self.size), "p")

    def _copy_key(self, parent: _Draft, rows: list[int], prefix: str) -> tuple[str, ...]:
        names = tuple(f"{prefix}_{name}" for name in parent.primary_key)
        for name, source in zip(names, parent.primary_key, strict=True):
            self._add(name, parent.types[source], [parent.columns[source][row] for row in rows], required=True)
        self.references.append((names, parent.name, parent.primary_key))
        return names

    def _refer(self, rng: random.Random, parent: _Draft, prefix: str) -> None:
        keys = [key for key in (parent.primary_key, *parent.uniques) if key]
        if not keys:
            return
        key, optional = rng.choice(keys), rng.random() < 0.5
        known = [row for row in range(parent.size) if all(parent.columns[name][row] is not None for name in key)]
        if not known:
            return
        single = rng.random() < 0.15 and self.size <= len(known)
        chosen: list[int | None] = [*(rng.sample(known, self.size) if single else rng.choices(known, k=self.size))]
        if optional:
            chosen = [None if rng.random() < 0.3 else row for row in chosen]
        names = tuple(f"{prefix}_{name}" for name in key)
        for name, source in zip(names, key, strict=True):
            values = [None if row is None else parent.columns[source][row] for row in chosen]
            self._add(name, parent.types[source], values, required=not optional)
        self.references.append((names, parent.name, key))
        if single:
            self.uniques.append(names)

    def _refer_to_itself(self, rng: random.Random) -> None:
        (key,) = self.primary_key
        above = [self.columns[key][rng.randrange(row)] if row and rng.random() < 0.8 else None
                 for row in range(self.size)]  # fmt: skip
        self._add("above", self.types[key], above, required=False)
        self.references.append((("above",), self.name, (key,)))

    def refer_later(self, rng: random.Random, other: _Draft) -> None:
        """Close a cycle."""
        if not other.primary_key or not other.size:
            return
        chosen = [rng.randrange(other.size) if rng.random() < 0.7 else None for _ in range(self.size)]
        names = tuple(f"late_{name}" for name in other.primary_key)
        for name, source in zip(names, other.primary_key, strict=True):
            values = [None if row is None else other.columns[source][row] for row in chosen]
            self._add(name, other.types[source], values, required=False)
        self.references.append((names, other.name, other.primary_key))

    def _fill(self, rng: random.Random) -> None:
        for place in range(rng.randint(0 if self.columns else 1, 4)):
            kind, optional = rng.choice(list(VALUES)), rng.random() < 0.4
            values = [None if optional and rng.random() < 0.2 else VALUES[kind](rng) for _ in range(self.size)]
            self._add(f"c{place}", kind, values, required=not optional)
        if rng.random() < 0.4:
            low = [rng.randint(0, 50) for _ in range(self.size)]
            self._add("low", "INTEGER", low, required=True)
            self._add("high", "INTEGER", [n + rng.randint(1, 50) for n in low], required=False)
            self.checks += [('"low" < "high"', ("low", "high")), ('"low" BETWEEN 0 AND 50', ("low",))]
        if rng.random() < 0.3:
            kind = rng.choice(list(KEYS))
            values = [None if rng.random() < 0.1 else KEYS[kind](self.size - n) for n in range(self.size)]
            self._add("code", kind, values, required=False)
            self.uniques.append(("code",))

    def facts(self) -> dict[str, Any]:
        """As `dataset.json` has them."""
        return {
            "columns": {name: {"not_null": name in self.required} for name in self.columns},
            "primary_key": list(self.primary_key),
            "unique": [list(key) for key in self.uniques],
            "checks": [expression for expression, _ in self.checks],
            "foreign_keys": [
                {"columns": list(columns), "ref_table": parent, "ref_columns": list(there), "enforced": True}
                for columns, parent, there in self.references
            ],
        }

    def table(self) -> Table:
        """As metadata, the kinds chosen by the columns' types and their parts in keys."""
        in_keys = {name for key in (self.primary_key, *self.uniques) for name in key}
        in_keys |= {name for columns, _, _ in self.references for name in columns}
        columns = []
        for place, (name, kind) in enumerate(self.types.items()):
            usual = KINDS.get(kind, [Kind.NUMERICAL, Kind.CATEGORICAL])
            meaning = usual[place % len(usual)]
            if name in in_keys and kind in ("INTEGER", "SMALLINT", "BIGINT", "VARCHAR"):
                meaning = Kind.ID
            columns.append(Column(name=name, type=kind, nullable=name not in self.required, kind=meaning))
        return Table(
            name=self.name,
            path=(self.name,),
            columns=tuple(columns),
            primary_key=self.primary_key,
            uniques=tuple(self.uniques),
            foreign_keys=tuple(
                ForeignKey(columns=columns, parent=parent, parent_columns=there)
                for columns, parent, there in self.references
            ),
            checks=tuple(Check(expression=expression, columns=names) for expression, names in self.checks),
            rows=self.size,
        )
