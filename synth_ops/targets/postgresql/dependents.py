"""What else in a database depends on its live tables, and would go on to look at the old ones after a swap."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from synth_ops.errors import PublishRefusedError
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place

_DEPENDENTS = """
WITH moved AS (SELECT unnest(%(tables)s::oid[]) AS oid),
owned AS (
    SELECT 'pg_class'::regclass AS classid, oid FROM moved
    UNION ALL SELECT 'pg_type'::regclass, t.oid FROM moved JOIN pg_type t ON t.typrelid = moved.oid
    UNION ALL SELECT 'pg_type'::regclass, t.typarray FROM moved JOIN pg_type t ON t.typrelid = moved.oid
    UNION ALL SELECT 'pg_class'::regclass, s.oid FROM moved
        JOIN pg_depend d ON d.refobjid = moved.oid AND d.refclassid = 'pg_class'::regclass
            AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
        JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
)
SELECT DISTINCT
    CASE WHEN r.ev_class IS NOT NULL AND v.relkind = 'v' THEN 'view'
        WHEN r.ev_class IS NOT NULL AND v.relkind = 'm' THEN 'materialized view'
        WHEN k.contype = 'f' THEN 'foreign key'
        WHEN p.oid IS NOT NULL AND d.refclassid = 'pg_class'::regclass THEN 'function'
        ELSE 'other' END,
    coalesce(v.oid, k.oid, p.oid, d.objid),
    coalesce(vn.nspname, kn.nspname, pn.nspname, ''),
    coalesce(kc.relname, ''),
    pg_describe_object(CASE WHEN v.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass END,
        coalesce(v.oid, d.objid), CASE WHEN v.oid IS NULL THEN d.objsubid ELSE 0 END)
FROM owned JOIN pg_depend d ON d.refclassid = owned.classid AND d.refobjid = owned.oid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_class v ON v.oid = r.ev_class LEFT JOIN pg_namespace vn ON vn.oid = v.relnamespace
LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_class kc ON kc.oid = k.conrelid LEFT JOIN pg_namespace kn ON kn.oid = kc.relnamespace
LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_namespace pn ON pn.oid = p.pronamespace
LEFT JOIN pg_attrdef e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
LEFT JOIN pg_policy l ON d.classid = 'pg_policy'::regclass AND l.oid = d.objid
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_type y ON d.classid = 'pg_type'::regclass AND y.oid = d.objid
WHERE d.classid <> 'pg_statistic_ext'::regclass
    AND coalesce(c.relkind::text, '') NOT IN ('i', 'I', 't')
    AND NOT (c.relkind = 'S' AND d.deptype IN ('a', 'i'))
    AND coalesce(r.ev_class, k.conrelid, e.adrelid, t.tgrelid, l.polrelid, y.typrelid, 0)
        NOT IN (SELECT oid FROM moved)
    AND NOT (y.oid IS NOT NULL AND y.typelem IN (SELECT o.oid FROM owned o))
ORDER BY 5
"""
_OVER_VIEWS = """
WITH RECURSIVE above (oid, relkind, depth) AS (
    SELECT oid, 'r'::"char", 0 FROM unnest(%(tables)s::oid[]) oid
    UNION
    SELECT v.oid, v.relkind, above.depth + 1 FROM above JOIN pg_depend d
        ON d.refclassid = 'pg_class'::regclass AND d.refobjid = above.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class AND v.oid <> above.oid
    WHERE above.depth > 0 OR v.relkind = 'v'
)
SELECT c.oid, n.nspname, pg_describe_object('pg_class'::regclass, c.oid, 0)
FROM above JOIN pg_class c ON c.oid = above.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE above.relkind = 'm' GROUP BY c.oid, n.nspname ORDER BY max(above.depth), c.oid
"""
_STATEMENTS = {
    "materialized view over views": """
SELECT '', '',
    CASE WHEN relispopulated THEN format('REFRESH MATERIALIZED VIEW %%I.%%I', n.nspname, c.relname) ELSE '' END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s""",
    "view": """
SELECT '', format('CREATE OR REPLACE VIEW %%I.%%I %%s AS %%s', n.nspname, c.relname,
    coalesce('WITH (' || array_to_string(c.reloptions, ', ') || ')', ''), pg_get_viewdef(c.oid)), ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s""",
    "foreign key": """
