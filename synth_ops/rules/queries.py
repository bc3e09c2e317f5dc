"""Rules in SQL: how a row breaks one, and in how many rows of the source it can be judged."""

from __future__ import annotations

from collections.abc import Sequence

from synth_ops.metadata import Relation, Rule, Table
from synth_ops.sql import columns_sql, is_integer, quote

VALUE = "__synth_ops_value"
_KEY = "__synth_ops_key"
_SIGNS = {Relation.EQUALS: "=", Relation.AT_LEAST: ">="}


def describe(rule: Rule) -> str:
    """A rule in a few words.

    >>> describe(Rule(relation=Relation.AT_LEAST, column="end", expression='"start"', inputs=("start",)))
    'end >= start'
    >>> describe(Rule(relation=Relation.EQUALS, column="price", expression='"price"', inputs=("price",),
    ...     through=("item",)))
    'price = price of its (item)'
    """
    right = rule.words or rule.expression.replace('"', "")
    if rule.through:
        right += f" of its ({', '.join(rule.through)})"
    if rule.child:
        right += f" over its {rule.child}"
    return f"{rule.column} {_SIGNS[rule.relation]} {right}"


def violations_sql(table: Table, rule: Rule, *, schema: str = "", own: str = "") -> str:
    """A query for the rows that break a rule.

    Args:
        schema: Where the tables are, quoted by this function; the default schema when left out.
        own: What to read the rule's own table from, an SQL table expression; the table itself when left out.
    """
    own = own or _place(schema, table.name)
    return f"SELECT t.* FROM {_sides(table, rule, schema, own)} WHERE NOT ({_condition(rule)})"


def at_bound_sql(table: Table, rule: Rule, *, schema: str, own: str) -> str:
    """A query for the rows that are no higher than a rule asks of them: at its bound, or at the next whole above it.

    Where a rule asks for one value, for the rows that have it.

    Args:
        schema, own: See `violations_sql`.
    """
    column, value = f"t.{quote(rule.column)}", f"t.{quote(VALUE)}"
    kind = table.column(rule.column).type
    above = f"{column} = {value}"
    if rule.relation is Relation.EQUALS:
        above = _condition(rule)
    elif is_integer(kind):
        above = f"{column} >= {value} AND {column} < {value} + 1"
    elif kind == "DATE":
        above = f"{column} >= {value} AND {column} - INTERVAL 1 DAY < {value}"
    return f"SELECT t.* EXCLUDE ({quote(VALUE)}) FROM {_sides(table, rule, schema, own)} WHERE {above}"


def support_sql(table: Table, rules: Sequence[Rule], *, schema: str) -> str:
    """A query for one row, three numbers a rule: rows that know both sides, that break it, that differ in NULLs.

    Args:
        rules: One, or several that are all within one row: these are counted in one scan.
    """
    own = _place(schema, table.name)
    if len(rules) == 1:
        return f"SELECT {_counts(rules[0], VALUE)} FROM {_sides(table, rules[0], schema, own, keep_all=True)}"
    names = [f"{VALUE}{place}" for place in range(len(rules))]
    values = ", ".join(f"{rule.expression} AS {quote(name)}" for rule, name in zip(rules, names, strict=True))
    counts = ", ".join(_counts(rule, name) for rule, name in zip(rules, names, strict=True))
    return f"SELECT {counts} FROM (SELECT *, {values} FROM {own}) t"


def _counts(rule: Rule, value: str) -> str:
    column, other = f"t.{quote(rule.column)}", f"t.{quote(value)}"
    known = f"{column} IS NOT NULL AND {other} IS NOT NULL"
    return (
        f"count(*) FILTER (WHERE {known}), count(*) FILTER (WHERE {known} AND NOT ({_condition(rule, value)})), "
        f"count(*) FILTER (WHERE ({column} IS NULL) <> ({other} IS NULL))"
    )


def number(name: str) -> str:
    """A column as a floating-point number, in an expression."""
    return f"CAST({quote(name)} AS DOUBLE)"


def _sides(table: Table, rule: Rule, schema: str, own: str, *, keep_all: bool = False) -> str:
    """The table as `t`, each row with the expression's value beside it."""
    if not rule.through and not rule.child:
        return f"(SELECT *, {rule.expression} AS {quote(VALUE)} FROM {own}) t"
    if rule.child:
        here, there, name = rule.own_key, rule.child_key, rule.child
        grouped = f" WHERE {' AND '.join(f'{quote(each)} IS NOT NULL' for each in there)} GROUP BY {columns_sql(there)}"
        distinct = ""
    else:
        key = next(key for key in table.foreign_keys if key.columns == rule.through)
        here, there, name = key.columns, key.parent_columns, key.parent
        # a parent key that the data repeats must not repeat the child's rows
        grouped, distinct = "", f"DISTINCT ON ({columns_sql(there)}) "
    keys = ", ".join(f"{quote(each)} AS {quote(f'{_KEY}{place}')}" for place, each in enumerate(there))
    values = f"SELECT {distinct}{keys}, {rule.expression} AS {quote(VALUE)} FROM {_place(schema, name)}{grouped}"
    on = " AND ".join(f"r.{quote(each)} = v.{quote(f'{_KEY}{place}')}" for place, each in enumerate(here))
    join = "LEFT JOIN" if rule.child and (keep_all or rule.empty is not None) else "JOIN"
    value = f"v.{quote(VALUE)}" if rule.empty is None else f"coalesce(v.{quote(VALUE)}, {rule.empty!r})"
    return f"(SELECT r.*, {value} AS {quote(VALUE)} FROM {own} r {join} ({values}) v ON {on}) t"


def _condition(rule: Rule, name: str = VALUE) -> str:
    column, value = f"t.{quote(rule.column)}", f"t.{quote(name)}"
    if rule.relation is Relation.AT_LEAST:
        return f"{column} >= {value}"
    if rule.tolerance:
        return f"abs(CAST({column} AS DOUBLE) - {value}) <= {rule.tolerance!r}"
    return f"{column} = {value}"


def _place(schema: str, table: str) -> str:
    return f"{quote(schema)}.{quote(table)}" if schema else quote(table)
