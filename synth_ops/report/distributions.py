"""Real and synthetic distributions side by side, as aggregates that at least k subjects stand behind."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synth_ops import sql
from synth_ops.artifacts import Snapshot, SyntheticCopy, TableData
from synth_ops.metadata import Column, Kind, Metadata, Table, subject_path
from synth_ops.sql import K_SUBJECTS

if TYPE_CHECKING:
    import duckdb

_REAL, _COPY = "real_rows", "copy_rows"
_ROWS, _BINS, _CATEGORIES = 50_000, 20, 10
_LABEL_LENGTH = 28
_MANY = 10_000
_MICROSECONDS = 1_000_000
_LONG_SPAN_DAYS, _SHORT_SPAN_DAYS = 730, 2
_DRAWN = frozenset({Kind.CATEGORICAL, Kind.NUMERICAL, Kind.DATETIME, Kind.GEO})
_TIMES = ("DATE", "TIME")
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "U", "FLOAT", "DOUBLE", "DECIMAL")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One bar of each side; all that is not shown by itself goes under an empty label."""

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


def distributions(
    connection: duckdb.DuckDBPyConnection, snapshot: Snapshot, copy: SyntheticCopy, table: Table
) -> list[Distribution]:
    """Every column of a table, on at most about 50,000 rows of each side.

    Raises:
        duckdb.Error: The table can't be read on one side.
    """
    _take_sample(connection, snapshot.metadata, table, snapshot.tables, _REAL)
    _take_sample(connection, snapshot.metadata, table, copy.tables, _COPY)
    return [_distribution(connection, table, column) for column in table.columns]


def _take_sample(
    connection: duckdb.DuckDBPyConnection, metadata: Metadata, table: Table, tables: Mapping[str, TableData], side: str
) -> None:
    """Make the temporary table `side` with some rows, for the real ones whole subjects, and their subject."""
    data = tables[table.name]
    share = f"{max(data.rows, 1)} < {_ROWS}"
    if side == _REAL and subject_path(metadata, table.name):
        sql.register(connection, tables, "source")
        rows = sql.subjects_sql(metadata, table.name, "source")
        query = f"SELECT * FROM ({rows}) WHERE hash({sql.SUBJECT}) % {share} OR {sql.SUBJECT} IS NULL"
    else:
        kept = f"hash(file_index, file_row_number) % {share}"
        query = f"SELECT *, row_number() OVER () AS {sql.SUBJECT} FROM {sql.relation_sql(data)} WHERE {kept}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {side} AS {query}")


def _distribution(connection: duckdb.DuckDBPyConnection, table: Table, column: Column) -> Distribution:
    nulls = [_share_of_nulls(connection, column, side) for side in (_REAL, _COPY)]
    plain = Distribution(column=column, nulls_real=nulls[0], nulls_copy=nulls[1])
    keys = {name for key in table.foreign_keys for name in key.columns}
    keys |= {key[0] for key in table.keys if len(key) == 1}
    if column.kind not in _DRAWN or column.name in keys:
        return plain
    if column.kind is Kind.CATEGORICAL:
        return _with_categories(connection, column, plain)
    number = _number_sql(column)
    return _with_histogram(connection, column, number, plain) if number else plain


def _share_of_nulls(connection: duckdb.DuckDBPyConnection, column: Column, side: str) -> float:
    total, known = _row(connection, f"SELECT count(*), count({sql.quote(column.name)}) FROM {side}")
    return 1 - known / total if total else math.nan


