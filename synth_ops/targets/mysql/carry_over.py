"""What the target's users gave its live tables: indexes go with the rows, what else is lost is told."""

from __future__ import annotations

import logging
import re

from synth_ops import sql
from synth_ops.metadata import Table
from synth_ops.mysql_server import Connection, rows
from synth_ops.targets.mysql.declarations import attempt

logger = logging.getLogger(__name__)

_QUOTED = r'"(?:[^"]|"")*"'
_PART = re.compile(
    rf"  (?:(?P<column>{_QUOTED}) .*|(?P<kind>(?:UNIQUE |FULLTEXT |SPATIAL )?KEY) (?P<key>{_QUOTED}) (?P<rest>.*?)"
    rf"|CONSTRAINT (?P<check>{_QUOTED}) CHECK (?P<condition>.*?)),?"
)


def carry_over(connection: Connection, table: Table, home: str) -> None:
    """Make the live table's indexes for the new one, and list what else only the live one has."""
    live, new = _parts(connection, table.name), _parts(connection, home)
    own = {what: name for what, name in live.items() if what not in new}
    indexes = {
        f"the live table's index {name}": f"ADD {kind} {sql.quote(name)} {rest}"
        for (kind, rest), name in own.items()
        if kind.endswith("KEY") and not kind.startswith("UNIQUE")
    }
    attempt(connection, table, home, indexes)
    lost = [f"{kind.lower()} {name}" for (kind, _), name in own.items() if not kind.endswith("KEY") or "UNIQUE" in kind]
    if lost:
        logger.warning("table %s: only the live table has these, which go with it: %s", table.name, ", ".join(lost))


def _parts(connection: Connection, table: str) -> dict[tuple[str, str], str]:
    """Names of a table's columns, indexes and CHECKs, by their kinds and what tells them apart from others."""
    ((_, statement),) = rows(connection, f"SHOW CREATE TABLE {sql.quote(table)}")
    found: dict[tuple[str, str], str] = {}
    for match in map(_PART.fullmatch, statement.splitlines()):
        if match and match["column"]:
            found["COLUMN", match["column"]] = _unquoted(match["column"])
        elif match and match["kind"]:
            found[match["kind"], match["rest"]] = _unquoted(match["key"])
        elif match:
            found["CHECK", match["condition"]] = _unquoted(match["check"])
    return found


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"')
