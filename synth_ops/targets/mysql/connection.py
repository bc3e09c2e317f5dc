"""Connections to the target's server, and its errors in words that hold no value and no password."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
from pymysql.constants import ER

from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.server_url import parse_server_url

Connection = Any
"""PyMySQL's, whose stubs know no rows."""

_CONNECT_TIMEOUT_S = 15
_SQL_MODE = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
_UNREACHABLE = (2002, 2003, 2005, 2006, 2013, 1040, 1053, 1077, 1079, 0)
_FULL = (1021, 1041, 1114, 1037, 1038, 3)
_REFUSED = (1044, 1045, 1698)
_NO_PRIVILEGE = (1142, 1143, 1227, 1370)
LOCKED = (1205, 1213)
"""What another session's locks make of a statement of ours."""
GONE = (1146, 1051)
"""A table is not there."""
_ROWS = {
    1048: "NOT NULL",
    1062: "unique key",
    1452: "foreign key",
    4025: "CHECK",
    3819: "CHECK",
}


@contextlib.contextmanager
def connected(location: Location) -> Iterator[Connection]:
    """Open a connection of our own, each statement its own transaction.

    Raises:
        TargetUnavailableError: There is no way to the server now.
        PublishError: The server refuses, and will again.
    """
    url = parse_server_url(location.url)
    if url is None or not url.database:
        raise PublishRefusedError(f"{location.label} names no database", "write mysql://user@host/database")
    host, port = url.hosts[0]
    where = {"unix_socket": host} if host.startswith("/") else {"host": host or "localhost", "port": int(port or 3306)}
    with explained(location.label, "a connection"):
        connection = pymysql.connect(
            **where,
            user=url.user or None,
            password=url.password,
            database=url.database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=True,
            connect_timeout=_CONNECT_TIMEOUT_S,
        )
    with contextlib.closing(connection), explained(location.label, "a setting"):
        for setting in (f"sql_mode = '{_SQL_MODE}'", "time_zone = '+00:00'", "lock_wait_timeout = 1"):
            run(connection, f"SET SESSION {setting}")
        yield connection


def run(connection: Connection, statement: str, parameters: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
    """All rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def code_of(error: pymysql.Error) -> int:
    """The server's number for an error; 0 where the driver has none."""
    return int(error.args[0]) if error.args and isinstance(error.args[0], int) else 0


@contextlib.contextmanager
def explained(label: str, what: str) -> Iterator[None]:
    """Turn the server's errors into ours.

    Args:
        label: The target's, to be shown.
        what: What is being worked on, in names.

    Raises:
        PublishError: And its kinds; with names alone, as the server's own text may hold values.
    """
    try:
        yield
    except pymysql.Error as error:
        raise _explanation(code_of(error), label, what) from None


def _explanation(code: int, label: str, what: str) -> PublishError:
    if code in _UNREACHABLE:
        return TargetUnavailableError(
            f"{label}: the server can't be reached, or went away, at {what} ({code})",
            "publish again when it is back; what was live is live still",
        )
    if code in _FULL:
        return TargetUnavailableError(f"{label} has no room left, at {what}", "free space; what was live is live still")
    if code in LOCKED:
        return TargetUnavailableError(f"{label}: others hold locks on {what}", "publish again when they are done")
    return _refusal(code, label, what)


def _refusal(code: int, label: str, what: str) -> PublishError:
    if code in _REFUSED or code == ER.BAD_DB_ERROR:
        return PublishError(
            f"{label} can't be used: no such database, or the server refuses the user or the password ({code})",
            "correct the target's URL in the recipe",
        )
    if code in _NO_PRIVILEGE:
        return PublishRefusedError(
            f"the user of {label} may not do what publishing needs, at {what}",
            "grant it ALL PRIVILEGES on the database",
        )
    if code in _ROWS:
        return PublishError(
            f"the server refuses rows of {what}: {_ROWS[code]}",
            "correct the recipe's `tables` section or the generator; sample again",
        )
    return PublishError(f"the server refuses {what} (error {code})", "see the server's documentation of that number")
