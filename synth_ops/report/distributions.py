"""Real and synthetic distributions side by side, as aggregates that at least k subjects stand behind."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synth_ops import sql
from synth_ops.artifacts import Snapshot, SyntheticCopy, TableData
from synth_ops.metadata import Column, Kind, Metadata, Table, subject_path
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

REAL, COPY = "real_rows", "copy_rows"
SOURCE = "source"
_ROWS, _BINS, _CATEGORIES = 50_000, 20, 10
_LABEL_LENGTH = 28
ALL_OTHERS = "all others"
_MANY = 10_000
_MICROSECONDS = 1_000_000
_LONG_SPAN_DAYS, _SHORT_SPAN_DAYS = 730, 2
_DRAWN = frozenset({Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO})
_TIMES = ("DATE", "TIME")
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_NUMBERS = (*_WHOLE, *(f"U{name}" for name in _WHOLE), "FLOAT", "DOUBLE", "DECIMAL")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One bar of each side.

    Attributes:
        label: The value, its rank by frequency where it is not to be told, or `ALL_OTHERS`.
    """

    label: str
    real: float
    copy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One column.

    Attributes:
        nulls_real, nulls_copy: Shares of NULL; NaN where there are no rows.
        low, high: The rounded ends of a histogram's axis; empty for categories and what is not drawn.
        edges: Where a histogram's bins begin and end, from 0 to 1.
        real, copy: The shares of its bins.
        categories: Bars, for categories.
    """

    column: Column
    nulls_real: float
    nulls_copy: float
    low: str = ""
    high: str = ""
    edges: tuple[float, ...] = ()
    real: tuple[float, ...] = ()
    copy: tuple[float, ...] = ()
    categories: tuple[Category, ...] = ()


def take_samples(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, copy: SyntheticCopy, table: Table) -> None:
    """Make the temporary tables `REAL` and `COPY`: at most about 50,000 rows of each side, with their subjects.

    The schema `SOURCE` holds the snapshot's tables already.

    Raises:
        duckdb.Error: The table can't be read on one side.
    """
    _take_sample(connection, snapshot.metadata, table, snapshot.tables, REAL)
    _take_sample(connection, snapshot.metadata, table, copy.tables, COPY)


def distributions(connection: duckdb.DuckDBPyConnection, table: Table, *, labels: bool) -> list[Distribution]:
    """Every column of a table, on the samples that `take_samples` made.

    Args:
        labels: Whether texts that k subjects share are named; numbers and truth values are, as axes name them, too.

    Raises:
        duckdb.Error: A column can't be read on one side.
    """
    nulls = [_shares_of_nulls(connection, table, side) for side in (REAL, COPY)]
    return [
        _distribution(connection, table, Distribution(column=column, nulls_real=real, nulls_copy=copied), labels=labels)
        for column, real, copied in zip(table.columns, *nulls, strict=True)
    ]


def learned(table: Table, column: Column) -> bool:
    """Whether a column's values are learned, so that there is something to compare: no key, no reference, not made."""
    keys = {name for key in table.foreign_keys for name in key.columns}
    keys |= {key[0] for key in table.keys if len(key) == 1}
    return column.kind in _DRAWN and column.name not in keys


def _take_sample(
    connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table, tables: Mapping[str, TableData], side: str
) -> None:
    """Make the temporary table `side` with some rows, for the real ones whole subjects, and their subject."""
    data = tables[table.name]
    share = f"{max(data.rows, 1)} < {_ROWS}"
    if side == REAL and subject_path(metadata, table.name):
        rows = sql.subjects_sql(metadata, table.name, SOURCE)
        query = f"SELECT * FROM ({rows}) WHERE hash({sql.SUBJECT}) % {share} OR {sql.SUBJECT} IS NULL"
    else:
        kept = f"hash(file_index, file_row_number) % {share}"
        query = f"SELECT *, row_number() OVER () AS {sql.SUBJECT} FROM {sql.relation_sql(data)} WHERE {kept}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {side} AS {query}")


def _distribution(
    connection: duckdb.DuckDBPyConnection, table: Table, plain: Distribution, *, labels: bool
) -> Distribution:
    column = plain.column
    if not learned(table, column):
        return plain
    if column.kind is Kind.CATEGORICAL:
        return _with_categories(connection, plain, labels=labels)
    number = number_sql(column)
    return _with_histogram(connection, number, plain) if number else plain


