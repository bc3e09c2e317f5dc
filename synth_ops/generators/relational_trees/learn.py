"""Learn a snapshot: codecs first, then who refers to whom, then a block for every variable."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synth_ops.artifacts import Snapshot
from synth_ops.generators.providers import learn_shapes
from synth_ops.generators.relational_trees.block import BlockSettings, Variable, fit_block
from synth_ops.generators.relational_trees.codec import (
    CategoryCodec,
    Codec,
    PresenceCodec,
    PseudonymCodec,
    Subjects,
    fit_category,
    fit_number,
    is_numeric,
    support,
    variable,
)
from synth_ops.generators.relational_trees.model import Quota, ReferenceModel, TableModel, Target
from synth_ops.generators.relational_trees.references import (
    BROKEN,
    FIRST_GROUP,
    NO_PARENT,
    NULL,
    ORPHAN,
    Rows,
    group_parents,
    match_rows,
)
from synth_ops.generators.relational_trees.rules import Rule, determined, find_rule
from synth_ops.generators.relational_trees.sequences import Order, before_variables, find_order, place_variables
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import Maker, TableStructure, as_provided, structure
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Orphans, Table, subject_paths
from synth_ops.ports import Progress, ProgressListener
from synth_ops.sql import K_SUBJECTS, SUBJECT, connect, quote, register, relation_sql, subjects_sql

if TYPE_CHECKING:
    import duckdb

_SOURCE = "source"
_THREADS = min(os.cpu_count() or 1, 8)
_MOST_INPUTS = 40
_MOST_CONTEXT = 16
_PUBLIC_FROM = 4 * K_SUBJECTS
_LONGEST_CODE = 6
_HARDLY_REPEATED = 0.9
_SCREENING_ROWS = 10_000
_SCREENING_BINS = 12


@dataclass(slots=True, kw_only=True)
class Learning:
    """What is known of one table while the snapshot is being learned."""

    structure: TableStructure
    rows: int
    schema: pa.Schema
    makers: dict[str, Maker]
    subjects: Subjects = ()
    codecs: dict[str, Codec] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    parents: dict[int, Rows] = field(default_factory=dict)
    references: dict[int, ReferenceModel] = field(default_factory=dict)
    public_keys: dict[str, dict[int, Any]] = field(default_factory=dict)
    ranks: dict[str, int] = field(default_factory=dict)
    deepest: dict[int, int] = field(default_factory=dict)
    ordered_by: str | None = None

    def number(self, key: ForeignKey) -> int:
        """The foreign key's position in the metadata."""
        return self.structure.table.foreign_keys.index(key)


def reference_name(number: int) -> str:
    """The variable that says which group of parents a row refers to."""
    return f"reference|{number}"


def role_name(child: str, number: int) -> str:
    """The parent's variable that says which group it is in, for one foreign key of a child."""
    return f"role|{number}|{child}"


def column_name(column: str) -> str:
    """The variable of a column."""
    return f"column|{column}"


def depth_name(number: int) -> str:
    """The variable that says how far a row is from the root of a self-reference."""
    return f"depth|{number}"


def through(number: int, name: str) -> str:
    """A parent's variable, as its child sees it through a foreign key."""
    return f"through|{number}|{name}"


def learn(snapshot: Snapshot, settings: BlockSettings, progress: ProgressListener) -> dict[str, TableModel]:
    """Learn every table of a snapshot."""
    metadata = snapshot.metadata
    schemas = {name: pq.read_schema(data.files[0]) for name, data in snapshot.tables.items()}
    rows = {name: data.rows for name, data in snapshot.tables.items()}
    structures = structure(metadata, rows, schemas)
    total = 2 * len(structures)
    tables: dict[str, Learning] = {}
    models: dict[str, TableModel] = {}
    with connect() as connection:
        register(connection, snapshot.tables, _SOURCE)
        for number, each in enumerate(structures):
            name = each.table.name
            progress(Progress(step="fit", item=f"{name}: columns", done=number, total=total))
            tables[name] = Learning(structure=each, rows=rows[name], schema=schemas[name], makers=dict(each.makers))
            _learn_columns(connection, metadata, tables[name])
        for learning in tables.values():
            _match_parents(connection, learning)
        for learning in tables.values():
            _learn_references(connection, tables, learning, settings)
        for number, each in enumerate(structures):
            name = each.table.name
            progress(Progress(step="fit", item=f"{name}: blocks", done=len(structures) + number, total=total))
            learning = tables[name]
            provided = tuple(
                as_provided(column)
                for column in each.table.columns
                if learning.makers[column.name] is Maker.PROVIDED
                or isinstance(learning.codecs.get(column.name), PseudonymCodec)
            )
            described = dataclasses.replace(each.table, columns=provided)
            shapes = learn_shapes(connection, relation_sql(snapshot.tables[name]), described) if provided else {}
            targets = tuple(_learn_targets(tables, learning, settings))
            models[name] = TableModel(
                rows=learning.rows,
                schema=learning.schema,
                makers=learning.makers,
                codecs=learning.codecs,
                shapes=shapes,
                targets=targets,
                references=learning.references,
                public_keys=learning.public_keys,
                ranks=learning.ranks,
                deepest=learning.deepest,
                ordered_by=learning.ordered_by,
            )
    return models


