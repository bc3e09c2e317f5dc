"""The target's connections to its server, and their errors in words that hold no value and no password."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pymysql

from synth_ops import mysql_server, sql
from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.mysql_server import Connection, TlsRefusedError, code_of, connect, rows, server_url

_SQL_MODE = "ANSI_QUOTES,STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO"
_NO_CODE = 0
"""PyMySQL's own, where a connection is closed already."""
_UNREACHABLE = (*mysql_server.UNREACHABLE, *mysql_server.LOST, *mysql_server.CROWDED, _NO_CODE)
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
        RecipeError: The URL has an option that is not known.
        TargetUnavailableError: There is no way to the server now.
        PublishError: The server refuses, and will again.
    """
    url = server_url(location)
    if not url.database:
        raise PublishRefusedError(f"{location.label} names no database", "write mysql://user@host/database")
    with explained(location.label, "a connection"):
        connection = connect(url, local_infile=True)
    with contextlib.closing(connection), explained(location.label, "a setting"):
        for setting in (f"sql_mode = '{_SQL_MODE}'", "time_zone = '+00:00'", "lock_wait_timeout = 1"):
            rows(connection, f"SET SESSION {setting}")
        yield connection


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
    except TlsRefusedError:
        raise PublishError(
            f"{label} can't be reached by TLS as the URL asks for it",
            "check `ssl_mode` and `ssl_ca` in the URL, and whether the server speaks TLS",
        ) from None
    except pymysql.Error as error:
        raise _explanation(code_of(error), label, what) from None


def literal(text: str) -> str:
    r"""A string as a literal: the sessions read backslashes as MySQL does by default, as sources' own words have them.

    >>> print(literal(r"it's C:\\"))
    'it''s C:\\\\'
    """
    return sql.literal(text.replace("\\", "\\\\"))


def not_unique(table: str, key: Sequence[str]) -> PublishError:
    """What to say where a server finds rows to be the same that are not."""
    return PublishError(
        f"table {table!r}: rows are not unique by ({', '.join(key)}) as MySQL compares texts: collations may disregard "
        "case, accents and trailing spaces",
        "sample with another `seed`, or give the column a `provider` whose values differ in more than that",
    )


def _explanation(code: int, label: str, what: str) -> PublishError:
    if code in _UNREACHABLE:
        return TargetUnavailableError(
            f"{label}: the server can't be reached, or went away, at {what} ({code})",
            "publish again when it is back; what was live is live still",
        )
    if code in mysql_server.FULL:
        return TargetUnavailableError(f"{label} has no room left, at {what}", "free space; what was live is live still")
    if code in mysql_server.LOCKED:
        return TargetUnavailableError(f"{label}: others hold locks on {what}", "publish again when they are done")
    return _refusal(code, label, what)


def _refusal(code: int, label: str, what: str) -> PublishError:
    if code in (*mysql_server.REFUSED, *mysql_server.NO_DATABASE):
        return PublishError(
            f"{label} can't be used: no such database, or the server refuses the user or the password ({code})",
            "correct the target's URL in the recipe",
        )
    if code in mysql_server.NO_PRIVILEGE:
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
