"""What the users of a database gave to its live tables, given to the new ones before they go live.

Each query returns statements, made by the server with its own quoting; `m` pairs a live table with the home of its
successor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql, relocate
from synth_ops.targets.postgresql.schema import Plan

_PAIRS = """
WITH m AS (
    SELECT c.*, c.oid AS live, u.home, format('%%I.%%I', u.home, c.relname) AS built
    FROM unnest(%(live)s::oid[], %(homes)s::text[]) AS u (live, home) JOIN pg_class c ON c.oid = u.live
)
"""
_STORAGE = """
SELECT format('ALTER TABLE %%s SET (%%s)', built, array_to_string(reloptions, ', ')) FROM m
WHERE reloptions IS NOT NULL
UNION ALL
SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET STATISTICS %%s', built, a.attname, a.attstattarget)
FROM m JOIN pg_attribute a ON a.attrelid = live WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
UNION ALL
SELECT format('ALTER TABLE %%s ALTER COLUMN %%I SET (%%s)', built, a.attname, array_to_string(a.attoptions, ', '))
FROM m JOIN pg_attribute a ON a.attrelid = live WHERE a.attnum > 0 AND a.attoptions IS NOT NULL
UNION ALL
SELECT format('ALTER TABLE %%s REPLICA IDENTITY %%s', built, CASE relreplident WHEN 'f' THEN 'FULL' ELSE 'NOTHING' END)
FROM m WHERE relreplident IN ('f', 'n')
UNION ALL
SELECT format('ALTER TABLE %%s %%s %%I', built, CASE WHEN i.indisclustered THEN 'CLUSTER ON'
    ELSE 'REPLICA IDENTITY USING INDEX' END, x.relname)
FROM m JOIN pg_index i ON i.indrelid = live JOIN pg_class x ON x.oid = i.indexrelid
WHERE i.indisclustered OR (i.indisreplident AND m.relreplident = 'i')
"""
_STATISTICS = """
SELECT replace(pg_get_statisticsobjdef(s.oid), format('CREATE STATISTICS %%I.%%I ', n.nspname, s.stxname),
    format('CREATE STATISTICS %%I.%%I ', home, s.stxname))
FROM m JOIN pg_statistic_ext s ON s.stxrelid = live JOIN pg_namespace n ON n.oid = s.stxnamespace
"""
_TRIGGERS_AND_RULES = """
SELECT pg_get_triggerdef(t.oid) FROM m JOIN pg_trigger t ON t.tgrelid = live
WHERE NOT t.tgisinternal
UNION ALL
SELECT pg_get_ruledef(r.oid) FROM m JOIN pg_rewrite r ON r.ev_class = live
"""
_TRIGGER_STATES = """
SELECT format('ALTER TABLE %%s %%s TRIGGER %%I', built, CASE t.tgenabled WHEN 'D' THEN 'DISABLE'
    WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)
FROM m JOIN pg_trigger t ON t.tgrelid = live WHERE NOT t.tgisinternal AND t.tgenabled <> 'O'
"""
_POLICIES = """
SELECT format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s', p.polname, built,
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
            ELSE 'ALL' END,
        (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(role)) END, ', ')
            FROM unnest(p.polroles) AS role))
    || coalesce(' USING (' || pg_get_expr(p.polqual, live) || ')', '')
    || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, live) || ')', '')
FROM m JOIN pg_policy p ON p.polrelid = live
"""
_ROW_SECURITY = """
SELECT format('ALTER TABLE %%s ENABLE ROW LEVEL SECURITY', built) FROM m WHERE relrowsecurity
UNION ALL
SELECT format('ALTER TABLE %%s FORCE ROW LEVEL SECURITY', built) FROM m WHERE relforcerowsecurity
"""
_COMMENTS = """
SELECT CASE WHEN d.objsubid = 0 THEN format('COMMENT ON TABLE %%s IS %%L', built, d.description)
    ELSE format('COMMENT ON COLUMN %%s.%%I IS %%L', built, a.attname, d.description) END
FROM m JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = live
LEFT JOIN pg_attribute a ON a.attrelid = live AND a.attnum = d.objsubid
UNION ALL
SELECT format('COMMENT ON CONSTRAINT %%I ON %%s IS %%L', k.conname, built, d.description)
FROM m JOIN pg_constraint k ON k.conrelid = live
JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = k.oid
UNION ALL
SELECT format('COMMENT ON INDEX %%I.%%I IS %%L', home, x.relname, d.description)
FROM m JOIN pg_index i ON i.indrelid = live JOIN pg_class x ON x.oid = i.indexrelid
JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = x.oid
UNION ALL
SELECT format('COMMENT ON TRIGGER %%I ON %%s IS %%L', t.tgname, built, d.description)
FROM m JOIN pg_trigger t ON t.tgrelid = live
JOIN pg_description d ON d.classoid = 'pg_trigger'::regclass AND d.objoid = t.oid
UNION ALL
SELECT format('COMMENT ON POLICY %%I ON %%s IS %%L', p.polname, built, d.description)
FROM m JOIN pg_policy p ON p.polrelid = live
JOIN pg_description d ON d.classoid = 'pg_policy'::regclass AND d.objoid = p.oid
"""
_COMMENTS_ON_VIEW = """
SELECT CASE WHEN d.objsubid = 0 THEN format('COMMENT ON MATERIALIZED VIEW %%s IS %%L', built, d.description)
    ELSE format('COMMENT ON COLUMN %%s.%%I IS %%L', built, a.attname, d.description) END
