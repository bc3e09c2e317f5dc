"""A step as OpenLineage sees it: source tables -> snapshot -> model -> copy -> published tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset, InputDataset, OutputDataset
from openlineage.client.generated.column_lineage_dataset import (
    ColumnLineageDatasetFacet,
    Fields,
    InputField,
    Transformation,
)
from openlineage.client.generated.data_quality_assertions_dataset import Assertion, DataQualityAssertionsDatasetFacet
from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet
from openlineage.client.generated.schema_dataset import SchemaDatasetFacet, SchemaDatasetFacetFields

from synth_ops.artifact_io import read_metadata, read_report
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.lineage import table_dataset
from synth_ops.location import Location
from synth_ops.metadata import Table
from synth_ops.recipe import Recipe
from synth_ops.run import StepResult
from synth_ops.store import Store

_DRAWN = Transformation(
    type="INDIRECT", subtype="AGGREGATION", description="drawn from a model of the column", masking=True
)


def lineage_of(recipe: Recipe, store: Store, result: StepResult) -> OperatorLineage[Any, Any]:
    """The datasets that one step read and wrote, with their facets; names and numbers, never values."""
    kind, source, target = result.ref.kind, recipe.source_location(), recipe.target_location()
    made = _artifact(store, result.ref, OutputDataset)
    needed = [_artifact(store, ref, InputDataset) for ref in _inputs(store, result)]
    if kind is ArtifactKind.SNAPSHOT:
        tables = read_metadata(store, result.ref).tables
        return OperatorLineage(inputs=[_table(source, table, InputDataset) for table in tables], outputs=[made])
    if kind is ArtifactKind.REPORT:
        quality: dict[str, Any] = {"dataQualityAssertions": _assertions(store, result.ref)}
        needed = [InputDataset(namespace=each.namespace, name=each.name, inputFacets=quality) for each in needed]
    if kind is not ArtifactKind.PUBLICATION:
        return OperatorLineage(inputs=needed, outputs=[made])
    rows: Mapping[str, int] = result.facts["tables"]
    outputs = [
        _table(
            target,
            table,
            OutputDataset,
            facets={"columnLineage": _columns(source, table)},
            outputFacets={"outputStatistics": OutputStatisticsOutputDatasetFacet(rowCount=rows[table.name])},
        )
        for table in read_metadata(store, result.ref).tables
    ]
    return OperatorLineage(inputs=needed, outputs=outputs)


def _inputs(store: Store, result: StepResult) -> list[ArtifactRef]:
    body = store.facts(result.ref)
    before = {ArtifactKind.MODEL: "snapshot", ArtifactKind.COPY: "model", ArtifactKind.REPORT: "copy"}
    name = before.get(result.ref.kind, "copy" if result.ref.kind is ArtifactKind.PUBLICATION else "")
    return [ArtifactRef.from_json(body[name])] if name else []


def _artifact(store: Store, ref: ArtifactRef, of: type[Dataset]) -> Any:
    return of(namespace=f"synth-ops://{store.label}", name=f"{ref.kind.value}/{ref.id}")


def _table(
    location: Location, table: Table, of: type[Dataset], facets: Mapping[str, Any] | None = None, **more: Any
) -> Any:
    dataset = table_dataset(location, table.name)
    fields = [SchemaDatasetFacetFields(name=column.name, type=column.type) for column in table.columns]
    facets = {"schema": SchemaDatasetFacet(fields=fields), **(facets or {})}
    return of(namespace=dataset.namespace, name=dataset.name, facets=facets, **more)


def _columns(source: Location, table: Table) -> ColumnLineageDatasetFacet:
    origin = table_dataset(source, table.name)

    def drawn_from(column: str) -> Fields:
        field = InputField(namespace=origin.namespace, name=origin.name, field=column, transformations=[_DRAWN])
        return Fields(inputFields=[field])

    return ColumnLineageDatasetFacet(fields={name: drawn_from(name) for name in table.column_names})


def _assertions(store: Store, report: ArtifactRef) -> DataQualityAssertionsDatasetFacet:
    return DataQualityAssertionsDatasetFacet(
        assertions=[
            Assertion(
                assertion=outcome.evidence.check,
                success=outcome.passed,
                name=outcome.evidence.subject,
                severity="error" if outcome.evidence.severity.value == "critical" else "warn",
            )
            for outcome in read_report(store, report).outcomes
        ]
    )
