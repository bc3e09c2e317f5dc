"""From Great Expectations' words to DuckDB's: one scan of a table measures most expectations of its suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synth_ops import sql
from synth_ops.artifacts import Severity
from synth_ops.checks.engine import severity_of, subject_of

Kwargs = Mapping[str, Any]
_IGNORED = frozenset({"batch_id", "result_format", "catch_exceptions"})
_NULLS = {
    "any_value_is_missing": " AND ",
    "all_values_are_missing": " OR ",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """An expectation as SQL.

    Attributes:
        check, subject: The evidence's names.
        expression: A scalar SQL expression: an aggregate over the table's rows, or a subquery of its own.
        minimum, maximum: The limits of its value.
    """

    check: str
    subject: str
    expression: str
    minimum: float | None
    maximum: float | None
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class _Translation:
    expression: str
    minimum: float | None = None
    maximum: float | None = 0.0


def knows(expectation: Mapping[str, Any]) -> bool:
    """Whether `compile_expectation` can translate it, whatever the table."""
    return _translate(expectation, "t", ()) is not None


def compile_expectation(
    expectation: Mapping[str, Any], *, table: str, view: str, columns: Sequence[str]
) -> Measure | None:
    """Translate one expectation.

    Args:
        expectation: As in a suite's JSON.
        table: The table's name.
        view: The quoted name of what to measure.
        columns: The names that the columns there have.

    Returns:
        None for what only Great Expectations itself can run.
    """
    translation = _translate(expectation, view, columns)
    if translation is None:
        return None
    ours = expectation.get("meta", {}).get("synth_ops", {})
    return Measure(
        check=str(ours.get("check") or f"suite.{expectation['type']}"),
        subject=str(ours.get("subject") or subject_of(table, expectation["kwargs"])),
        expression=translation.expression,
        minimum=translation.minimum,
        maximum=translation.maximum,
        severity=severity_of(expectation),
    )


def _translate(expectation: Mapping[str, Any], view: str, columns: Sequence[str]) -> _Translation | None:
    known = _TRANSLATORS.get(expectation["type"])
    if known is None:
        return None
    translator, required, optional = known
    kwargs = {
        name: value for name, value in expectation["kwargs"].items() if value is not None and name not in _IGNORED
    }
    if not required <= kwargs.keys() or not kwargs.keys() <= required | optional:
        return None
    return translator(kwargs, view, columns)


def _row_count(kwargs: Kwargs, _view: str, _columns: Sequence[str]) -> _Translation | None:
    exact = kwargs.get("value")
    low, high = kwargs.get("min_value", exact), kwargs.get("max_value", exact)
    if not all(limit is None or _is_number(limit) for limit in (low, high)) or low is high is None:
        return None
    return _Translation(expression="count(*)", minimum=low, maximum=high)


def _column_set(kwargs: Kwargs, _view: str, columns: Sequence[str]) -> _Translation | None:
    wanted = kwargs.get("column_set", [kwargs.get("column")])
    if not isinstance(wanted, list):
        return None
    missing = set(wanted) - set(columns)
    surplus = set(columns) - set(wanted) if "column_set" in kwargs and kwargs.get("exact_match", True) else set()
    return _Translation(expression=f"{len(missing | surplus)} + 0 * count(*)")


def _not_null(kwargs: Kwargs, _view: str, _columns: Sequence[str]) -> _Translation | None:
    return _counted(f"{sql.quote(kwargs['column'])} IS NULL", "count(*)", kwargs)


def _between(kwargs: Kwargs, _view: str, _columns: Sequence[str]) -> _Translation | None:
    column, parts = sql.quote(kwargs["column"]), []
    for side, operator in (("min", ">"), ("max", "<")):
        limit = _literal(kwargs.get(f"{side}_value"))
        if limit is not None:
            strict = kwargs.get(f"strict_{side}", False)
            parts.append(f"{column} {operator}{'' if strict else '='} {limit}")
        elif f"{side}_value" in kwargs:
            return None
    if not parts:
        return None
    return _counted(f"NOT ({' AND '.join(parts)})", f"count({column})", kwargs)


def _in_set(kwargs: Kwargs, _view: str, _columns: Sequence[str]) -> _Translation | None:
    values = kwargs["value_set"]
    literals = [_literal(value) for value in values] if isinstance(values, list) else []
    if not literals or None in literals:
        return None
    column = sql.quote(kwargs["column"])
    return _counted(f"{column} NOT IN ({', '.join(map(str, literals))})", f"count({column})", kwargs)


def _unique(kwargs: Kwargs, view: str, _columns: Sequence[str]) -> _Translation | None:
    columns = kwargs.get("column_list", [kwargs.get("column")])
    ignored = kwargs.get("ignore_row_if", "any_value_is_missing" if "column" in kwargs else "all_values_are_missing")
    if not isinstance(columns, list) or ignored not in _NULLS:
        return None
    present = _NULLS[ignored].join(f"{sql.quote(name)} IS NOT NULL" for name in columns)
    groups = f"SELECT count(*) n FROM {view} WHERE {present} GROUP BY {sql.columns_sql(columns)} HAVING count(*) > 1"
    return _Translation(expression=f"(SELECT coalesce(sum(n - 1), 0) FROM ({groups}))")


def _unexpected_rows(kwargs: Kwargs, view: str, _columns: Sequence[str]) -> _Translation | None:
    try:
        query = str(kwargs["unexpected_rows_query"]).format(batch=view)
    except (ValueError, LookupError, AttributeError):
        return None
    return _Translation(expression=f"(SELECT count(*) FROM ({query.strip().rstrip(';')}))")


def _counted(condition: str, total: str, kwargs: Kwargs) -> _Translation | None:
    mostly = kwargs.get("mostly", 1)
    if not _is_number(mostly):
        return None
    count = f"count(*) FILTER (WHERE {condition})"
    if mostly == 1:
        return _Translation(expression=count)
    return _Translation(expression=f"coalesce({count} / nullif({total}, 0), 0)", maximum=1 - float(mostly))


def _literal(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).upper()
    if _is_number(value):
        return repr(value)
    return sql.literal(value) if isinstance(value, str) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_Translator = Callable[[Kwargs, str, Sequence[str]], _Translation | None]
_TRANSLATORS: Mapping[str, tuple[_Translator, frozenset[str], frozenset[str]]] = {
    "expect_table_row_count_to_be_between": (_row_count, frozenset(), frozenset({"min_value", "max_value"})),
    "expect_table_row_count_to_equal": (_row_count, frozenset({"value"}), frozenset()),
    "expect_table_columns_to_match_set": (_column_set, frozenset({"column_set"}), frozenset({"exact_match"})),
    "expect_column_to_exist": (_column_set, frozenset({"column"}), frozenset()),
    "expect_column_values_to_not_be_null": (_not_null, frozenset({"column"}), frozenset({"mostly"})),
    "expect_column_values_to_be_between": (
        _between,
        frozenset({"column"}),
        frozenset({"min_value", "max_value", "strict_min", "strict_max", "mostly"}),
    ),
    "expect_column_values_to_be_in_set": (_in_set, frozenset({"column", "value_set"}), frozenset({"mostly"})),
    "expect_column_values_to_be_unique": (_unique, frozenset({"column"}), frozenset()),
    "expect_compound_columns_to_be_unique": (_unique, frozenset({"column_list"}), frozenset({"ignore_row_if"})),
    "unexpected_rows_expectation": (_unexpected_rows, frozenset({"unexpected_rows_query"}), frozenset()),
}
"""By type: the translator, the arguments it needs, and those it takes besides."""
