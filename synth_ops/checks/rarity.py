"""What too few subjects share: rare categories and extremes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from synth_ops import sql
from synth_ops.artifacts import Evidence
from synth_ops.checks.limits import judged
from synth_ops.checks.views import (
    COPY,
    SOURCE,
    Views,
    is_text,
    learned_columns,
    stands_alone,
    subjects_of,
    value_sql,
    view_sql,
)
from synth_ops.metadata import Column, ForeignKey, Metadata, Relation, Rule, Table
from synth_ops.ports import Threshold
from synth_ops.rules import at_bound_sql, violations_sql
from synth_ops.sql import K_SUBJECTS

_RARE, _EXTREMES = "privacy.rare_categories", "privacy.extremes"
RARITY_LIMITS: Mapping[str, Threshold] = {
    _RARE: Threshold(block=0.0),
    _EXTREMES: Threshold(block=0.0),
}
"""Counts."""
_FEWEST_SUBJECTS = 3 * K_SUBJECTS
_TEXT_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def rare_categories(views: Views, table: Table, column: Column, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """How many values of the copy fewer than k subjects of the source have.

    Values that a CHECK lists are public, and so are those of rows that k subjects refer to (an airport, a product).
    """
    rows, subjects = subjects_of(views.metadata, table.name)
    name = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    listed = sorted({text for check in table.checks for text in _TEXT_LITERAL.findall(check.expression)})
    public = " UNION ALL ".join([*_referred_values(views.metadata, table, column), *(f"SELECT '{t}'" for t in listed)])
    published = f"SELECT {name} AS v FROM {view_sql(COPY, table.name)}"
    rare = f"SELECT v FROM (SELECT {name} AS v, {sql.SUBJECT} FROM {rows}) GROUP BY v HAVING {subjects} < {K_SUBJECTS}"
    total = f"SELECT count(DISTINCT v) FROM ({published})"
    found = f"SELECT count(DISTINCT v) FROM ({published}) WHERE v IN ({rare})"
    count = views.number(found)
    if count and public:
        count = views.number(f"{found} AND v NOT IN (SELECT v FROM ({public}) AS p(v) WHERE v IS NOT NULL)")
    evidence = Evidence(
        check=_RARE,
        subject=f"{table.name}.{column.name}",
        value=count,
        n=int(views.number(total)),
        detail=f"values of the copy that fewer than {K_SUBJECTS} subjects of the source have",
    )
    return judged(evidence, limits[_RARE])


def kept_columns(views: Views, table: Table) -> list[Column]:
    """The learned columns whose values a generator has to keep.

    Not those that the copy works out from others, as a rule of the source has it, in every row: a sum of made-up
    numbers tells nothing, and what is taken over from another table is judged there.
    """
    determined: set[str] = set()
    for rule in table.rules:
        if rule.relation is Relation.EQUALS and (not rule.child or rule.child in views.copy):
            query = violations_sql(table, rule, schema=COPY)
            if not views.number(f"SELECT count(*) FROM ({query})"):
                determined.add(rule.column)
    return [column for column in learned_columns(table) if column.name not in determined]


def extremes(views: Views, table: Table, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """How many of the copy's values lie where fewer than k of the source's subjects do, at either end.

    Whole numbers inside a wider key count rows; they go as far as it takes to tell the copy's rows apart.
    Values beyond all real ones are nobody's: a generator that may not show any real value made them up. Where both
    ends together are most of the subjects, what lies there says nothing. A value that is as high as a rule asks, and no
    higher, is another column's, and judged there.
    """
    numbering = {name for key in table.keys if len(key) > 1 for name in key}
    columns = [
        each
        for each in kept_columns(views, table)
        if not is_text(each) and each.type != "BOOLEAN" and not (each.name in numbering and "INT" in each.type)
    ]
    if not columns:
        return []
    k = K_SUBJECTS
    bounds = ", ".join(
        f"min(low{i}) AS lowest{i}, min(low{i}, {k})[{k}] AS low{i}, max(high{i}, {k})[{k}] AS high{i}, "
        f"max(high{i}) AS highest{i}, count(low{i}) AS n{i}"
        for i in range(len(columns))
    )
    values = ", ".join(f"{value_sql(column)} AS v{i}" for i, column in enumerate(columns))
    beyond = ", ".join(
        f"count(*) FILTER (WHERE v{i} >= lowest{i} AND v{i} < low{i} OR v{i} <= highest{i} AND v{i} > high{i}), "
        f"any_value(CASE WHEN low{i} IS NOT NULL THEN n{i} END)"
        for i in range(len(columns))
    )
    # compared in the database, so that no value leaves it
    found = views.row(
        f"SELECT {beyond} FROM (SELECT {bounds} FROM ({subject_ends(views.metadata, table, columns)})) "
        f"LEFT JOIN (SELECT {values} FROM {view_sql(COPY, table.name)}) ON true"
    )
    measured = [
        Evidence(
            check=_EXTREMES,
            subject=f"{table.name}.{column.name}",
            value=float(_above_bounds(views, table, column) if count else count),
            n=int(subjects),
            detail=f"values of the copy between those of the {k - 1} subjects at either end of the source",
        )
        for column, count, subjects in zip(columns, found[::2], found[1::2], strict=True)
        if subjects is not None and subjects >= _FEWEST_SUBJECTS
    ]
    return [each for evidence in measured for each in judged(evidence, limits[_EXTREMES])]


def _above_bounds(views: Views, table: Table, column: Column) -> int:
    """How many different rows have a value at either end that no rule asks of them."""
    ends = subject_ends(views.metadata, table, [column])
    k, value = K_SUBJECTS, value_sql(column, "c")
    bounds = (
        f"SELECT min(low0) AS lowest, min(low0, {k})[{k}] AS low, max(high0, {k})[{k}] AS high, max(high0) AS highest "
        f"FROM ({ends})"
    )
    beyond = f"{value} >= lowest AND {value} < low OR {value} <= highest AND {value} > high"
    rows = f"(SELECT c.* FROM {view_sql(COPY, table.name)} c, ({bounds}) WHERE {beyond})"
    excused = [
        at_bound_sql(table, rule, schema=COPY, own=rows)
        for rule in table.rules
        if rule.column == column.name and (rule.relation is Relation.EQUALS or not _both_ways(table, rule))
    ]
    return int(views.number(f"SELECT count(*) FROM ({' EXCEPT '.join([f'SELECT * FROM {rows}', *excused])})"))


def _both_ways(table: Table, rule: Rule) -> bool:
    """Whether the bound has its own bound in the column: neither is then judged in the other's place."""
    return not rule.through and any(
        other.relation is Relation.AT_LEAST
        and not other.through
        and (other.column,) == rule.inputs
        and rule.column in other.inputs
        for other in table.rules
    )


