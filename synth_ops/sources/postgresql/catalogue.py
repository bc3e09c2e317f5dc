"""What PostgreSQL's system catalogues say of a database: rows as they are, read in a handful of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from synth_ops.native import Index, NativeType

Rows = list[tuple[Any, ...]]
_TABLES = r"""
SELECT c.oid, n.nspname, c.relname, greatest(c.reltuples, 0)::int8, coalesce(obj_description(c.oid, 'pg_class'), ''),
       c.relkind = 'p', has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^(pg_.*|synth_ops(_\d+_\d+)?)$'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname <> 'public', n.nspname, c.oid
"""
_COLUMNS = """
SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, a.attndims, a.attnotnull, a.attidentity,
       a.attgenerated,
       format_type(a.atttypid, a.atttypmod)
         || CASE WHEN a.attcollation NOT IN (0, t.typcollation)
                 THEN (SELECT format(' COLLATE %%I.%%I', n.nspname, l.collname) FROM pg_collation l
                       JOIN pg_namespace n ON n.oid = l.collnamespace WHERE l.oid = a.attcollation) ELSE '' END,
       coalesce(pg_get_expr(d.adbin, d.adrelid), ''), coalesce(col_description(a.attrelid, a.attnum), '')
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY (%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
"""
_TYPES = """
SELECT t.oid, n.nspname, t.typname, t.typtype, t.typbasetype, t.typtypmod, t.typndims, t.typnotnull,
       CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END,
       ARRAY (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)::text[],
       ARRAY (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k
              WHERE k.contypid = t.oid AND k.contype = 'c' ORDER BY k.conname),
       format_type(t.typbasetype, t.typtypmod), coalesce(t.typdefault, ''),
       CASE t.typtype WHEN 'c' THEN (
              SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                                ORDER BY a.attnum)
              FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)
            WHEN 'r' THEN (
              SELECT 'subtype = ' || format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
            ELSE '' END,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace ORDER BY t.oid
"""
_CONSTRAINTS = """
SELECT k.conrelid, k.contype, k.conkey, k.confrelid, k.confkey, k.confupdtype, k.confdeltype, k.confmatchtype,
       k.condeferrable, k.condeferred, coalesce(pg_get_expr(k.conbin, k.conrelid), '')
FROM pg_constraint k WHERE k.conrelid = ANY (%s::oid[]) AND k.contype IN ('p', 'f', 'c', 'x') ORDER BY k.conrelid, k.oid
"""
_INDEXES = """
SELECT i.indrelid, c.relname, i.indisunique, i.indkey::int2[], i.indnkeyatts, i.indpred IS NOT NULL,
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')),
       substr(pg_get_indexdef(i.indexrelid), strpos(pg_get_indexdef(i.indexrelid), format(' USING %%I ', m.amname)) + 1)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
WHERE i.indrelid = ANY (%s::oid[]) AND i.indisvalid ORDER BY i.indrelid, i.indexrelid
"""
_WRITES = """
SELECT CASE
  WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 'is a superuser'
  WHEN count(*) > 0 THEN format('may write to %%s of %%s tables', count(*), cardinality(%(tables)s::oid[]))
  WHEN (SELECT bool_or(has_schema_privilege(c.relnamespace, 'CREATE')) FROM pg_class c
        WHERE c.oid = ANY (%(tables)s::oid[])) THEN 'may create tables in a schema that is read'
  WHEN has_database_privilege(current_database(), 'CREATE') THEN 'may create schemas'
  ELSE '' END
FROM unnest(%(tables)s::oid[]) AS t(oid)
WHERE has_table_privilege(t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER')
   OR has_any_column_privilege(t.oid, 'INSERT, UPDATE')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueTable:
    """One row of pg_class."""

    oid: int
    schema: str
    name: str
    estimated_rows: int
    comment: str
    partitioned: bool
    readable: bool
    filtered: bool
    """Whether row-level security hides rows from this role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueColumn:
    """One row of pg_attribute."""

    number: int
    name: str
    type_oid: int
    modifier: int
    dimensions: int
    required: bool
    identity: str
    generated: str
    native: str
    default: str
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueType:
    """One row of pg_type."""

    oid: int
    schema: str
    name: str
    sort: str
    base: int
    modifier: int
    dimensions: int
    required: bool
    element: int
    labels: tuple[str, ...]
    constraints: tuple[str, ...]
    base_native: str
    default: str
    body: str
    of_extension: bool

    @property
    def path(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name

    def native_type(self) -> NativeType | None:
        """How to make it again; None for what PostgreSQL or an extension brings."""
        if self.schema in ("pg_catalog", "information_schema") or self.of_extension or self.element:
            return None
        if self.sort == "e":
            labels = ", ".join("'" + label.replace("'", "''") + "'" for label in self.labels)
            return NativeType(path=self.path, definition=f"ENUM ({labels})")
        if self.sort == "d":
            parts = [self.base_native, *([f"DEFAULT {self.default}"] if self.default else [])]
            parts += [*(["NOT NULL"] if self.required else []), *self.constraints]
            return NativeType(path=self.path, domain=True, definition=" ".join(parts))
        if self.sort in ("c", "r"):
            return NativeType(path=self.path, definition=f"{'RANGE ' if self.sort == 'r' else ''}({self.body})")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueConstraint:
    """One row of pg_constraint; the kinds are PostgreSQL's letters: p, f, c, x."""

    kind: str
    columns: tuple[int, ...]
    parent: int
    parent_columns: tuple[int, ...]
    clauses: str
    expression: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueIndex:
    """One row of pg_index.

    Attributes:
        columns: The key columns' numbers; 0 for an expression.
        declared: Whether it belongs to a constraint.
        index: Its name and definition.
    """

    columns: tuple[int, ...]
    partial: bool
    declared: bool
    index: Index


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All of a database's own tables and what belongs to them, by the tables' and types' numbers (oids)."""

    tables: Sequence[CatalogueTable]
    columns: Mapping[int, Sequence[CatalogueColumn]]
    types: Mapping[int, CatalogueType]
    constraints: Mapping[int, Sequence[CatalogueConstraint]]
    indexes: Mapping[int, Sequence[CatalogueIndex]]


def read_catalogue(connection: psycopg.Connection[Any]) -> Catalogue:
    """Read it in the connection's transaction, whose `search_path` must be empty, so that all names are qualified."""

    def rows(query: str, *parameters: object) -> Rows:
        return connection.execute(query, parameters or None).fetchall()

    names = CatalogueTable.__slots__
    tables = [CatalogueTable(**dict(zip(names, row, strict=True))) for row in rows(_TABLES)]
    oids = [table.oid for table in tables]
    columns = defaultdict(list)
    for table, *column in rows(_COLUMNS, oids):
        columns[table].append(CatalogueColumn(**dict(zip(CatalogueColumn.__slots__, column, strict=True))))
    types = {row[0]: _type(row) for row in rows(_TYPES)}
    constraints = defaultdict(list)
    for table, *constraint in rows(_CONSTRAINTS, oids):
        constraints[table].append(_constraint(constraint))
    indexes = defaultdict(list)
    for table, name, unique, keys, count, partial, declared, definition in rows(_INDEXES, oids):
        indexes[table].append(
            CatalogueIndex(
                columns=tuple(keys[:count]),
                partial=partial,
                declared=declared,
                index=Index(name=name, unique=unique, definition=definition),
            )
        )
    return Catalogue(tables=tables, columns=columns, types=types, constraints=constraints, indexes=indexes)


def write_privilege(connection: psycopg.Connection[Any], tables: Sequence[int]) -> str:
    """What the role could write, in words; empty when it is proven that it can write nothing there."""
    row = connection.execute(_WRITES, {"tables": list(tables)}).fetchone()
    return str(row[0]) if row else ""


def _type(row: Sequence[Any]) -> CatalogueType:
    values = dict(zip(CatalogueType.__slots__, row, strict=True))
    return CatalogueType(**{**values, "labels": tuple(values["labels"]), "constraints": tuple(values["constraints"])})


_ACTIONS = {"c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT", "r": "RESTRICT"}


def _constraint(row: Sequence[Any]) -> CatalogueConstraint:
    kind, columns, parent, parent_columns, on_update, on_delete, match, deferrable, deferred, expression = row
    clauses = [
        "MATCH FULL" if match == "f" else "",
        f"ON UPDATE {_ACTIONS[on_update]}" if on_update in _ACTIONS else "",
        f"ON DELETE {_ACTIONS[on_delete]}" if on_delete in _ACTIONS else "",
        "DEFERRABLE" if deferrable else "",
        "INITIALLY DEFERRED" if deferred else "",
    ]
    return CatalogueConstraint(
        kind=kind,
        columns=tuple(columns or ()),
        parent=parent,
        parent_columns=tuple(parent_columns or ()),
        clauses=" ".join(filter(None, clauses)),
        expression=expression,
    )
