"""The swap: one transaction in which the live tables go home and others come to their places.

Readers are locked out of every live table at once, so that none can meet two generations in one statement. To wait for
a slow reader is to hold up all others: the swap waits a little, lets go, and tries again, longer every time, but never
as long as `lock_timeout_ms`, which lies below the server's `deadlock_timeout`: it is the swap that yields.
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from synth_ops import sql
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.targets.postgresql import dependents, history
from synth_ops.targets.postgresql.connection import (
    WAIT_AND_RETRY,
    Connection,
    connected,
    explained,
    explanation,
)
from synth_ops.targets.postgresql.definitions import Place, place_sql
from synth_ops.targets.postgresql.dependents import Dependent, Rebinding
from synth_ops.targets.postgresql.history import Stored
from synth_ops.targets.postgresql.materialized import Replacement

logger = logging.getLogger(__name__)

Failpoint = Callable[[str], None]

_FIRST_PATIENCE_MS = 25
_LONGEST_PAUSE_S = 2.0
_OIDS = """
SELECT n.nspname, c.relname, c.oid, c.relkind::text
FROM unnest(%s::text[], %s::text[]) AS u (schema, name)
JOIN pg_namespace n ON n.nspname = u.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.name
"""
_STAMP = """
WITH t AS (SELECT unnest(%(tables)s::oid[]) AS oid)
SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (
    SELECT 'c' || c.oid || c.xmin::text FROM pg_class c JOIN t USING (oid)
    UNION ALL SELECT 'a' || a.attnum || a.xmin::text FROM pg_attribute a JOIN t ON a.attrelid = t.oid
    UNION ALL SELECT 'k' || k.oid || k.xmin::text FROM pg_constraint k JOIN t ON k.conrelid = t.oid
    UNION ALL SELECT 'i' || i.indexrelid FROM pg_index i JOIN t ON i.indrelid = t.oid
    UNION ALL SELECT 'g' || g.oid || g.xmin::text FROM pg_trigger g JOIN t ON g.tgrelid = t.oid
        WHERE NOT g.tgisinternal
    UNION ALL SELECT 'p' || p.oid || p.xmin::text FROM pg_policy p JOIN t ON p.polrelid = t.oid
    UNION ALL SELECT 's' || s.oid || s.xmin::text FROM pg_statistic_ext s JOIN t ON s.stxrelid = t.oid
    UNION ALL SELECT 'd' || d.objsubid || d.xmin::text FROM pg_description d
        JOIN t ON d.objoid = t.oid AND d.classoid = 'pg_class'::regclass
) AS parts (part)
"""
_STATISTICS = """
SELECT n.nspname, s.stxname, cn.nspname, c.relname FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
JOIN pg_class c ON c.oid = s.stxrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN unnest(%s::text[], %s::text[]) AS u (schema, name) ON cn.nspname = u.schema AND c.relname = u.name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a swap is to do.

    Attributes:
        number: The generation that is live afterwards.
        fence: The last swap that was seen when the work began; another one since then makes this run stale.
        out: The places to clear, and the home that each one's table goes to.
        into: The places to fill, and the home that each one's table comes from.
        stamp: `stamp` of the tables in `out` when their successors were made.
        rows: Generations to write down in the same transaction.
        materialized: What replaces the materialized views over the tables in `out`, by their oids.
    """

    number: int
    fence: int
    out: Mapping[Place, str]
    into: Mapping[Place, str]
    stamp: str
    rows: Sequence[Stored] = ()
    materialized: Mapping[int, Replacement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a swap may wait.

    Attributes:
        lock_timeout_ms: The longest that readers are held up by one attempt.
        deadline_s: When attempts end.
    """

    lock_timeout_ms: int = 500
    deadline_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a swap takes place.

    Attributes:
        recreate_dependents: Whether objects outside the live schemas are made to follow.
        kept: Tables that stay; their foreign keys follow in any case.
        at: Called at every named point of the way; tests kill the process there.
    """

    location: Location
    recreate_dependents: bool
    kept: frozenset[Place]
    patience: Patience
    at: Failpoint


def oids(connection: Connection, places: Sequence[Place]) -> dict[Place, int]:
    """The relations that stand at some places.

    Raises:
        PublishRefusedError: What stands there is no plain table.
    """
    schemas, names = [schema for schema, _ in places], [name for _, name in places]
    rows = connection.execute(_OIDS, (schemas, names)).fetchall()
    others = sorted(f"{schema}.{name}" for schema, name, _, kind in rows if kind != "r")
    if others:
        raise PublishRefusedError(
            f"the target has views or partitioned tables where tables are to go: {', '.join(others)}",
            "drop or rename them, or exclude those tables from the copy",
        )
    return {(schema, name): oid for schema, name, oid, _ in rows}


def stamp(connection: Connection, tables: Sequence[int]) -> str:
    """A token that changes when somebody alters tables, or grants something on them."""
    return str(connection.execute(_STAMP, {"tables": list(tables)}).fetchall()[0][0])


def swap(connection: Connection, change: Change, around: Surroundings) -> None:
    """Do it, as often as others' locks make it fail, until the deadline.

    Raises:
        TargetUnavailableError: Others hold locks for too long, or the server went away before the commit.
        PublishRefusedError: Another run swapped since this one began; or something else depends on the tables.
    """
    label, patience = around.location.label, around.patience
    deadline = time.monotonic() + patience.deadline_s
    wait_ms, attempt = min(_FIRST_PATIENCE_MS, patience.lock_timeout_ms), 0
    token = secrets.token_hex(16)
    while True:
        attempt += 1
        try:
            proofs = _attempt(connection, change, around, token, wait_ms)
        except WAIT_AND_RETRY:
            if time.monotonic() > deadline:
                raise TargetUnavailableError(
                    f"{label}: others held locks on the live tables for {patience.deadline_s:.0f} s",
                    "end long transactions on the target, or publish again when they are done",
                ) from None
            logger.info("attempt %d to swap gave way to others' locks after %d ms", attempt, wait_ms)
            pause = min(_LONGEST_PAUSE_S, 0.05 * 2 ** min(attempt, 6))
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  jitter, no secret
            wait_ms = min(wait_ms * 2, patience.lock_timeout_ms)
        except psycopg.Error as error:
            if not connection.broken:
                raise explanation(error, label, "the swap") from None
            _resolve(around, token)
            return
        else:
            _prove(connection, proofs)
            return


def _attempt(connection: Connection, change: Change, around: Surroundings, token: str, wait_ms: int) -> Sequence[str]:
    """One transaction; returns what is to be proven after it."""
    at, label = around.at, around.location.label
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = {wait_ms}")
        at("swap begun")
        history.lock_swaps(connection)
        _refuse_stale(connection, change, label)
        at("fence checked")
        out = oids(connection, list(change.out))
        found = dependents.find(connection, list(out.values()))
        schemas = {schema for schema, _ in (*change.out, *change.into)}
        dependents.refuse(found, label, live_schemas=schemas, kept=around.kept, recreate=around.recreate_dependents)
        history.create_homes(connection, {place: home for place, home in change.out.items() if place in out})
        for schema in sorted({schema for schema, _ in change.into}):
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.quote(schema)}")
        moves_out = _moves(connection, {place: change.out[place] for place in out})
        moves_in = _moves(connection, {(home, name): schema for (schema, name), home in change.into.items()})
        at("dependents listed")  # all that can be done while readers read is done
        _lock(connection, [*dependents.lockable(connection, found), *map(place_sql, out)], wait_ms)
        at("live tables locked")
        if stamp(connection, list(out.values())) != change.stamp:
            raise TargetUnavailableError(
                f"{label}: the live tables were altered while their successors were made", "publish again"
            )
        before, after, proofs = dependents.rebinding(connection, found)
        replaced = _replacements(found, change, label)
        before, after = [*(each.before for each in replaced), *before], [*after, *(each.after for each in replaced)]
        _run(connection, before)
        at("dependents let go")
        _run(connection, moves_out)
        at("live tables moved home")
        _run(connection, moves_in)
        at("new tables moved in")
        _run(connection, after)
        at("dependents rebound")
        for stored in change.rows:
            history.insert(connection, stored)
        connection.execute("INSERT INTO synth_ops.swap (number, token) VALUES (%s, %s)", (change.number, token))
        at("journal written")
    at("committed")
    return proofs


def _replacements(found: Sequence[Dependent], change: Change, label: str) -> list[Replacement]:
    views = [each for each in found if each.kind is Rebinding.MATERIALIZED_VIEW]
    if any(each.oid not in change.materialized for each in views):
        raise TargetUnavailableError(
            f"{label}: a materialized view was made while the new tables were", "publish again"
        )
    return [change.materialized[each.oid] for each in views]


def _refuse_stale(connection: Connection, change: Change, label: str) -> None:
    last = connection.execute("SELECT coalesce(max(id), 0) FROM synth_ops.swap").fetchall()[0][0]
    if last != change.fence:
        raise PublishRefusedError(
            f"{label}: another run swapped a generation in since this one began", "publish again, if this one is to win"
        )
    history.refuse_pooler(connection, label)


def _lock(connection: Connection, names: Sequence[str], wait_ms: int) -> None:
    """Lock all or none, within one patience for all of them together."""
    if names:
        connection.execute(f"SET LOCAL statement_timeout = {wait_ms}")
        connection.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
        connection.execute("SET LOCAL statement_timeout = 0")


def _moves(connection: Connection, schemas: Mapping[Place, str]) -> list[str]:
    """Statements that move tables to other schemas; indexes and owned sequences go with them, statistics don't."""
    moves = [f"ALTER TABLE {place_sql(place)} SET SCHEMA {sql.quote(schema)}" for place, schema in schemas.items()]
    names = [schema for schema, _ in schemas], [name for _, name in schemas]
    for schema, statistics, owner_schema, table in connection.execute(_STATISTICS, names).fetchall():
        to = sql.quote(schemas[owner_schema, table])
        moves.append(f"ALTER STATISTICS {place_sql((schema, statistics))} SET SCHEMA {to}")
    return moves


def _run(connection: Connection, statements: Sequence[str]) -> None:
    if statements:
        connection.execute("; ".join(statements))  # one round trip, as readers wait


def _resolve(around: Surroundings, token: str) -> None:
    """Find out whether a transaction was committed whose connection broke.

    Raises:
        TargetUnavailableError: It was not, or the server is still away.
    """
    label = around.location.label
    with connected(around.location) as connection, explained(label, "the journal"), connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '30s'")
        history.lock_swaps(connection)  # the lost transaction is over when its lock is free
        found = connection.execute("SELECT EXISTS (SELECT FROM synth_ops.swap WHERE token = %s)", (token,))
        committed = found.fetchall()[0][0]
    if not committed:
        raise TargetUnavailableError(
            f"{label}: the connection broke during the swap; what was live is live still", "publish again"
        )
    logger.info("the connection broke at the commit, which was made")


def _prove(connection: Connection, proofs: Sequence[str]) -> None:
    """Validate the foreign keys of other tables, which may refer to keys that are no more; fill materialized views."""
    for statement in proofs:
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.Error as error:
            logger.warning(
                "%s failed (%s): a foreign key holds for new rows alone, a materialized view shows the old ones",
                statement,
                error.sqlstate,
            )
