"""Connections to a PostgreSQL server, for the source and for the target, and what may be told of its errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from synth_ops.location import Location

_DEFAULTS: Mapping[str, str] = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "6",
    "application_name": "synth_ops",
}
_ALWAYS: Mapping[str, str] = {"client_encoding": "utf8"}  # rows are sent and read as such


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What may be told of a driver's error: never its own text, which holds values, names of hosts and of roles.

    Attributes:
        message: What stands behind the name of the place: `refuses the user or the password`.
        hint: The way out.
        passing: Whether it may be gone later.
    """

    message: str
    hint: str
    passing: bool = False


_REFUSED = Trouble(
    message="refuses the user or the password",
    hint="check both in the URL (special characters are percent-encoded), or PGPASSWORD and ~/.pgpass",
)
_NOT_ADMITTED = Trouble(
    message="does not admit this user from here", hint="check the user, and the server's pg_hba.conf"
)
_NO_DATABASE = Trouble(message="does not exist", hint="check the database's name in the URL")
_NO_TLS = Trouble(
    message="can't be reached by TLS as the URL asks for it",
    hint="check `sslmode` and `sslrootcert` in the URL, and whether the server speaks TLS",
)
_NO_HOST = Trouble(message="has no host of that name", hint="check the URL, and the network's name service")
_UNREACHABLE = Trouble(
    message="can't be reached", hint="check host, port and socket in the URL, and whether the server runs", passing=True
)
FULL = Trouble(message="takes no more connections now", hint="try again later", passing=True)
_STARTING = Trouble(message="is starting or stopping", hint="try again in a moment", passing=True)
_LOST = Trouble(
    message="ended the connection in the middle of the work", hint="try again when the server runs", passing=True
)
_BUSY = Trouble(message="kept a lock for too long", hint="try again when the schema is not being changed", passing=True)
_NO_PRIVILEGE = Trouble(message="refuses this role", hint="grant it what it lacks")
_OUT_OF_SPACE = Trouble(message="is out of disk space or memory", hint="free some, then try again", passing=True)

# the longest code that an SQLSTATE begins with decides
_BY_STATE = {
    "08": _LOST,
    "25P03": _LOST,
    "28": _NOT_ADMITTED,
    "28P01": _REFUSED,
    "3D000": _NO_DATABASE,
    "40": Trouble(message="was too busy with others", hint="try again", passing=True),
    "42501": _NO_PRIVILEGE,
    "53": _OUT_OF_SPACE,
    "53300": FULL,
    "55P03": _BUSY,
    "57P": _LOST,
    "57P03": _STARTING,
    "57014": Trouble(message="cancelled the work", hint="raise the server's timeouts, or try again", passing=True),
}
# libpq gives no code where a connection fails, and what the server says about it comes in its own language
_BY_TEXT = (
    (r"password authentication failed|no password supplied|fe_sendauth", _REFUSED),
    (r"no pg_hba\.conf entry|role .* (does not exist|is not permitted)|peer authentication|ident auth", _NOT_ADMITTED),
    (r"database .* does not exist", _NO_DATABASE),
    (r"\bSSL\b|certificate|\bTLS\b|sslrootcert|sslmode|GSSAPI", _NO_TLS),
    (r"could not translate host|resolve host|name or service not known|nodename nor servname", _NO_HOST),
    (r"too many (clients|connections)|connection slots|connection limit", FULL),
    (r"starting up|shutting down|recovery mode|not yet accepting", _STARTING),
    (r"server closed the connection|terminating connection|connection (already|is) closed|SSL SYSCALL|EOF", _LOST),
    (r"connection|timeout|timed out|no route|unreachable|no such file|refused", _UNREACHABLE),
)


def conninfo(location: Location, **options: str) -> str:
    """What libpq connects with: the URL as the user wrote it, completed where it says nothing; text is UTF-8 always."""
    url = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", location.url)
    written = {name: value for name, value in conninfo_to_dict(url).items() if value is not None}
    return make_conninfo("", **{**_DEFAULTS, **written, **options, **_ALWAYS})


def sqlalchemy_url(location: Location, schemas: Iterable[str]) -> str:
    """The same for SQLAlchemy, with psycopg; it holds the password.

    Args:
        schemas: Where tables are looked for whose schema is not named.
    """
    known = conninfo_to_dict(conninfo(location))
    path = ",".join('"' + schema.replace('"', '""') + '"' for schema in schemas)
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
    options = f"{known.get('options') or ''} -c search_path={escaped}".strip()
    return f"postgresql+psycopg://?{urlencode({**known, 'options': options})}"


def connect(location: Location, **options: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that commits each statement, unless a transaction is begun.

    Raises:
        psycopg.Error: See `trouble`; its text must not be shown.
    """
    connection = psycopg.connect(conninfo(location, **options), autocommit=True)
    connection.prepare_threshold = None  # a pooler may hand each transaction another server process
    return connection


def server_identity(connection: psycopg.Connection[Any]) -> str:
    """Which database this is, by whatever name or replica it was reached: cluster and database as they know themselves.

    Raises:
        psycopg.Error: The role may not ask.
    """
    row = connection.execute(
        "SELECT system_identifier, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) "
        "FROM pg_catalog.pg_control_system()"
    ).fetchone()
    assert row is not None  # noqa: S101  an aggregate-free SELECT of one function has one row
    return f"postgresql:{row[0]}:{row[1]}"


def trouble(error: Exception) -> Trouble | None:
    """What may be told of an error of psycopg's or ADBC's; None for one that says nothing of the server's state."""
    state = getattr(error, "sqlstate", None) or ""
    for length in (5, 3, 2):
        if state[:length] in _BY_STATE and len(state) >= length:
            return _BY_STATE[state[:length]]
    if state and state != "00000":
        return None
    text = str(error)
    if "ERROR:" in text:  # a statement's error, which repeats values: they say nothing about the connection
        return None
    return next((found for pattern, found in _BY_TEXT if re.search(pattern, text, re.IGNORECASE)), None)
