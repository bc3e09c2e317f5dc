"""Tables, columns, kinds, keys and relationships: what a snapshot knows of the data's shape."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from synth_ops.errors import MetadataError
from synth_ops.native import GeneratedColumn, Index, NativeType, Numbering, types_from_json


class Kind(StrEnum):
    """What a column means; decides who makes its values (see `kinds`)."""

    ID = "id"
    CATEGORICAL = "categorical"
    NUMERICAL = "numerical"
    DATETIME = "datetime"
    TEXT = "text"
    PII = "pii"
    GEO = "geo"
    MEDIA = "media"


class Orphans(StrEnum):
    """What the copy does about references that the source breaks."""

    REPAIR = "repair"
    """Every reference in the copy holds."""
    KEEP = "keep"
    """The share of broken references is learned, and made-up keys stand in the copy for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        type: Its type in DuckDB's words (`INTEGER`, `DECIMAL(10,2)`, `VARCHAR[]`), whatever the source calls it.
        native_type: The source's own word for the type; empty when it has none (files).
        default: The source's own default, an expression in its SQL; empty where it has none, or numbers the column.
        numbering: How the source numbers its rows by this column; None where it does not.
        comment: What the source's schema says about it.
        provider: For kind pii, text or id: which provider makes its values (`email`, `pattern`, ...); empty for the
            kind's default.
        evidence: Why the kind was chosen, in words without values.
        sensitive: Whether nobody may infer it about a person; only the recipe says so.
        quasi_identifier: Whether others may know it about a person; only the recipe says so.
        target: Whether models are trained to predict it; only the recipe says so.
    """

    name: str
    type: str
    nullable: bool = True
    native_type: str = ""
    default: str = ""
    numbering: Numbering | None = None
    comment: str = ""
    kind: Kind = Kind.CATEGORICAL
    provider: str = ""
    evidence: str = ""
    sensitive: bool = False
    quasi_identifier: bool = False
    target: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """A reference from `columns` of one table to `parent_columns` of `parent`; part of it NULL means no reference.

    Attributes:
        clauses: What the source's own SQL says behind the parent: `ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED`.
    """

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    orphans: Orphans = Orphans.REPAIR
    clauses: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A CHECK constraint: a boolean SQL expression over one row, in DuckDB's dialect; NULL passes, as in SQL.

    Attributes:
        native: The same in the source's own SQL; empty where the source has none, or says it by a type (an enum).
    """

    expression: str
    columns: tuple[str, ...]
    native: str = ""