FROM m JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = live
LEFT JOIN pg_attribute a ON a.attrelid = live AND a.attnum = d.objsubid
"""
_OWNERS = """
SELECT DISTINCT format('GRANT USAGE, CREATE ON SCHEMA %%I TO %%I', home, pg_get_userbyid(relowner)) FROM m
WHERE pg_get_userbyid(relowner) <> current_user
UNION ALL
SELECT format('ALTER TABLE %%s OWNER TO %%I', built, pg_get_userbyid(relowner)) FROM m
WHERE pg_get_userbyid(relowner) <> current_user
UNION ALL
SELECT DISTINCT format('REVOKE USAGE, CREATE ON SCHEMA %%I FROM %%I', home, pg_get_userbyid(relowner)) FROM m
WHERE pg_get_userbyid(relowner) <> current_user
"""
_GRANTEE = "CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END"
_OPTION = "CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
_SEQUENCE_PAIRS = """
(SELECT s.relacl, s.relowner, format('%%I.%%I', home, s.relname) AS built FROM m
JOIN pg_depend d ON d.refobjid = live AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass
    AND d.deptype IN ('a', 'i')
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' WHERE s.relacl IS NOT NULL) AS s
"""
_GRANTS = f"""
SELECT format('REVOKE ALL ON %%s FROM PUBLIC, %%I', built, pg_get_userbyid(relowner)) FROM m WHERE relacl IS NOT NULL
UNION ALL
SELECT format('REVOKE ALL ON SEQUENCE %%s FROM PUBLIC, %%I', built, pg_get_userbyid(relowner)) FROM {_SEQUENCE_PAIRS}
UNION ALL
SELECT format('GRANT %%s ON %%s TO %%s%%s', g.privilege_type, built, {_GRANTEE}, {_OPTION})
FROM m, aclexplode(relacl) AS g
UNION ALL
SELECT format('GRANT %%s ON SEQUENCE %%s TO %%s%%s', g.privilege_type, built, {_GRANTEE}, {_OPTION})
FROM {_SEQUENCE_PAIRS}, aclexplode(relacl) AS g
UNION ALL
SELECT format('GRANT %%s (%%I) ON %%s TO %%s%%s', g.privilege_type, a.attname, built, {_GRANTEE}, {_OPTION})
FROM m JOIN pg_attribute a ON a.attrelid = live AND a.attnum > 0
JOIN pg_attribute b ON b.attrelid = to_regclass(built) AND b.attname = a.attname, aclexplode(a.attacl) AS g
"""
_DEFAULT_GRANTS = f"""
SELECT format('GRANT %%s ON %%s TO %%s%%s', g.privilege_type, %(built)s::text, {_GRANTEE}, {_OPTION})
FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) AS g
WHERE n.nspname = %(schema)s AND d.defaclobjtype = 'r' AND pg_get_userbyid(d.defaclrole) = current_user
"""


def settings(connection: Connection, plans: Sequence[Plan], homes: Mapping[Place, str]) -> None:
    """Storage, statistics, triggers, rules, policies and comments: whatever is done best before ANALYZE."""
    modelled = [plan for plan in plans if plan.model is not None]
    for query in (_STORAGE, _STATISTICS, _TRIGGERS_AND_RULES, _TRIGGER_STATES, _POLICIES, _ROW_SECURITY, _COMMENTS):
        _carry(connection, query, _pairs(modelled), homes)


def owners_and_grants(connection: Connection, plans: Sequence[Plan]) -> None:
    """Owners, then privileges; a table that is new gets the default privileges of the schema it goes live in."""
    _carry(connection, _OWNERS, _pairs(plans), {})
    _carry(connection, _GRANTS, _pairs(plans), {})
    for plan in plans:
        if plan.predecessor is None:
            arguments = {"built": place_sql(plan.built), "schema": plan.place[0]}
            for (statement,) in connection.execute(_DEFAULT_GRANTS, arguments).fetchall():
                connection.execute(statement)


def of_materialized_view(connection: Connection, live: int, home: str) -> None:
    """Whatever is given to a materialized view: its storage, comments, owner and grants."""
    for query in (_STORAGE, _COMMENTS_ON_VIEW, _OWNERS, _GRANTS):
        _carry(connection, query, [(live, home)], {})


def _pairs(plans: Sequence[Plan]) -> list[tuple[int, str]]:
    return [(plan.predecessor, plan.home) for plan in plans if plan.predecessor is not None]


def _carry(connection: Connection, query: str, pairs: Sequence[tuple[int, str]], homes: Mapping[Place, str]) -> None:
    arguments = {"live": [live for live, _ in pairs], "homes": [home for _, home in pairs]}
    for (statement,) in connection.execute(_PAIRS + query, arguments).fetchall():
        connection.execute(relocate(statement, homes))
