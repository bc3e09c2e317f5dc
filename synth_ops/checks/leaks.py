"""Real secrets in the copy: values of columns that no generator may learn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from synth_ops import sql
from synth_ops.artifacts import Evidence
from synth_ops.checks.limits import judged
from synth_ops.checks.rarity import referred_rows
from synth_ops.checks.statistics import share_interval
from synth_ops.checks.views import COPY, SOURCE, Views, view_sql
from synth_ops.metadata import Column, ForeignKey, Kind, Orphans, Table
from synth_ops.ports import Threshold

_LEAKED, _KEYS = "privacy.leaked_values", "privacy.key_overlap"
_OVERLAP, _COPIED = "privacy.value_overlap", "privacy.copied_values"
LEAK_LIMITS: Mapping[str, Threshold] = {
    _LEAKED: Threshold(block=0.0),
    _KEYS: Threshold(warn=0.5),
    _OVERLAP: Threshold(warn=0.5),
    _COPIED: Threshold(block=0.95),
}
"""A count; shares of the copy's distinct values."""

_GUARDED = frozenset({Kind.PII, Kind.TEXT, Kind.ID, Kind.MEDIA})
_TEXT_TYPES = ("VARCHAR", "UUID", "BLOB", "JSON")
_UNGUARDED_TYPES = ("DATE", "TIME", "INTERVAL", "BOOLEAN", "FLOAT", "DOUBLE")
_LONG_TEXT, _LONG_KEY = "length(v) >= 12", "length(v) >= 8"
_LONG_PII = (
    "(contains(v, '@') OR (length(v) >= 8 AND length(regexp_replace(v, '[^0-9]', '', 'g')) >= 4 "
    "AND NOT regexp_matches(v, '^[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}')))"
)
_SMALL_LISTS = frozenset({"first_name", "last_name", "city", "postcode", "company", "job"})
"""Providers that draw from lists so short that real values come up by chance."""
_FORMATTED = frozenset(("pattern", "national_id", "postcode", "digits"))
_ENUMERATIONS = frozenset({"state", "country"})
"""Providers that have no values but the real ones."""
_MIN_DISTINCT = 20
_SPACE_SAMPLE = 2_000
_DENSE = 0.5
_ALL = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """Distinct values: secrets of the source and the copy, and the copy's that are in the source; then all others."""

    secrets_source: int
    secrets: int
    secrets_found: int
    others_source: int
    others: int
    others_found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """The share of the copy's `n` distinct values that the source has, too."""

    subject: str
    value: float
    n: int

    def judged(self, check: str, threshold: Threshold, allowance: float = 0.0) -> list[Evidence]:
        """Nothing where there are too few values to tell."""
        if self.n < _MIN_DISTINCT:
            return []
        low, high = share_interval(self.value, self.n)
        evidence = Evidence(
            check=check,
            subject=self.subject,
            value=self.value,
            n=self.n,
            ci_low=low,
            ci_high=high,
            detail="share of the copy's distinct values that the source has, too",
        )
        return judged(evidence, threshold, allowance=allowance, laxest=_ALL)

    def overlaps(self, limits: Mapping[str, Threshold], crowded: float = 0.0) -> list[Evidence]:
        """Many are shown; nearly all of them block."""
        return [
            *self.judged(_OVERLAP, limits[_OVERLAP], crowded),
            *self.judged(_COPIED, limits[_COPIED], crowded),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """One look for a column's real values.

    Attributes:
        real, copied: Queries for the distinct values `v` of both sides.
        secret: The condition on `v` that makes a value a secret, one that does not come up by chance.
        formatted: Whether values are made by their format, and may meet real ones where it has few.
    """

    views: Views
    subject: str
    real: str
    copied: str
    secret: str
    limits: Mapping[str, Threshold]
    formatted: bool

    def count(self, public: str = "") -> _Counts:
        """Count, but for those of the copy's values that the query `public` names."""
        copied = f"{self.copied} EXCEPT {public}" if public else self.copied
        query = (
            f"WITH real AS ({self.real}), "
            f"copied AS (SELECT v, v IN (SELECT v FROM real) AS found FROM ({copied}) AS c(v)) "
            f"SELECT (SELECT count(*) FROM real WHERE {self.secret}), (SELECT count(*) FROM real), "
            f"count(*) FILTER (WHERE {self.secret}), count(*) FILTER (WHERE {self.secret} AND found), "
            f"count(*), count(*) FILTER (WHERE found) FROM copied"
        )
        secrets_source, source, secrets, secrets_found, total, found = self.views.row(query)
        return _Counts(
            secrets_source=secrets_source,
            secrets=secrets,
            secrets_found=secrets_found,
            others_source=source - secrets_source,
            others=total - secrets,
            others_found=found - secrets_found,
        )

    def space(self, condition: str) -> float:
        """How many values there may be of the format that the source's show; a provider of words follows no format."""
        query = f"SELECT v FROM ({self.real}) WHERE {condition} ORDER BY hash(v) LIMIT {_SPACE_SAMPLE}"
        values = [str(row[0]) for row in self.views.connection.execute(query).fetchall()]
        if not self.formatted and any(letter.isalpha() for value in values for letter in value):
            return math.inf
        return max(_format_space(values), 1.0)

    def leaked(self, counts: _Counts, chance: float) -> list[Evidence]:
        """The secrets found, against those that may be chance."""
        allowed = math.floor(chance + 3 * math.sqrt(chance))
        evidence = Evidence(
            check=_LEAKED,
            subject=self.subject,
            value=float(counts.secrets_found),
            n=counts.secrets,
            detail="real values found in the copy" + (f"; {allowed} may be chance" if allowed else ""),
        )
        return judged(evidence, self.limits[_LEAKED], allowance=float(allowed))

    def key_overlap(self, found: int, total: int) -> list[Evidence]:
        """A warning where many keys are real ones, but for counters (`A-0001`, `A-0002`), which can't be others."""
        if not found or self._is_counter():
            return []
        share = _Share(subject=self.subject, value=found / max(total, 1), n=total)
        return share.judged(_KEYS, self.limits[_KEYS])

    def value_overlap(self, counts: _Counts, *, small_list: bool) -> list[Evidence]:
        """The share of real ones among short values, with allowance for formats that have few values at all."""
        share = _Share(subject=self.subject, value=counts.others_found / max(counts.others, 1), n=counts.others)
        crowded = 0.0
        if share.value > (self.limits[_OVERLAP].warn or 0.0):
            crowded = min(counts.others_source / self.space(f"NOT {self.secret}"), 1.0)
        if small_list:
            return share.judged(_COPIED, Threshold(warn=self.limits[_COPIED].block), crowded)
        return share.overlaps(self.limits, crowded)

    def _is_counter(self) -> bool:
        number = "try_cast(regexp_extract(v, '^[^0-9]*([0-9]+)$', 1) AS HUGEINT)"
        filled, without = self.views.row(
            f"SELECT count(number) / (max(number) - min(number) + 1), count(*) - count(number) "
            f"FROM (SELECT {number} AS number FROM ({self.real}))"
        )
        return filled is not None and filled >= _DENSE and not without


def guarded_columns(table: Table) -> list[Column]:
    """The columns whose real values may not come back: PII, free text, keys that are text, media.

    References hold values of the key that they refer to, which is guarded itself, but for broken ones.
    """
    references = {name for key in table.foreign_keys if not _holds_made_up_keys(key) for name in key.columns}
    unique = {key[0] for key in table.keys if len(key) == 1}

    def guarded(column: Column) -> bool:
        if column.name in references or column.provider == "date":
            return False
        if column.kind is Kind.PII:
            return not column.type.startswith(_UNGUARDED_TYPES)
        return column.type.startswith(_TEXT_TYPES) and (column.kind in _GUARDED or column.name in unique)

    return [column for column in table.columns if guarded(column)]


def column_leaks(views: Views, table: Table, column: Column, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """Look for a column's real values in the copy."""
    is_key = _is_key(column)
    search = _Search(
        views=views,
        subject=f"{table.name}.{column.name}",
        real=_values_sql(SOURCE, table, column),
        copied=_copied_sql(table, column),
        secret=secret_sql(column),
        limits=limits,
        formatted=is_key or column.provider in _FORMATTED,
    )
    counts = search.count()
    if is_key and counts.secrets_found + counts.others_found:
        counts = search.count(_public_sql(views, table, column))
    chance = 0.0
    if counts.secrets_found:
        chance = counts.secrets * counts.secrets_source / search.space(search.secret)
    if is_key and chance >= 1:  # keys of so short a format meet real ones whatever is done
        return search.key_overlap(counts.secrets_found + counts.others_found, counts.secrets + counts.others)
    evidence = search.leaked(counts, chance)
    if is_key:
        evidence += search.key_overlap(counts.others_found, counts.others)
    if column.kind is Kind.PII and column.provider not in _ENUMERATIONS:
        evidence += search.value_overlap(counts, small_list=column.provider in _SMALL_LISTS)
    return evidence


def person_leaks(views: Views, table: Table, limits: Mapping[str, Threshold]) -> list[Evidence]:
    """Look for real combinations of all of a table's PII columns (first name and last name) in the copy."""
    columns = [column.name for column in guarded_columns(table) if column.kind is Kind.PII]
    if len(columns) < 2:  # noqa: PLR2004  one column is looked at by itself
        return []
    names = [sql.quote(name) for name in columns]
    present = " AND ".join(f"{name} IS NOT NULL" for name in names)
    whole = ", ".join(f"lower(CAST({name} AS VARCHAR))" for name in names)
    real, copied = (
        f"SELECT DISTINCT hash({whole}) AS h FROM {view_sql(schema, table.name)} WHERE {present}"
        for schema in (SOURCE, COPY)
    )
    total, found = views.row(f"SELECT count(*), count(*) FILTER (WHERE h IN ({real})) FROM ({copied})")
    share = _Share(subject=f"{table.name}({', '.join(columns)})", value=found / max(total, 1), n=total)
    return share.overlaps(limits)


def secret_sql(column: Column) -> str:
    """The condition on a value `v` of a guarded column that makes it a secret: one that does not come up by chance."""
    if _is_key(column):
        return _LONG_KEY
    return _LONG_PII if column.kind is Kind.PII else _LONG_TEXT


def folded_sql(column: str, owner: str) -> str:
    """A value without the differences that do not hide it: case and blanks around it."""
    return f"lower(trim(CAST({owner}.{sql.quote(column)} AS VARCHAR)))"


def _is_key(column: Column) -> bool:
    return column.kind not in (Kind.PII, Kind.TEXT, Kind.MEDIA)


def _holds_made_up_keys(key: ForeignKey) -> bool:
    return key.orphans is Orphans.KEEP and len(key.columns) == 1


def _values_sql(schema: str, table: Table, column: Column) -> str:
    value = folded_sql(column.name, "t")
    return f"SELECT DISTINCT {value} AS v FROM {view_sql(schema, table.name)} t WHERE {value} <> ''"


def _copied_sql(table: Table, column: Column) -> str:
    """The copy's values; of a reference only those that it broke on purpose."""
    copied = _values_sql(COPY, table, column)
    for key in table.foreign_keys:
        if key.columns == (column.name,) and _holds_made_up_keys(key):
            copied += f" EXCEPT SELECT {folded_sql(key.parent_columns[0], 'p')} FROM {view_sql(COPY, key.parent)} p"
    return copied


def _public_sql(views: Views, table: Table, column: Column) -> str:
    """The values of those rows that k subjects refer to: codes that everybody uses."""
    queries = list(referred_rows(views.metadata, table, folded_sql(column.name, "p")))
    return f"({' UNION ALL '.join(queries)})" if queries else ""


def _format_space(values: Sequence[str]) -> float:
    """How many values there are of the commonest length, when every place that varies varies freely.

    >>> _format_space(["a-10", "a-27"]), _format_space(["0110", "1001"])
    (100.0, 16.0)
    """
    base = 2 if set("".join(values)) <= {"0", "1"} else 10  # bit strings
    lengths = [len(value) for value in values]
    commonest = max(set(lengths), key=lambda length: (lengths.count(length), length), default=0)
    space = 1.0
    for place in zip(*(value for value in values if len(value) == commonest), strict=True):
        letters = set(place)
        if len(letters) > 1:
            digits = base * any(letter.isdigit() for letter in letters)
            others = 26 * any(letter.isalpha() for letter in letters)
            space *= max(digits + others, len(letters))
    return space
