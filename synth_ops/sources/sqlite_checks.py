"""CHECK constraints out of SQLite's CREATE TABLE statements, in DuckDB's dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from synth_ops.metadata import Check

_SAME_IN_BOTH = (
    exp.Abs,
    exp.And,
    exp.Case,
    exp.Coalesce,
    exp.If,
    exp.Length,
    exp.Lower,
    exp.Nullif,
    exp.Or,
    exp.Round,
    exp.Substring,
    exp.Trim,
    exp.Upper,
)
_DIFFERENT = (exp.Cast, exp.Div, exp.Subquery, exp.Collate, exp.RegexpLike, exp.Command)


def checks(statement: str, spelling: Mapping[str, str]) -> Iterator[Check | None]:
    """Every CHECK of a CREATE TABLE statement; None for one that does not mean the same in DuckDB.

    Args:
        spelling: The columns' names, by their names in lower case.
    """
    try:
        expressions = list(_expressions(statement))
    except SqlglotError:
        yield None
        return
    for expression in expressions:
        yield _translate(expression, spelling)


def _expressions(statement: str) -> Iterator[str]:
    """The texts between the brackets of `CHECK (...)`."""
    tokens = sqlglot.tokenize(statement, read="sqlite")
    for position, token in enumerate(tokens[:-1]):
        quoted = token.token_type in (TokenType.IDENTIFIER, TokenType.STRING)
        if quoted or token.text.upper() != "CHECK" or tokens[position + 1].token_type != TokenType.L_PAREN:
            continue
        depth = 0
        for end in tokens[position + 1 :]:
            depth += (end.token_type == TokenType.L_PAREN) - (end.token_type == TokenType.R_PAREN)
            if depth == 0:
                yield statement[tokens[position + 1].end + 1 : end.start]
                break


def _translate(expression: str, spelling: Mapping[str, str]) -> Check | None:
    try:
        parsed = sqlglot.parse_one(f"SELECT {expression}", read="sqlite").expressions
    except SqlglotError:
        return None
    if len(parsed) != 1 or not _means_the_same(parsed[0]):
        return None
    root = exp.Paren(this=parsed[0])
    for column in list(root.find_all(exp.Column)):
        name = spelling.get(column.name.lower())
        if name is not None:
            column.replace(exp.column(exp.to_identifier(name, quoted=True)))
        elif column.this.quoted and not column.table:
            column.replace(exp.Literal.string(column.name))  # SQLite reads "x" as text where no column is called x
        else:
            return None
    for like in list(root.find_all(exp.Like)):
        like.replace(exp.ILike(**like.args))  # SQLite's LIKE ignores case
    names = tuple(dict.fromkeys(column.name for column in root.find_all(exp.Column)))
    return Check(expression=root.this.sql(dialect="duckdb"), columns=names) if names else None


def _means_the_same(expression: exp.Expression) -> bool:
    return not any(
        isinstance(node, _DIFFERENT)
        or (isinstance(node, exp.Func) and not isinstance(node, _SAME_IN_BOTH))
        or (isinstance(node, exp.Column) and isinstance(node.parent, exp.Connector | exp.Not))
        for node in expression.walk()
    )
