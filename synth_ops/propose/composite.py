"""Keys of two or three columns, and references to them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from synth_ops.propose.names import is_ordinal, key_rank, words
from synth_ops.propose.profile import ColumnProfile, Family, Proposal, TableProfile
from synth_ops.propose.references import reference_evidence
from synth_ops.sql import columns_sql, quote

if TYPE_CHECKING:
    import duckdb

_MOST_COLUMNS = 8
"""Columns that are combined: 28 pairs and 56 triples."""
_FEW_ROWS = 10
_FIRST_ROWS = 20_000
_CODE_LENGTH = 20.0
_INCLUSION = 0.99


def propose_composite_keys(
    connection: duckdb.DuckDBPyConnection, profiles: Mapping[str, TableProfile], proposed: Sequence[Proposal]
) -> list[Proposal]:
    """For every table that still has no primary key: the smallest combination of likely columns that is one."""
    with_key = {p.table for p in proposed if p.kind == "primary_key"}
    found = []
    for profile in profiles.values():
        if profile.table.primary_key or profile.name in with_key or profile.rows == 0:
            continue
        for columns in _combinations(profile, _referring(profile, proposed)):
            names = tuple(column.name for column in sorted(columns, key=lambda column: column.position))
            if _is_unique(connection, profile, names):
                found.append(
                    Proposal(
                        kind="primary_key",
                        table=profile.name,
                        columns=names,
                        evidence=f"unique and never NULL in all {profile.rows:,} rows",
                    )
                )
                break
    return found


def propose_composite_references(
    connection: duckdb.DuckDBPyConnection, profiles: Mapping[str, TableProfile], proposed: Sequence[Proposal]
) -> list[Proposal]:
    """References whose columns are called like those of a composite key, and nearly always found in it."""
    keys = [(p.name, key) for p in profiles.values() for key in p.table.keys if len(key) > 1]
    keys += [(p.table, p.columns) for p in proposed if p.kind == "primary_key" and len(p.columns) > 1]
    referred = _referred(profiles, proposed)
    found = []
    for (parent, key), profile in itertools.product(keys, profiles.values()):
        columns = _namesakes(profile, profiles[parent], key)
        declared = {frozenset(each.columns) for each in profile.table.foreign_keys}
        if profile.name == parent or not columns or frozenset(columns) in declared:
            continue
        ends = [(referred.get((profile.name, a)), referred.get((parent, b))) for a, b in zip(columns, key, strict=True)]
        if all(mine is not None and mine == other for mine, other in ends):
            continue  # two tables below the same parents, as translations and their likes are
        values, orphans = _orphans(connection, profile, columns, profiles[parent], key)
        if values and 1 - orphans / values >= _INCLUSION:
            found.append(
                Proposal(
                    kind="foreign_key",
                    table=profile.name,
                    columns=columns,
                    references=parent,
                    parent_columns=key,
                    evidence=reference_evidence(values, orphans, parent, key),
                    orphans=orphans / values,
                )
            )
    return found


def _referred(
    profiles: Mapping[str, TableProfile], proposed: Sequence[Proposal]
) -> dict[tuple[str, str], tuple[str, tuple[str, ...]]]:
    """What each single column refers to, by table and column."""
    declared = [
        (p.name, k.columns, k.parent, k.parent_columns) for p in profiles.values() for k in p.table.foreign_keys
    ]
    guessed = [(p.table, p.columns, p.references, p.parent_columns) for p in proposed if p.kind == "foreign_key"]
    return {
        (table, columns[0]): (parent, parent_columns)
        for table, columns, parent, parent_columns in [*declared, *guessed]
        if len(columns) == 1
    }


def _referring(profile: TableProfile, proposed: Sequence[Proposal]) -> frozenset[str]:
    declared = [name for key in profile.table.foreign_keys for name in key.columns]
    guessed = [n for p in proposed if p.kind == "foreign_key" and p.table == profile.name for n in p.columns]
    return frozenset([*declared, *guessed])


def _combinations(profile: TableProfile, referring: frozenset[str]) -> Iterator[tuple[ColumnProfile, ...]]:
    """Pairs, then triples, that have enough distinct values; the likelier columns first."""

    def unlikeliness(column: ColumnProfile) -> int:
        rank = key_rank(profile.name, column.name)
        if column.name in referring or rank == 0:
            return 0
        if rank == 1:
            return 1
        if column.family is Family.TIME or is_ordinal(column.name):
            return 2
        return 3 if column.family is Family.TEXT and column.length <= _CODE_LENGTH else 4

    likely = [column for column in profile.complete() if column.distinct > 1]
    most = 1 if profile.rows < _FEW_ROWS else 3
    likely = sorted((c for c in likely if unlikeliness(c) <= most), key=lambda c: (unlikeliness(c), -c.distinct))
    for size in (2, 3):
        combinations = itertools.combinations(likely[:_MOST_COLUMNS], size)
        enough = (c for c in combinations if math.prod(column.distinct for column in c) >= 0.9 * profile.rows)
        yield from sorted(enough, key=lambda c: sum(unlikeliness(column) for column in c))


def _is_unique(connection: duckdb.DuckDBPyConnection, profile: TableProfile, names: Sequence[str]) -> bool:
    """Looks at the first rows before it looks at all."""
    sizes = (_FIRST_ROWS, profile.rows) if profile.rows > _FIRST_ROWS else (profile.rows,)
    for size in sizes:
        rows = f"(SELECT {columns_sql(names)} FROM {profile.sql} LIMIT {size})"
        ((repeated,),) = connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM {rows} GROUP BY {columns_sql(names)} HAVING count(*) > 1)"
        ).fetchall()
        if repeated:
            return False
    return True


def _namesakes(profile: TableProfile, parent: TableProfile, key: Sequence[str]) -> tuple[str, ...]:
    """The table's columns that are called like those of a key; empty when one is missing."""
    found: list[str] = []
    for name in key:
        wanted, kind = words(name), parent.columns[name].family
        same = [c.name for c in profile.columns.values() if words(c.name) == wanted and c.family is kind]
        ending = [
            c.name for c in profile.columns.values() if words(c.name)[-len(wanted) :] == wanted and c.family is kind
        ]
        candidates = [name for name in same or ending if name not in found]
        if not candidates or wanted == ("id",):
            return ()
        found.append(candidates[0])
    return tuple(found)


def _orphans(
    connection: duckdb.DuckDBPyConnection,
    profile: TableProfile,
    columns: Sequence[str],
    parent: TableProfile,
    key: Sequence[str],
) -> tuple[int, int]:
    on = " AND ".join(f"c.{quote(a)} = p.{quote(b)}" for a, b in zip(columns, key, strict=True))
    known = " AND ".join(f"c.{quote(name)} IS NOT NULL" for name in columns)
    ((values, orphans),) = connection.execute(
        f"SELECT count(*), count(*) FILTER (p.{quote(key[0])} IS NULL) FROM {profile.sql} c "
        f"LEFT JOIN {parent.sql} p ON {on} WHERE {known}"
    ).fetchall()
    return values, orphans
