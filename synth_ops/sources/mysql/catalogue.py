"""What `information_schema` says of a database, and what the user's grants allow."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymysql

from synth_ops.mysql_server import rows

Path = tuple[str, str]
_SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
_TABLES = """
SELECT TABLE_SCHEMA, TABLE_NAME, ENGINE, IFNULL(TABLE_ROWS, 0), TABLE_COMMENT FROM information_schema.TABLES
WHERE TABLE_TYPE = 'BASE TABLE' AND {scope}
  AND TABLE_NAME NOT REGEXP '^synth_ops_(environment|generation|(live_)?[0-9]+_[0-9]+)$'
ORDER BY TABLE_SCHEMA, CREATE_TIME, TABLE_NAME
"""
_COLUMNS = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA,
       IFNULL(GENERATION_EXPRESSION, ''), IFNULL(CHARACTER_SET_NAME, ''), IFNULL(COLLATION_NAME, ''), COLUMN_COMMENT
FROM information_schema.COLUMNS WHERE {scope} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION
"""
_INDEXES = """
SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, INDEX_TYPE
FROM information_schema.STATISTICS WHERE {scope} ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX
"""
_REFERENCES = """
SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
       k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
  ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND r.TABLE_NAME = k.TABLE_NAME
WHERE k.REFERENCED_TABLE_NAME IS NOT NULL AND {scope}
ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""
_CHECKS_OF_MARIADB = """
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE {scope} ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME
"""
_CHECKS_OF_MYSQL = """
SELECT c.CONSTRAINT_SCHEMA, t.TABLE_NAME, c.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS c
JOIN information_schema.TABLE_CONSTRAINTS t
  ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME
WHERE {scope} ORDER BY c.CONSTRAINT_SCHEMA, t.TABLE_NAME, c.CONSTRAINT_NAME
"""
_HARMLESS = {
    "USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "PROCESS", "REPLICATION CLIENT", "REPLICATION SLAVE",
    "LOCK TABLES", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR", "SHOW CREATE ROUTINE",
}  # fmt: skip
_GRANT = re.compile(
    r"GRANT (.+?) ON (?:TABLE |FUNCTION |PROCEDURE |PACKAGE |PACKAGE BODY )?"
    r"(\*|`(?:[^`]|``)*`)\.(\*|`(?:[^`]|``)*`) TO ",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueTable:
    """One row of TABLES."""

    schema: str
    name: str
    engine: str
    estimated_rows: int
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueColumn:
    """One row of COLUMNS."""

    name: str
    data_type: str
    column_type: str
    nullable: str
    default: str | None
    extra: str
    expression: str
    character_set: str
    collation: str
    comment: str

    @property
    def generated(self) -> bool:
        """Whether the server computes it from other columns."""
        return bool(self.expression) and "GENERATED" in self.extra.upper().replace("DEFAULT_GENERATED", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueIndex:
    """One index: its columns in order, None for an expression, and how much of each is indexed (None: all)."""

    name: str
    unique: bool
    kind: str
    columns: tuple[str | None, ...]
    parts: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueReference:
    """One foreign key."""

    columns: tuple[str, ...]
    parent: Path
    parent_columns: tuple[str, ...]
    clauses: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All tables of the database, or of all databases where the URL names none."""

    tables: Sequence[CatalogueTable]
    columns: Mapping[Path, Sequence[CatalogueColumn]]
    indexes: Mapping[Path, Sequence[CatalogueIndex]]
    references: Mapping[Path, Sequence[CatalogueReference]]
    checks: Mapping[Path, Sequence[str]]


