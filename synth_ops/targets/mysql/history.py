"""What a database remembers of its generations, which one is live, and who publishes."""

from __future__ import annotations

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pymysql

from synth_ops import sql
from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.mysql_server import LOCKED, Connection, code_of, rows
from synth_ops.targets.mysql.connection import GONE
from synth_ops.targets.publication import Published

PREFIX = "synth_ops_"
_POINTER = re.compile(r"synth_ops_live_(\d+)_(\d+)")
_HOME = re.compile(r"synth_ops_(\d+)_(\d+)")
_LOCK_WAIT_S = 2
_TABLES = (
    """CREATE TABLE IF NOT EXISTS synth_ops_environment (
    name varchar(190) NOT NULL, identity varchar(500) NOT NULL, marked_at datetime NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS synth_ops_generation (
    number int PRIMARY KEY, copy varchar(190) NOT NULL, published_at varchar(40) NOT NULL, previous int NOT NULL,
    tables longtext NOT NULL, homes longtext NOT NULL, rules varchar(64) NOT NULL, swap bigint NOT NULL)""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One generation as the database remembers it.

    Attributes:
        homes: The name that each of its tables has while another generation is live.
        rules: Fingerprint of the rules that it was published by; empty for one that was found there.
        swap: The number of the swap that made it live first.
    """

    published: Published
    homes: Mapping[str, str]
    rules: str
    swap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All of it at one moment.

    Attributes:
        swap: Number of the last swap; 0 before the first.
        live: The generation that readers see.
        highest: The highest number ever given to a generation.
    """

    swap: int
    live: Stored | None
    generations: Mapping[int, Stored]
    highest: int

    @property
    def pointer(self) -> str:
        """Name of the table that says what is live."""
        return pointer(self.swap, self.live.published.number if self.live else 0)


def pointer(swap: int, number: int) -> str:
    """Name of the table that says so."""
    return f"{PREFIX}live_{swap}_{number}"


def is_home(name: str) -> bool:
    """Whether a table is one that is not live, by its name."""
    return bool(_HOME.fullmatch(name))


def create(connection: Connection) -> None:
    """Make the tables of the history, where there are none yet."""
    for statement in _TABLES:
        rows(connection, statement)
    if not any(_POINTER.fullmatch(name) for name in names(connection)):
        rows(connection, f"CREATE TABLE {sql.quote(pointer(0, 0))} (nothing int)")


def names(connection: Connection) -> set[str]:
    """The names of all tables and views in the database."""
    return {name for (name,) in rows(connection, "SHOW TABLES")}


def read(connection: Connection, label: str) -> History:
    """Read the history.

    Raises:
        PublishRefusedError: Somebody removed a part of it.
    """
    found = [match for match in map(_POINTER.fullmatch, names(connection)) if match]
    if len(found) != 1:
        raise PublishRefusedError(f"{label}: the history of publications is damaged", "mark the target again")
    swap, live = int(found[0][1]), int(found[0][2])
    columns = "number, copy, published_at, previous, tables, homes, rules, swap"
    stored = [
        Stored(published=Published.from_row(row[:5]), homes=json.loads(row[5]), rules=row[6], swap=row[7])
        for row in rows(connection, f"SELECT {columns} FROM synth_ops_generation")
    ]
    published = {each.published.number: each for each in stored if each.swap <= swap}
    return History(swap=swap, live=published.get(live), generations=published, highest=max([0, live, *published]))


def write(connection: Connection, stored: Stored) -> None:
    """Write a generation down, or anew: it counts once its swap was made."""
    values = (*stored.published.to_row(), json.dumps(dict(stored.homes)), stored.rules, stored.swap)
    rows(connection, f"REPLACE INTO synth_ops_generation VALUES ({', '.join(['%s'] * len(values))})", values)


def forget(connection: Connection, stored: Stored) -> None:
    """Strike out a generation whose swap was refused: another swap may have its number."""
    rows(connection, "DELETE FROM synth_ops_generation WHERE number = %s", (stored.published.number,))


@contextlib.contextmanager
def publishing(connection: Connection, database: str, label: str, *, wait_s: float = _LOCK_WAIT_S) -> Iterator[None]:
    """Be the only publisher; a session's lock, which the server frees when its client dies.

    Args:
        wait_s: How long another one may still be at work.

    Raises:
        TargetUnavailableError: Another one is at work.
    """
    name = f"synth_ops:{database}"[-64:]
    if rows(connection, "SELECT GET_LOCK(%s, %s)", (name, wait_s)) != [(1,)]:
        raise TargetUnavailableError(f"another run is publishing to {label}", "try again when it is done")
    try:
        yield
    finally:
        with contextlib.suppress(pymysql.Error):  # a session that is gone has none
            rows(connection, "SELECT RELEASE_LOCK(%s)", (name,))


def collect(connection: Connection, label: str, unwanted: Sequence[int] = ()) -> None:
    """Remove generations, and what dead publishers left; what somebody reads or needs is left for the next call."""
    history = read(connection, label)
    rows(connection, "DELETE FROM synth_ops_generation WHERE swap > %s", (history.swap,))
    kept = {number: each for number, each in history.generations.items() if number not in unwanted}
    known = {home for each in kept.values() for home in each.homes.values()}
    garbage: dict[int, list[str]] = defaultdict(list)
    for name in sorted(names(connection) - known):
        if home := _HOME.fullmatch(name):
            garbage[int(home[1])].append(name)
    busy = {number for number, homes in garbage.items() if not _drop(connection, homes)}
    for number in sorted(set(unwanted) - busy):
        rows(connection, "DELETE FROM synth_ops_generation WHERE number = %s", (number,))


def _drop(connection: Connection, tables: Sequence[str]) -> bool:
    """One generation at once, as its tables refer to one another; who reads one of them is hardly waited for."""
    try:
        rows(connection, "SET SESSION foreign_key_checks = 0")
        rows(connection, f"DROP TABLE {sql.columns_sql(tables)}")
    except pymysql.Error as error:
        if code_of(error) not in (*LOCKED, *GONE):
            raise
        return False
    finally:
        if connection.open:
            rows(connection, "SET SESSION foreign_key_checks = 1")
    return True
