"""Connections to a MySQL or MariaDB server, and what may be told of its errors."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pymysql
import pymysql.cursors
from pymysql.constants import CR, ER
from pymysql.converters import conversions

from synth_ops.errors import RecipeError, SourceError, SourceUnavailableError
from synth_ops.location import Location
from synth_ops.server_url import ServerUrl, parse_server_url

_CONNECT_TIMEOUT_S = 10
_WRITERS = {kind: writer for kind, writer in conversions.items() if isinstance(kind, type)}  # all comes as bytes
_DEFAULT_PORT = 3306
_NO_PRIVILEGE = (ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR)
_TLS_HINT = "check `ssl_mode` and `ssl_ca` in the URL, and whether the server speaks TLS"
_UNREACHABLE_HINT = "check host, port and socket in the URL, and whether the server runs"
_Known = tuple[Collection[int], str, str]
_LASTING: tuple[_Known, ...] = (
    (
        (ER.ACCESS_DENIED_ERROR, 1698, ER.HOST_NOT_PRIVILEGED, ER.HOST_IS_BLOCKED),
        "{label} refuses the user or the password",
        "check both in the URL (special characters are percent-encoded), and from where the user may come",
    ),
    (
        (ER.BAD_DB_ERROR, ER.DBACCESS_DENIED_ERROR),
        "{label} does not exist, or not for this user",
        "check the database's name in the URL",
    ),
    (_NO_PRIVILEGE, "the user may not read {what}", "grant it SELECT, or `exclude: true` in the recipe"),
    ((CR.CR_SSL_CONNECTION_ERROR,), "{label} can't be reached by TLS as the URL asks for it", _TLS_HINT),
)
_PASSING: tuple[_Known, ...] = (
    (
        (ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS, ER.OUT_OF_RESOURCES),
        "{label} takes no more connections now",
        "try again later",
    ),
    (
        (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.TABLE_DEF_CHANGED),
        "{what} was locked or changed meanwhile",
        "try again when its schema is at rest",
    ),
    (
        (CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.SERVER_SHUTDOWN, 1927, 4031),  # killed; idle for too long
        "{what}: the server ended the connection in the middle of the work",
        "try again when the server runs",
    ),
    (range(2000, 3000), "{label} can't be reached", _UNREACHABLE_HINT),  # the client's own codes
)
NOT_A_CONDITION = range(1000, 2000)
"""The codes of the server's own errors, as opposed to the connection's."""
_SSL_OPTIONS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "charset", "connect_timeout")


class TlsRefusedError(Exception):
    """The URL asks for TLS, and the server has none."""


def server_url(location: Location) -> ServerUrl:
    """The location's URL, taken apart.

    Raises:
        RecipeError: It has an option that is not known.
    """
    url = parse_server_url(location.url)
    if url is None:
        raise RecipeError(f"{location.label} is no URL of a MySQL server", "write mysql://user@host/database")
    unknown = sorted(set(url.options) - set(_SSL_OPTIONS))
    if unknown:
        raise RecipeError(
            f"{location.label}: there is no such option in a URL of a MySQL server",
            f"known: unix_socket, {', '.join(_SSL_OPTIONS)}",
        )
    return url


def connect(url: ServerUrl) -> pymysql.Connection[pymysql.cursors.SSCursor]:
    """A connection whose results are streamed, as bytes.

    Raises:
        pymysql.Error, OSError, TlsRefusedError: See `failure`; their text must not be shown.
    """
    host, port = url.hosts[0]
    mode = url.options.get("ssl_mode", "").upper()
    context = _tls(url.options, mode)
    connection = pymysql.Connection(
        host=None if host.startswith("/") else host or "localhost",
        unix_socket=host if host.startswith("/") else None,
        port=int(port or _DEFAULT_PORT),
        user=url.user or None,
        password=url.password,
        database=url.database or None,
        charset="utf8mb4",
        use_unicode=False,
        conv=_WRITERS,
        cursorclass=pymysql.cursors.SSCursor,
        connect_timeout=int(url.options.get("connect_timeout", _CONNECT_TIMEOUT_S)),
        ssl=context,
        ssl_disabled=mode == "DISABLED" or None,
        autocommit=True,
        local_infile=False,
        defer_connect=True,
    )
    if host.startswith("/"):
        _connect_locally(connection, host)
    else:
        connection.connect()
    if context is not None and not hasattr(connection._sock, "cipher"):  # noqa: SLF001
        connection.close()
        raise TlsRefusedError
    return connection


def _connect_locally(connection: pymysql.Connection[Any], path: str) -> None:
    """Through a socket of our own: PyMySQL leaves its own open where nobody answers."""
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        local.settimeout(_CONNECT_TIMEOUT_S)
        local.connect(path)
        connection._secure = True  # noqa: SLF001  as where it makes the socket itself: no one listens in
        connection.connect(local)
    except BaseException:
        local.close()
        raise


def abandon(cursor: pymysql.cursors.SSCursor) -> None:
    """Leave a stream without reading it to its end, and the connection with it."""
    connection, result = cursor.connection, cursor._result  # noqa: SLF001
    if result is not None:
        result.unbuffered_active = False
        result.connection = None
    cursor.connection = None  # as its own `close` does
    if connection is not None:
        connection._force_close()  # noqa: SLF001


def _tls(options: Mapping[str, str], mode: str) -> ssl.SSLContext | None:
    if mode in ("", "PREFERRED", "DISABLED") and "ssl_ca" not in options:
        return None
    context = ssl.create_default_context(cafile=options.get("ssl_ca"))
    if mode in ("REQUIRED", "PREFERRED"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if mode == "VERIFY_CA":
        context.check_hostname = False
    if "ssl_cert" in options:
        context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    return context


def rows(connection: pymysql.Connection[Any], query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a small result; whatever is not NULL comes as text."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return [
            tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row)
            for row in cursor.fetchall()
        ]


def failure(label: str, error: Exception, table: str = "") -> SourceError:
    """What may be told of a driver's error: its own text holds values, and names of hosts and users."""
    what = f"table {table!r} of {label}" if table else label
    code = error.args[0] if isinstance(error, pymysql.Error) and error.args else 0
    for codes, message, hint in _LASTING:
        if code in codes and (table or codes != _NO_PRIVILEGE):
            return SourceError(message.format(label=label, what=what), hint)
    if isinstance(error, TlsRefusedError | ssl.SSLError):
        return SourceError(f"{label} can't be reached by TLS as the URL asks for it", _TLS_HINT)
    for codes, message, hint in _PASSING:
        if code in codes:
            return SourceUnavailableError(message.format(label=label, what=what), hint)
    if isinstance(error, OSError | pymysql.err.InterfaceError):
        return SourceUnavailableError(f"{what} can't be reached", _UNREACHABLE_HINT)
    return SourceError(
        f"{what} can't be read ({f'error {code}' if code else type(error).__name__})",
        "check that the mysql client can read it as the same user",
    )