def _shares_of_nulls(connection: duckdb.DuckDBPyConnection, table: Table, side: str) -> list[float]:
    """By column; NaN without rows, 0 where those who have none, or those who have a value, are too few to be told."""
    names = [sql.quote(name) for name in table.column_names]
    total, *known = _row(connection, f"SELECT count(*), {', '.join(f'count({name})' for name in names)} FROM {side}")
    if not total:
        return [math.nan] * len(names)
    mixed = [name for name, count in zip(names, known, strict=True) if 0 < count < total] if side == REAL else []
    told = set(names)
    if mixed:
        owners = f"count(DISTINCT {sql.SUBJECT}) FILTER"
        enough = ", ".join(
            f"least({owners} (WHERE {name} IS NULL), {owners} (WHERE {name} IS NOT NULL)) >= {K_SUBJECTS}"
            for name in mixed
        )
        found = zip(mixed, _row(connection, f"SELECT {enough} FROM {side}"), strict=True)
        told -= {name for name, is_enough in found if not is_enough}
    return [1 - count / total if name in told else 0.0 for name, count in zip(names, known, strict=True)]


def _with_categories(connection: duckdb.DuckDBPyConnection, plain: Distribution, *, labels: bool) -> Distribution:
    """The most frequent categories; those that too few real subjects have go to all others."""
    column = plain.column
    value = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    kept = connection.execute(
        f"SELECT r.v, r.n, coalesce(c.n, 0) FROM ({frequent_sql(column)} LIMIT {_CATEGORIES}) r "
        f"LEFT JOIN (SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {COPY}) GROUP BY v) c ON c.v = r.v "
        "ORDER BY r.n DESC, r.v"
    ).fetchall()
    if not kept:
        return plain
    totals = [_row(connection, f"SELECT count({sql.quote(column.name)}) FROM {side}")[0] for side in (REAL, COPY)]
    rest = (totals[0] - sum(row[1] for row in kept), totals[1] - sum(row[2] for row in kept))
    others = f"SELECT count(DISTINCT {sql.SUBJECT}) FROM {REAL} WHERE NOT list_contains(?::VARCHAR[], {value})"
    ((owners,),) = connection.execute(others, [[row[0] for row in kept]]).fetchall()
    told = labels or column.type.startswith((*_NUMBERS, "BOOLEAN"))
    named = [
        (_shortened(label) if told else f"value {rank}", real, copied)
        for rank, (label, real, copied) in enumerate(kept, start=1)
    ]
    if told and column.type.startswith(_NUMBERS):
        named.sort(key=lambda bar: float(bar[0]))
    if owners >= K_SUBJECTS or (rest[1] and not rest[0]):  # fewer stay unseen
        named.append((ALL_OTHERS, *rest))
    bars = [
        Category(label=label, real=real / max(totals[0], 1), copy=copied / max(totals[1], 1))
        for label, real, copied in named
    ]
    return replace(plain, categories=tuple(bars))


def frequent_sql(column: Column) -> str:
    """A query for the values `v`, as text, that k subjects of the sample have, and their number of rows, `n`."""
    value = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    return (
        f"SELECT v, count(*) AS n FROM (SELECT {value} AS v, {sql.SUBJECT} AS s FROM {REAL}) WHERE v IS NOT NULL "
        f"GROUP BY v HAVING count(DISTINCT s) >= {K_SUBJECTS} ORDER BY n DESC, v"
    )


