"""Airflow's connections as the URLs of sources and targets, looked up on the worker, when a task runs."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from synth_ops.errors import ConfigError
from synth_ops.location import compose_url
from synth_ops.registry import PluginKind, names
from synth_ops.server_url import plugin_of

_SERVERS = ("postgresql", "mysql")
_URL_TYPES = ("adbc", "generic")
_DRIVER = "adbc_driver_"


def connection_url(conn_id: str, kind: PluginKind) -> str:
    """The URL that a connection stands for; it may hold a password.

    A connection's type is the URL's scheme. `generic` and `adbc` hold a whole URL instead, as their host or as `url` or
    `uri` in their extra; an ADBC driver's name says of what kind a plain path is.

    Raises:
        ConfigError: There is no such connection, or its type is none of a source or target.
    """
    try:
        connection: Any = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigError(
            f"there is no connection {conn_id!r}", f"add it: airflow connections add {conn_id} --conn-uri ..."
        ) from None
    kind_of = str(connection.conn_type or "").lower()
    known = names(kind)
    if kind_of in _URL_TYPES:
        return _whole_url(connection, known)
    scheme = plugin_of(kind_of)
    if scheme not in {*known, *_SERVERS}:
        raise _unfit(conn_id, kind_of, known)
    if scheme in _SERVERS:
        options = {key: str(value) for key, value in _extra(connection).items() if isinstance(value, str | int)}
        return compose_url(
            scheme,
            host=connection.host or "",
            port=connection.port,
            user=connection.login or "",
            password=connection.password or "",
            database=connection.schema or "",
            options=options,
        )
    return compose_url(scheme, database=connection.host or connection.schema or str(_extra(connection).get("path", "")))


def _whole_url(connection: Any, known: list[str]) -> str:
    extra = _extra(connection)
    arguments = extra.get("db_kwargs") or {}
    url = str(extra.get("url") or extra.get("uri") or arguments.get("uri") or connection.host or "")
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme = str(extra.get("driver", "")).rpartition(_DRIVER)[2]
        if scheme not in known:
            raise _unfit(connection.conn_id, f"{connection.conn_type}, without a URL of a kind that is known,", known)
        return compose_url(scheme, database=url.removeprefix("file:") or str(arguments.get("path", "")))
    scheme = plugin_of(scheme)
    if connection.login and "@" not in rest:
        login = compose_url(scheme, user=connection.login, password=connection.password or "")
        rest = f"{login.partition('://')[2].removesuffix('/')}{rest}"
    return f"{scheme}://{rest}"


def _extra(connection: Any) -> dict[str, Any]:
    return dict(connection.extra_dejson)


def _unfit(conn_id: str, type_of: str, known: list[str]) -> ConfigError:
    return ConfigError(
        f"connection {conn_id!r} is of type {type_of or 'nothing'}, which can't be read or written here",
        f"types: {', '.join(sorted({*known, *_SERVERS}))}, or generic or adbc with a URL",
    )
