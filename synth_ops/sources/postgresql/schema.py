"""From PostgreSQL's catalogues to metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from synth_ops.metadata import Check, Column, ForeignKey, Metadata, Table
from synth_ops.native import GeneratedColumn, NativeType, Numbering
from synth_ops.sources.check_expressions import usable
from synth_ops.sources.postgresql.catalogue import (
    Catalogue,
    CatalogueColumn,
    CatalogueConstraint,
    CatalogueTable,
    CatalogueType,
)
from synth_ops.sources.postgresql.types import NativeColumnType, stored_type
from synth_ops.sources.server_checks import rename, translate, values_check

DEFAULT_SCHEMA = "public"
_NUMBERING = {"a": Numbering.ALWAYS, "d": Numbering.BY_DEFAULT}
SizeOfNumerics = Callable[[CatalogueTable, Sequence[str]], Mapping[str, str]]
"""From a table and its numerics of no declared size to the DuckDB types that hold them."""


class Reflection:
    """One catalogue, read as metadata.

    Attributes:
        warnings: What could not be taken over as it is, by name; complete after `metadata`.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._names = {table.oid: table_name(table) for table in catalogue.tables}
        self._columns = {
            table.oid: {
                column.number: column for column in catalogue.columns.get(table.oid, ()) if not column.generated
            }
            for table in catalogue.tables
        }
        self.warnings: list[str] = []

    def metadata(self, size_of: SizeOfNumerics) -> Metadata:
        """All tables, partitions as their whole table; views, foreign and temporary tables are left out."""
        tables = tuple(self._table(table, size_of) for table in self._catalogue.tables if self._columns[table.oid])
        self.warnings += [
            f"table {self._names[table.oid]!r} has no columns and is left out"
            for table in self._catalogue.tables
            if not self._columns[table.oid]
        ]
        return Metadata(tables=tables, dialect="postgresql", types=tuple(self._types()))

    def _table(self, table: CatalogueTable, size_of: SizeOfNumerics) -> Table:
        name = self._names[table.oid]
        columns = tuple(self._reflected(table, size_of))
        constraints = self._catalogue.constraints.get(table.oid, ())
        checks, unsupported, native = self._checks(table, columns, constraints)
        if any(constraint.kind == "x" for constraint in constraints):
            self.warnings.append(f"an EXCLUDE constraint of table {name!r} is not known to the generator")
        indexes = self._catalogue.indexes.get(table.oid, ())
        uniques = [
            self._names_of(table.oid, each.columns) for each in indexes if each.index.unique and not each.partial
        ]
        primary = [self._names_of(table.oid, each.columns) for each in constraints if each.kind == "p"]
        if table.filtered:
            self.warnings.append(f"row-level security hides rows of table {name!r} from this role: they are not copied")
        return Table(
            name=name,
            path=(table.schema, table.name),
            columns=columns,
            primary_key=primary[0] or () if primary else (),
            uniques=tuple(dict.fromkeys(key for key in uniques if key and key not in primary)),
            foreign_keys=tuple(self._references(table, constraints)),
            checks=checks,
            unsupported_checks=unsupported,
            native_checks=native,
            rows=table.estimated_rows,
            comment=table.comment,
            generated=tuple(
                GeneratedColumn(
                    name=column.name,
                    type=column.native,
                    position=place,
                    expression=f"({column.default})",
                    stored=column.generated == "s",
                    comment=column.comment,
                )
                for place, column in enumerate(self._catalogue.columns[table.oid])
                if column.generated
            ),
            indexes=tuple(each.index for each in indexes if not each.declared),
        )

    def _reflected(self, table: CatalogueTable, size_of: SizeOfNumerics) -> Iterator[Column]:
        own = self._columns[table.oid].values()
        types = {column.name: stored_type(self._resolved(column)) for column in own}
        unsized = [name for name, kind in types.items() if kind == "DECIMAL"]
        types.update(size_of(table, unsized) if unsized else {})
        for column in own:
            drawn = column.default.startswith("nextval(")
            numbering = Numbering.SERIAL if drawn else _NUMBERING.get(column.identity)
            if types[column.name] == "VARCHAR" and not self._is_text(column):
                self.warnings.append(
                    f"column {column.name!r} of table {self._names[table.oid]!r} is copied as text: {column.native}"
                )
            yield Column(
                name=column.name,
                type=types[column.name],
                native_type=column.native,
                nullable=not (column.required or self._domain_requires(column)),
                default="" if numbering else column.default,
                numbering=numbering,
                comment=column.comment,
            )

    def _chain(self, column: CatalogueColumn) -> Iterator[CatalogueType]:
        """The column's type and, for a domain, those that it is made of, the outermost first."""
        found = self._catalogue.types[column.type_oid]
        yield found
        while found.sort == "d":
            found = self._catalogue.types[found.base]
            yield found

    def _resolved(self, column: CatalogueColumn) -> NativeColumnType:
        modifier, dimensions = column.modifier, column.dimensions
        chain = list(self._chain(column))
        for domain in chain[:-1]:
            modifier = domain.modifier if modifier < 0 else modifier
            dimensions = max(dimensions, domain.dimensions)
        last = chain[-1]
        if last.element:
            element = self._catalogue.types[last.element]
            while element.sort == "d":
                element = self._catalogue.types[element.base]
            return NativeColumnType(
                base=element.name if element.schema == "pg_catalog" and element.sort == "b" else "",
                modifier=modifier,
                enum=element.sort == "e",
                # the elements of other types have no array that Arrow knows
                dimensions=max(dimensions, 1) if element.sort in ("b", "e") else 2,
            )
        return NativeColumnType(
            base=last.name if last.schema == "pg_catalog" else "", modifier=modifier, enum=last.sort == "e"
        )

    def _is_text(self, column: CatalogueColumn) -> bool:
        last = list(self._chain(column))[-1]
        return last.sort == "e" or last.name in ("text", "varchar", "bpchar", "name", "char", "citext")

    def _domain_requires(self, column: CatalogueColumn) -> bool:
        return any(each.sort == "d" and each.required for each in self._chain(column))

    def _checks(
        self, table: CatalogueTable, columns: Sequence[Column], constraints: Sequence[CatalogueConstraint]
    ) -> tuple[tuple[Check, ...], int, tuple[str, ...]]:
        """Those that DuckDB can evaluate, the number of the others, and those of them that the table declares."""
        spelling = {column.name: column.name for column in columns}
        own = [each.expression for each in constraints if each.kind == "c"]
        found = [translate(each, "postgres", spelling) for each in own]
        implied: list[Check | None] = []
        for column in self._columns[table.oid].values():
            for each in self._chain(column):
                if each.sort == "e":
                    implied.append(values_check(column.name, each.labels))
                for constraint in each.constraints:
                    inner = constraint.removeprefix("CHECK (").removesuffix(" NOT VALID").removesuffix(")")
                    renamed = rename(inner, "postgres", "VALUE", column.name)
                    check = translate(renamed, "postgres", spelling) if renamed else None
                    implied.append(Check(expression=check.expression, columns=check.columns) if check else None)
        candidates = [*found, *implied]
        kept = usable((check for check in candidates if check), columns)
        others = tuple(text for text, check in zip(own, found, strict=True) if check not in kept)
        return kept, len(candidates) - len(kept), others

    def _names_of(self, table: int, numbers: Sequence[int]) -> tuple[str, ...]:
        """The columns of those numbers; empty where one is an expression or a generated column."""
        columns = self._columns[table]
        return tuple(columns[number].name for number in numbers) if all(number in columns for number in numbers) else ()

    def _references(self, table: CatalogueTable, constraints: Sequence[CatalogueConstraint]) -> Iterator[ForeignKey]:
        seen: set[tuple[tuple[str, ...], str, tuple[str, ...]]] = set()
        for each in constraints:
            if each.kind != "f" or each.parent not in self._columns:  # a partition's: its whole table has it, too
                continue
            columns = self._names_of(table.oid, each.columns)
            parent_columns = self._names_of(each.parent, each.parent_columns)
            key = (columns, self._names[each.parent], parent_columns)
            if not columns or not parent_columns:
                self.warnings.append(
                    f"a reference of table {self._names[table.oid]!r} by a generated column is left out"
                )
            elif key not in seen:
                seen.add(key)
                yield ForeignKey(columns=key[0], parent=key[1], parent_columns=key[2], clauses=each.clauses)

    def _types(self) -> Iterator[NativeType]:
        """The schema's own types that columns use, each after those that it is made of."""
        types = self._catalogue.types
        seen: set[int] = set()

        def visit(oid: int) -> Iterator[NativeType]:
            if oid in seen or oid not in types:
                return
            seen.add(oid)
            yield from visit(types[oid].base)
            yield from visit(types[oid].element)
            native = types[oid].native_type()
            if native:
                yield native

        for table in self._catalogue.tables:
            for column in self._catalogue.columns.get(table.oid, ()):
                yield from visit(column.type_oid)


def table_name(table: CatalogueTable) -> str:
    """Its own name, with `schema.` before it outside the default schema."""
    return table.name if table.schema == DEFAULT_SCHEMA else f"{table.schema}.{table.name}"
