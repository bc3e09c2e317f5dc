"""What a publication will do, decided before any of it is done: which tables are built, replaced, remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from synth_ops.metadata import Table
from synth_ops.ports import PublishRules
from synth_ops.recipe import Mismatch
from synth_ops.targets import drift
from synth_ops.targets.postgresql import dependents, guard, schema
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_of
from synth_ops.targets.postgresql.history import History, Stored, homes_of
from synth_ops.targets.postgresql.schema import Plan
from synth_ops.targets.postgresql.swap import oids, stamp
from synth_ops.targets.publication import Published

_ESTIMATES = "SELECT oid, greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = ANY(%s::oid[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One generation to come.

    Attributes:
        number: Its own.
        previous: The one that it replaces; 0 for none.
        plans: Its tables.
        out: The live tables that it replaces, and where they go.
        earlier: The row of the generation that it replaces, where that is new or has grown.
        stamp: Of the tables in `out`.
    """

    number: int
    previous: int
    plans: tuple[Plan, ...]
    out: Mapping[Place, str]
    earlier: tuple[Stored, ...]
    stamp: str

    @property
    def homes(self) -> dict[Place, str]:
        """Where its tables go live, and where they are built."""
        return {plan.place: plan.home for plan in self.plans}


def draft(
    connection: Connection,
    before: History,
    tables: Sequence[Table],
    *,
    rules: PublishRules,
    kept: frozenset[Place],
    label: str,
    taken: int = 0,
) -> Draft:
    """Look at the target and decide.

    Args:
        tables: Those to publish, without the kept ones.
        kept: Where the kept ones stand.
        taken: The highest number of a dead generation that could not be removed yet.

    Raises:
        PublishRefusedError: Names, privileges, dependents or columns are in the way; all of a kind are listed.
    """
    places = [place_of(table) for table in tables]
    guard.refuse_long_names(places, (column for table in tables for column in table.column_names))
    standing = oids(connection, _replaced(before, places, kept))
    schemas = sorted({place[0] for place in places})
    guard.refuse_missing_privileges(connection, label, schemas, standing.values())
    found = dependents.find(connection, standing.values())
    dependents.refuse(found, label, live_schemas=schemas, kept=kept, recreate=rules.recreate_dependents)
    number = max(before.highest, taken) + 1
    earlier = _earlier(connection, before, standing, number)
    previous = earlier.published.number if earlier else 0
    if earlier and not before.live:
        number += 1
    homes = homes_of(number, places)
    return Draft(
        number=number,
        previous=previous,
        plans=tuple(_plans(connection, tables, standing, homes, rules=rules, label=label)),
        out={place: earlier.homes[place] for place in standing} if earlier else {},
        earlier=(earlier,) if earlier else (),
        stamp=stamp(connection, list(standing.values())),
    )


def differences(connection: Connection, tables: Sequence[Table], standing: Mapping[Place, int]) -> dict[str, list[str]]:
    """How live tables differ from the copy's, by table; in names and types."""
    found = {}
    for table in tables:
        live = standing.get(place_of(table))
        if live is not None:
            found[table.name] = list(schema.mismatches(table, schema.live_columns(connection, live)))
    return {name: each for name, each in found.items() if each}


def _replaced(before: History, places: Sequence[Place], kept: frozenset[Place]) -> list[Place]:
    """The places that the swap clears: the new tables', and those of the live generation that are no more."""
    old = before.live.homes if before.live else {}
    return [place for place in dict.fromkeys([*places, *old]) if place not in kept]


def _earlier(connection: Connection, before: History, standing: Mapping[Place, int], number: int) -> Stored | None:
    """The generation to remember what stands there by: the live one, or one made of what this tool did not publish."""
    if before.live:
        homes = homes_of(before.live.published.number, standing, before.live.homes)
        return replace(before.live, homes=homes)
    if not standing:
        return None
    estimates: dict[int, int] = dict(connection.execute(_ESTIMATES, (list(standing.values()),)).fetchall())
    found = Published.found(number, {".".join(place): estimates[oid] for place, oid in standing.items()})
    return Stored(published=found, homes=homes_of(number, standing))


def _plans(
    connection: Connection,
    tables: Sequence[Table],
    standing: Mapping[Place, int],
    homes: Mapping[Place, str],
    *,
    rules: PublishRules,
    label: str,
) -> list[Plan]:
    plans = []
    different = differences(connection, tables, standing)
    columns_of = {
        table.name: schema.live_columns(connection, standing[place_of(table)])
        for table in tables
        if place_of(table) in standing
    }
    drift.refuse(different, tables, columns_of, rules.on_mismatch, label)
    for table in tables:
        place = place_of(table)
        live = standing.get(place)
        plan = Plan(table=table, place=place, home=homes[place], model=live, predecessor=live, columns=table.columns)
        if live is not None:
            fillable = {column.name for column in columns_of[table.name] if not column.generated}
            plan = replace(plan, columns=tuple(column for column in table.columns if column.name in fillable))
            if table.name in different and rules.on_mismatch is Mismatch.SOURCE:
                plan = replace(plan, model=None, columns=table.columns)
        plans.append(plan)
    return plans
