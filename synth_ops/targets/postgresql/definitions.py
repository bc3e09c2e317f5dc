"""Definitions as PostgreSQL prints them, moved from one schema to another."""

from __future__ import annotations

import re
from collections.abc import Mapping

from synth_ops import sql
from synth_ops.metadata import Table

Place = tuple[str, str]
"""Schema and name of a table."""

_NAME = r'"(?:[^"]|"")*"|[^\W\d][\w$]*'
_TABLE = rf"(?P<schema>{_NAME})\.(?P<table>{_NAME})"
_TOKEN = re.compile(
    rf"'(?:[^']|'')*'|(?P<before>REFERENCES |INTO ){_TABLE}|{_TABLE.replace('<', '<_')}(?!\s*\(|\w)|{_NAME}"
)


def place_of(table: Table) -> Place:
    """Schema and name in the target: the default schema's tables go live in `public`."""
    name = table.path[-1]
    return ("public" if len(table.path) == 1 or table.name == name else table.path[-2]), name


def place_sql(place: Place) -> str:
    """Schema and name, quoted."""
    return f"{sql.quote(place[0])}.{sql.quote(place[1])}"


def relocate(definition: str, homes: Mapping[Place, str]) -> str:
    """Put another schema before the tables that moved; functions, types and texts stay as they are.

    Args:
        definition: Printed by the server under `search_path = pg_catalog`: every table's name has its schema.
        homes: The schema to which a table moved.

    >>> relocate("CREATE INDEX i ON public.t USING btree (lower((a)::text))", {("public", "t"): "stage 1"})
    'CREATE INDEX i ON "stage 1".t USING btree (lower((a)::text))'
    >>> relocate("FOREIGN KEY (a) REFERENCES public.t(id) ON DELETE CASCADE", {("public", "t"): "s"})
    'FOREIGN KEY (a) REFERENCES "s".t(id) ON DELETE CASCADE'
    >>> print(relocate("EXISTS (SELECT 'public.t', public.t('x') FROM public.t)", {("public", "t"): "s"}))
    EXISTS (SELECT 'public.t', public.t('x') FROM "s".t)
    """

    def moved(match: re.Match[str]) -> str:
        schema, table = match["schema"] or match["_schema"], match["table"] or match["_table"]
        home = homes.get((_plain(schema), _plain(table))) if schema else None
        return match[0] if home is None else f"{match['before'] or ''}{sql.quote(home)}.{table}"

    return _TOKEN.sub(moved, definition)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