def _with_categories(connection: duckdb.DuckDBPyConnection, column: Column, plain: Distribution) -> Distribution:
    """The most frequent categories; those that too few real subjects have stay nameless."""
    value = f"CAST({sql.quote(column.name)} AS VARCHAR)"
    counted = (
        f"SELECT v, count(*) AS n, count(DISTINCT s) AS k FROM (SELECT {value} AS v, {sql.SUBJECT} AS s FROM {_REAL})"
    )
    kept = connection.execute(
        f"SELECT r.v, r.n, coalesce(c.n, 0) FROM ({counted} WHERE v IS NOT NULL GROUP BY v) r "
        f"LEFT JOIN (SELECT v, count(*) AS n FROM (SELECT {value} AS v FROM {_COPY}) GROUP BY v) c ON c.v = r.v "
        f"WHERE r.k >= {K_SUBJECTS} ORDER BY r.n DESC, r.v LIMIT {_CATEGORIES}"
    ).fetchall()
    if not kept:
        return plain
    totals = [_row(connection, f"SELECT count({sql.quote(column.name)}) FROM {side}")[0] for side in (_REAL, _COPY)]
    rest = (totals[0] - sum(row[1] for row in kept), totals[1] - sum(row[2] for row in kept))
    named = [(_shortened(label), real, copied) for label, real, copied in kept]
    if rest[0] >= K_SUBJECTS or (rest[1] and not rest[0]):  # fewer stay unseen
        named.append(("", *rest))
    bars = [
        Category(label=label, real=real / max(totals[0], 1), copy=copied / max(totals[1], 1))
        for label, real, copied in named
    ]
    return replace(plain, categories=tuple(bars))


def _with_histogram(
    connection: duckdb.DuckDBPyConnection, column: Column, number: str, plain: Distribution
) -> Distribution:
    """Bins between the k-th lowest and highest subject, joined until k real subjects stand behind each."""
    ends = f"SELECT min({number}) AS low, max({number}) AS high FROM {_REAL} GROUP BY {sql.SUBJECT}"
    low, high = _row(
        connection, f"SELECT min(low, {K_SUBJECTS})[{K_SUBJECTS}], max(high, {K_SUBJECTS})[{K_SUBJECTS}] FROM ({ends})"
    )
    if low is None or low > high or not math.isfinite(10 * (abs(low) + abs(high))):  # no axis is that long
        return plain
    low, high = _rounded(low, high)
    place = f"CAST(least(greatest(floor(({number} - {low!r}) / {(high - low) / _BINS!r}), 0), {_BINS - 1}) AS INTEGER)"
    found = {
        side: {
            b: (n, k)
            for b, n, k in connection.execute(
                f"SELECT {place} AS b, count(*), count(DISTINCT {sql.SUBJECT}) FROM {side} "
                f"WHERE {number} IS NOT NULL GROUP BY b"
            ).fetchall()
        }
        for side in (_REAL, _COPY)
    }
    groups = list(_supported_bins([found[_REAL].get(b, (0, 0))[1] for b in range(_BINS)]))
    shares = {}
    for side, bins in found.items():
        total = max(sum(n for n, _ in bins.values()), 1)
        shares[side] = tuple(sum(bins.get(b, (0, 0))[0] for b in range(start, end)) / total for start, end in groups)
    labels = _labels(column, low, high)
    edges = (*(start / _BINS for start, _ in groups), 1.0)
    return replace(plain, low=labels[0], high=labels[1], edges=edges, real=shares[_REAL], copy=shares[_COPY])


def _supported_bins(subjects: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Join neighbours until each group is empty or holds k subjects; the last one takes what remains.

    >>> list(_supported_bins([9, 0, 2, 4, 8, 1]))
    [(0, 1), (1, 2), (2, 4), (4, 6)]
    """
    groups: list[tuple[int, int]] = []
    start, held = 0, 0
    for place, count in enumerate(subjects):
        held += count
        if held >= K_SUBJECTS or (held == 0 and start == place):
            groups.append((start, place + 1))
            start, held = place + 1, 0
    if start < len(subjects):
        supported = [number for number, (a, b) in enumerate(groups) if sum(subjects[a:b])]
        keep = supported[-1] if supported else 0
        groups = [*groups[:keep], (groups[keep][0] if groups else 0, len(subjects))]
    return iter(groups)


def _number_sql(column: Column) -> str:
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
