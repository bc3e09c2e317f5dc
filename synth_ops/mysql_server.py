"""Connections to a MySQL or MariaDB server, for the source and the target: each tells of errors in its own words."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql
import pymysql.err
from pymysql.constants import CR, ER

from synth_ops.errors import RecipeError
from synth_ops.location import Location
from synth_ops.server_url import ServerUrl, parse_server_url

Connection = Any
"""PyMySQL's, whose stubs know no rows."""

REFUSED = (ER.ACCESS_DENIED_ERROR, 1698, ER.HOST_NOT_PRIVILEGED, ER.HOST_IS_BLOCKED)
"""The user or the password is wrong, or may not come from here."""
NO_DATABASE = (ER.BAD_DB_ERROR, ER.DBACCESS_DENIED_ERROR)
"""There is none of that name, or not for this user."""
NO_PRIVILEGE = (
    ER.TABLEACCESS_DENIED_ERROR,
    ER.COLUMNACCESS_DENIED_ERROR,
    ER.SPECIFIC_ACCESS_DENIED_ERROR,
    ER.PROCACCESS_DENIED_ERROR,
)
"""The user may not do this."""
CROWDED = (ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS, ER.OUT_OF_RESOURCES)
"""The server takes no more connections now."""
LOCKED = (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK)
"""What another session's locks make of a statement of ours."""
LOST = (
    CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, ER.SERVER_SHUTDOWN, ER.NORMAL_SHUTDOWN, ER.SHUTDOWN_COMPLETE,
    1927, 4031,  # killed; idle for too long
)  # fmt: skip
"""The server ended the connection."""
UNREACHABLE = (CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR, CR.CR_UNKNOWN_HOST)
"""There is no way to the server."""
FULL = (ER.DISK_FULL, ER.RECORD_FILE_FULL, ER.OUTOFMEMORY, ER.OUT_OF_SORTMEMORY, 3)
"""No room is left on disk or in memory."""

_CONNECT_TIMEOUT_S = 10
_DEFAULT_PORT = 3306
_OPTIONS = ("ssl_ca", "ssl_cert", "ssl_key", "ssl_mode", "charset", "connect_timeout")
_SSL_MODES = ("DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")


class TlsRefusedError(Exception):
    """The server has no TLS, or not such as the URL asks for."""


def server_url(location: Location) -> ServerUrl:
    """The location's URL, taken apart.

    Raises:
        RecipeError: It has an option that is not known, or a value that an option can't have.
    """
    url = parse_server_url(location.url)
    if url is None:
        raise RecipeError(f"{location.label} is no URL of a MySQL server", "write mysql://user@host/database")
    if set(url.options) - set(_OPTIONS):
        raise RecipeError(
            f"{location.label}: there is no such option in a URL of a MySQL server",
            f"known: unix_socket, {', '.join(_OPTIONS)}",
        )
    if url.options.get("ssl_mode", "PREFERRED").upper() not in _SSL_MODES:
        raise RecipeError(f"{location.label}: there is no such `ssl_mode`", f"known: {', '.join(_SSL_MODES)}")
    if not url.options.get("connect_timeout", "1").isdecimal():
        raise RecipeError(f"{location.label}: `connect_timeout` is no number", "write whole seconds")
    return url


def connect(url: ServerUrl, **driver: Any) -> Connection:
    """A connection that commits each statement, with the TLS that the URL asks for or none at all.

    Args:
        driver: What else PyMySQL is to do: how values come, and which cursors are made.

    Raises:
        pymysql.Error, TlsRefusedError: Their text must not be shown.
    """
    host, port = url.hosts[0]
    context = _tls(url.options)
    timeout_s = int(url.options.get("connect_timeout", _CONNECT_TIMEOUT_S))
    connection = pymysql.Connection(
        host=None if host.startswith("/") else host or "localhost",
        unix_socket=host if host.startswith("/") else None,
        port=int(port or _DEFAULT_PORT),
        user=url.user or None,
        password=url.password,
        database=url.database or None,
        charset="utf8mb4",
        connect_timeout=timeout_s,
        ssl=context,
        ssl_disabled=_mode(url.options) == "DISABLED" or None,
        autocommit=True,
        defer_connect=True,
        **driver,
    )
    try:
        if host.startswith("/"):
            _connect_locally(connection, host, timeout_s)
        else:
            connection.connect()
    except pymysql.Error as error:
        failed = isinstance(getattr(error, "original_exception", None), ssl.SSLError)
        if failed or code_of(error) == CR.CR_SSL_CONNECTION_ERROR:
            raise TlsRefusedError from None
        raise
    if context is not None and not hasattr(connection._sock, "cipher"):  # noqa: SLF001
        connection.close()
        raise TlsRefusedError
    return connection


def rows(connection: Connection, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a small result; whatever is bytes comes as text."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return [
            tuple(value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in row)
            for row in cursor.fetchall()
        ]


def code_of(error: Exception) -> int:
    """The number that the server or PyMySQL gives an error; 0 where there is none."""
    known = isinstance(error, pymysql.Error) and error.args and isinstance(error.args[0], int)
    return int(error.args[0]) if known else 0


def server_identity(connection: Connection) -> str:
    """The server's own identifier (MySQL) or host, port and data folder (MariaDB has none), and the database.

    The database is the connection's, by the server's own spelling; empty where it has none.
    """
    known = "CONCAT_WS(':', @@hostname, @@port, @@datadir)" if is_mariadb(connection) else "@@server_uuid"
    ((server, database),) = rows(connection, f"SELECT {known}, DATABASE()")
    return f"mysql:{server}:{database or ''}"


def is_mariadb(connection: Connection) -> bool:
    """Whether the server is MariaDB, not MySQL."""
    return "MariaDB" in rows(connection, "SELECT VERSION()")[0][0]


def _mode(options: Mapping[str, str]) -> str:
    return options.get("ssl_mode", "").upper()


def _tls(options: Mapping[str, str]) -> ssl.SSLContext | None:
    mode, given = _mode(options), {"ssl_ca", "ssl_cert"} & set(options)
    if mode == "DISABLED" or (mode in ("", "PREFERRED") and not given):
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca"))
        if mode in ("REQUIRED", "PREFERRED") or (not mode and "ssl_ca" not in options):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if mode == "VERIFY_CA":
            context.check_hostname = False
        if "ssl_cert" in options:
            context.load_cert_chain(options["ssl_cert"], options.get("ssl_key"))
    except OSError:  # no such file, or none with a certificate
        raise TlsRefusedError from None
    return context


def _connect_locally(connection: Connection, path: str, timeout_s: int) -> None:
    """Through a socket of our own: PyMySQL leaves its own open where nobody answers."""
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        local.settimeout(timeout_s)
        try:
            local.connect(path)
        except OSError:
            raise pymysql.err.OperationalError(CR.CR_CONNECTION_ERROR) from None
        connection._secure = True  # noqa: SLF001  as where it makes the socket itself: no one listens in
        connection.connect(local)
    except BaseException:
        local.close()
        raise