def threshold(table: str, column: str) -> int:
    """How many distinct subjects must share a value: five to seven, always the same for a column."""
    return K_SUBJECTS + int(stream(0, "k", table, column).integers(0, 3))


def _read(connection: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str]) -> list[pa.ChunkedArray]:
    names = ", ".join(quote(name) for name in columns)
    result = connection.sql(f"SELECT {names} FROM {quote(_SOURCE)}.{quote(table)}").to_arrow_table()
    return [result.column(number) for number in range(len(columns))]


def _learn_columns(connection: duckdb.DuckDBPyConnection, metadata: Metadata, learning: Learning) -> None:
    table = learning.structure.table
    for path in subject_paths(metadata, table.name):
        query = f"SELECT {quote(SUBJECT)} FROM ({subjects_sql(metadata, table.name, _SOURCE, path)})"
        owners = connection.sql(query).to_arrow_table().column(0)
        encoded = owners.combine_chunks().dictionary_encode()
        subjects = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        learning.subjects = (*learning.subjects, subjects)
    for column in table.columns:
        maker = learning.makers[column.name]
        if maker is Maker.REFERENCE:
            continue
        values = _read(connection, table.name, [column.name])[0]
        codec: Codec = PresenceCodec()
        if maker is Maker.LEARNED:
            codec = _fit_codec(values, learning.subjects, threshold(table.name, column.name), column.kind)
            if isinstance(codec, CategoryCodec) and not codec.values:
                learning.makers[column.name] = Maker.PROVIDED
                codec = PresenceCodec()
        pseudonyms = _fit_pseudonyms(table, column, values, learning.subjects)
        if pseudonyms:
            learning.makers[column.name] = Maker.LEARNED
            codec, codes = pseudonyms
        else:
            codes = codec.encode(values)
        if column.name in table.required:
            codes[codes == 0] = -1
        if learning.makers[column.name] is Maker.LEARNED or values.null_count:
            learning.codecs[column.name] = codec
            learning.variables[column_name(column.name)] = variable(codec, codes)


def _fit_pseudonyms(
    table: Table, column: Column, values: pa.ChunkedArray, subjects: Subjects
) -> tuple[PseudonymCodec, Codes] | None:
    """Ids that repeat without being a key or a reference: how they repeat is learned, what they are is not."""
    if column.kind is not Kind.ID or any(column.name in key for key in table.keys):
        return None
    distinct = pc.count_distinct(values).as_py()
    if not distinct or distinct > _HARDLY_REPEATED * (len(values) - values.null_count):
        return None
    if not (pa.types.is_integer(values.type) or pa.types.is_string(values.type)):
        return None
    texts = values.cast(pa.string())
    known = fit_category(texts, subjects, threshold(table.name, column.name))
    codec = PseudonymCodec(common=len(known.values), rare=max(distinct - len(known.values), 1))
    return codec, known.encode(texts)


def _fit_codec(values: pa.ChunkedArray, subjects: Subjects, k: int, kind: Kind) -> Codec:
    if is_numeric(values.type):
        return fit_number(values, subjects, k, ordered=kind is not Kind.CATEGORICAL)
    return fit_category(values.cast(pa.string()), subjects, k)


def _match_parents(connection: duckdb.DuckDBPyConnection, learning: Learning) -> None:
    table = learning.structure.table
    for number, key in enumerate(table.foreign_keys):
        child = _read(connection, table.name, key.columns)
        parent = _read(connection, key.parent, key.parent_columns)
        learning.parents[number] = match_rows(child, parent)
    for unique in table.keys:
        _find_rank(connection, learning, unique)