class Relation(StrEnum):
    """How a rule ties a column to its expression."""

    EQUALS = "equals"
    AT_LEAST = "at_least"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What every row of the source obeys, though nothing declares it; NULL on either side obeys everything.

    Attributes:
        column: What the rule determines, or bounds from below.
        expression: DuckDB SQL over `inputs`; an aggregate where they are a child's.
        inputs: The columns that the expression names: of the same row, unless `through` or `child` is set.
        through: The columns of the foreign key whose parent the inputs belong to.
        child, child_key, own_key: The table whose rows refer to this one, the columns by which they do, and those that
            they refer to: the inputs are those rows'.
        tolerance: How far the two sides may be apart, in the column's own unit: what rounding explains.
        strict: Whether the column is NULL just where an input is.
        empty: Of what is summed or counted over rows that refer to this one: what it is where there are none.
        words: The expression as people read it; the SQL itself when left out.
        rows: In how many rows of the source both sides are known.
    """

    relation: Relation
    column: str
    expression: str
    inputs: tuple[str, ...]
    through: tuple[str, ...] = ()
    child: str = ""
    child_key: tuple[str, ...] = ()
    own_key: tuple[str, ...] = ()
    tolerance: float = 0.0
    strict: bool = False
    empty: float | None = None
    words: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        name: Unique in the metadata: the table's own name, with `schema.` before it outside the default schema.
        path: The parts of the name as the source's SQL needs them, each to be quoted: `("main", "flights")`.
        subject: Whether a row of this table is a person (or whom else privacy protects).
        unsupported_checks: How many CHECKs of the source could not be read as DuckDB SQL; the gate reports them.
        native_checks: Those of them that the table itself declares, in the source's own SQL.
        rules: What was found in the data, beyond what is declared.
        rows: In the snapshot; before one was taken, the source's own estimate, 0 where it has none.
        comment: What the source's schema says about it.
        generated: Columns that the source computes, which are not among `columns`.
        indexes: Those of the source that belong to no constraint.
        copied: Whether its rows come as they are, as the recipe says.
    """

    name: str
    path: tuple[str, ...]
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[Check, ...] = ()
    subject: bool = False
    unsupported_checks: int = 0
    native_checks: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    rows: int = 0
    comment: str = ""
    generated: tuple[GeneratedColumn, ...] = ()
    indexes: tuple[Index, ...] = ()
    copied: bool = False

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of its columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """Every set of columns that must be unique, the primary key first."""
        candidates = (self.primary_key, *self.uniques) if self.primary_key else self.uniques
        return tuple(dict.fromkeys(candidates))

    @property
    def determined(self) -> frozenset[str]:
        """The columns that a rule determines from others, of the same row or another."""
        return frozenset(rule.column for rule in self.rules if rule.relation is Relation.EQUALS)

    @property
    def required(self) -> frozenset[str]:
        """The columns that may not hold NULL: those declared so and those of the primary key."""
        return frozenset(self.primary_key) | {column.name for column in self.columns if not column.nullable}

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            MetadataError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise MetadataError([f"table {self.name!r} has no column {name!r}{did_you_mean(name, self.column_names)}"])


