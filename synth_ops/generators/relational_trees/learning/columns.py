"""Fit the codec of every column, and encode it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth_ops.generators.relational_trees.codec import (
    CategoryCodec,
    Codec,
    PresenceCodec,
    PseudonymCodec,
    Subjects,
    variable,
)
from synth_ops.generators.relational_trees.learning.bases import choose_base
from synth_ops.generators.relational_trees.learning.codecs import fit_category, fit_number
from synth_ops.generators.relational_trees.learning.state import SOURCE, Learning, read_columns
from synth_ops.generators.relational_trees.names import column_name
from synth_ops.generators.relational_trees.streams import stream
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Codes
from synth_ops.generators.relational_trees.units import is_numeric
from synth_ops.metadata import Column, Kind, Metadata, Table, subject_paths
from synth_ops.sql import K_SUBJECTS, subjects_in_order_sql

if TYPE_CHECKING:
    import duckdb

_HARDLY_REPEATED = 0.9


def learn_columns(connection: duckdb.DuckDBPyConnection, metadata: Metadata, learning: Learning) -> None:
    """Find the subjects of every row; fit and encode every column that no foreign key fills."""
    table = learning.structure.table
    learning.subjects = find_subjects(connection, metadata, table.name)
    for column in table.columns:
        maker = learning.makers[column.name]
        if maker is Maker.REFERENCE:
            continue
        values = read_columns(connection, table.name, [column.name])[0]
        values = choose_base(connection, learning, column, values, threshold(table.name, column.name)) or values
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


def find_subjects(connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: str) -> Subjects:
    """Whom each row of a registered table belongs to."""
    found: list[npt.NDArray[np.int64]] = []
    for path in subject_paths(metadata, table):
        query = subjects_in_order_sql(metadata, table, SOURCE, path)
        encoded = connection.sql(query).to_arrow_table().column(0).combine_chunks().dictionary_encode()
        found.append(pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64))
    return tuple(found)


def threshold(table: str, column: str) -> int:
    """How many distinct subjects must share a value: five to seven, always the same for a column."""
    return K_SUBJECTS + int(stream(0, "k", table, column).integers(0, 3))


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
    return fit_category(values.cast(pa.string()), subjects, k, in_order=True)
