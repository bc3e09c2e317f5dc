"""CHECK constraints that DuckDB can evaluate on a stored table; the others are only counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import duckdb

from synth_ops.metadata import Check, Column
from synth_ops.sql import quote


def usable(checks: Iterable[Check], columns: Sequence[Column]) -> tuple[Check, ...]:
    """Those checks that bind to the columns as they are stored and give a boolean."""
    candidates = tuple(checks)
    if not candidates:
        return ()
    row = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in columns)
    with duckdb.connect() as connection:
        return tuple(check for check in candidates if _binds(connection, check.expression, row))


def _binds(connection: duckdb.DuckDBPyConnection, expression: str, row: str) -> bool:
    try:
        ((kind,),) = connection.execute(f"SELECT typeof(({expression})) FROM (SELECT {row})").fetchall()
    except duckdb.Error:
        return False
    return bool(kind == "BOOLEAN")
