"""The only door to Great Expectations: it judges our evidence and runs the user's own suites.

Nothing of Great Expectations leaves this module: its results, logs and exceptions may hold cell values.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth_ops.artifacts import Evidence, Outcome, Severity
from synth_ops.errors import RecipeError
from synth_ops.sql import quote

if TYPE_CHECKING:
    import pandas as pd

_INDEX = "synth_ops_index"
_SITE = "synth_ops"
_SHOWN_PROBLEMS = 3


def judge(evidence: Sequence[Evidence]) -> list[Outcome]:
    """Judge every number by its limits, all in one validation of a batch with a row a number.

    Fails closed: what is not a finite number does not pass, nor does what has no limit, unless it is only to be shown.

    Returns:
        One outcome for each piece of evidence, in the same order.
    """
    passed = {place for place, each in enumerate(evidence) if _has_limit(each) and math.isfinite(each.value)}
    limits = {(severity, side) for place in passed for severity, side, _ in _limits(evidence[place])}
    if limits:
        passed -= _beyond(evidence, passed, sorted(limits))
    return [
        Outcome(evidence=each, passed=place in passed or (each.severity is Severity.INFO and math.isfinite(each.value)))
        for place, each in enumerate(evidence)
    ]


def _limits(evidence: Evidence) -> Iterator[tuple[str, str, float]]:
    """Severity, side and limit."""
    for side, limit in (("minimum", evidence.minimum), ("maximum", evidence.maximum)):
        if limit is not None:
            yield evidence.severity.value, side, float(limit)


def _beyond(evidence: Sequence[Evidence], judged: Collection[int], limits: Sequence[tuple[str, str]]) -> set[int]:
    """The places of those numbers that are beyond a limit of theirs: an expectation a severity and side."""
    import pandas as pd

    rows = sorted(judged)
    frame = pd.DataFrame({"value": [float(evidence[place].value) for place in rows]})
    for severity, side in limits:
        found = [{limit[:2]: limit[2] for limit in _limits(evidence[place])} for place in rows]
        frame[f"{severity} {side}"] = pd.Series([each.get((severity, side)) for each in found], dtype="float64")
    expectations = [
        {
            "type": "expect_column_pair_values_a_to_be_greater_than_b",
            "kwargs": {
                "column_A": f"{severity} {side}" if side == "maximum" else "value",
                "column_B": "value" if side == "maximum" else f"{severity} {side}",
                "or_equal": True,
                "ignore_row_if": "either_value_is_missing",
            },
            "severity": severity,
        }
        for severity, side in limits
    ]
    beyond: set[int] = set()
    results = _validate(frame, expectations, {"result_format": "COMPLETE"})
    for severity, side in limits:
        column = f"{severity} {side}"
        (facts,) = [each.result for each in results if column in each.expectation_config.kwargs.values()]
        unmet = facts.get("unexpected_index_list") or []
        seen = facts.get("element_count", 0) - facts.get("missing_count", 0)
        if seen != frame[column].count() or facts.get("unexpected_count") != len(unmet):
            return set(rows)  # it could not be run, or did not see all: nothing passes
        beyond |= {rows[place] for place in unmet}
    return beyond


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTable:
    """A table on a server.

    Attributes:
        url: For SQLAlchemy; it holds the password.
        place: Schema and name.
        rows: How many it has.
    """

    url: str = field(repr=False)
    place: tuple[str, str]
    rows: int


def run_suite(
    expectations: Sequence[Mapping[str, Any]], rows: pd.DataFrame | ServerTable, *, table: str, detail: str
) -> list[Evidence]:
    """Run expectations of a user's suite on a table's rows.

    Args:
        expectations: As in a suite's JSON; checked before by `refuse_malformed`.
        rows: The copy's rows, or a sample of them; or where they stand.
        table: The table's name.
        detail: What the rows are, for the report.

    Returns:
        One piece of evidence for each expectation, in the same order: the count or share of unexpected values, or 1
        where the expectation as a whole fails; NaN where it could not be run.
    """
    if not expectations:
        return []
    numbered = [{**each, "meta": {_INDEX: number}} for number, each in enumerate(expectations)]
    results = _validate(rows, numbered, {"result_format": "SUMMARY", "partial_unexpected_count": 0})
    by_index = {result.expectation_config.meta[_INDEX]: result for result in results}
    n = rows.rows if isinstance(rows, ServerTable) else len(rows)
    return [
        _suite_evidence(each, by_index.get(number), table=table, n=n, detail=detail)
        for number, each in enumerate(expectations)
    ]


def write_data_docs(evidence: Sequence[Evidence], folder: Path) -> Path:
    """Write Great Expectations' own Data Docs on evidence: a site with a page a family of checks.

    It shows what the evidence holds, names and numbers, and no cell of any table.

    Args:
        evidence: As it was judged.
        folder: Where to; made if need be.

    Returns:
        The site's index.
    """
    groups: dict[str, list[Evidence]] = {}
    for each in evidence:
        groups.setdefault(each.check.partition(".")[0], []).append(each)
    with _quiet(), contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        import great_expectations as gx
        from great_expectations.checkpoint.actions import UpdateDataDocsAction

        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder.absolute())}
        index = {"class_name": "DefaultSiteIndexBuilder"}
        site: Any = {"class_name": "SiteBuilder", "store_backend": backend, "site_index_builder": index}
        context.add_data_docs_site(site_name=_SITE, site_config=site)
        source = context.data_sources.add_pandas("evidence")
        for name, group in groups.items():
            names = _column_names(group)
            suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=_expectations(names, group)))
            data = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("copy")
            validation = gx.ValidationDefinition(name=name, data=data, suite=suite)
            context.checkpoints.add(
                gx.Checkpoint(
                    name=name,
                    validation_definitions=[context.validation_definitions.add(validation)],
                    actions=[UpdateDataDocsAction(name="docs", site_names=[_SITE])],
                    result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0},
                )
            ).run(batch_parameters={"dataframe": _one_row(names, group)})
    return folder / "index.html"


def refuse_malformed(expectations: Sequence[Mapping[str, Any]], *, where: str) -> None:
    """Check that Great Expectations knows these expectations and takes their arguments.

    Args:
        expectations: As in a suite's JSON.
        where: The suite's file, for the message.

    Raises:
        RecipeError: Naming every one that is malformed.
    """
    if not expectations:
        return
    problems = []
    with _quiet():
        import great_expectations as gx

        for each in expectations:
            try:
                suite = gx.ExpectationSuite(name="suite", expectations=[dict(each)])
            except Exception as error:  # noqa: BLE001  it raises whatever its parts raise; the text may hold values
                problems.append(f"{each['type']}: {_reason(error)}")
                continue
            if not suite.expectations:  # what it does not know it drops, with a line in its log
                problems.append(f"{each['type']}: there is no such expectation")
    if problems:
        raise RecipeError(f"suite {where}: {'; '.join(problems)}", "see the expectation's own documentation")


def suite_document(suite: object) -> dict[str, Any] | None:
    """A suite that was built in Python, as its JSON says it; None for anything else."""
    with _quiet():
        import great_expectations as gx

        document: dict[str, Any] | None = suite.to_json_dict() if isinstance(suite, gx.ExpectationSuite) else None
        return document


def subject_of(table: str, kwargs: Mapping[str, Any]) -> str:
    """What an expectation is about, in names.

    >>> subject_of("flights", {"column": "carrier"})
    'flights.carrier'
    >>> subject_of("weather", {"column_list": ["origin", "hour"]})
    'weather(origin, hour)'
    """
    if "column" in kwargs:
        return f"{table}.{kwargs['column']}"
    pair = [kwargs[name] for name in ("column_A", "column_B") if name in kwargs]
    columns = kwargs.get("column_list") or pair
    return f"{table}({', '.join(map(str, columns))})" if columns else table


def severity_of(expectation: Mapping[str, Any]) -> Severity:
    """Great Expectations' severities in ours: `critical` blocks, `warning` and `info` are shown."""
    return Severity.CRITICAL if expectation.get("severity", "critical") == "critical" else Severity.WARNING


