"""From MySQL's `information_schema` to metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import sqlglot
from sqlglot.errors import SqlglotError

from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Table
from synth_ops.native import GeneratedColumn, Index, Numbering
from synth_ops.sources.check_expressions import usable
from synth_ops.sources.mysql.catalogue import Catalogue, CatalogueColumn, CatalogueIndex, CatalogueTable, Path
from synth_ops.sources.mysql.types import Seen, is_text, quote, stored_type
from synth_ops.sources.server_checks import translate, values_check

_IN_SNAPSHOT = ("innodb", "rocksdb")
_JSON_CHECK = re.compile(r"\(*json_valid\(`((?:[^`]|``)+)`\)\)*", re.IGNORECASE)
_ON_UPDATE = re.compile(r"on update \S+", re.IGNORECASE)
_OTHER_INDEXES = ("FULLTEXT", "SPATIAL")
Look = Callable[[CatalogueTable, Sequence[CatalogueColumn]], Mapping[str, Seen]]
"""What the values of some columns of a table are like."""


class Reflection:
    """One catalogue, read as metadata.

    Attributes:
        warnings: What could not be taken over as it is, by name; complete after `metadata`.
    """

    def __init__(self, catalogue: Catalogue, database: str, *, mariadb: bool) -> None:
        self._catalogue = catalogue
        self._mariadb = mariadb
        self._names = {
            (t.schema, t.name): t.name if t.schema == database else f"{t.schema}.{t.name}" for t in catalogue.tables
        }
        self._columns = {path: [c for c in catalogue.columns[path] if not c.generated] for path in self._names}
        self.warnings: list[str] = []

    def metadata(self, look: Look) -> Metadata:
        """All base tables; views and sequences are left out."""
        return Metadata(tables=tuple(self._table(table, look) for table in self._catalogue.tables), dialect="mysql")

    def _table(self, table: CatalogueTable, look: Look) -> Table:
        path = (table.schema, table.name)
        name = self._names[path]
        if table.engine.lower() not in _IN_SNAPSHOT:
            self.warnings.append(f"table {name!r} is kept by {table.engine}, which knows no snapshots: it may be torn")
        columns = tuple(self._reflected(table, look))
        checks, unsupported, native = self._checks(path, columns)
        names = {column.name for column in columns}
        whole = [i for i in self._catalogue.indexes.get(path, ()) if set(i.columns) <= names and not any(i.parts)]
        keys = {index.name: tuple(map(str, index.columns)) for index in whole if index.unique}
        return Table(
            name=name,
            path=path,
            columns=columns,
            primary_key=keys.get("PRIMARY", ()),
            uniques=tuple(dict.fromkeys(key for name, key in keys.items() if name != "PRIMARY")),
            foreign_keys=tuple(self._references(path, names)),
            checks=checks,
            unsupported_checks=unsupported,
            native_checks=native,
            rows=int(table.estimated_rows),
            comment=table.comment,
            generated=tuple(
                GeneratedColumn(
                    name=column.name,
                    type=_native(column),
                    position=place,
                    expression=f"({self._expression(column.expression)})",
                    stored=not column.extra.upper().startswith("VIRTUAL"),
                    comment=column.comment,
                )
                for place, column in enumerate(self._catalogue.columns[path])
                if column.generated
            ),
            indexes=tuple(
                _index(index)
                for index in self._catalogue.indexes.get(path, ())
                if index.name not in keys and all(index.columns)
            ),
        )

    def _reflected(self, table: CatalogueTable, look: Look) -> Iterator[Column]:
        path = (table.schema, table.name)
        own = self._columns[path]
        json = {found[1] for check in self._catalogue.checks.get(path, ()) if (found := _JSON_CHECK.fullmatch(check))}
        seen = look(table, [column for column in own if _needs_a_look(column)])
        for column in own:
            looks = seen.get(column.name, Seen())
            data_type = "json" if column.name in json else column.data_type
            stored = stored_type(data_type, column.column_type, looks)
            if stored == "VARCHAR" and not is_text(data_type):
                self.warnings.append(
                    f"column {column.name!r} of table {self._names[path]!r} is copied as text: {data_type}"
                )
            nullable = column.nullable == "YES"
            if looks.zero_dates:
                what = f"column {column.name!r} of table {self._names[path]!r}"
                self.warnings.append(f"{what} holds dates such as 0000-00-00: copied as NULL")
                nullable = True
            numbered = "auto_increment" in column.extra.lower()
            yield Column(
                name=column.name,
                type=stored,
                native_type=_native(column),
                nullable=nullable,
                default="" if numbered else self._default(column),
                numbering=Numbering.BY_DEFAULT if numbered else None,
                comment=column.comment,
            )

    def _default(self, column: CatalogueColumn) -> str:
        """What follows DEFAULT, with what an update sets: MariaDB tells it so; MySQL tells constants unquoted."""
        text = column.default
        if text is None or (self._mariadb and text == "NULL"):
            default = ""
        elif self._mariadb or text.upper().startswith("CURRENT_TIMESTAMP") or re.fullmatch("b'[01]+'", text):
            default = text
        elif "DEFAULT_GENERATED" in column.extra.upper():
            default = f"({self._expression(text)})"
        else:
            default = "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
        updated = _ON_UPDATE.search(column.extra)
        return f"{default or 'NULL'} {updated[0]}" if updated else default

    def _expression(self, told: str) -> str:
        """An expression as a statement has it: MySQL's catalogue (not MariaDB's) puts a backslash before each quote."""
        return told if self._mariadb else told.replace("\\'", "'")

    def _checks(self, path: Path, columns: Sequence[Column]) -> tuple[tuple[Check, ...], int, tuple[str, ...]]:
        """Those that DuckDB can evaluate, the number of the others, and those of them that the table declares."""
        spelling = {column.name.lower(): column.name for column in columns}
        clauses = [self._expression(c) for c in self._catalogue.checks.get(path, ()) if not _JSON_CHECK.fullmatch(c)]
        found: list[Check | None] = [translate(clause, "mysql", spelling) for clause in clauses]
        found += [
            values_check(column.name, labels)
            for column in self._columns[path]
            if column.data_type == "enum" and (labels := _labels(column.column_type))
        ]
        kept = usable((check for check in found if check), columns)
        others = tuple(text for text, check in zip(clauses, found, strict=False) if check not in kept)
        return kept, len(found) - len(kept), others

    def _references(self, path: Path, names: set[str]) -> Iterator[ForeignKey]:
        for each in self._catalogue.references.get(path, ()):
            if each.parent not in self._names:
                self.warnings.append(
                    f"a reference of table {self._names[path]!r} to a table of another database is left out"
                )
            elif set(each.columns) <= names:
                yield ForeignKey(
                    columns=each.columns,
                    parent=self._names[each.parent],
                    parent_columns=each.parent_columns,
                    clauses=each.clauses,
                )


def _needs_a_look(column: CatalogueColumn) -> bool:
    if column.data_type in ("date", "datetime", "timestamp"):
        return column.nullable == "NO"
    return column.data_type == "time" or column.column_type.startswith("tinyint(1)")


def _native(column: CatalogueColumn) -> str:
    if not column.collation:
        return column.column_type
    return f"{column.column_type} CHARACTER SET {column.character_set} COLLATE {column.collation}"


def _labels(column_type: str) -> tuple[str, ...]:
    """An enum's labels; `''` in one stands for a quote."""
    try:
        parsed = sqlglot.parse_one(f"SELECT x IN {column_type.removeprefix('enum')}", read="mysql")
    except SqlglotError:
        return ()
    return tuple(literal.name for literal in parsed.find_all(sqlglot.exp.Literal))


def _index(index: CatalogueIndex) -> Index:
    if index.kind in _OTHER_INDEXES:  # SPATIAL ones are told with a length that no statement takes
        columns = ", ".join(quote(str(column)) for column in index.columns)
        return Index(name=index.name, unique=False, definition=f"({columns})", kind=index.kind)
    columns = ", ".join(
        quote(str(column)) + (f"({part})" if part else "")
        for column, part in zip(index.columns, index.parts, strict=True)
    )
    kind = " USING HASH" if index.kind == "HASH" else ""
    return Index(name=index.name, unique=index.unique, definition=f"({columns}){kind}")
