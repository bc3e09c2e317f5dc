"""What keeps a production database from being a target: a marker that somebody put there by hand, once."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from synth_ops import sql
from synth_ops.errors import PublishRefusedError
from synth_ops.targets import publication
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place
from synth_ops.targets.postgresql.history import create

_MOST_BYTES = 63
_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()), oid::text, datname
FROM pg_database WHERE datname = current_database()
"""
_MISSING_PRIVILEGES = """
SELECT format('CREATE ON DATABASE %%I', current_database())
WHERE NOT has_database_privilege(current_database(), 'CREATE')
UNION ALL
SELECT format('CREATE, USAGE ON SCHEMA %%I', nspname) FROM pg_namespace
WHERE nspname = ANY(%(schemas)s) AND NOT has_schema_privilege(oid, 'CREATE')
UNION ALL
SELECT DISTINCT quote_ident(pg_get_userbyid(relowner)) FROM pg_class
WHERE oid = ANY(%(tables)s::oid[]) AND NOT pg_has_role(relowner, 'USAGE')
"""


def identity(connection: Connection) -> tuple[str, str]:
    """What tells databases apart through any host name and on any replica: the cluster's identifier, the database's."""
    cluster, database, _ = connection.execute(_IDENTITY).fetchall()[0]
    return cluster, database


def mark(connection: Connection, label: str, *, environment: str, confirm: str) -> None:
    """Say, inside the database itself, that it is no production database.

    Args:
        environment: Its name: `staging`, `test`, ...
        confirm: The database's name, as the user typed it.

    Raises:
        PublishRefusedError: The environment sounds like production, or another database was meant.
    """
    publication.refuse_production(environment)
    cluster, oid, database = connection.execute(_IDENTITY).fetchall()[0]
    if confirm != database:
        raise PublishRefusedError(
            f"the database at {label} is not called {confirm!r}", "type the name of the database to mark it"
        )
    create(connection)
    with connection.transaction():
        connection.execute("DELETE FROM synth_ops.environment")
        connection.execute(
            "INSERT INTO synth_ops.environment (name, cluster, database) VALUES (%s, %s, %s)",
            (environment, cluster, oid),
        )


def refuse_denied(connection: Connection, label: str, deny: Iterable[str]) -> None:
    """Refuse a database or a host whose name the recipe denies.

    Raises:
        PublishRefusedError: It does.
    """
    publication.refuse_denied((connection.info.dbname, connection.info.host, connection.info.hostaddr), label, deny)


def refuse_unmarked(connection: Connection, label: str, deny: Iterable[str]) -> None:
    """Refuse a database without a marker of its own, or one that the recipe denies.

    Raises:
        PublishRefusedError: It is; a marker that came with a dump, a template or a replica is none.
    """
    refuse_denied(connection, label, deny)
    rows = []
    if connection.execute("SELECT to_regclass('synth_ops.environment')").fetchall()[0][0]:
        rows = connection.execute("SELECT cluster, database FROM synth_ops.environment").fetchall()
    hint = "if it may be replaced every night, run once: synth-ops target init RECIPE --environment staging"
    if len(rows) != 1:
        raise PublishRefusedError(f"{label} is not marked as a non-production database", hint)
    if rows[0] != identity(connection):
        raise PublishRefusedError(f"{label} carries the marker of another database, which it was copied from", hint)


def refuse_missing_privileges(
    connection: Connection, label: str, schemas: Collection[str], tables: Collection[int]
) -> None:
    """Look, before any work, for everything that the role may not do.

    Args:
        schemas: Those that the tables go live in.
        tables: The oids of the live tables that are to be replaced.

    Raises:
        PublishRefusedError: With all that is missing, as GRANT statements.
    """
    found = connection.execute(_MISSING_PRIVILEGES, {"schemas": list(schemas), "tables": list(tables)}).fetchall()
    if found:
        user = sql.quote(connection.info.user)
        grants = "; ".join(f"GRANT {what} TO {user}" for (what,) in found)
        raise PublishRefusedError(f"the user of {label} lacks privileges", f"as the owner, run: {grants}")


def refuse_long_names(places: Iterable[Place], columns: Iterable[str]) -> None:
    """Refuse names that PostgreSQL would cut, so that two of them might become one.

    Raises:
        PublishRefusedError: With all of them.
    """
    names = {name for place in places for name in place} | set(columns)
    long = sorted(name for name in names if len(name.encode("utf-8", "surrogatepass")) > _MOST_BYTES)
    if long:
        shown = ", ".join(repr(name) for name in long)
        raise PublishRefusedError(
            f"names longer than PostgreSQL's {_MOST_BYTES} bytes: {shown}", "rename them in the source, or exclude them"
        )