def referred_rows(metadata: Metadata, table: Table, value: str) -> Iterator[str]:
    """Queries for what `value` is in those rows of the source that at least k subjects refer to.

    Args:
        metadata: The snapshot's.
        table: The table referred to.
        value: A SQL expression over `p`, a row of that table.
    """
    for child, key in metadata.children(table.name):
        rows, subjects = subjects_of(metadata, child.name)
        match = _match(key)
        yield (
            f"SELECT v FROM (SELECT {value} AS v, c.{sql.SUBJECT} FROM {view_sql(SOURCE, table.name)} p "
            f"JOIN {rows} c ON {match}) GROUP BY v HAVING {subjects} >= {K_SUBJECTS}"
        )


def _referred_values(metadata: Metadata, table: Table, column: Column) -> list[str]:
    return list(referred_rows(metadata, table, f"CAST(p.{sql.quote(column.name)} AS VARCHAR)"))


def _match(key: ForeignKey) -> str:
    pairs = zip(key.columns, key.parent_columns, strict=True)
    return " AND ".join(f"p.{sql.quote(there)} = c.{sql.quote(here)}" for here, there in pairs)


def subject_ends(metadata: Metadata, table: Table, columns: Sequence[Column]) -> str:
    """A query for every subject's smallest and largest value of each column."""
    rows, _ = subjects_of(metadata, table.name)
    alone = ", ".join(f"{value_sql(c)} AS low{i}, {value_sql(c)} AS high{i}" for i, c in enumerate(columns))
    if stands_alone(metadata, table.name):
        return f"SELECT {alone} FROM {rows}"
    ends = ", ".join(f"min({value_sql(c)}) AS low{i}, max({value_sql(c)}) AS high{i}" for i, c in enumerate(columns))
    known = f"SELECT {ends} FROM {rows} WHERE {sql.SUBJECT} IS NOT NULL GROUP BY {sql.SUBJECT}"
    return f"{known} UNION ALL SELECT {alone} FROM {rows} WHERE {sql.SUBJECT} IS NULL"
