"""What the UI shows of an artifact: counts, scores as numbers, schemas and column lineage; never values."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from synth_ops.artifact_io import read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.lineage import Dataset
from synth_ops.metadata import Table
from synth_ops.report import Context, read_document, render_markdown
from synth_ops.run import StepResult, report_url
from synth_ops.store import Store
from synth_ops.verdict import Family, scores

_NUMBERS = ("generation", "checks", "failed", "warnings")
_TEXTS = ("verdict", "blocked_by", "target", "published_at", "generator", "instead_of", "copy")


def artifact_metadata(store: Store, result: StepResult) -> dict[str, Any]:
    """Of one artifact: its id, what its step counted, and of a report the link and the summary."""
    shown: dict[str, Any] = {
        name: result.facts[name] for name in (*_TEXTS, *_NUMBERS) if result.facts.get(name, "") != ""
    }
    if result.ref.kind is ArtifactKind.REPORT:
        shown.update(report_metadata(store, result.ref))
    if tables := result.facts.get("tables"):
        shown["tables"] = dg.MetadataValue.json(dict(tables))
        shown["dagster/row_count"] = sum(tables.values())
    return {**shown, **result.ref.to_json(), "skipped": result.skipped, "seconds": round(result.seconds, 3)}


def report_metadata(store: Store, ref: ArtifactRef) -> dict[str, Any]:
    """Of a report, passed or failed: every score by its measure's name, the link, and the summary as Markdown."""
    report = read_report(store, ref)
    return {
        "report": dg.MetadataValue.url(report_url(store, ref)),
        "summary": dg.MetadataValue.md(render_markdown(read_document(store, ref), Context())),
        **scores(report.outcomes),
    }


def family_result(family: Family) -> dg.AssetCheckResult:
    """One family of checks: it blocks where one of them does, and warns where one was only not met."""
    metadata: dict[str, Any] = {**family.counts(), **scores(family.outcomes)}
    return dg.AssetCheckResult(
        check_name=family.name,
        passed=not family.failed and not family.warnings,
        severity=dg.AssetCheckSeverity.WARN if family.warnings and not family.failed else dg.AssetCheckSeverity.ERROR,
        metadata=metadata,
    )


def table_metadata(
    table: Table, *, rows: int, dataset: Dataset, source_key: Callable[[str], dg.AssetKey]
) -> Mapping[str, Any]:
    """Of a published table: rows, schema, and from which column of the source each of its columns was learned."""
    single_keys = {columns[0] for columns in table.keys if len(columns) == 1}
    columns = [
        dg.TableColumn(
            column.name,
            column.type,
            constraints=dg.TableColumnConstraints(
                nullable=column.name not in table.required, unique=column.name in single_keys
            ),
        )
        for column in table.columns
    ]
    origin = source_key(table.name)
    lineage = {name: [dg.TableColumnDep(asset_key=origin, column_name=name)] for name in table.column_names}
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(columns=columns),
        "dagster/column_lineage": dg.TableColumnLineage(deps_by_column=lineage),
        "dagster/relation_identifier": dataset.name,
        "dagster/uri": dataset.uri,
    }
