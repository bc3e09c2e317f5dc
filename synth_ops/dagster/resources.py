"""Databases and the store as Dagster resources; others' resources are taken as well.

No `from __future__ import annotations` here: Dagster reads the annotations of a resource.
"""

from typing import Any

import dagster as dg
from pydantic import Field

from synth_ops.errors import ConfigError
from synth_ops.location import compose_url

_HOSTS = ("host", "hostname", "server")
_USERS = ("user", "username", "login")
_DATABASES = ("database", "dbname", "db_name", "db")


class SynthOpsDatabase(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A source or target, by its URL, in place of the recipe's: `SynthOpsDatabase(url=dg.EnvVar("WAREHOUSE_URL"))`."""

    url: str = Field(description="Such as postgresql://user:password@host/database; it is never shown or stored.")


class SynthOpsStore(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where artifacts are kept."""

    root: str = Field(description="Any fsspec path that every worker reaches, such as s3://bucket/prefix.")


def url_of(resource: Any, key: str) -> str:
    """The URL that a resource stands for; it may hold a password.

    Taken are ours, dagster-duckdb's `DuckDBResource`, and whatever has a `url` or the parts of a PostgreSQL or MySQL
    server by their usual names (`host`, `port`, `user`, `password`, `dbname`).

    Raises:
        ConfigError: It is none of these.
    """
    for name in ("url", "connection_string", "connection_url"):
        if isinstance(found := getattr(resource, name, None), str):
            return found
    database = _first(resource, _DATABASES)
    if host := _first(resource, _HOSTS):
        scheme = "mysql" if "mysql" in type(resource).__name__.lower() else "postgresql"
        port = getattr(resource, "port", None)
        return compose_url(
            scheme,
            host=host,
            port=int(port) if port else None,
            user=_first(resource, _USERS),
            password=_first(resource, ("password",)),
            database=database,
        )
    if database and "duckdb" in type(resource).__name__.lower():
        return compose_url("duckdb", database=database)
    raise ConfigError(
        f"resource {key!r} is a {type(resource).__name__}, which is no source or target",
        "use SynthOpsDatabase, DuckDBResource, or a resource with a url, or a host and a database",
    )


def _first(resource: Any, names: tuple[str, ...]) -> str:
    found = (getattr(resource, name, None) for name in names)
    return next((str(value) for value in found if value and isinstance(value, str)), "")
