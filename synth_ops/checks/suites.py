"""Integrity suites in Great Expectations' own format: made from metadata, written to files, read back edited."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import yaml

from synth_ops import sql
from synth_ops.artifacts import Snapshot
from synth_ops.checks.compile import knows
from synth_ops.checks.engine import refuse_malformed
from synth_ops.errors import RecipeError
from synth_ops.metadata import ForeignKey, Metadata, Orphans, Rule, Table, did_you_mean
from synth_ops.rules import describe, violations_sql

Suite = Mapping[str, Any]
ROW_BAND = 0.05
"""How far, as a share, the copy's row count may be from the expected one."""
_SUFFIXES = frozenset({".json", ".yaml", ".yml"})
_MIN_SLACK_ROWS = 5
_SLACK_SIGMAS = 3
_SEVERITIES = ("critical", "warning", "info")


def suite_for(table: Table, rows: int, band: float | None = None, scale: float = 1.0) -> dict[str, Any]:
    """The built-in integrity suite of a table.

    References with `orphans: keep` are not in it: they are judged against the source's own share.

    Args:
        table: Its metadata.
        rows: The source's.
        band: How far the row count may be off, as a share. By default 5 %, but at least 5 rows and three standard
            deviations of a count of that size.
        scale: The copy's size, as a multiple of the source's. A table of reference data may keep its rows.
    """
    fewest, most = sorted((rows, rows * scale))
    low = max(math.floor(fewest - _slack(fewest, band)), int(fewest >= 1))
    high = math.ceil(most + _slack(most, band))
    expectations = [
        _expectation(table, "row_count", "expect_table_row_count_to_be_between", min_value=low, max_value=high),
        _expectation(
            table, "columns", "expect_table_columns_to_match_set", column_set=list(table.column_names), exact_match=True
        ),
        *(
            _expectation(table, "not_null", "expect_column_values_to_not_be_null", column=name)
            for name in table.column_names
            if name in table.required
        ),
        *(_unique_expectation(table, key) for key in table.keys),
        *(_reference_expectation(table, key) for key in table.foreign_keys if key.orphans is Orphans.REPAIR),
        *(_check_expectation(table, check.expression) for check in table.checks),
        *(_rule_expectation(table, rule) for rule in table.rules),
    ]
    return {
        "name": table.name,
        "expectations": expectations,
        "meta": {"synth_ops": {"table": table.name, "replaces_builtin": True}},
    }


def _slack(rows: float, band: float | None) -> float:
    if band is not None:
        return band * rows
    return max(ROW_BAND * rows, _MIN_SLACK_ROWS, _SLACK_SIGMAS * math.sqrt(rows))