_Order = tuple[tuple[str, ...], frozenset[tuple[str, ForeignKey]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """All tables of one database.

    Attributes:
        dialect: Whose SQL the native parts are in, by the name of the source's plug-in; empty where there are none.
        types: The types that the source's schema defines.
    """

    tables: tuple[Table, ...]
    dialect: str = ""
    types: tuple[NativeType, ...] = ()
    _by_name: Mapping[str, Table] = field(init=False, repr=False, compare=False, default_factory=dict)
    _order: list[_Order] = field(init=False, repr=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {table.name: table for table in self.tables})

    @property
    def table_names(self) -> tuple[str, ...]:
        """The names of all tables, in the source's order."""
        return tuple(table.name for table in self.tables)

    def table(self, name: str) -> Table:
        """The table of that name.

        Raises:
            MetadataError: There is none.
        """
        if name not in self._by_name:
            raise MetadataError([f"there is no table {name!r}{did_you_mean(name, self.table_names)}"])
        return self._by_name[name]

    def children(self, parent: str) -> Iterable[tuple[Table, ForeignKey]]:
        """Every (table, foreign key) that refers to `parent`."""
        return ((table, key) for table in self.tables for key in table.foreign_keys if key.parent == parent)

    def validate(self) -> None:
        """Check that the metadata is consistent in itself.

        Raises:
            MetadataError: With every problem found.
        """
        problems = [f"table {name!r} is listed twice" for name in _repeated(self.table_names)]
        for table in self.tables:
            problems.extend(_table_problems(self, table))
        if problems:
            raise MetadataError(problems, "correct the recipe's `tables` section, or the source")

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and strings; `from_json` reads them back."""
        return {
            "tables": [dataclasses.asdict(table) for table in self.tables],
            "dialect": self.dialect,
            "types": [dataclasses.asdict(each) for each in self.types],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Metadata:
        """Read what `to_json` wrote."""
        return cls(
            tables=tuple(_table_from_json(table) for table in document["tables"]),
            dialect=document["dialect"],
            types=types_from_json(document["types"]),
        )


def generation_order(metadata: Metadata) -> _Order:
    """An order in which every parent comes before its children, and the foreign keys put off to make it so.

    Self-references are no obstacle (a table makes its own parents). In a cycle the key that is cheapest to fill in
    later is put off: nullable before required, outside any key before inside one.

    Returns:
        The table names in order, and the deferred `(table, foreign key)` pairs.
    """
    if not metadata._order:  # noqa: SLF001  worked out once: it is asked for at every table
        metadata._order.append(_work_out_order(metadata))  # noqa: SLF001
    return metadata._order[0]  # noqa: SLF001


def _work_out_order(metadata: Metadata) -> _Order:
    waiting = {
        table.name: {key: key.parent for key in table.foreign_keys if key.parent not in ("", table.name)}
        for table in metadata.tables
    }
    order: list[str] = []
    deferred: set[tuple[str, ForeignKey]] = set()
    while waiting:
        ready = [name for name, parents in waiting.items() if not any(p in waiting for p in parents.values())]
        if not ready:
            name, key = min(_cycle_keys(waiting), key=lambda pair: _cost_of_deferring(metadata, *pair))
            deferred.add((name, key))
            del waiting[name][key]
            continue
        order.extend(ready)
        for name in ready:
            del waiting[name]
    return tuple(order), frozenset(deferred)


_FEWEST_SUBJECTS = 20


def subject_paths(metadata: Metadata, table: str) -> list[tuple[ForeignKey, ...]]:
    """The foreign keys from a table to everybody that its rows tell of: the patient, and the doctor.

    Returns:
        The shortest path to each table of at least twenty persons, and to that of `subject_path`: a handful of clerks
        can't hide in numbers, and what they handled is not about them.
    """
    nearest = subject_path(metadata, table)
    paths = [path for path in _paths(metadata, table) if path and metadata.table(path[-1].parent).subject]
    return [path for path in paths if path == nearest or metadata.table(path[-1].parent).rows >= _FEWEST_SUBJECTS]


def path_to(metadata: Metadata, table: str, goal: str) -> tuple[ForeignKey, ...] | None:
    """The shortest path from a table to another: empty to itself, None where there is none."""
    paths = (path for path in _paths(metadata, table) if (path[-1].parent if path else table) == goal)
    return next(paths, None)


def _paths(metadata: Metadata, table: str) -> list[tuple[ForeignKey, ...]]:
    """The shortest path from a table to every table that it can reach."""
    _, deferred = generation_order(metadata)
    paths: dict[str, tuple[ForeignKey, ...]] = {table: ()}
    frontier = [table]
    while frontier:
        following: list[str] = []
        for name in frontier:
            for key in metadata.table(name).foreign_keys:
                if key.parent not in paths and (name, key) not in deferred:
                    paths[key.parent] = (*paths[name], key)
                    following.append(key.parent)
        frontier = following
    return list(paths.values())


def subject_path(metadata: Metadata, table: str) -> tuple[ForeignKey, ...] | None:
    """The foreign keys from a table to the person that its rows belong to.

    A key that closes a cycle is not followed: it does not say whom a row belongs to (a shop is not its manager's).

    Returns:
        The shortest path to a subject table, to the one of the most rows where several are as near: empty when the
        table is one itself, None when there is no path (then every row stands for itself).
    """
    reached = {path: metadata.table(path[-1].parent if path else table) for path in _paths(metadata, table)}
    found = {path: each for path, each in reached.items() if each.subject}
    return min(found, key=lambda path: (len(path), -found[path].rows)) if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to append to a message, or nothing.

    >>> print(did_you_mean("sorce", ["source", "target"]))
    ; did you mean 'source'?
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _cycle_keys(waiting: Mapping[str, Mapping[ForeignKey, str]]) -> list[tuple[str, ForeignKey]]:
    """Those waiting keys that lie on a cycle: their parent can reach their table again."""

    def reaches(start: str, goal: str) -> bool:
        seen, stack = {start}, [start]
        while stack:
            name = stack.pop()
            if name == goal:
                return True
            for parent in waiting.get(name, {}).values():
                if parent in waiting and parent not in seen:
                    seen.add(parent)
                    stack.append(parent)
        return False

    return [
        (name, key)
        for name, keys in waiting.items()
        for key, parent in keys.items()
        if parent in waiting and reaches(parent, name)
    ]


def _cost_of_deferring(metadata: Metadata, name: str, key: ForeignKey) -> tuple[int, int, str, tuple[str, ...]]:
    table = metadata.table(name)
    in_key = any(column in unique for unique in table.keys for column in key.columns)
    required = any(column in table.required for column in key.columns)
    return (int(in_key), int(required), name, key.columns)


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]


def _table_problems(metadata: Metadata, table: Table) -> Iterable[str]:
    names = table.column_names
    if not names:
        yield f"table {table.name!r} has no columns"
    for name in _repeated(names):
        yield f"table {table.name!r} lists column {name!r} twice"
    for key in table.keys:
        for name in key:
            if name not in names:
                close = did_you_mean(name, names)
                yield f"a key of table {table.name!r} names column {name!r}, which it does not have{close}"
    for reference in table.foreign_keys:
        yield from _reference_problems(metadata, table, reference)


def _reference_problems(metadata: Metadata, table: Table, reference: ForeignKey) -> Iterable[str]:
    what = f"foreign key {table.name!r}({', '.join(reference.columns)}) -> {reference.parent!r}"
    for name in reference.columns:
        if name not in table.column_names:
            yield f"{what}: no column {name!r} in {table.name!r}{did_you_mean(name, table.column_names)}"
    if reference.parent not in metadata.table_names:
        yield f"{what}: there is no such table{did_you_mean(reference.parent, metadata.table_names)}"
        return
    parent = metadata.table(reference.parent)
    for name in reference.parent_columns:
        if name not in parent.column_names:
            yield f"{what}: no column {name!r} in {parent.name!r}{did_you_mean(name, parent.column_names)}"
    if len(reference.columns) != len(reference.parent_columns):
        yield f"{what}: {len(reference.columns)} columns refer to {len(reference.parent_columns)}"


def _table_from_json(document: Mapping[str, Any]) -> Table:
    return Table(
        name=document["name"],
        path=tuple(document["path"]),
        columns=tuple(_column_from_json(column) for column in document["columns"]),
        primary_key=tuple(document["primary_key"]),
        uniques=tuple(tuple(unique) for unique in document["uniques"]),
        foreign_keys=tuple(
            ForeignKey(
                columns=tuple(key["columns"]),
                parent=key["parent"],
                parent_columns=tuple(key["parent_columns"]),
                orphans=Orphans(key["orphans"]),
                clauses=key["clauses"],
            )
            for key in document["foreign_keys"]
        ),
        checks=tuple(Check(**{**check, "columns": tuple(check["columns"])}) for check in document["checks"]),
        subject=document["subject"],
        unsupported_checks=document["unsupported_checks"],
        native_checks=tuple(document.get("native_checks", ())),
        rules=tuple(_rule_from_json(rule) for rule in document.get("rules", ())),
        rows=document["rows"],
        comment=document["comment"],
        generated=tuple(GeneratedColumn(**column) for column in document["generated"]),
        indexes=tuple(Index(**index) for index in document["indexes"]),
        copied=document["copied"],
    )


def _rule_from_json(document: Mapping[str, Any]) -> Rule:
    listed = {name: tuple(document[name]) for name in ("inputs", "through", "child_key", "own_key")}
    return Rule(**{**document, **listed, "relation": Relation(document["relation"])})


def _column_from_json(document: Mapping[str, Any]) -> Column:
    numbering = Numbering(document["numbering"]) if document["numbering"] else None
    return Column(**{**document, "kind": Kind(document["kind"]), "numbering": numbering})
