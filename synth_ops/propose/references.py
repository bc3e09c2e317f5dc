"""Single columns whose values are found in another table's key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synth_ops.propose.names import key_rank, reference_strength, speaks_of_another
from synth_ops.propose.profile import ColumnProfile, Family, Proposal, TableProfile
from synth_ops.sql import quote

if TYPE_CHECKING:
    import duckdb

_NAMED_INCLUSION = {4: 0.8, 3: 0.8, 2: 0.8, 1: 0.99}
"""The share of values that must be found in the key, by how clearly the name speaks."""
_FULL_STRENGTH = 4
_UNNAMED_INCLUSION = 0.95
_UNNAMED_DISTINCT_INCLUSION = 0.9
_UNNAMED_DISTINCT = 3
_UNNAMED_KEYS = 10
_UNNAMED_LENGTH = (2.0, 40.0)
_MORE_THAN_KEYS = 1.25
"""With more distinct values than this many times the key's, a column can't refer to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    profile: TableProfile
    column: ColumnProfile
    primary: bool
    own: bool
    """Whether it is called like a key of its table, and not like a reference to another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inclusion:
    values: int
    orphans: int
    distinct: int
    orphan_distinct: int

    @property
    def share(self) -> float:
        return 1 - self.orphans / self.values if self.values else 0.0

    @property
    def distinct_share(self) -> float:
        return 1 - self.orphan_distinct / self.distinct if self.distinct else 0.0


def propose_single_references(
    connection: duckdb.DuckDBPyConnection, profiles: Mapping[str, TableProfile], proposed: Sequence[Proposal]
) -> list[Proposal]:
    """At most one reference a column, to the key that its name and its values speak for most clearly."""
    keys = list(_single_keys(profiles, proposed))
    _collect_text_keys(connection, keys)
    found = []
    for profile in profiles.values():
        declared = {key.columns[0] for key in profile.table.foreign_keys if len(key.columns) == 1}
        for column in profile.columns.values():
            if column.values and column.family in (Family.TEXT, Family.WHOLE) and column.name not in declared:
                found += _of_column(connection, profile, column, keys)
    return found


def reference_evidence(values: int, orphans: int, parent: str, columns: Sequence[str]) -> str:
    """The counts behind a reference.

    >>> reference_evidence(336776, 7602, "airports", ["faa"])
    '336,776 values, 7,602 of them (2.3 %) not in airports.faa'
    """
    key = f"{parent}.{columns[0]}" if len(columns) == 1 else f"{parent}({', '.join(columns)})"
    if not orphans:
        return f"{values:,} values, all of them in {key}"
    return f"{values:,} values, {orphans:,} of them ({orphans / values:.1%}) not in {key}".replace("%", " %")


def _single_keys(profiles: Mapping[str, TableProfile], proposed: Sequence[Proposal]) -> Iterator[_Key]:
    suggested = [(p.table, p.columns[0], p.kind == "primary_key") for p in proposed]
    declared = [
        (profile.name, key[0], key == profile.table.primary_key)
        for profile in profiles.values()
        for key in profile.table.keys
        if len(key) == 1
    ]
    found = dict.fromkeys([*declared, *suggested])
    names = [(table, name) for table, name, _ in found]
    for table, name, primary in found:
        column = profiles[table].columns[name]
        if column.family in (Family.TEXT, Family.WHOLE) and column.values:
            own = not speaks_of_another(table, name, names)
            yield _Key(profile=profiles[table], column=column, primary=primary, own=own)


def _collect_text_keys(connection: duckdb.DuckDBPyConnection, keys: Sequence[_Key]) -> None:
    """Put the values of all textual primary keys into one table, so that each column is compared with all at once."""
    connection.execute("CREATE TEMP TABLE text_keys (number INTEGER, value VARCHAR)")
    for number, key in enumerate(keys):
        if key.primary and key.column.family is Family.TEXT and key.column.distinct >= _UNNAMED_KEYS:
            connection.execute(
                f"INSERT INTO text_keys SELECT {number}, {quote(key.column.name)}::VARCHAR FROM {key.profile.sql}"
            )


def _of_column(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, column: ColumnProfile, keys: Sequence[_Key]
) -> list[Proposal]:
    own = any(key.profile is profile and key.column is column for key in keys)
    named = [
        (strength, key)
        for key in keys
        if key.column.family is column.family
        and not (key.profile is profile and key.column is column)
        and column.distinct <= _MORE_THAN_KEYS * key.column.distinct + 1
        and (strength := reference_strength(profile.name, column.name, key.profile.name, key.column.name))
        and (not own or _may_share_key(profile, column, key, strength))
    ]
    unnamed = not own and column.family is Family.TEXT and column.distinct >= _UNNAMED_DISTINCT
    unnamed = unnamed and _UNNAMED_LENGTH[0] <= column.length <= _UNNAMED_LENGTH[1]
    if not named and not unnamed:
        return []
    cast = "::VARCHAR" if column.family is Family.TEXT else ""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE child AS SELECT {quote(column.name)}{cast} AS value, count(*) AS n "
        f"FROM {profile.sql} WHERE {quote(column.name)} IS NOT NULL GROUP BY 1"
    )
    measured = [(strength, key, _inclusion(connection, key)) for strength, key in named]
    fitting = [each for each in measured if each[2].share >= _NAMED_INCLUSION[each[0]]]
    if not fitting and unnamed:
        fitting = [(0, key, inclusion) for key, inclusion in _unnamed(connection, profile, keys)]
    if not fitting:
        return []
    _, key, best = max(
        fitting, key=lambda each: (each[1].own, each[0], each[1].primary, each[2].share, -each[1].profile.rows)
    )
    parent, parent_columns = key.profile.name, (key.column.name,)
    return [
        Proposal(
            kind="foreign_key",
            table=profile.name,
            columns=(column.name,),
            references=parent,
            parent_columns=parent_columns,
            evidence=reference_evidence(best.values, best.orphans, parent, parent_columns),
            orphans=best.orphans / best.values,
        )
    ]


def _may_share_key(profile: TableProfile, column: ColumnProfile, key: _Key, strength: int) -> bool:
    """Whether a key may itself be a reference: only to one that is its table's own, or to that of a longer table."""
    if key_rank(profile.name, column.name) == 0:
        return False
    return strength == _FULL_STRENGTH or (key.own and profile.rows < key.profile.rows)


