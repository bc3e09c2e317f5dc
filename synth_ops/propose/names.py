"""What the names of tables and columns say about keys and references."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEY_WORD = re.compile(
    "id|key|code|no|nr|num|number|uuid|guid|pk|oid|sk|identifier|isbn|ean|sku|slug|email|mail|login|username|ssn|iban"
)
_ORDINAL_WORD = re.compile(
    "seq|sequence|line|position|pos|ordinal|index|idx|rank|order|stint|round|half|week|month|year|day|hour|date|time|"
    "version|revision|generation|level|slot|turn|step|item|part|page|row"
)
_SELF_WORD = re.compile(
    "parent|manager|supervisor|boss|superior|report|mentor|leader|head|root|original|previous|prev|next|predecessor|"
    "successor|replace|replaced|referrer|ancestor"
)
_ABBREVIATED = 3
"""A shorter word is no abbreviation of another."""
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")


def words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, each in the singular; a schema before a dot is dropped.

    >>> words("OrderDetailID"), words("main.movie_categories"), words("ISOCode"), words("addresses")
    (('order', 'detail', 'id'), ('movie', 'category'), ('iso', 'code'), ('address',))
    """
    return tuple(_singular(word.lower()) for word in _WORD.findall(name.rpartition(".")[2] or name))


def key_rank(table: str, column: str) -> int:
    """How much a column's name looks like its table's key: 0 very much, 1 somewhat, 2 not at all.

    >>> [key_rank("albums", name) for name in ("album_id", "id", "alb_no", "isbn", "price")]
    [0, 0, 0, 1, 2]
    """
    parts, owner = words(column), words(table)
    if parts in (("id",), owner):
        return 0
    if not _is_key_word(parts):
        return 2
    return 0 if "".join(parts).startswith("".join(owner)) or _abbreviates(parts[:-1], owner) else 1


def is_ordinal(column: str) -> bool:
    """Whether a name is that of a position or a time inside something, such as `line_no` or `from_date`."""
    return any(map(_ORDINAL_WORD.fullmatch, words(column)))


def reference_strength(child: str, column: str, parent: str, key: str) -> int:
    """How clearly a column's name says that it refers to a key of another table: 4 fully, down to 0 not at all.

    >>> names = ("customer_id", "billing_customer_id", "id", "qty")
    >>> [reference_strength("orders", name, "customers", "id") for name in names]
    [4, 2, 0, 0]
    >>> reference_strength("flights", "tailnum", "planes", "tailnum")
    3
    >>> reference_strength("moves", "damage_class_id", "move_damage_classes", "id")
    1
    """
    parts, wanted, owner = words(column), words(key), words(parent)
    telling = not all(_KEY_WORD.fullmatch(word) or word == "name" for word in wanted)
    if child == parent:
        return 1 if any(map(_SELF_WORD.fullmatch, parts)) or (telling and _ends(parts, wanted)) else 0
    if "".join(parts) == "".join(owner + wanted):
        return 4
    if telling and parts == wanted:
        return 4 if key_rank(parent, key) == 0 else 3
    if parts == owner or _ends(parts, owner + wanted) or (telling and len(wanted) > 1 and _ends(parts, wanted)):
        return 2
    stem = parts[:-1] if _is_key_word(parts) else ()
    return 1 if stem and _ends(owner, stem) else 0


def speaks_of_another(table: str, column: str, keys: Iterable[tuple[str, str]]) -> bool:
    """Whether a column is called as if it referred to one of the keys (table and column) that name their own table.

    >>> speaks_of_another("film_text", "film_id", [("film", "film_id"), ("film_text", "film_id")])
    True
    """
    return any(
        other != table and key_rank(other, key) == 0 and reference_strength(table, column, other, key) > 0
        for other, key in keys
    )


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):  # noqa: PLR2004  # not "ties"
        return f"{word[:-3]}y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):  # noqa: PLR2004  # not "gas"
        return word[:-1]
    return word


def _is_key_word(parts: tuple[str, ...]) -> bool:
    return bool(parts) and bool(_KEY_WORD.fullmatch(parts[-1]) or re.search("[a-z](id|key|code|num)$", parts[-1]))


def _abbreviates(parts: tuple[str, ...], owner: tuple[str, ...]) -> bool:
    """Whether one word stands for another: its letters, in order, from the first on (dept for department)."""
    if len(parts) != 1 or len(owner) != 1 or len(parts[0]) < _ABBREVIATED or parts[0][0] != owner[0][0]:
        return False
    letters = iter(owner[0])
    return all(letter in letters for letter in parts[0])


def _ends(parts: tuple[str, ...], tail: tuple[str, ...]) -> bool:
    return len(parts) > len(tail) and parts[-len(tail) :] == tail
