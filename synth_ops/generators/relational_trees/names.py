"""The names of variables: what a model calls the columns, references and places that it draws."""

from __future__ import annotations

POSITION, SIBLINGS = "sequence|position", "sequence|siblings"
"""A row's place under its parent, and how many rows there are."""
COLUMN, REFERENCE, ROLE, BEFORE = "column|", "reference|", "role|", "before|"
"""What the names of variables of one kind start with."""


def column_name(column: str) -> str:
    """The variable of a column."""
    return f"{COLUMN}{column}"


def reference_name(number: int) -> str:
    """The variable that says which group of parents a row refers to."""
    return f"{REFERENCE}{number}"


def role_name(child: str, number: int) -> str:
    """The parent's variable that says which group it is in, for one foreign key of a child."""
    return f"{ROLE}{number}|{child}"


def depth_name(number: int) -> str:
    """The variable that says how far a row is from the root of a self-reference."""
    return f"depth|{number}"


def through(number: int, name: str) -> str:
    """A parent's variable, as its child sees it through a foreign key."""
    return f"through|{number}|{name}"


def before_name(name: str) -> str:
    """The variable that holds what `name` was in the row before."""
    return f"{BEFORE}{name}"
