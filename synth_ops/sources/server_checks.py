"""CHECK constraints of database servers, as they print them, in DuckDB's dialect."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from synth_ops.metadata import Check

_SAME_IN_BOTH = (
    exp.Abs,
    exp.And,
    exp.Any,
    exp.Array,
    exp.Case,
    exp.Cast,
    exp.Coalesce,
    exp.Extract,
    exp.Greatest,
    exp.If,
    exp.Least,
    exp.Length,
    exp.Lower,
    exp.Nullif,
    exp.Or,
    exp.RegexpILike,
    exp.RegexpLike,
    exp.Round,
    exp.Trim,
    exp.Upper,
)
_BYTES = "strlen"
"""DuckDB's function for the size of a text in UTF-8."""
_DIFFERENT = (exp.Subquery, exp.Collate, exp.Command, exp.Window, exp.JSONExtract, exp.JSONBContains, exp.Placeholder)
_KEPT_CASTS = {
    exp.DataType.Type.DATE,
    exp.DataType.Type.TIMESTAMP,
    exp.DataType.Type.TIMESTAMPTZ,
    exp.DataType.Type.TIME,
    exp.DataType.Type.DOUBLE,
    exp.DataType.Type.BIGINT,
}
# what RE2 and the servers' own engines read the same
_PLAIN_PATTERN = re.compile(r"(?:[^\\(]|\\[dws.\-+*?()\[\]{}|^$/@]|\((?!\?))*")


def translate(expression: str, dialect: str, spelling: Mapping[str, str]) -> Check | None:
    """One CHECK in DuckDB's dialect; None for one that does not mean the same there.

    Args:
        expression: In the source's SQL, as its catalogue prints it.
        dialect: sqlglot's name for it: `postgres` or `mysql`.
        spelling: The columns' names, by what the expression may call them.
    """
    try:
        parsed = sqlglot.parse_one(f"SELECT {expression}", read=dialect).expressions
    except SqlglotError:
        return None
    if len(parsed) != 1:
        return None
    root = exp.Paren(this=parsed[0])
    for member in list(root.find_all(exp.EQ, exp.NEQ)):
        _as_list(member)
    for introduced in list(root.find_all(exp.Introducer)):  # _utf8mb4'text'
        introduced.replace(introduced.expression)
    for cast in list(root.find_all(exp.Cast)):
        if cast.to.this not in _KEPT_CASTS:  # casts between texts, to enums and to numerics of any size change nothing
            cast.replace(cast.this)
    if dialect == "mysql":
        _count_bytes(root)
    if not _means_the_same(root, dialect) or not _respell(root, spelling):
        return None
    names = tuple(dict.fromkeys(column.name for column in root.find_all(exp.Column)))
    text = root.this.unnest().sql(dialect="duckdb")
    return Check(expression=text, columns=names, native=expression) if names else None


def _count_bytes(root: exp.Expression) -> None:
    """MySQL's LENGTH and OCTET_LENGTH are of the text in bytes."""
    for call in list(root.find_all(exp.Length, exp.Anonymous)):
        if call.args.get("binary") or (isinstance(call, exp.Anonymous) and call.name.lower() == "octet_length"):
            text = call.expressions[0] if isinstance(call, exp.Anonymous) else call.this
            call.replace(exp.Anonymous(this=_BYTES, expressions=[text]))


def rename(expression: str, dialect: str, old: str, new: str) -> str:
    """An expression about another column, as a domain's CHECK (about `VALUE`) is once a column is of that domain."""
    try:
        root = sqlglot.parse_one(f"SELECT {expression}", read=dialect).expressions[0]
    except SqlglotError:
        return ""
    wrapped = exp.Paren(this=root)
    for column in list(wrapped.find_all(exp.Column)):
        if column.name.upper() == old:
            column.replace(exp.column(exp.to_identifier(new, quoted=True)))
    return str(wrapped.this.sql(dialect=dialect))


def values_check(column: str, values: Collection[str]) -> Check:
    """What an enum says: one of these."""
    literals = [exp.Literal.string(value) for value in values]
    expression = exp.In(this=exp.column(exp.to_identifier(column, quoted=True)), expressions=literals)
    return Check(expression=expression.sql(dialect="duckdb"), columns=(column,))


def _as_list(comparison: exp.Binary) -> None:
    """`x = ANY (ARRAY[...])` and `x <> ALL (ARRAY[...])`, which is how PostgreSQL prints IN and NOT IN."""
    right = comparison.expression
    if isinstance(comparison, exp.EQ) and isinstance(right, exp.Any):
        inner = right.this
    elif isinstance(comparison, exp.NEQ) and isinstance(right, exp.Anonymous) and right.name.upper() == "ALL":
        inner = right.expressions[0]
    elif isinstance(comparison, exp.NEQ) and isinstance(right, exp.All):
        inner = right.this
    else:
        return
    while isinstance(inner, exp.Paren | exp.Cast):
        inner = inner.this
    if isinstance(inner, exp.Array):
        within = exp.In(this=comparison.this, expressions=inner.expressions)
        comparison.replace(within if isinstance(comparison, exp.EQ) else exp.Not(this=within))


def _means_the_same(root: exp.Expression, dialect: str) -> bool:
    for node in root.walk():
        if isinstance(node, exp.Anonymous) and node.name == _BYTES:
            continue
        if isinstance(node, _DIFFERENT) or (isinstance(node, exp.Func) and not isinstance(node, _SAME_IN_BOTH)):
            return False
        if isinstance(node, exp.Div) and dialect == "postgres" and not _has_fraction(node):
            return False  # whole numbers divide to whole numbers there
        if isinstance(node, exp.RegexpLike | exp.RegexpILike):
            pattern = node.expression.unnest()
            if not isinstance(pattern, exp.Literal) or not _PLAIN_PATTERN.fullmatch(pattern.name):
                return False
    return True


def _has_fraction(division: exp.Div) -> bool:
    return any(not literal.is_string and "." in literal.name for literal in division.find_all(exp.Literal))


def _respell(root: exp.Expression, spelling: Mapping[str, str]) -> bool:
    for column in list(root.find_all(exp.Column)):
        name = spelling.get(column.name) or spelling.get(column.name.lower())
        if name is None:
            return False
        column.replace(exp.column(exp.to_identifier(name, quoted=True)))
    return True
