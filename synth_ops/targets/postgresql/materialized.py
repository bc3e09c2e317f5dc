"""Materialized views over the live tables: others like them are filled over the new tables before the swap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth_ops import sql
from synth_ops.errors import PublishRefusedError
from synth_ops.targets.postgresql import carry_over, dependents
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql, relocate
from synth_ops.targets.postgresql.dependents import Dependent, Rebinding
from synth_ops.targets.postgresql.history import SCHEMA, create_homes

_VIEW = """
SELECT n.nspname, c.relname, rtrim(pg_get_viewdef(c.oid), ';'), relispopulated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s
"""
_INDEXES = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s ORDER BY indexrelid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What a swap does about one materialized view.

    Attributes:
        before: The statement that lets the old one go.
        after: The one that moves the new one in.
    """

    before: str
    after: str


def prepare(
    connection: Connection, found: Sequence[Dependent], homes: Mapping[Place, str], *, number: int, label: str
) -> dict[int, Replacement]:
    """Fill materialized views like the live ones over the tables to come, in homes of their own.

    Args:
        found: What depends on the live tables.
        homes: Where the tables to come stand, by the place where they go live.
        number: Their generation.

    Raises:
        PublishRefusedError: Something depends on a materialized view, which can't be replaced then.
    """
    views = [each for each in found if each.kind is Rebinding.MATERIALIZED_VIEW]
    above = [each.description for each in dependents.find(connection, [view.oid for view in views])]
    if above:
        raise PublishRefusedError(
            f"{label}: what can't follow depends on materialized views over the tables: {'; '.join(above)}", "drop it"
        )
    own = dict(zip(sorted({view.schema for view in views}), _unused(homes, number), strict=False))
    create_homes(connection, {(schema, ""): home for schema, home in own.items()})
    return {view.oid: _prepare(connection, view, own[view.schema], homes) for view in views}


def _unused(homes: Mapping[Place, str], number: int) -> Iterator[str]:
    place = 0
    while True:
        place += 1
        if (home := f"{SCHEMA}_{number}_{place}") not in homes.values():
            yield home


def _prepare(connection: Connection, view: Dependent, home: str, homes: Mapping[Place, str]) -> Replacement:
    ((schema, name, definition, filled),) = connection.execute(_VIEW, (view.oid,)).fetchall()
    built, place = place_sql((home, name)), (schema, name)
    with connection.transaction():
        rows = "" if filled else " WITH NO DATA"
        connection.execute(f"CREATE MATERIALIZED VIEW {built} AS {relocate(definition, homes)}{rows}")
        for (index,) in connection.execute(_INDEXES, (view.oid,)).fetchall():
            connection.execute(relocate(index, {place: home}))
        carry_over.of_materialized_view(connection, view.oid, home)
        connection.execute(f"ANALYZE {built}")
    return Replacement(
        before=f"DROP MATERIALIZED VIEW {place_sql(place)}",
        after=f"ALTER MATERIALIZED VIEW {built} SET SCHEMA {sql.quote(schema)}",
    )
