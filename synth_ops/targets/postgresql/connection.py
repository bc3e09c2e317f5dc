"""Connections to the target's server, and its errors in words that hold no value and no password."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import errors

from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import Location
from synth_ops.postgresql_server import connect

Connection = psycopg.Connection[tuple[Any, ...]]

_ORPHANS_CHECKED_SINCE = 140_000
# a killed publisher's lock is freed soon, also while the server still works for it
_ORPHANS_CHECKED = "SET client_connection_check_interval = '500ms'"
_SETTINGS = (
    "SET search_path = pg_catalog",  # every name that the server prints is then whole
    "SET row_security = off",  # an error where rows would be hidden
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET standard_conforming_strings = on",
    "SET client_min_messages = warning",
    "SET idle_in_transaction_session_timeout = 0",
    "SET statement_timeout = 0",
    "SET lock_timeout = '2s'",
)
_UNREACHABLE = (
    ("password", "the server refuses the user or the password", False),
    ("no pg_hba.conf entry", "the server lets nobody in from here by this way", False),
    ("authentication", "the server refuses the user or the password", False),
    ("role ", "the server knows no such user", False),
    ("database ", "the server has no such database", False),
    ("certificate", "the server's certificate is not trusted", False),
    ("SSL", "no agreement with the server on TLS", False),
    ("resolve", "its host name leads nowhere", True),
    ("translate host", "its host name leads nowhere", True),
    ("refused", "nothing listens there", True),
    ("No such file", "nothing listens there", True),
    ("timeout", "it does not answer", True),
    ("starting up", "the server is starting", True),
    ("shutting down", "the server is stopping", True),
    ("too many", "the server has no free connection", True),
)
_KINDS = {
    errors.NotNullViolation: "NOT NULL",
    errors.UniqueViolation: "unique key",
    errors.ForeignKeyViolation: "foreign key",
    errors.CheckViolation: "CHECK",
    errors.ExclusionViolation: "exclusion constraint",
}
WAIT_AND_RETRY = (
    errors.LockNotAvailable,
    errors.DeadlockDetected,
    errors.SerializationFailure,
    errors.QueryCanceled,
)
"""What another session's locks make of a transaction of ours."""


@contextlib.contextmanager
def connected(location: Location) -> Iterator[Connection]:
    """Open a connection of our own, each statement its own transaction unless one is begun.

    Raises:
        TargetUnavailableError: There is no way to the server now.
        PublishError: The server refuses, and will again.
    """
    try:
        connection = connect(location)
    except psycopg.Error as error:
        raise _unreachable(location.label, str(error)) from None
    with contextlib.closing(connection), explained(location.label, "a setting"):
        newer = connection.info.server_version >= _ORPHANS_CHECKED_SINCE
        connection.execute("; ".join([*_SETTINGS, *([_ORPHANS_CHECKED] if newer else [])]))  # one round trip
        yield connection


@contextlib.contextmanager
def explained(label: str, what: str) -> Iterator[None]:
    """Turn the server's errors into ours.

    Args:
        label: The target's, to be shown.
        what: What is being worked on, in names.

    Raises:
        PublishError: And its kinds; with names of tables, columns and constraints alone.
    """
    try:
        yield
    except psycopg.Error as error:
        raise explanation(error, label, what) from None


def explanation(error: psycopg.Error, label: str, what: str) -> PublishError:
    """What may be told of a server's error: its text and its details may hold values."""
    state = error.sqlstate or ""
    if isinstance(error, errors.InsufficientPrivilege):
        return PublishRefusedError(
            f"the user of {label} may not do what publishing needs, at {what}",
            "grant it CREATE on the database and the schema, and the role that owns the tables",
        )
    if isinstance(error, WAIT_AND_RETRY):
        return TargetUnavailableError(f"{label}: others hold locks on {what}", "publish again when they are done")
    if isinstance(error, errors.DiskFull):
        return TargetUnavailableError(f"{label} has no room left, at {what}", "free space; what was live is live still")
    if isinstance(error, errors.OperationalError) or state.startswith(("08", "53", "57", "58")):
        return TargetUnavailableError(
            f"{label}: the server went away or ran out of something, at {what}{f' ({state})' if state else ''}",
            "publish again when it is back; what was live is live still",
        )
    return _refusal(error, what, state)


def _refusal(error: psycopg.Error, what: str, state: str) -> PublishError:
    if isinstance(error, errors.IntegrityError):
        table, constraint, column = error.diag.table_name, error.diag.constraint_name, error.diag.column_name
        kind = next((word for each, word in _KINDS.items() if isinstance(error, each)), "constraint")
        name = f" {(constraint or column)!r}" if constraint or column else ""
        return PublishError(
            f"PostgreSQL refuses rows of {f'table {table!r}' if table else what}: {kind}{name}",
            "correct the recipe's `tables` section or the generator; sample again",
        )
    if isinstance(error, errors.DataError):
        # what comes after the column is the value; where there is no column, it is the whole row
        named = re.match(r"COPY [^:]*, line [0-9]+, column (.+?)(?:: |$)", error.diag.context or "")
        where = f"its column {named[1]!r}" if named else "its columns"
        return PublishError(
            f"{what} holds values that PostgreSQL does not take for {where} ({state})",
            "correct its type in the source or the target, or give it another `kind` in the recipe, or exclude it",
        )
    return PublishError(f"PostgreSQL refuses {what} ({state} {type(error).__name__})", "see the server's log")


def _unreachable(label: str, text: str) -> PublishError:
    """The reason of a failed connection; libpq's own text names the user, and is not shown."""
    reason, later = next(((why, later) for word, why, later in _UNREACHABLE if word in text), ("no connection", True))
    if later:
        return TargetUnavailableError(f"{label} can't be reached: {reason}", "check host and port; then publish again")
    return PublishError(f"{label} can't be used: {reason}", "correct the target's URL in the recipe")
