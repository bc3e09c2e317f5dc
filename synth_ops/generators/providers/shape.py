"""What may be learned of a column whose values may not: lengths and masks that several values share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synth_ops.metadata import Column, Kind, Table
from synth_ops.sql import is_integer, is_text, literal, quote

if TYPE_CHECKING:
    import duckdb

SUPPORT = 5
"""As many different values must share a length or a mask for it to be kept."""
CONSTANT_SUPPORT = 50
"""As many different values must begin (or end) with the same characters for these to be kept."""
_LONGEST_MASK = 40
_MOST_MASKS = 64
_VALUES = 200_000
"""About how many different values a column is learned from."""
_COVERED = 0.8
"""Where the kept masks stand for this share of the values, they stand for all."""
_LONGEST_CONSTANT = 8
_CODED = ("pattern", "national_id", "postcode")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_FROM = _LETTERS + _LETTERS.lower() + "0123456789"
_TO = "A" * 26 + "a" * 26 + "9" * 10

Weighted = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextShape:
    r"""The form of a column's texts, or of its whole numbers written down.

    Attributes:
        lengths: (characters, weight) pairs.
        masks: (mask, weight) pairs; in a mask `A` stands for an upper case letter, `a` for a lower case one, `9` for a
            digit, `1` for one but 0, `X` for a digit or upper case letter, `\c` for the character c that all values
            have at this place, any other character for itself.
        max_length: The longest that a value should be.
    """

    lengths: tuple[tuple[int, float], ...] = ()
    masks: Weighted = ()
    max_length: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; `from_json` reads them back."""
        return {
            "lengths": [list(pair) for pair in self.lengths],
            "masks": [list(pair) for pair in self.masks],
            "max_length": self.max_length,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TextShape:
        """Read what `to_json` wrote."""
        return cls(
            lengths=tuple((int(length), float(weight)) for length, weight in document["lengths"]),
            masks=tuple((str(mask), float(weight)) for mask, weight in document["masks"]),
            max_length=document["max_length"],
        )


def learn_shapes(connection: duckdb.DuckDBPyConnection, relation_sql: str, table: Table) -> dict[str, TextShape]:
    """Learn the shapes of all texts and numbers of a table that a provider makes.

    Args:
        relation_sql: A table expression over the table's rows.
    """
    referring = {name for key in table.foreign_keys for name in key.columns}
    wanted = [c for c in table.columns if c.kind in (Kind.PII, Kind.TEXT, Kind.ID) and c.name not in referring]
    if not wanted:
        return {}
    rows = connection.execute(f"SELECT count(*) FROM {relation_sql}").fetchall()[0][0]
    step = max(1, rows // _VALUES)
    return {
        column.name: _learn(connection, relation_sql, column, step)
        for column in wanted
        if is_text(column.type) or is_integer(column.type)
    }


def _learn(connection: duckdb.DuckDBPyConnection, relation: str, column: Column, step: int) -> TextShape:
    name, number = quote(column.name), is_integer(column.type)
    value = f"abs({name}::HUGEINT)::VARCHAR" if number else f"{name}::VARCHAR"
    mask = f"translate(v, {literal(_FROM)}, {literal(_TO)})"
    sql = f"""
        WITH v AS (
            SELECT DISTINCT {value} AS v FROM {relation} WHERE {name} IS NOT NULL AND hash({name}) % {step} = 0
        ), m AS (
            SELECT CASE WHEN length(v) <= {_LONGEST_MASK} THEN {mask} END AS mask, length(v) AS length, count(*) AS n,
                min(v) AS low, max(v) AS high, min(reverse(v)) AS back_low, max(reverse(v)) AS back_high
            FROM v WHERE v <> '' GROUP BY ALL
        )
        (SELECT mask, length, n, NULL, NULL, NULL, NULL FROM m WHERE mask IS NOT NULL AND n >= {SUPPORT}
            ORDER BY n DESC, mask LIMIT {_MOST_MASKS})
        UNION ALL
        (SELECT NULL, length, sum(n)::BIGINT, min(low), max(high), min(back_low), max(back_high) FROM m
            GROUP BY length ORDER BY length)
    """
    found = connection.execute(sql).fetchall()
    by_length = [row for row in found if row[0] is None]
    lengths = _supported({row[1]: row[2] for row in by_length})
    if number and sum(row[2] for row in by_length) < SUPPORT:
        return TextShape()
    if number:
        return TextShape(
            lengths=tuple(lengths.items()),
            masks=tuple(("1" + "9" * (length - 1), weight) for length, weight in lengths.items()),
            max_length=max(lengths, default=None),
        )
    masks = _plain_masks((row[0], row[2]) for row in found if row[0] is not None)
    masks |= _generic_masks(lengths, masks)
    coded = column.kind is Kind.ID or column.provider in _CODED
    start, end = _constants(by_length) if coded else ("", "")
    escaped = {_with_constants(mask, start, end): weight for mask, weight in masks.items()}
    return TextShape(
        lengths=tuple(lengths.items()), masks=tuple(escaped.items()), max_length=max(lengths, default=None)
    )


def _supported(counts: Mapping[int, int]) -> dict[int, float]:
    """The lengths that enough values share; others count for the nearest one, or for a power of two above them."""
    kept = {length: float(n) for length, n in counts.items() if n >= SUPPORT}
    if not kept and counts:
        return {1 << max(1, max(counts) - 1).bit_length(): float(sum(counts.values()))}
    for length, n in counts.items():
        if n < SUPPORT:
            kept[min(kept, key=lambda known: (abs(known - length), known))] += n
    return kept


def _plain_masks(found: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Masks without any character that could be part of a word in another script."""
    masks: dict[str, float] = defaultdict(float)
    for mask, n in found:
        masks["".join(_plain(character) for character in mask)] += n
    return dict(masks)


def _plain(character: str) -> str:
    if character.isascii():
        return "\\\\" if character == "\\" else character if character.isprintable() else " "
    return "9" if character.isdigit() else "A" if character.isupper() else "a"


def _generic_masks(lengths: Mapping[int, float], masks: Mapping[str, float]) -> dict[str, float]:
    """For values without a shared mask, unless they are few: one of digits and letters, of the same length."""
    if sum(masks.values()) >= _COVERED * sum(lengths.values()):
        return {}
    covered: dict[int, float] = defaultdict(float)
    for mask, weight in masks.items():
        covered[len(mask.replace("\\\\", "-"))] += weight
    left = {length: weight - covered[length] for length, weight in lengths.items() if length <= _LONGEST_MASK}
    return {"X" * length: weight for length, weight in left.items() if weight >= 1}


def _constants(by_length: Sequence[tuple[Any, ...]]) -> tuple[str, str]:
    """What all values begin and end with, where there are enough of them."""
    if sum(row[2] for row in by_length) < CONSTANT_SUPPORT:
        return "", ""
    shortest = min(row[1] for row in by_length)
    start = _common(min(row[3] for row in by_length), max(row[4] for row in by_length))
    end = _common(min(row[5] for row in by_length), max(row[6] for row in by_length))[::-1]
    start, end = start[:_LONGEST_CONSTANT], end[-_LONGEST_CONSTANT:]
    return start, end if len(start) + len(end) <= shortest else ""


def _common(low: str, high: str) -> str:
    """The common beginning of all texts between two, cut where it stops being ASCII."""
    length = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b or not a.isascii()), None)
    return low[:length] if length is not None else low[: len(high)]


def _with_constants(mask: str, start: str, end: str) -> str:
    places = mask.replace("\\\\", "\\")
    fixed = dict(enumerate(start)) | {len(places) - len(end) + n: character for n, character in enumerate(end)}
    return "".join(
        f"\\{fixed[n]}" if n in fixed and fixed[n].isalnum() else "\\\\" if place == "\\" else place
        for n, place in enumerate(places)
    )