def _validate(
    rows: pd.DataFrame | ServerTable, expectations: Sequence[Mapping[str, Any]], result_format: Mapping[str, Any]
) -> Sequence[Any]:
    with _quiet(), contextlib.ExitStack() as stack:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        if isinstance(rows, ServerTable):
            # in a URL `$` begins the name of a variable, and an unquoted name is folded
            source = context.data_sources.add_sql("rows", connection_string=rows.url.replace("$", r"\$"))
            stack.callback(lambda: source.get_engine().dispose())
            schema, name = rows.place
            table = source.add_table_asset("rows", table_name=quote(name), schema_name=schema)
            batch = table.add_batch_definition_whole_table("rows").get_batch()
            stack.callback(batch.data.execution_engine.close)
        else:
            frame = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
            batch = frame.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": rows})
        suite = gx.ExpectationSuite(name="suite", expectations=[dict(each) for each in expectations])
        results: Sequence[Any] = batch.validate(suite, result_format=dict(result_format)).results
        return results


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No analytics, no warnings, and no log lines: Great Expectations logs tracebacks, which may hold values."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logger = logging.getLogger("great_expectations")
    handler, propagate = logging.NullHandler(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)


def _suite_evidence(expectation: Mapping[str, Any], result: Any, *, table: str, n: int, detail: str) -> Evidence:
    raised = result is None or (not result.result and not result.success)
    facts = {} if raised else result.result
    mostly = expectation["kwargs"].get("mostly")
    maximum = 0.0
    if raised:
        value, detail = math.nan, "it could not be run by Great Expectations"
    elif "unexpected_count" not in facts:
        value = float(not result.success)
    elif mostly is None:
        value = float(facts["unexpected_count"])
    else:
        value, maximum = float(facts.get("unexpected_percent") or 0) / 100, 1 - float(mostly)
    if not raised and (value <= maximum) is not result.success:
        value, maximum = float(not result.success), 0.0
    return Evidence(
        check=f"suite.{expectation['type']}",
        subject=subject_of(table, expectation["kwargs"]),
        value=value,
        n=n,
        maximum=maximum,
        severity=severity_of(expectation),
        detail=detail,
    )