def _find_rank(connection: duckdb.DuckDBPyConnection, learning: Learning, key: tuple[str, ...]) -> None:
    """Whether the one own column of a key numbers the rows of a parent: 1, 2, 3, ..."""
    own = [name for name in key if learning.makers[name] is not Maker.REFERENCE]
    if len(own) != 1 or len(key) < 2 or not pa.types.is_integer(learning.schema.field(own[0]).type):  # noqa: PLR2004
        return
    primary = learning.structure.primary
    if primary is None or not set(key) - set(own) <= set(primary.columns):
        return
    group = ", ".join(quote(name) for name in key if name != own[0])
    place = f"{quote(_SOURCE)}.{quote(learning.structure.table.name)}"
    (consecutive, starts, lowest), *_ = connection.sql(
        f"SELECT avg((high - low + 1 = n AND n = distinct_n)::INT), avg((low IN (0, 1))::INT), min(low) FROM ("
        f"SELECT min({quote(own[0])}) low, max({quote(own[0])}) high, count(*) n,"
        f" count(DISTINCT {quote(own[0])}) distinct_n FROM {place} GROUP BY {group})"
    ).fetchall()
    if consecutive and min(consecutive, starts) >= 0.95:  # noqa: PLR2004
        learning.ranks[own[0]] = min(max(int(lowest), 0), 1)
        values = _read(connection, learning.structure.table.name, own)[0]
        codec = fit_number(values, learning.subjects, threshold(learning.structure.table.name, own[0]))
        learning.makers[own[0]], learning.codecs[own[0]] = Maker.LEARNED, codec
        learning.variables[column_name(own[0])] = variable(codec, codec.encode(values))


def _learn_references(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Learning], learning: Learning, settings: BlockSettings
) -> None:
    table = learning.structure.table
    own = [
        Variable(codes=np.maximum(each.codes, 0), size=each.size, ordered=each.ordered)
        for name, each in learning.variables.items()
        if name.startswith("column|")
    ]
    for number, key in enumerate(table.foreign_keys):
        parent, parent_of = tables[key.parent], learning.parents[number]
        if key in learning.structure.self_references:
            depths, deepest = _depths(parent_of)
            learning.deepest[number] = deepest
            learning.variables[depth_name(number)] = Variable(
                codes=depths, size=int(depths.max(initial=0)) + 1, ordered=True
            )
            groups, count = np.zeros(parent.rows, np.int32), 1
        else:
            groups, count = group_parents(parent_of, parent.rows, own, k=K_SUBJECTS, single=parent.structure.lookup)
            role = Variable(codes=groups + 1, size=count + 1, ordered=False)
            parent.variables[role_name(table.name, number)] = role
            codes = np.full(len(parent_of), NULL, np.int32)
            codes[parent_of >= 0] = groups[parent_of[parent_of >= 0]] + FIRST_GROUP
            broken = ORPHAN if key.orphans is Orphans.KEEP else -1
            codes[parent_of == BROKEN] = broken
            if any(name in table.required for name in key.columns):
                codes[codes == NULL] = -1
            learning.variables[reference_name(number)] = Variable(codes=codes, size=count + FIRST_GROUP, ordered=False)
        learning.references[number] = ReferenceModel(
            groups=count,
            group_of=tuple(int(group) for group in groups) if parent.structure.lookup else (),
            quota=_learn_quota(parent, table.name, number, parent_of, settings),
            null_share=float((parent_of == NO_PARENT).mean()) if len(parent_of) else 0.0,
            broken_share=float((parent_of == BROKEN).mean()) if len(parent_of) else 0.0,
            broken_values=_broken_values(connection, learning, key, parent_of),
        )
        if parent.structure.lookup:
            _find_public_keys(connection, parent, learning, key, parent_of)


def _depths(parent_of: Rows) -> tuple[Codes, int]:
    """How far every row is from a row without a parent (0) or that is its own; loops get depth 0.

    Returns:
        The depths, and the deepest; -1 where the data has loops.
    """
    rows = np.arange(len(parent_of))
    root = (parent_of < 0) | (parent_of == rows)
    depths = np.zeros(len(parent_of), dtype=np.int32)
    above = np.where(root, rows, parent_of)
    climbing = ~root
    for _ in range(64):
        if not climbing.any():
            break
        depths[climbing] += 1
        climbing &= ~root[above]
        above = np.where(root[above], above, parent_of[np.maximum(above, 0)])
    looped = bool(climbing.any())
    depths[climbing] = 1
    return depths, -1 if looped else int(depths.max(initial=0))


def _learn_quota(parent: Learning, child: str, number: int, parent_of: Rows, settings: BlockSettings) -> Quota:
    counts = np.bincount(parent_of[parent_of >= 0], minlength=parent.rows)
    codec = fit_number(pa.chunked_array([pa.array(counts)]), (), K_SUBJECTS)
    codes = codec.encode(pa.chunked_array([pa.array(counts)]))
    inputs = {
        name: each for name, each in parent.variables.items() if name in visible(parent, role_name(child, number))
    }
    target = _learn_target(f"quota|{number}|{child}", variable(codec, codes), inputs, settings)
    return Quota(codec=codec, mean=float(counts.mean()) if len(counts) else 0.0, target=target)


