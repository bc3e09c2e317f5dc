"""What the target's users gave its live tables: it comes along as far as the new rows allow; what is lost is told."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from synth_ops import sql
from synth_ops.mysql_server import Connection, is_mariadb, rows
from synth_ops.targets.mysql.declarations import attempt
from synth_ops.targets.mysql.dependents import references
from synth_ops.targets.mysql.history import is_home

logger = logging.getLogger(__name__)

_WORDS = {"CHECK": "CHECK", "UNIQUE KEY": "unique key"}
_QUOTED = r'"(?:[^"]|"")*"'
_PART = re.compile(
    rf"  (?:(?P<column>{_QUOTED}) .*|(?P<kind>(?:UNIQUE |FULLTEXT |SPATIAL )?KEY) (?P<key>{_QUOTED}) (?P<rest>.*?)"
    rf"|CONSTRAINT (?P<check>{_QUOTED}) CHECK (?P<condition>.*?)),?"
)


def carry_over(connection: Connection, table: str, home: str, homes: Mapping[str, str]) -> None:
    """Make the live table's keys, indexes and CHECKs for the new one, and list what else only the live one has.

    Args:
        home: What the new table is called now.
        homes: The same of all new tables, by their names.
    """
    live, new = _parts(connection, table), _parts(connection, home)
    own = {what: name for what, name in live.items() if what not in new}
    by_table = is_mariadb(connection)  # in MySQL, the name of a CHECK is the live one's alone
    changes = {
        f"the live table's {_WORDS.get(kind, 'index')} {name}": f"ADD {kind} {sql.quote(name)} {rest}"
        if kind.endswith("KEY")
        else f"ADD {f'CONSTRAINT {sql.quote(name)} ' if by_table else ''}CHECK {rest}"
        for (kind, rest), name in own.items()
        if kind != "COLUMN"
    }
    known = [each for each in references(connection) if each.is_here]
    there = {(each.columns, each.parent) for each in known if each.table == home}
    for each in known:
        parent = homes.get(each.parent, each.parent)
        if each.table == table and not is_home(each.parent) and (each.columns, parent) not in there:
            changes[f"the live table's foreign key {each.name}"] = each.add_sql(parent)
    attempt(connection, table, home, changes)
    lost = [name for (kind, _), name in own.items() if kind == "COLUMN"]
    if lost:
        logger.warning("table %s: only the live table has these columns, which go with it: %s", table, ", ".join(lost))


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
