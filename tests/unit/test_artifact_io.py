"""A table's file: row groups of a bounded size, whatever the batches that it is made of."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.artifact_io import write_table

NUMBERS = pa.schema([pa.field("number", pa.int64())])


def numbers(start, size):
    return pa.record_batch([pa.array(range(start, start + size), pa.int64())], schema=NUMBERS)


def groups(file):
    found = pq.ParquetFile(file).metadata
    return [found.row_group(place).num_rows for place in range(found.num_row_groups)]


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 2048, 30_000, 65_535, 65_536, 200_000]), max_size=8), tables=st.booleans())
def test_rows_come_in_their_order_in_groups_neither_small_nor_large(tmp_path_factory, sizes, tables):
    batches, rows = [], 0
    for size in sizes:
        batch = numbers(rows, size)
        batches.append(pa.Table.from_batches([batch]) if tables else batch)
        rows += size
    data = write_table(tmp_path_factory.mktemp("table"), "t", NUMBERS, iter(batches))
    (file,) = data.files
    assert data.rows == rows
    assert pq.read_table(file)["number"].to_pylist() == list(range(rows))
    assert max(groups(file), default=0) <= 131_072
    assert sum(1 for size in groups(file) if size < 65_536) <= 1 + sizes.count(200_000)


def test_large_values_make_small_groups_and_few_wait(tmp_path):
    waiting = []

    def batches():
        for _ in range(60):
            waiting.append(pa.total_allocated_bytes())
            yield pa.record_batch({"text": ["x" * 1_000_000]})

    before = pa.total_allocated_bytes()
    (file,) = write_table(tmp_path, "t", pa.schema([pa.field("text", pa.string())]), batches()).files
    assert groups(file) == [17, 17, 17, 9]
    assert max(waiting) - before < 60_000_000, "two groups, and what the writer holds of one"


def test_batches_of_another_schema_are_refused(tmp_path):
    with pytest.raises(pa.ArrowInvalid):
        write_table(tmp_path, "t", NUMBERS, [numbers(0, 3), pa.record_batch({"number": ["three"]})])


def test_texts_that_repeat_have_a_dictionary_and_others_none(tmp_path):
    rows = pa.table({"name": [f"n{each}" for each in range(70_000)], "city": ["Oslo", "Lyon"] * 35_000})
    (file,) = write_table(tmp_path, "t", rows.schema, rows.to_batches(max_chunksize=5_000)).files
    group = pq.ParquetFile(file).metadata.row_group(0)
    name, city = (group.column(place) for place in range(2))
    assert (name.has_dictionary_page, city.has_dictionary_page) == (False, True)
    assert pq.read_table(file) == rows


def test_a_table_without_rows(tmp_path):
    schema = pa.schema([pa.field("name", pa.string())])
    data = write_table(tmp_path, "t", schema, [schema.empty_table()])
    assert data.rows == 0
    assert pq.read_table(data.files[0]).schema == schema