def export_suites(snapshot: Snapshot, folder: Path, scale: float = 1.0) -> list[Path]:
    """Write the built-in suite of every table, one JSON file each, to be read, edited and named in a recipe.

    Args:
        snapshot: Where the metadata and the row counts come from.
        folder: Made if need be; files of the same name are replaced.
        scale: The copy's size, as a multiple of the source's rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in snapshot.metadata.tables:
        suite = suite_for(table, snapshot.tables[table.name].rows, scale=scale)
        path = folder / f"{quote(table.name, safe='')}.json"
        path.write_text(json.dumps(suite, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def load_suites(paths: Sequence[Path]) -> dict[str, Suite]:
    """Read suites from JSON or YAML files, or from folders of them.

    A suite is about the table that `meta.synth_ops.table` names, else the one that its file is named after. With
    `meta.synth_ops.replaces_builtin` it stands in for the built-in suite of its table; else it runs beside it.

    Returns:
        The suites, by file.

    Raises:
        RecipeError: A file can't be read or is no suite; it and the expectation are named.
    """
    suites: dict[str, Suite] = {}
    for file in (file for path in paths for file in _files(path)):
        name = file.name if file.name not in suites else str(file)
        suites[name] = checked_suite(_document(file), where=str(file), name=name, about=unquote(file.stem))
    return suites


def checked_suite(document: object, *, where: str, name: str, about: str) -> Suite:
    """A suite with everything that the rest relies on in its place.

    Args:
        document: As in a suite's JSON.
        where: Its file or its plug-in, for messages.
        name: What the suite is known by.
        about: The table that it is about where `meta.synth_ops.table` does not say.

    Raises:
        RecipeError: It is no suite; the expectation is named.
    """
    if not isinstance(document, dict) or not isinstance(document.get("expectations"), list):
        raise RecipeError(f"suite {where} has no list of `expectations`", "see `synth-ops suite` for examples")
    problems = [
        f"expectation {number}: {problem}"
        for number, each in enumerate(document["expectations"], start=1)
        for problem in _malformed(each)
    ]
    if problems:
        raise RecipeError(f"suite {where}: {'; '.join(problems)}", "see `synth-ops suite` for examples")
    expectations = [{"kwargs": {}, **each} for each in document["expectations"]]
    refuse_malformed([each for each in expectations if not knows(each)], where=name)
    meta = document.get("meta") or {}
    ours = meta.get("synth_ops") if isinstance(meta, dict) else None
    ours = dict(ours) if isinstance(ours, dict) else {}
    return {
        "name": str(document.get("name") or about),
        "expectations": expectations,
        "meta": {"synth_ops": {"table": about, **ours}},
    }


def refuse_misplaced(suites: Mapping[str, Suite], metadata: Metadata) -> None:
    """Check that suites are about tables and columns that exist.

    Raises:
        RecipeError: Naming every suite that is not.
    """
    problems = [f"suite {name}: {problem}" for name, suite in suites.items() for problem in _misplaced(suite, metadata)]
    if problems:
        raise RecipeError("; ".join(problems), "correct the suite, or leave it out of the recipe's `gate`")


def table_of(suite: Suite) -> str:
    """The table that a suite is about."""
    return str(suite["meta"]["synth_ops"]["table"])


def replaces_builtin(suite: Suite) -> bool:
    """Whether a suite stands in for the built-in one of its table."""
    return bool(suite["meta"]["synth_ops"].get("replaces_builtin", False))


def reference_name(table: Table, key: ForeignKey) -> str:
    """How a reference is called: `flights(dest) -> airports`."""
    return f"{table.name}({', '.join(key.columns)}) -> {key.parent}"


def orphans_sql(key: ForeignKey, child: str, parent: str) -> str:
    """A query for the rows whose reference finds no parent.

    Args:
        key: The reference.
        child, parent: Quoted names of what to look in.
    """
    pairs = zip(key.columns, key.parent_columns, strict=True)
    match = " AND ".join(f"parent.{sql.quote(there)} = child.{sql.quote(here)}" for here, there in pairs)
    present = " AND ".join(f"child.{sql.quote(name)} IS NOT NULL" for name in key.columns)
    return f"SELECT * FROM {child} child WHERE {present} AND NOT EXISTS (SELECT 1 FROM {parent} parent WHERE {match})"


def _expectation(table: Table, check: str, kind: str, subject: str = "", **kwargs: Any) -> dict[str, Any]:
    default = f"{table.name}.{kwargs['column']}" if "column" in kwargs else table.name
    ours = {"check": f"integrity.{check}", "subject": subject or default}
    return {"type": kind, "kwargs": kwargs, "severity": "critical", "meta": {"synth_ops": ours}}


def _unique_expectation(table: Table, key: tuple[str, ...]) -> dict[str, Any]:
    check = "primary_key" if key == table.primary_key else "unique"
    subject = f"{table.name}({', '.join(key)})"
    if len(key) == 1:
        return _expectation(table, check, "expect_column_values_to_be_unique", subject, column=key[0])
    return _expectation(
        table,
        check,
        "expect_compound_columns_to_be_unique",
        subject,
        column_list=list(key),
        ignore_row_if="any_value_is_missing",
    )


def _reference_expectation(table: Table, key: ForeignKey) -> dict[str, Any]:
    query = orphans_sql(key, "\0", sql.quote(key.parent))
    return _rows_expectation(table, "foreign_key", reference_name(table, key), query)


def _check_expectation(table: Table, expression: str) -> dict[str, Any]:
    subject = f"{table.name}: {' '.join(expression.split())}"
    return _rows_expectation(table, "check", subject, f"SELECT * FROM \0 WHERE NOT ({expression})")


def _rule_expectation(table: Table, rule: Rule) -> dict[str, Any]:
    """Found in the data, declared by nobody: a copy that breaks it is worth a warning, not a lost night."""
    query = violations_sql(table, rule, own="\0")
    return {**_rows_expectation(table, "rule", f"{table.name}: {describe(rule)}", query), "severity": "warning"}


def _rows_expectation(table: Table, check: str, subject: str, query: str) -> dict[str, Any]:
    """An expectation that a query finds no rows; in it NUL stands for the batch."""
    # Great Expectations puts the batch in with `str.format`
    template = query.replace("{", "{{").replace("}", "}}").replace("\0", "{batch}")
    return _expectation(table, check, "unexpected_rows_expectation", subject, unexpected_rows_query=template)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
    if not found:
        raise RecipeError(f"folder {path} holds no suites", "put .json or .yaml files there, or leave it out")
    return found


def _document(file: Path) -> object:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"can't read suite {file}: {error.strerror}", "check `gate.suites` in the recipe") from None
    except UnicodeDecodeError:
        raise RecipeError(f"suite {file} is not UTF-8 text") from None
    try:
        document: object = json.loads(text) if file.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        raise RecipeError(f"suite {file} is neither JSON nor YAML as its suffix says") from None
    return document


def _malformed(expectation: object) -> Iterator[str]:
    if not isinstance(expectation, dict) or not isinstance(expectation.get("type"), str):
        yield "it has no `type`"
        return
    for part in ("kwargs", "meta"):
        if not isinstance(expectation.get(part, {}), dict):
            yield f"`{part}` is not a mapping"
    ours = (expectation.get("meta") or {}).get("synth_ops", {}) if isinstance(expectation.get("meta"), dict) else {}
    if not isinstance(ours, dict):
        yield "`meta.synth_ops` is not a mapping"
    if expectation.get("severity", "critical") not in _SEVERITIES:
        yield f"`severity` is not one of {', '.join(_SEVERITIES)}"


def _misplaced(suite: Suite, metadata: Metadata) -> Iterator[str]:
    name = table_of(suite)
    if name not in metadata.table_names:
        yield f"there is no table {name!r}{did_you_mean(name, metadata.table_names)}"
        return
    columns = metadata.table(name).column_names
    for expectation in suite["expectations"]:
        kwargs = expectation["kwargs"]
        listed = kwargs.get("column_list")
        named = [kwargs.get("column"), kwargs.get("column_A"), kwargs.get("column_B")]
        for column in [*named, *(listed if isinstance(listed, list) else [])]:
            if column is not None and column not in columns:
                close = did_you_mean(str(column), columns)
                yield f"{expectation['type']}: table {name!r} has no column {column!r}{close}"
