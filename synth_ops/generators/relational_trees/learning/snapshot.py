"""Learn a snapshot, table by table."""

from __future__ import annotations

import dataclasses

import pyarrow.parquet as pq

from synth_ops.artifacts import Snapshot
from synth_ops.generators.providers import learn_shapes
from synth_ops.generators.relational_trees.codec import PseudonymCodec
from synth_ops.generators.relational_trees.learning.columns import learn_columns
from synth_ops.generators.relational_trees.learning.differences import find_differences
from synth_ops.generators.relational_trees.learning.families import find_families
from synth_ops.generators.relational_trees.learning.method import BlockMethod
from synth_ops.generators.relational_trees.learning.references import learn_references, match_parents
from synth_ops.generators.relational_trees.learning.sequences import find_rank, find_sequence
from synth_ops.generators.relational_trees.learning.state import SOURCE, Learning
from synth_ops.generators.relational_trees.learning.targets import learn_targets
from synth_ops.generators.relational_trees.model import TableModel
from synth_ops.generators.relational_trees.structure import Maker, as_provided, structure
from synth_ops.ports import Progress, ProgressListener
from synth_ops.sql import connect, register, relation_sql


def learn(snapshot: Snapshot, method: BlockMethod, progress: ProgressListener) -> dict[str, TableModel]:
    """Learn every table of a snapshot."""
    metadata = snapshot.metadata
    schemas = {name: pq.read_schema(data.files[0]) for name, data in snapshot.tables.items()}
    rows = {name: data.rows for name, data in snapshot.tables.items()}
    tables: dict[str, Learning] = {}
    models: dict[str, TableModel] = {}
    with connect() as connection:
        register(connection, snapshot.tables, SOURCE)
        families = find_families(connection, metadata, rows)
        structures = structure(metadata, rows, schemas, families)
        total = 2 * len(structures)
        for number, each in enumerate(structures):
            name = each.table.name
            progress(Progress(step="fit", item=f"{name}: columns", done=number, total=total))
            tables[name] = Learning(structure=each, rows=rows[name], schema=schemas[name], makers=dict(each.makers))
            match_parents(connection, tables[name])
            learn_columns(connection, metadata, tables[name])
        for learning in tables.values():
            for key in learning.structure.table.keys:
                find_rank(connection, learning, key)
        for learning in tables.values():
            find_sequence(learning)
            find_differences(connection, tables, learning)
        for learning in tables.values():
            learn_references(connection, tables, learning, method)
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
            targets = tuple(learn_targets(tables, learning, method))
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
                sequence=learning.sequence,
                differences=tuple(learning.differences),
                bases=learning.bases,
                families=families[name],
            )
    return models
