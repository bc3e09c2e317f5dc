"""What a publication will do, decided before any of it is done: which tables are built, replaced, remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from synth_ops.errors import PublishRefusedError
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.mysql_server import Connection, rows
from synth_ops.ports import PublishRules
from synth_ops.recipe import Mismatch
from synth_ops.targets import drift
from synth_ops.targets.constraints import refuse_colliding_names
from synth_ops.targets.drift import LiveColumn
from synth_ops.targets.mysql import dependents, history
from synth_ops.targets.mysql.history import History, Stored
from synth_ops.targets.mysql.types import declared, family
from synth_ops.targets.publication import Published

_MOST_CHARACTERS = 64
_TABLES = """
SELECT TABLE_NAME, TABLE_TYPE, IFNULL(TABLE_ROWS, 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()
"""
_COLUMNS = """
SELECT COLUMN_NAME, COLUMN_TYPE, EXTRA REGEXP 'VIRTUAL|STORED|PERSISTENT',
    IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL AND EXTRA NOT LIKE '%%auto_increment%%'
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One table of the generation to come.

    Attributes:
        table: Its metadata, with the columns that it takes.
        home: Its name until the swap.
        follows: Whether a live table has its name.
        alike: Whether it is made like that one, which migrations altered; after the metadata otherwise.
    """

    table: Table
    home: str
    follows: bool
    alike: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One generation to come.

    Attributes:
        number, previous: Its own, and that of the one it replaces; 0 for none.
        plans: Its tables, parents first.
        homes: Where its tables are when it is not live; those that stay as they are included.
        out: The live tables that it replaces, and where they go.
        earlier: The generation that it replaces, where that must be written down, or anew.
    """

    number: int
    previous: int
    plans: tuple[Plan, ...]
    homes: Mapping[str, str]
    out: Mapping[str, str]
    earlier: tuple[Stored, ...]

    @property
    def into(self) -> dict[str, str]:
        """Its tables by their names, and what they are called until the swap."""
        return {plan.table.name: plan.home for plan in self.plans}


def draft(connection: Connection, before: History, metadata: Metadata, *, rules: PublishRules, label: str) -> Draft:
    """Look at the target and decide.

    Raises:
        PublishRefusedError: Names, dependents or columns are in the way; all of a kind are listed.
    """
    wanted = [table for table in metadata.tables if table.name not in rules.kept]
    _refuse_names(metadata)
    present = {name: (kind, estimate) for name, kind, estimate in rows(connection, _TABLES)}
    views = [table.name for table in wanted if present.get(table.name, ("BASE TABLE",))[0] != "BASE TABLE"]
    if views:
        raise PublishRefusedError(f"{label} has views of the names of tables: {', '.join(views)}", "drop them")
    old = before.live.homes if before.live else {}
    replaced = dict.fromkeys([*(table.name for table in wanted), *old])
    standing = {name: int(present[name][1]) for name in replaced if name in present and name not in rules.kept}
    dependents.followers(connection, label, standing, kept=rules.kept, recreate=rules.recreate_dependents)
    number = before.highest + 1
    earlier = _earlier(before, standing, number)
    if earlier and not before.live:
        number += 1
    staying = [name for name in metadata.table_names if name in rules.kept and name in present]
    homes = _homes(number, [*(table.name for table in wanted), *staying], {})
    return Draft(
        number=number,
        previous=earlier.published.number if earlier else 0,
        plans=tuple(_plans(connection, metadata, wanted, homes, standing, rules=rules, label=label)),
        homes=homes,
        out={name: earlier.homes[name] for name in standing} if earlier else {},
        earlier=(earlier,) if earlier and earlier != before.live else (),
    )


def live_columns(connection: Connection, table: str) -> list[LiveColumn]:
    """The columns of a live table, in order; none where there is no such table."""
    return [
        LiveColumn(name=name, type=kind, family=family(kind), generated=bool(generated), needed=bool(needed))
        for name, kind, generated, needed in rows(connection, _COLUMNS, (table,))
    ]


def differences(connection: Connection, metadata: Metadata, tables: Iterable[Table]) -> dict[str, list[str]]:
    """How live tables differ from the copy's, by table; in names and types."""
    found = {}
    for table in tables:
        live = live_columns(connection, table.name)
        found[table.name] = list(drift.mismatches(table, live, _families(metadata))) if live else []
    return {name: each for name, each in found.items() if each}


def _plans(
    connection: Connection,
    metadata: Metadata,
    tables: Sequence[Table],
    homes: Mapping[str, str],
    standing: Mapping[str, int],
    *,
    rules: PublishRules,
    label: str,
) -> list[Plan]:
    plans = []
    different = differences(connection, metadata, tables)
    columns_of = {table.name: live_columns(connection, table.name) for table in tables if table.name in standing}
    drift.refuse(different, tables, columns_of, rules.on_mismatch, label)
    for table in tables:
        live = columns_of.get(table.name, [])
        fillable = {column.name: column.type for column in live if not column.generated}
        altered = table.name in different or fillable.keys() != set(table.column_names)
        alike = bool(live) and altered and rules.on_mismatch is not Mismatch.SOURCE
        columns = table.columns
        if alike:
            columns = tuple(replace(c, native_type=fillable[c.name]) for c in columns if c.name in fillable)
        plan = Plan(table=replace(table, columns=columns), home=homes[table.name], follows=bool(live), alike=alike)
        plans.append(plan)
    return plans


def _families(metadata: Metadata) -> Callable[[Column], str]:
    native = metadata.dialect == "mysql"
    return lambda column: family(declared(column, in_key=False, native=native))


def _earlier(before: History, standing: Mapping[str, int], number: int) -> Stored | None:
    """The generation to remember what stands there by: the live one, or one made of what this tool did not publish."""
    if before.live:
        return replace(before.live, homes=_homes(before.live.published.number, standing, before.live.homes))
    if not standing:
        return None
    found = Published.found(number, dict(standing))
    return Stored(published=found, homes=_homes(number, standing, {}), rules="", swap=before.swap + 1)


def _homes(number: int, tables: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """Names for tables when their generation is not live; those that are known stay."""
    free = (name for place in range(1, 10**6) if (name := f"{history.PREFIX}{number}_{place}") not in known.values())
    return {**known, **{table: next(free) for table in tables if table not in known}}


def _refuse_names(metadata: Metadata) -> None:
    refuse_colliding_names(metadata, lambda table: table.name, "synth_ops_generation", "MySQL")
    names = [name for table in metadata.tables for name in (table.path[-1], *table.column_names)]
    long = [name for name in names if len(name) > _MOST_CHARACTERS]
    ours = [table.name for table in metadata.tables if table.name.startswith(history.PREFIX)]
    if long or ours:
        raise PublishRefusedError(
            f"names that MySQL or this tool can't have there: {', '.join(map(repr, [*long, *ours]))}",
            "rename them in the source, or exclude them",
        )
