"""Single columns that are unique and never NULL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from synth_ops.propose.names import key_rank, speaks_of_another
from synth_ops.propose.profile import ColumnProfile, Family, Proposal, TableProfile
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb

_APPROXIMATION = 0.85
"""A unique column's approximate number of distinct values may lie this far below the truth."""
_FEW_ROWS = 10
"""In fewer rows a column is unique by chance; its name must speak for it."""
_LONG_TEXT = 40.0
"""A mean length from which on a text is prose, and unique by nature."""
_UNLIKE = 2
"""The rank of a name that does not look like a key's."""


def propose_single_keys(connection: duckdb.DuckDBPyConnection, profiles: Mapping[str, TableProfile]) -> list[Proposal]:
    """For every table without a primary key: one, and further unique columns that are called like keys."""
    unique = {
        name: _unique(connection, profile)
        for name, profile in profiles.items()
        if not profile.table.primary_key and profile.rows > 0
    }
    best = [(name, columns[0].name) for name, columns in unique.items() if columns]
    declared = [(p.name, p.table.primary_key[0]) for p in profiles.values() if len(p.table.primary_key) == 1]
    found = []
    for name, columns in unique.items():
        profile = profiles[name]
        known = {key[0] for key in profile.table.uniques if len(key) == 1}
        others = [
            column
            for column in columns[1:]
            if profile.rows >= _FEW_ROWS
            and column.name not in known
            and key_rank(name, column.name) < _UNLIKE
            and not speaks_of_another(name, column.name, best + declared)
        ]
        found += [_proposal("primary_key", profile, column) for column in columns[:1]]
        found += [_proposal("unique", profile, column) for column in others]
    return found


def _proposal(kind: Literal["primary_key", "unique"], profile: TableProfile, column: ColumnProfile) -> Proposal:
    return Proposal(
        kind=kind,
        table=profile.name,
        columns=(column.name,),
        evidence=f"unique and never NULL in all {profile.rows:,} rows",
    )


def _is_plausible(profile: TableProfile, column: ColumnProfile) -> bool:
    """Called like a key; or the first column of a table that is long enough to say so."""
    if column.distinct < _APPROXIMATION * profile.rows:
        return False
    if key_rank(profile.name, column.name) < _UNLIKE:
        return True
    first = column.position == 0 and profile.rows >= _FEW_ROWS
    return first and column.family is not Family.TIME and column.length <= _LONG_TEXT


def _unique(connection: duckdb.DuckDBPyConnection, profile: TableProfile) -> list[ColumnProfile]:
    """The plausible columns that are unique, the likeliest first."""
    likely = [column for column in profile.complete() if _is_plausible(profile, column)]
    if not likely:
        return []
    counts = ", ".join(f"count(DISTINCT {quote(column.name)})" for column in likely)
    ((*found,),) = connection.execute(f"SELECT {counts} FROM {profile.sql}").fetchall()
    unique = [column for column, distinct in zip(likely, found, strict=True) if distinct == profile.rows]
    return sorted(unique, key=lambda column: (key_rank(profile.name, column.name), column.position))
