"""The source's connections to a MySQL or MariaDB server, and what may be told of their errors."""

from __future__ import annotations

from collections.abc import Collection

import pymysql
import pymysql.cursors
from pymysql.constants import ER
from pymysql.converters import conversions

from synth_ops import mysql_server
from synth_ops.errors import SourceError, SourceUnavailableError
from synth_ops.mysql_server import TlsRefusedError, code_of
from synth_ops.server_url import ServerUrl

_WRITERS = {kind: writer for kind, writer in conversions.items() if isinstance(kind, type)}  # all comes as bytes
_UNREACHABLE_HINT = "check host, port and socket in the URL, and whether the server runs"
_Known = tuple[Collection[int], str, str]
_LASTING: tuple[_Known, ...] = (
    (
        mysql_server.REFUSED,
        "{label} refuses the user or the password",
        "check both in the URL (special characters are percent-encoded), and from where the user may come",
    ),
    (
        mysql_server.NO_DATABASE,
        "{label} does not exist, or not for this user",
        "check the database's name in the URL",
    ),
    (
        mysql_server.NO_PRIVILEGE,
        "the user may not read {what}",
        "grant it SELECT, or `exclude: true` in the recipe",
    ),
)
_PASSING: tuple[_Known, ...] = (
    (mysql_server.CROWDED, "{label} takes no more connections now", "try again later"),
    (
        (*mysql_server.LOCKED, ER.TABLE_DEF_CHANGED),
        "{what} was locked or changed meanwhile",
        "try again when its schema is at rest",
    ),
    (
        mysql_server.LOST,
        "{what}: the server ended the connection in the middle of the work",
        "try again when the server runs",
    ),
    (range(2000, 3000), "{label} can't be reached", _UNREACHABLE_HINT),  # the client's own codes
)
NOT_A_CONDITION = range(1000, 2000)
"""The codes of the server's own errors, as opposed to the connection's."""


def connect(url: ServerUrl) -> pymysql.Connection[pymysql.cursors.SSCursor]:
    """A connection whose results are streamed, as bytes.

    Raises:
        pymysql.Error, TlsRefusedError: See `failure`; their text must not be shown.
    """
    connection: pymysql.Connection[pymysql.cursors.SSCursor] = mysql_server.connect(
        url, use_unicode=False, conv=_WRITERS, cursorclass=pymysql.cursors.SSCursor, local_infile=False
    )
    return connection


def abandon(cursor: pymysql.cursors.SSCursor) -> None:
    """Leave a stream without reading it to its end, and the connection with it."""
    connection, result = cursor.connection, cursor._result  # noqa: SLF001
    if result is not None:
        result.unbuffered_active = False
        result.connection = None
    cursor.connection = None  # as its own `close` does
    if connection is not None:
        connection._force_close()  # noqa: SLF001


def failure(label: str, error: Exception, table: str = "") -> SourceError:
    """What may be told of a driver's error: its own text holds values, and names of hosts and users."""
    what = f"table {table!r} of {label}" if table else label
    code = code_of(error)
    for codes, message, hint in _LASTING:
        if code in codes and (table or codes != mysql_server.NO_PRIVILEGE):
            return SourceError(message.format(label=label, what=what), hint)
    if isinstance(error, TlsRefusedError):
        return SourceError(
            f"{label} can't be reached by TLS as the URL asks for it",
            "check `ssl_mode` and `ssl_ca` in the URL, and whether the server speaks TLS",
        )
    for codes, message, hint in _PASSING:
        if code in codes:
            return SourceUnavailableError(message.format(label=label, what=what), hint)
    if isinstance(error, OSError | pymysql.err.InterfaceError):
        return SourceUnavailableError(f"{what} can't be reached", _UNREACHABLE_HINT)
    return SourceError(
        f"{what} can't be read ({f'error {code}' if code else type(error).__name__})",
        "check that the mysql client can read it as the same user",
    )