def _broken_values(connection: duckdb.DuckDBPyConnection, learning: Learning, key: ForeignKey, parent_of: Rows) -> int:
    broken = pa.array(parent_of == BROKEN)
    if key.orphans is not Orphans.KEEP or not (parent_of == BROKEN).any():
        return 0
    values = _read(connection, learning.structure.table.name, [key.columns[-1]])[0]
    return max(1, int(pc.count_distinct(values.filter(broken)).as_py()))


def _find_public_keys(
    connection: duckdb.DuckDBPyConnection, parent: Learning, child: Learning, key: ForeignKey, parent_of: Rows
) -> None:
    """Short codes of reference data that many distinct subjects refer to are public: a test database keeps them."""
    if len(key.columns) != 1 or parent.makers[key.parent_columns[0]] is not Maker.PROVIDED:
        return
    column = key.parent_columns[0]
    if parent.structure.table.column(column).kind is not Kind.ID:
        return
    values = _read(connection, parent.structure.table.name, [column])[0]
    if not (pa.types.is_integer(values.type) or pa.types.is_string(values.type)):
        return
    _, shared_by = support(parent_of, parent.rows, child.subjects)
    short = pc.less_equal(pc.utf8_length(values.cast(pa.string())), _LONGEST_CODE)
    brief = pc.fill_null(short, fill_value=False).to_numpy(zero_copy_only=False)
    shared = np.flatnonzero((shared_by >= _PUBLIC_FROM) & brief)
    kept = parent.public_keys.setdefault(column, {})
    kept.update(zip(shared.tolist(), values.take(pa.array(shared)).to_pylist(), strict=True))


def _learn_targets(tables: Mapping[str, Learning], learning: Learning, settings: BlockSettings) -> Iterator[Target]:
    """A block for every variable of a table, each from what is drawn before it; several at a time."""
    made = learning.structure
    pool: dict[str, Variable] = {}
    if made.lookup:
        pool |= {name: each for name, each in learning.variables.items() if name.startswith("role|")}
    if made.primary:
        number = learning.number(made.primary)
        pool |= seen_through(tables, learning, number, role_name(made.table.name, number))
    order = _order(learning)
    if order:
        pool |= place_variables(order.position, order.siblings)
        pool |= before_variables(row_variables(learning), order.before)
    jobs: list[tuple[str, Variable, dict[str, Variable]]] = []
    pool |= {column_name(name): learning.variables[column_name(name)] for name in learning.ranks}
    for key in made.references:
        number = learning.number(key)
        name = reference_name(number)
        jobs.append((name, learning.variables[name], dict(pool)))
        pool[name] = learning.variables[name]
        if not (order or tables[key.parent].structure.lookup):
            pool |= seen_through(tables, learning, number, "")
    rules = determined(
        {name: each for name, each in learning.variables.items() if name.startswith("column|")}, K_SUBJECTS
    )
    for name in drawing_order(learning, rules):
        jobs.append((name, learning.variables[name], dict(pool)))
        pool[name] = learning.variables[name]

    def learn_one(job: tuple[str, Variable, dict[str, Variable]]) -> Target:
        name, target, inputs = job
        finer = {coarse: rule for coarse, found in rules.items() for rule in found if rule.inputs == (name,)}
        return _learn_target(name, target, inputs, settings, finer)

    with ThreadPoolExecutor(_THREADS) as executor:
        yield from executor.map(learn_one, jobs)


def row_variables(learning: Learning) -> dict[str, Variable]:
    """What a row of a sequence may know of the one before: its columns and the groups of what it refers to."""
    names = [reference_name(learning.number(key)) for key in learning.structure.references]
    names += [name for name in learning.variables if name.startswith("column|")]
    return {name: learning.variables[name] for name in names}


def _order(learning: Learning) -> Order | None:
    """The order of a table's rows under their parents; None where they are no sequence."""
    primary, timed = learning.structure.primary, _time_column(learning)
    if primary is None or timed is None:
        return None
    order = find_order(learning.parents[learning.number(primary)], learning.variables[column_name(timed)].codes)
    learning.ordered_by = timed if order else None
    return order


def _time_column(learning: Learning) -> str | None:
    """What rows under one parent are told apart by: their number, else the finest date or time."""
    if learning.ranks:
        return next(iter(learning.ranks))
    times = [column.name for column in learning.structure.learned if column.kind is Kind.DATETIME]
    times = [name for name in times if name in learning.codecs]
    return max(times, key=lambda name: learning.codecs[name].size) if times else None


