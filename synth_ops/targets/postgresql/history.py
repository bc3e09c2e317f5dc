"""What a database remembers of its generations, in the schema `synth_ops`; which one is live, and who publishes.

A generation has homes: schemas that are its own, one for every schema that its tables go live in. It is built there,
and lies there again when another one is live. `synth_ops.swap` is a journal: its last row names the live generation,
and its number is what a run compares to see that nobody swapped since it began.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import errors

from synth_ops import sql
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.targets.postgresql.connection import WAIT_AND_RETRY, Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql
from synth_ops.targets.publication import Published

logger = logging.getLogger(__name__)

SCHEMA = "synth_ops"
HOME_COMMENT = "a generation of synth_ops"
_PUBLISHING = (0x53594E, 1)
_SWAPPING = (0x53594E, 2)
_LOCK_WAIT_S = 2.0
_DROP_WAIT_S = 2.0
_POLL_S = 0.05
_TABLES = """
CREATE SCHEMA IF NOT EXISTS synth_ops;
CREATE TABLE IF NOT EXISTS synth_ops.environment (
    name text NOT NULL, cluster text NOT NULL, database text NOT NULL, marked_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS synth_ops.generation (
    number integer PRIMARY KEY, copy text NOT NULL, published_at text NOT NULL, previous integer NOT NULL,
    tables text NOT NULL, places text NOT NULL, rules text NOT NULL
);
CREATE TABLE IF NOT EXISTS synth_ops.swap (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number integer NOT NULL, token text NOT NULL UNIQUE,
    swapped_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS synth_ops.stage (
    token text PRIMARY KEY, copy text NOT NULL, rules text NOT NULL, fence bigint NOT NULL, taken integer NOT NULL,
    stamp text NOT NULL, closing boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS synth_ops.staged (
    token text NOT NULL REFERENCES synth_ops.stage ON DELETE CASCADE, name text NOT NULL, rows bigint NOT NULL,
    PRIMARY KEY (token, name)
)
"""
_HISTORY = """
SELECT coalesce(s.fence, 0), coalesce(s.live, 0), coalesce(s.highest, 0),
       g.number, g.copy, g.published_at, g.previous, g.tables, g.places, g.rules
FROM (SELECT max(id) AS fence, max(number) AS highest,
             (SELECT number FROM synth_ops.swap ORDER BY id DESC LIMIT 1) AS live FROM synth_ops.swap) s
LEFT JOIN synth_ops.generation g ON true
"""
_HOMES = """
SELECT nspname FROM pg_namespace
WHERE nspname ~ '^synth_ops_[0-9]+_[0-9]+$' AND obj_description(oid, 'pg_namespace') = %s
ORDER BY NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_namespace.oid AND relkind = 'm')
"""
_RELATIONS = "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind::text = ANY(%s)"
_PARENTS_ELSEWHERE = """
SELECT DISTINCT n.nspname, p.relname
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace
WHERE k.contype = 'f' AND c.relnamespace = %(home)s::regnamespace AND p.relnamespace <> %(home)s::regnamespace
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One generation as the database remembers it.

    Attributes:
        homes: Where each of its tables goes live, and the schema that is its home.
        rules: A fingerprint of the recipe's rules that it was published by.
    """

    published: Published
    homes: Mapping[Place, str]
    rules: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All of it at one moment.

    Attributes:
        fence: Number of the last swap; 0 before the first.
        live: The generation that readers see.
        highest: The highest number ever given to a generation.
    """

    fence: int
    live: Stored | None
    generations: Mapping[int, Stored]
    highest: int


def create(connection: Connection) -> None:
    """Make the tables of the history, where there are none yet."""
    with connection.transaction():
        connection.execute(_TABLES)


def read(connection: Connection) -> History:
    """Read the history, all of it in one statement, and so in one snapshot."""
    rows = connection.execute(_HISTORY).fetchall()
    found = {row[3]: _stored(row[3:]) for row in rows if row[3] is not None}
    fence, number, highest = rows[0][:3]
    return History(fence=fence, live=found.get(number), generations=found, highest=max([highest, *found]))


def insert(connection: Connection, stored: Stored) -> None:
    """Write a generation's row, in the place of an older one."""
    places = json.dumps([[*place, home] for place, home in stored.homes.items()])
    connection.execute(
        "INSERT INTO synth_ops.generation VALUES (%s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (number) DO UPDATE SET places = excluded.places",
        (*stored.published.to_row(), places, stored.rules),
    )


def homes_of(number: int, places: Iterable[Place], known: Mapping[Place, str] | None = None) -> dict[Place, str]:
    """The homes of a generation's tables; numbered, as a schema's own name might be too long for a part of another.

    Args:
        known: Homes that the generation has already; they stay.

    >>> homes_of(7, [("public", "a"), ("hr", "a"), ("public", "b")])
    {('public', 'a'): 'synth_ops_7_1', ('hr', 'a'): 'synth_ops_7_2', ('public', 'b'): 'synth_ops_7_1'}
    """
    homes = dict(known or {})
    by_schema = {schema: home for (schema, _), home in homes.items()}
    for place in places:
        by_schema.setdefault(place[0], f"{SCHEMA}_{number}_{len(by_schema) + 1}")
        homes.setdefault(place, by_schema[place[0]])
    return homes


def number_of(home: str) -> int:
    """The number of the generation that a home belongs to.

    >>> number_of("synth_ops_7_1")
    7
    """
    return int(home.split("_")[-2])


def create_homes(connection: Connection, homes: Mapping[Place, str]) -> None:
    """Make the schemas; only the publisher may look into them."""
    for home in sorted(set(homes.values())):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {sql.quote(home)}")
        connection.execute(f"COMMENT ON SCHEMA {sql.quote(home)} IS {sql.literal(HOME_COMMENT)}")


@contextlib.contextmanager
def publishing(connection: Connection, label: str) -> Iterator[None]:
    """Be the only publisher; a session's lock, which the server frees when its client dies.

    Raises:
        TargetUnavailableError: Another one is at work.
    """
    deadline = time.monotonic() + _LOCK_WAIT_S
    while not connection.execute("SELECT pg_try_advisory_lock(%s, %s)", _PUBLISHING).fetchall()[0][0]:
        if time.monotonic() > deadline:
            raise TargetUnavailableError(f"another run is publishing to {label}", "try again when it is done")
        time.sleep(_POLL_S)
    try:
        refuse_pooler(connection, label)
        refuse_pooler(connection, label)  # a pool of two takes turns
        yield
    finally:
        with contextlib.suppress(psycopg.Error):  # a session that is gone has none
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", _PUBLISHING)


def refuse_pooler(connection: Connection, label: str) -> None:
    """Refuse to go on where the lock is not this server process's any more, nor its settings ours.

    Raises:
        PublishRefusedError: They are not.
    """
    held = (
        "SELECT current_setting('search_path') = 'pg_catalog' AND EXISTS (SELECT FROM pg_locks "
        "WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND classid = %s AND objid = %s)"
    )
    if not connection.execute(held, _PUBLISHING).fetchall()[0][0]:
        raise PublishRefusedError(
            f"{label}: this connection has lost its lock: a pooler in transaction mode stands before the server",
            "let the target's URL lead to the server itself, or to a pool in session mode",
        )


def lock_swaps(connection: Connection) -> None:
    """Wait until no other transaction swaps; freed at the end of the transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", _SWAPPING)


def collect(connection: Connection, unwanted: Sequence[int] = ()) -> list[str]:
    """Remove generations, and what dead publishers left. No reader waits for it: what is still read is left.

    Args:
        unwanted: The numbers of generations that are not to be kept; never the live one's.

    Returns:
        The homes that are still there because somebody reads or needs them: the next call tries again.
    """
    history = read(connection)
    left: list[str] = []
    for number in unwanted:
        homes = sorted(set(history.generations[number].homes.values()))
        left += _drop(connection, homes, f"DELETE FROM synth_ops.generation WHERE number = {int(number)}")
    known = {home for each in history.generations.values() for home in each.homes.values()}
    for (home,) in connection.execute(_HOMES, (HOME_COMMENT,)).fetchall():
        if home not in known:
            left += _drop(connection, [home])
    for home in left:
        logger.info("schema %s is still in use; the next run removes it", home)
    return left


def _drop(connection: Connection, homes: Sequence[str], also: str = "") -> Sequence[str]:
    deadline = time.monotonic() + _DROP_WAIT_S
    while True:
        try:
            with connection.transaction():
                _drop_now(connection, homes)
                if also:
                    connection.execute(also)
        except errors.DependentObjectsStillExist:
            return homes
        except WAIT_AND_RETRY:
            if time.monotonic() > deadline:
                return homes
            time.sleep(_POLL_S)
        else:
            return ()


def _drop_now(connection: Connection, homes: Sequence[str]) -> None:
    relations: list[Place] = []
    parents: list[Place] = []
    for home in homes:
        if connection.execute("SELECT to_regnamespace(%s)", (sql.quote(home),)).fetchall()[0][0] is None:
            continue
        quoted = sql.quote(home)
        for (name,) in connection.execute(_RELATIONS, (quoted, ["m"])).fetchall():  # a dead run's: nobody reads it
            connection.execute(f"DROP MATERIALIZED VIEW {place_sql((home, name))}")
        relations += [(home, name) for (name,) in connection.execute(_RELATIONS, (quoted, ["r", "p"])).fetchall()]
        parents += connection.execute(_PARENTS_ELSEWHERE, {"home": quoted}).fetchall()
    locked = ", ".join(map(place_sql, dict.fromkeys([*parents, *relations])))
    if relations:
        connection.execute(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE NOWAIT")  # queues before no reader
        connection.execute(f"DROP TABLE {', '.join(map(place_sql, relations))}")
    for home in homes:
        connection.execute(f"DROP SCHEMA IF EXISTS {sql.quote(home)}")


def _stored(row: tuple[object, ...]) -> Stored:
    homes = {(schema, name): home for schema, name, home in json.loads(str(row[5]))}
    return Stored(published=Published.from_row(row[:5]), homes=homes, rules=str(row[6]))