def _with_histogram(connection: duckdb.DuckDBPyConnection, number: str, plain: Distribution) -> Distribution:
    """Bins between the k-th lowest and highest subject, joined until k real subjects stand behind each."""
    ends = f"SELECT min({number}) AS low, max({number}) AS high FROM {REAL} GROUP BY {sql.SUBJECT}"
    low, high = _row(
        connection, f"SELECT min(low, {K_SUBJECTS})[{K_SUBJECTS}], max(high, {K_SUBJECTS})[{K_SUBJECTS}] FROM ({ends})"
    )
    if low is None or low > high or not math.isfinite(10 * (abs(low) + abs(high))):  # no axis is that long
        return plain
    low, high = _rounded(low, high)
    place = f"CAST(least(greatest(floor(({number} - {low!r}) / {(high - low) / _BINS!r}), 0), {_BINS - 1}) AS INTEGER)"
    found: dict[str, dict[int, tuple[int, list[int]]]] = {
        side: {
            b: (n, who or [])
            for b, n, who in connection.execute(
                f"SELECT {place} AS b, count(*), {owners_sql(sql.SUBJECT)} FROM {side} "
                f"WHERE {number} IS NOT NULL GROUP BY 1"
            ).fetchall()
        }
        for side in (REAL, COPY)
    }
    groups = list(supported_bins([found[REAL].get(b, (0, []))[1] for b in range(_BINS)]))
    shares = {}
    for side, bins in found.items():
        total = max(sum(n for n, _ in bins.values()), 1)
        shares[side] = tuple(sum(bins.get(b, (0, []))[0] for b in range(start, end)) / total for start, end in groups)
    labels = _labels(plain.column, low, high)
    edges = (*(start / _BINS for start, _ in groups), 1.0)
    return replace(plain, low=labels[0], high=labels[1], edges=edges, real=shares[REAL], copy=shares[COPY])


def owners_sql(subject: str) -> str:
    """An aggregate: some of the subjects of a group, as many as it takes to tell that they are enough."""
    return f"(list(DISTINCT {subject}) FILTER (WHERE {subject} IS NOT NULL))[:{K_SUBJECTS}]"


def supported_bins(subjects: Sequence[Collection[int]]) -> Iterator[tuple[int, int]]:
    """Join neighbours until each group is empty or k subjects stand behind it; the last one takes what remains.

    Args:
        subjects: Whose rows a bin holds: all of them, or at least k. One who is in two bins counts once.

    >>> list(supported_bins([range(9), (), (1, 2), (1, 3, 4, 5), range(8), (1,)]))
    [(0, 1), (1, 2), (2, 4), (4, 6)]
    """
    groups: list[tuple[int, int]] = []
    start: int = 0
    held: set[int] = set()
    for place, who in enumerate(subjects):
        held.update(who)
        if len(held) >= K_SUBJECTS or (not held and start == place):
            groups.append((start, place + 1))
            start, held = place + 1, set()
    if start < len(subjects):
        supported = [number for number, (a, b) in enumerate(groups) if any(len(who) for who in subjects[a:b])]
        keep = supported[-1] if supported else 0
        groups = [*groups[:keep], (groups[keep][0] if groups else 0, len(subjects))]
    return iter(groups)


def number_sql(column: Column) -> str:
    """A column as finite floating-point numbers (times: microseconds since 1970); empty when it can't be one."""
    name = sql.quote(column.name)
    if column.type.startswith(_TIMES):
        return f"CAST(TRY(epoch_us({name})) AS DOUBLE)"  # there are dates beyond any microsecond
    if not column.type.startswith(_NUMBERS):
        return ""
    return f"CASE WHEN isfinite(CAST({name} AS DOUBLE)) THEN CAST({name} AS DOUBLE) END"


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Ends of an axis, widened to two digits of its length.

    >>> _rounded(13.0, 987.0)
    (0.0, 1000.0)
    """
    step = 10.0 ** math.floor(math.log10(high - low)) / 2 if high > low else max(abs(low), 1.0) / 10
    below, above = math.floor(low / step) * step, math.ceil(high / step) * step
    return (below, above) if above > below else (below, below + step)


def _labels(column: Column, low: float, high: float) -> tuple[str, str]:
    if not column.type.startswith(_TIMES):
        return _figure(low), _figure(high)
    span = (high - low) / _MICROSECONDS / 86_400
    time_only = column.type.startswith("TIME") and not column.type.startswith("TIMESTAMP")
    form = "%Y" if span > _LONG_SPAN_DAYS else "%Y-%m-%d" if span > _SHORT_SPAN_DAYS else "%Y-%m-%d %H:%M"
    return _moment(low, "%H:%M" if time_only else form), _moment(high, "%H:%M" if time_only else form)


def _figure(value: float) -> str:
    """A number; years stay without a comma."""
    return f"{value:,.6g}" if abs(value) >= _MANY else f"{value:.6g}"


def _moment(microseconds: float, form: str) -> str:
    try:
        return (_EPOCH + dt.timedelta(microseconds=microseconds)).strftime(form)
    except OverflowError:
        return "…"


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return tuple(connection.execute(query).fetchall()[0])
