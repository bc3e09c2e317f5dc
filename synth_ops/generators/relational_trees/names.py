"""The names of variables: what a model calls the columns, references and places that it draws."""

from __future__ import annotations

SEQUENCE = "sequence|"
POSITION, SIBLINGS, FOLLOWING = f"{SEQUENCE}position", f"{SEQUENCE}siblings", f"{SEQUENCE}following"
"""A row's place under its parent, how many rows there are, and how many of them come after it."""
COLUMN, REFERENCE, ROLE, BEFORE = "column|", "reference|", "role|", "before|"
DIFFERENCE, ADVANCE, SAME, RUNNING, ELAPSED = "difference|", "advance|", "same|", "running|", "elapsed|"
RECALLED, SHARE, CHILDREN, QUOTA = "recalled|", "share|", "children|", "quota|"
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


def children_name(child: str, number: int) -> str:
    """The parent's variable that says how many rows refer to it, for one foreign key of a child."""
    return f"{CHILDREN}{number}|{child}"


def depth_name(number: int) -> str:
    """The variable that says how far a row is from the root of a self-reference."""
    return f"depth|{number}"


def through(number: int, name: str) -> str:
    """A parent's variable, as its child sees it through a foreign key."""
    return f"through|{number}|{name}"


def before_name(name: str) -> str:
    """The variable that holds what `name` was in the row before."""
    return f"{BEFORE}{name}"


def same_name(name: str) -> str:
    """The variable that says whether `name` is what it was in the row before."""
    return f"{SAME}{name}"


def advance_name(column: str) -> str:
    """How far an ordering column is past the row before, where those that come first are the same in both."""
    return f"{ADVANCE}{column}"


def running_name(name: str) -> str:
    """The variable that sums up what `name` was in all rows before: ordered codes by mean, others by the commonest."""
    return f"{RUNNING}{name}"


def recalled_name(name: str) -> str:
    """The variable that holds what `name` was in the last row of the same strand."""
    return f"{RECALLED}{name}"


def share_name(strand: int) -> str:
    """The variable that says how many of the rows before are of a strand."""
    return f"{SHARE}{strand}"


LEFT, PACE, NOW = "left", "pace", "now"
"""From where a distance counts: the row before, the same shared out among the rows to come, and the row itself."""


def elapsed_name(when: str, anchor: str) -> str:
    """How far it is to a time of the parent, an anchor."""
    return f"{ELAPSED}{when}|{anchor}"
