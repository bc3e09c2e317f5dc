"""Which reference data have families: what the children of a row have in common is learned from each other alone."""

from __future__ import annotations

import duckdb
import pytest

from synth_ops.generators.relational_trees.learning.families import find_families
from synth_ops.generators.relational_trees.learning.state import SOURCE
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Table

KEY = ForeignKey(columns=("line",), parent="lines", parent_columns=("line",))


def families(sizes, *, in_key=False, others=()):
    """The columns that say under whom goods lie, of lines with so many goods each."""
    columns = tuple(Column(name=name, type="INTEGER", kind=Kind.ID) for name in ("line", "goods"))
    lines = Table(name="lines", path=("lines",), columns=columns[:1], primary_key=("line",))
    primary_key = ("line", "goods") if in_key else ("goods",)
    goods = Table(name="goods", path=("goods",), columns=columns, primary_key=primary_key, foreign_keys=(KEY, *others))
    with duckdb.connect() as connection:
        connection.execute(f"CREATE SCHEMA {SOURCE}")
        connection.execute(f"CREATE TABLE {SOURCE}.goods (line INTEGER, goods INTEGER)")
        connection.execute(
            f"INSERT INTO {SOURCE}.goods SELECT line, row_number() OVER () FROM "
            "(SELECT unnest(range(len(sizes))) AS line, unnest(sizes) AS size FROM (SELECT ?::INTEGER[] AS sizes)), "
            "range(size)",
            [sizes],
        )
        metadata = Metadata(tables=(lines, goods))
        return find_families(connection, metadata, {"lines": len(sizes), "goods": sum(sizes)})["goods"]


@pytest.mark.parametrize(
    ("sizes", "in_key", "found"),
    [
        ([3] * 100, False, True),
        ([3] * 60 + [0] * 40, False, True),
        ([3] * 60 + [0] * 90, False, False),  # most have none: the few that have are groups of their own
        ([3] * 40, False, False),  # too few to learn from
        ([20] * 100, False, False),  # enough in each to be told apart by what they are like
        ([20] * 100, True, True),  # but for what is told of each: translations of one thing
        ([2] * 99 + [150], False, False),  # one of them is as large as all the others
    ],
)
def test_families_are_many_small_and_even(sizes, in_key, found):
    assert families(sizes, in_key=in_key) == (frozenset({("line",)}) if found else frozenset())


def test_references_that_share_a_column_are_picked_together():
    shared = ForeignKey(columns=("line", "goods"), parent="shelves", parent_columns=("line", "goods"))
    assert families([3] * 100, others=(shared,)) == frozenset()