def _inclusion(connection: duckdb.DuckDBPyConnection, key: _Key) -> _Inclusion:
    cast = "::VARCHAR" if key.column.family is Family.TEXT else ""
    found = f"value IN (SELECT {quote(key.column.name)}{cast} FROM {key.profile.sql})"
    ((values, orphans, distinct, orphan_distinct),) = connection.execute(
        "SELECT sum(n), coalesce(sum(n) FILTER (NOT found), 0), count(*), count(*) FILTER (NOT found) "
        f"FROM (SELECT n, coalesce({found}, false) AS found FROM child)"
    ).fetchall()
    return _Inclusion(values=int(values), orphans=int(orphans), distinct=distinct, orphan_distinct=orphan_distinct)


def _unnamed(
    connection: duckdb.DuckDBPyConnection, profile: TableProfile, keys: Sequence[_Key]
) -> Iterator[tuple[_Key, _Inclusion]]:
    """Textual keys that hold nearly all values of the column at hand, whatever the names."""
    rows = connection.execute(
        "SELECT number, sum(n), count(*), (SELECT sum(n) FROM child), (SELECT count(*) FROM child) "
        "FROM child JOIN text_keys USING (value) GROUP BY number ORDER BY number"
    ).fetchall()
    for number, values, distinct, all_values, all_distinct in rows:
        inclusion = _Inclusion(
            values=int(all_values),
            orphans=int(all_values - values),
            distinct=all_distinct,
            orphan_distinct=all_distinct - distinct,
        )
        close = inclusion.share >= _UNNAMED_INCLUSION and inclusion.distinct_share >= _UNNAMED_DISTINCT_INCLUSION
        if close and keys[number].profile is not profile:
            yield keys[number], inclusion
