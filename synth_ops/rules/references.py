"""Candidates for rules between a row and its parent, or its children: tried on a sample of either."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from synth_ops.artifacts import TableData
from synth_ops.metadata import Column, ForeignKey, Kind, Relation, Rule, Table
from synth_ops.rules.chance import FEWEST_ROWS, agrees, never_below
from synth_ops.rules.queries import number
from synth_ops.rules.sample import Measure, as_number_sql, measure_of, to_floats, tolerance_of
from synth_ops.sql import columns_sql, picked_sql, quote

if TYPE_CHECKING:
    import duckdb

_SAMPLED_ROWS = 4_000
_MOST_COLUMNS = 30
_MOST_AGGREGATED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aggregate:
    expression: str
    words: str
    inputs: tuple[str, ...] = ()
    measure: Measure = Measure.NUMBER
    adds_up: bool = False

    @property
    def as_number(self) -> str:
        """Its SQL as a number."""
        return f"CAST(epoch({self.expression}) AS DOUBLE)" if self.measure is Measure.TIME else self.expression


def from_parent(
    connection: duckdb.DuckDBPyConnection, child: Table, key: ForeignKey, parent: Table, data: TableData, *, schema: str
) -> Iterator[Rule]:
    """Columns that repeat one of the parent's, and times that are never before one of the parent's.

    Args:
        data: The child's.
        schema: Where the parent is.
    """
    own = [column for column in child.columns if column.name not in key.columns and measure_of(column)]
    above = [column for column in parent.columns if column.name not in key.parent_columns and measure_of(column)]
    own, above = own[:_MOST_COLUMNS], above[:_MOST_COLUMNS]
    pairs = [(one, other) for one in own for other in above if measure_of(one) is measure_of(other)]
    if not pairs:
        return
    above = [column for column in above if any(column is other for _, other in pairs)]
    on = _match(key.columns, key.parent_columns, "c", "p")
    # a parent key that the data repeats must not repeat the child's rows
    needed = columns_sql(dict.fromkeys((*key.parent_columns, *(column.name for column in above))))
    keys = columns_sql(key.parent_columns)
    parents = f"SELECT DISTINCT ON ({keys}) {needed} FROM {quote(schema)}.{quote(parent.name)}"
    selected = [f"{as_number_sql(each, 'c')} AS c{place}" for place, each in enumerate(own)]
    selected += [f"{as_number_sql(each, 'p')} AS p{place}" for place, each in enumerate(above)]
    query = f"SELECT {', '.join(selected)} FROM {picked_sql(data, _SAMPLED_ROWS)} c JOIN ({parents}) p ON {on}"
    sampled = connection.sql(query).to_arrow_table()
    ours = {each.name: to_floats(sampled.column(f"c{place}")) for place, each in enumerate(own)}
    theirs = {each.name: to_floats(sampled.column(f"p{place}")) for place, each in enumerate(above)}
    for one, other in pairs:
        if agrees(ours[one.name], theirs[other.name], 0.0):
            yield _from_above(one, other, key, Relation.EQUALS)
    for one, other in pairs:
        if measure_of(one) is Measure.TIME and never_below(ours[one.name], theirs[other.name]):
            yield _from_above(one, other, key, Relation.AT_LEAST)


def from_children(
    connection: duckdb.DuckDBPyConnection,
    parent: Table,
    child: Table,
    key: ForeignKey,
    data: TableData,
    *,
    schema: str,
) -> Iterator[Rule]:
    """Columns that are the number, the sum, the lowest or the highest of what the rows below have.

    Args:
        data: The parent's.
        schema: Where the child is.
    """
    own = [column for column in parent.columns if column.name not in key.parent_columns and column.kind is not Kind.ID]
    own = [column for column in own if measure_of(column) in (Measure.NUMBER, Measure.TIME)][:_MOST_COLUMNS]
    if not own:
        return
    aggregates = list(_aggregates(child, key))
    keys = ", ".join(f"{quote(name)} AS k{place}" for place, name in enumerate(key.columns))
    on = " AND ".join(f"p.{quote(name)} = c.k{place}" for place, name in enumerate(key.parent_columns))
    sums = ", ".join(f"{each.as_number} AS a{place}" for place, each in enumerate(aggregates))
    grouped = (
        f"SELECT {keys}, {sums}, count(*) AS n FROM {quote(schema)}.{quote(child.name)} "
        f"GROUP BY {columns_sql(key.columns)}"
    )
    selected = [f"{as_number_sql(each, 'p')} AS p{place}" for place, each in enumerate(own)]
    query = f"SELECT {', '.join(selected)}, c.* FROM {picked_sql(data, _SAMPLED_ROWS)} p JOIN ({grouped}) c ON {on}"
    sampled = connection.sql(query).to_arrow_table()
    if sampled.num_rows < FEWEST_ROWS or (to_floats(sampled.column("n")) == 1).all():
        return  # what a single child has is carried, not summed
    below = [to_floats(sampled.column(f"a{place}")) for place in range(len(aggregates))]
    for place, column in enumerate(own):
        values = to_floats(sampled.column(f"p{place}"))
        tolerance = 0.0 if measure_of(column) is Measure.TIME else tolerance_of(values)
        for each, expected in zip(aggregates, below, strict=True):
            if each.measure is measure_of(column) and agrees(values, expected, tolerance):
                rule = Rule(
                    relation=Relation.EQUALS,
                    column=column.name,
                    expression=each.expression,
                    inputs=each.inputs,
                    child=child.name,
                    child_key=key.columns,
                    own_key=key.parent_columns,
                    tolerance=tolerance,
                    words=each.words,
                )
                yield from (dataclasses.replace(rule, empty=0.0), rule) if each.adds_up else (rule,)


def _aggregates(child: Table, key: ForeignKey) -> Iterator[_Aggregate]:
    free = [column for column in child.columns if column.name not in key.columns and column.kind is not Kind.ID]
    numbers = [column.name for column in free if measure_of(column) is Measure.NUMBER][:_MOST_AGGREGATED]
    times = [column.name for column in free if measure_of(column) is Measure.TIME][:_MOST_AGGREGATED]
    yield _Aggregate(expression="CAST(count(*) AS DOUBLE)", words="count", adds_up=True)
    for name in numbers:
        yield _Aggregate(expression=f"sum({number(name)})", words=f"sum({name})", inputs=(name,), adds_up=True)
    for one, other in combinations(numbers, 2):
        product = f"{number(one)} * {number(other)}"
        words = f"sum({one} * {other})"
        yield _Aggregate(expression=f"sum({product})", words=words, inputs=(one, other), adds_up=True)
    for aggregate in ("min", "max"):
        for name in numbers:
            yield _Aggregate(expression=f"{aggregate}({number(name)})", words=f"{aggregate}({name})", inputs=(name,))
        for name in times:
            words = f"{aggregate}({name})"
            expression = f"{aggregate}({quote(name)})"
            yield _Aggregate(expression=expression, words=words, inputs=(name,), measure=Measure.TIME)


def _from_above(column: Column, above: Column, key: ForeignKey, relation: Relation) -> Rule:
    return Rule(
        relation=relation,
        column=column.name,
        expression=quote(above.name),
        inputs=(above.name,),
        through=key.columns,
    )


def _match(here: Sequence[str], there: Sequence[str], one: str, other: str) -> str:
    return " AND ".join(f"{one}.{quote(a)} = {other}.{quote(b)}" for a, b in zip(here, there, strict=True))