def _reason(error: Exception) -> str:
    """Why an expectation is malformed: pydantic's places and rules, without the arguments' values."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return "it does not take these arguments"
    problems = [f"{'.'.join(map(str, item['loc']))} ({item['type']})" for item in listed()]
    return "wrong arguments: " + ", ".join(problems[:_SHOWN_PROBLEMS])


def _one_row(names: Sequence[str], evidence: Sequence[Evidence]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([[_finite(each.value) for each in evidence]], columns=list(names), dtype="float64")


def _expectations(names: Sequence[str], evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    """What each number of the row must be, where it has a limit."""
    return [
        {
            "type": "expect_column_max_to_be_between",
            "kwargs": {"column": name, "min_value": each.minimum, "max_value": each.maximum},
            "severity": each.severity.value,
        }
        for name, each in zip(names, evidence, strict=True)
        if _has_limit(each)
    ]


def _column_names(evidence: Sequence[Evidence]) -> list[str]:
    names: dict[str, None] = {}
    for each in evidence:
        name, number = f"{each.check}[{each.subject}]", 2
        while name in names:
            name, number = f"{each.check}[{each.subject}]#{number}", number + 1
        names[name] = None
    return list(names)


def _finite(value: float | None) -> float:
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _has_limit(evidence: Evidence) -> bool:
    limits = [limit for limit in (evidence.minimum, evidence.maximum) if limit is not None]
    return bool(limits) and all(math.isfinite(limit) for limit in limits)
