"""The tables of a new generation, in its homes: after the live ones where there are some, else after the metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synth_ops import sql
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.targets import drift
from synth_ops.targets.drift import LiveColumn
from synth_ops.targets.postgresql import declarations
from synth_ops.targets.postgresql.connection import Connection
from synth_ops.targets.postgresql.definitions import Place, place_sql, relocate
from synth_ops.targets.postgresql.types import declared, family

_LIVE_COLUMNS = """
SELECT attname, format_type(atttypid, NULL), attgenerated <> '',
    attnotnull AND NOT atthasdef AND attidentity = ''
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_SEQUENCES = """
SELECT format('%%I.%%I', n.nspname, s.relname), s.relname, a.attname, d.deptype::text,
    format('AS %%s INCREMENT %%s MINVALUE %%s MAXVALUE %%s START %%s CACHE %%s %%s', format_type(q.seqtypid, NULL),
        q.seqincrement, q.seqmin, q.seqmax, q.seqstart, q.seqcache,
        CASE WHEN q.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),
    pg_get_expr(e.adbin, e.adrelid)
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace n ON n.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
LEFT JOIN pg_attrdef e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    AND d.refobjid = %s
"""
_KEYS = """
SELECT format('ADD CONSTRAINT %%I %%s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
WHERE conrelid = %s AND contype IN ('p', 'u', 'x') ORDER BY contype, conname
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i
WHERE i.indrelid = %s AND i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid
    AND k.contype IN ('p', 'u', 'x') AND k.conrelid = i.indrelid)
ORDER BY i.indexrelid
"""
_FOREIGN_KEYS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s AND contype = 'f' AND conparentid = 0 ORDER BY conname
"""
_NOT_VALIDATED = """
SELECT format('ALTER TABLE %%I.%%I VALIDATE CONSTRAINT %%I', n.nspname, c.relname, k.conname)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND NOT k.convalidated AND n.nspname = %s AND c.relname = %s AND k.conname <> ALL(%s)
"""
_OWNED_SEQUENCES = """
SELECT format('%%I.%%I', sn.nspname, s.relname), a.attname, q.seqincrement > 0, q.seqmin, q.seqmax
FROM pg_depend d
JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    AND d.refobjid = %s::regclass
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One table of the generation to come.

    Attributes:
        table: Its metadata.
        place: Where it goes live.
        home: The schema that it is built in.
        model: The live table that it is made after; None to follow the metadata.
        predecessor: The live table that it replaces, whose owner and grants it gets.
        columns: Those columns of the copy that it takes.
    """

    table: Table
    place: Place
    home: str
    model: int | None
    predecessor: int | None
    columns: tuple[Column, ...]

    @property
    def built(self) -> Place:
        """Where it stands until the swap."""
        return self.home, self.place[1]


def live_columns(connection: Connection, model: int) -> list[LiveColumn]:
    """The columns of a live table, in order."""
    rows = connection.execute(_LIVE_COLUMNS, (model,)).fetchall()
    return [
        LiveColumn(name=name, type=kind, family=family(kind), generated=generated, needed=need)
        for name, kind, generated, need in rows
    ]


def mismatches(table: Table, live: Sequence[LiveColumn]) -> Iterator[str]:
    """How a live table differs from the copy's, in names and types."""
    return drift.mismatches(table, live, lambda column: family(declared(column.type)))


def create(connection: Connection, metadata: Metadata, plan: Plan) -> None:
    """Create one table in its home, with its defaults, CHECKs and sequences; keys come after the rows."""
    if plan.model is None:
        declarations.create(connection, metadata, plan.table, plan.built)
        return
    persistence = connection.execute("SELECT relpersistence FROM pg_class WHERE oid = %s", (plan.model,)).fetchall()
    unlogged = "UNLOGGED " if persistence[0][0] == "u" else ""
    connection.execute(
        f"CREATE {unlogged}TABLE {place_sql(plan.built)} "
        f"(LIKE {place_sql(plan.place)} INCLUDING ALL EXCLUDING INDEXES EXCLUDING STATISTICS)"
    )
    for old, name, column, kind, options, default in connection.execute(_SEQUENCES, (plan.model,)).fetchall():
        sequence = place_sql((plan.home, name))
        if kind == "i":
            made = "SELECT pg_get_serial_sequence(%s, %s)"
            ((automatic,),) = connection.execute(made, (place_sql(plan.built), column)).fetchall()
            if not _same(connection, automatic, sequence):
                connection.execute(f"ALTER SEQUENCE {automatic} RENAME TO {sql.quote(name)}")
            connection.execute(f"ALTER SEQUENCE {sequence} {options}")  # LIKE forgets its type
            continue
        owner = f"{place_sql(plan.built)}.{sql.quote(column)}"
        connection.execute(f"CREATE SEQUENCE {sequence} {options} OWNED BY {owner}")
        if default and sql.literal(old) in default:
            moved = default.replace(sql.literal(old), sql.literal(sequence))
            connection.execute(
                f"ALTER TABLE {place_sql(plan.built)} ALTER COLUMN {sql.quote(column)} SET DEFAULT {moved}"
            )


def add_keys(connection: Connection, metadata: Metadata, plan: Plan, homes: Mapping[Place, str]) -> None:
    """Primary and unique keys, and every index."""
    if plan.model is None:
        declarations.add_keys(connection, metadata, plan.table, plan.built)
        return
    for (key,) in connection.execute(_KEYS, (plan.model,)).fetchall():
        connection.execute(f"ALTER TABLE {place_sql(plan.built)} {key}")
    for (index,) in connection.execute(_INDEXES, (plan.model,)).fetchall():
        connection.execute(relocate(index, homes))


def add_foreign_keys(connection: Connection, metadata: Metadata, plan: Plan, homes: Mapping[Place, Place]) -> None:
    """Foreign keys: declared without a look at the rows, which takes locks for a moment only, then validated.

    Args:
        homes: Where every table stands now, by the place where it goes live.
    """
    left_open: list[str] = []
    if plan.model is None:
        declarations.add_foreign_keys(connection, metadata, plan.table, plan.built, homes)
    else:
        schemas = {place: home for place, (home, _) in homes.items()}
        for name, definition in connection.execute(_FOREIGN_KEYS, (plan.model,)).fetchall():
            unproven = definition.endswith((" NOT VALID", " NOT ENFORCED"))
            left_open += [name] if unproven else []
            moved = relocate(definition, schemas) + ("" if unproven else " NOT VALID")
            connection.execute(f"ALTER TABLE {place_sql(plan.built)} ADD CONSTRAINT {sql.quote(name)} {moved}")
    for (validate,) in connection.execute(_NOT_VALIDATED, (*plan.built, left_open)).fetchall():
        connection.execute(validate)


def set_sequences(connection: Connection, plan: Plan) -> None:
    """Let every sequence that belongs to a table go on after its highest key."""
    built = place_sql(plan.built)
    for sequence, column, rising, lowest, highest in connection.execute(_OWNED_SEQUENCES, (built,)).fetchall():
        last = f"{'max' if rising else 'min'}({sql.quote(column)})"
        within = f"least(greatest({last}, {lowest}), {highest})"
        connection.execute(
            f"SELECT setval({sql.literal(sequence)}::regclass, {within}) FROM {built} HAVING {last} IS NOT NULL"
        )


def _same(connection: Connection, one: str, other: str) -> bool:
    return bool(connection.execute("SELECT %s::regclass = to_regclass(%s)", (one, other)).fetchall()[0][0])