def read_catalogue(connection: pymysql.Connection[Any], database: str, *, mariadb: bool) -> Catalogue:
    """Read it.

    Args:
        database: Empty for all but the server's own.
    """

    def ask(query: str, schema: str) -> list[tuple[Any, ...]]:
        if database:
            return rows(connection, query.format(scope=f"{schema} = %s"), [database])
        return rows(connection, query.format(scope=f"{schema} NOT IN %s"), [_SYSTEM])

    tables = [
        CatalogueTable(**dict(zip(CatalogueTable.__slots__, row, strict=True))) for row in ask(_TABLES, "TABLE_SCHEMA")
    ]
    columns = defaultdict(list)
    for schema, table, *column in ask(_COLUMNS, "TABLE_SCHEMA"):
        columns[schema, table].append(CatalogueColumn(**dict(zip(CatalogueColumn.__slots__, column, strict=True))))
    checks = defaultdict(list)
    query, schema_of = (
        (_CHECKS_OF_MARIADB, "CONSTRAINT_SCHEMA") if mariadb else (_CHECKS_OF_MYSQL, "c.CONSTRAINT_SCHEMA")
    )
    for schema, table, clause in ask(query, schema_of):
        checks[schema, table].append(clause)
    return Catalogue(
        tables=tables,
        columns=columns,
        indexes=_indexes(ask(_INDEXES, "TABLE_SCHEMA")),
        references=_references(ask(_REFERENCES, "k.TABLE_SCHEMA")),
        checks=checks,
    )


def write_privilege(connection: pymysql.Connection[Any], database: str) -> str:
    """What the user could write, in words; empty when its grants prove that it can write nothing there."""
    for (grant,) in rows(connection, "SHOW GRANTS"):
        found = _GRANT.match(grant)
        if not found:
            if not re.match(r"(SET DEFAULT ROLE|GRANT PROXY|REVOKE)", grant):
                return "has a role whose privileges were not looked into"
            continue
        privileges = {each.strip() for each in re.sub(r"\([^)]*\)", "", found[1]).upper().split(",")}
        more = sorted(privileges - _HARMLESS)
        if more and _covers(found[2], database, pattern=found[3] == "*"):
            verb = "has all privileges" if "ALL PRIVILEGES" in more else f"may {more[0].lower()}"
            return f"{verb} on {'everything' if found[2] == '*' else 'the database'}"
    return ""


def _covers(scope: str, database: str, *, pattern: bool) -> bool:
    r"""Whether a grant's scope holds a database; letters of either case are the same, as they are on some servers.

    >>> _covers("`sh%`", "shop", pattern=True), _covers("`my_shop`", "my.shop", pattern=True)
    (True, True)
    >>> _covers(r"`my\_shop`", "my.shop", pattern=True), _covers("`my_shop`", "my.shop", pattern=False)
    (False, False)

    Args:
        scope: `*`, or a name in its quotes.
        database: Empty for all of the server's.
        pattern: Whether `%` and `_` stand for others, as they do in a grant on all tables of a database.
    """
    if scope == "*" or not database:
        return True
    name = scope[1:-1].replace("``", "`")
    words = {"%": ".*", "_": "."} if pattern else {}
    parts = re.findall(r"\\[%_\\]|.", name, re.DOTALL)
    meant = "".join(words.get(part, re.escape(part[1:] if len(part) > 1 else part)) for part in parts)
    return bool(re.fullmatch(meant, database, re.IGNORECASE | re.DOTALL))


def _indexes(found: Sequence[tuple[Any, ...]]) -> Mapping[Path, list[CatalogueIndex]]:
    grouped: dict[tuple[str, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for schema, table, name, *rest in found:
        grouped[schema, table, name].append(tuple(rest))
    indexes = defaultdict(list)
    for (schema, table, name), parts in grouped.items():
        indexes[schema, table].append(
            CatalogueIndex(
                name=name,
                unique=not int(parts[0][0]),
                kind=parts[0][3],
                columns=tuple(part[1] for part in parts),
                parts=tuple(None if part[2] is None else int(part[2]) for part in parts),
            )
        )
    return indexes


def _references(found: Sequence[tuple[Any, ...]]) -> Mapping[Path, list[CatalogueReference]]:
    grouped: dict[tuple[str, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for schema, table, name, *rest in found:
        grouped[schema, table, name].append(tuple(rest))
    references = defaultdict(list)
    for (schema, table, _), parts in grouped.items():
        _, parent_schema, parent, _, *rules = parts[0]
        actions = [
            f"ON {when} {rule}"
            for when, rule in zip(("UPDATE", "DELETE"), rules, strict=True)
            if rule not in ("RESTRICT", "NO ACTION")  # which mean the same, and are the default
        ]
        references[schema, table].append(
            CatalogueReference(
                columns=tuple(part[0] for part in parts),
                parent=(parent_schema, parent),
                parent_columns=tuple(part[3] for part in parts),
                clauses=" ".join(actions),
            )
        )
    return references