SELECT format('ALTER TABLE %%I.%%I DROP CONSTRAINT %%I', n.nspname, c.relname, k.conname),
    format('ALTER TABLE %%I.%%I ADD CONSTRAINT %%I %%s', n.nspname, c.relname, k.conname,
        regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '') || ' NOT VALID'),
    CASE WHEN k.convalidated
        THEN format('ALTER TABLE %%I.%%I VALIDATE CONSTRAINT %%I', n.nspname, c.relname, k.conname) ELSE '' END
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.oid = %s""",
    "function": "SELECT '', pg_get_functiondef(%s), ''",
}
_LOCKABLE = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(views)s::oid[]) OR c.oid IN (SELECT conrelid FROM pg_constraint WHERE oid = ANY(%(keys)s::oid[]))
ORDER BY c.relkind DESC, c.oid
"""


class Rebinding(StrEnum):
    """How a dependent comes to look at the new tables."""

    VIEW = "view"
    """Replaced by itself: its owner, grants and comments stay."""
    FOREIGN_KEY = "foreign key"
    """Dropped, declared again, and validated after the swap."""
    FUNCTION = "function"
    """One with an SQL-standard body; replaced by itself."""
    MATERIALIZED_VIEW = "materialized view"
    """Replaced by another one, filled before the swap; see `materialized`."""
    OVER_VIEWS = "materialized view over views"
    """It looks at the tables through views, which follow: it stays, and is filled anew right after the swap."""
    OTHER = "other"
    """Not at all: row types, partitions, publications, defaults of other tables."""


_ONLY_WHEN_ASKED = (Rebinding.FOREIGN_KEY, Rebinding.MATERIALIZED_VIEW, Rebinding.OVER_VIEWS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependent:
    """One object that is not a part of the live tables but needs one.

    Attributes:
        kind: How it can be made to follow.
        oid: Of the view, materialized view, constraint or function.
        schema: Where it stands.
        table: For a foreign key: the table that has it.
        description: The server's words for it, in names.
    """

    kind: Rebinding
    oid: int
    schema: str
    table: str
    description: str


def find(connection: Connection, tables: Collection[int]) -> list[Dependent]:
    """Everything that depends on some tables and is no part of them."""
    rows = connection.execute(_DEPENDENTS, {"tables": list(tables)}).fetchall()
    found = [
        Dependent(kind=Rebinding(kind), oid=oid, schema=schema, table=table, description=description)
        for kind, oid, schema, table, description in rows
    ]
    return found + [
        Dependent(kind=Rebinding.OVER_VIEWS, oid=oid, schema=schema, table="", description=description)
        for oid, schema, description in connection.execute(_OVER_VIEWS, {"tables": list(tables)}).fetchall()
    ]


def refuse(
    found: Sequence[Dependent], label: str, *, live_schemas: Collection[str], kept: Collection[Place], recreate: bool
) -> None:
    """Refuse what would be left behind by a swap, or what the recipe does not ask to be recreated.

    Args:
        live_schemas: Views and functions in these follow the tables unasked.
        kept: Tables whose foreign keys do.

    Raises:
        PublishRefusedError: Listing all of it.
    """
    stuck = [each.description for each in found if each.kind is Rebinding.OTHER]
    if stuck:
        raise PublishRefusedError(
            f"{label}: what can't follow the tables depends on them: {'; '.join(stuck)}",
            "drop it, or exclude those tables from the copy",
        )
    outside = [
        each.description
        for each in found
        if (each.kind in _ONLY_WHEN_ASKED or each.schema not in live_schemas) and (each.schema, each.table) not in kept
    ]
    if outside and not recreate:
        raise PublishRefusedError(
            f"{label}: others depend on the tables: {'; '.join(outside)}",
            "set `publish: dependents: recreate` to recreate them at every swap, or drop them",
        )


def lockable(connection: Connection, found: Sequence[Dependent]) -> list[str]:
    """The views and tables that will change, quoted; views first, as their readers lock them first."""
    views = [each.oid for each in found if each.kind is Rebinding.VIEW]
    keys = [each.oid for each in found if each.kind is Rebinding.FOREIGN_KEY]
    return [row[0] for row in connection.execute(_LOCKABLE, {"views": views, "keys": keys}).fetchall()]


def rebinding(connection: Connection, found: Sequence[Dependent]) -> tuple[list[str], list[str], list[str]]:
    """What makes dependents follow, as the server prints it while the old tables are in their places.

    Returns:
        Statements to run before the tables move; after that; and after the commit, to prove foreign keys again and to
        fill materialized views.
    """
    before, after, proofs = [], [], []
    for each in (each for each in found if each.kind.value in _STATEMENTS):
        ((first, then, proof),) = connection.execute(_STATEMENTS[each.kind.value], (each.oid,)).fetchall()
        before += [first] if first else []
        after += [then] if then else []
        proofs += [proof] if proof else []
    return before, after, proofs