def drawing_order(learning: Learning, rules: Mapping[str, Sequence[Rule]]) -> list[str]:
    """Own variables in the order in which they are drawn: keys, then the fewest codes first, then what others need.

    A column that a finer one determines follows the finer one, which takes its place.
    """
    made = learning.structure
    keys = made.own_key_columns()
    columns = [column for column in learning.codecs if column not in learning.ranks]
    timed = learning.ordered_by
    columns.sort(key=lambda name: (name != timed, name not in keys, learning.codecs[name].size, name))
    names: list[str] = []
    for name in (column_name(column) for column in columns):
        first = rules[name][0].inputs[0] if name in rules else name
        names += [each for each in dict.fromkeys((first, name)) if each not in names]
    names += [depth_name(learning.number(key)) for key in made.self_references]
    names += [reference_name(learning.number(key)) for key in made.deferred]
    if not made.lookup:
        names += [name for name in learning.variables if name.startswith("role|")]
    return names


def seen_through(tables: Mapping[str, Learning], learning: Learning, number: int, role: str) -> dict[str, Variable]:
    """A parent's variables for every child row; code 0 where there is no parent."""
    key = learning.structure.table.foreign_keys[number]
    parent_of = learning.parents[number]
    result = {}
    for name in visible(tables[key.parent], role):
        each = tables[key.parent].variables[name]
        codes = np.where(parent_of >= 0, each.codes[np.maximum(parent_of, 0)], 0) if len(each.codes) else parent_of * 0
        result[through(number, name)] = Variable(
            codes=np.maximum(codes, 0).astype(np.int32), size=each.size, ordered=each.ordered
        )
    return result


def visible(parent: Learning, role: str) -> list[str]:
    """Which of a parent's variables a child may depend on: columns, references, and the role in this foreign key.

    A lookup's rows keep their identity, but not their columns' values: of those, a child sees the role alone.
    """
    if parent.structure.lookup:
        return [role] if role in parent.variables else []
    late = {reference_name(parent.number(key)) for key in parent.structure.deferred}
    names = [
        name
        for name in parent.variables
        if name == role or (name.startswith(("column|", "reference|")) and name not in late)
    ]
    return sorted(names, key=lambda name: name != role)[:_MOST_CONTEXT]


def _learn_target(
    name: str,
    target: Variable,
    pool: Mapping[str, Variable],
    settings: BlockSettings,
    finer: Mapping[str, Rule] = MappingProxyType({}),
) -> Target:
    generator = stream(0, "learn", name)
    names = _most_telling(target, pool, generator)
    usable = [Variable(codes=np.maximum(pool[n].codes, 0), size=pool[n].size, ordered=pool[n].ordered) for n in names]
    rule = find_rule(target, pool, K_SUBJECTS) if name.startswith("column|") else None
    guards = {other: each for other, each in finer.items() if other in pool}
    block = fit_block(target, usable, settings, generator)
    return Target(name=name, inputs=tuple(names), block=block, rule=rule, guards=guards)


def _most_telling(target: Variable, pool: Mapping[str, Variable], generator: np.random.Generator) -> list[str]:
    """The inputs that share most information with the target, where there are too many to try."""
    if len(pool) <= _MOST_INPUTS:
        return list(pool)
    rows = np.flatnonzero(target.codes >= 0)
    if len(rows) > _SCREENING_ROWS:
        rows = generator.choice(rows, _SCREENING_ROWS, replace=False)
    wanted = _coarse(target.codes[rows])
    information = {name: _mutual_information(_coarse(each.codes[rows]), wanted) for name, each in pool.items()}
    best = sorted(pool, key=lambda name: -information[name])[:_MOST_INPUTS]
    return [name for name in pool if name in best]


def _coarse(codes: Codes) -> Codes:
    distinct, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    if len(distinct) <= _SCREENING_BINS:
        return inverse.astype(np.int32)
    middle = (np.cumsum(counts) - counts / 2) * (_SCREENING_BINS / len(codes))
    return np.minimum(middle.astype(np.int32), _SCREENING_BINS - 1)[inverse]


def _mutual_information(one: Codes, other: Codes) -> float:
    joint = np.bincount(one * _SCREENING_BINS + other, minlength=_SCREENING_BINS**2).reshape(_SCREENING_BINS, -1)
    share = joint / max(joint.sum(), 1)
    independent = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
    seen = share > 0
    return float((share[seen] * np.log(share[seen] / independent[seen])).sum())
