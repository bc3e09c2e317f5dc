"""What each asset of a recipe stands for, and the one place to change how it looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import dagster as dg

from synth_ops import __version__

_DESCRIPTIONS = {
    "snapshot": "A frozen read of the source.",
    "model": "What the generator learned from the snapshot.",
    "copy": "A synthetic copy, drawn from the model.",
    "report": "The verdict: the copy's keys hold, it is like the source, and it is near to nobody in it.",
    "publication": "The live test database: the latest copy that passed its gate.",
}


class Part(StrEnum):
    """The kinds of assets that a recipe has: its five artifacts, and tables at both ends."""

    SOURCE_TABLE = "source_table"
    SNAPSHOT = "snapshot"
    MODEL = "model"
    COPY = "copy"
    REPORT = "report"
    PUBLICATION = "publication"
    TABLE = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPart:
    """One asset to be.

    Attributes:
        recipe: The recipe's short name.
        part: What the asset stands for.
        table: The table's name, of one at either end; None for an artifact.
        default: How the asset looks if nobody says otherwise; its dependencies are added afterwards.
    """

    recipe: str
    part: Part
    table: str | None
    default: dg.AssetSpec


class SynthOpsTranslator:
    """From what an asset stands for to its spec. Override `get_asset_spec` to change keys, owners, tags, ...

    A source table's key, made equal to that of the dbt model or dlt resource that loads it, joins the graphs: column
    lineage then runs through.
    """

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        """The asset's spec; `part.default.replace_attributes(...)` changes what should differ."""
        return part.default


def default_spec(part: Part, table: str | None, *, prefix: Sequence[str], group: str) -> dg.AssetSpec:
    """A published table is `[*prefix, table]`, as dbt names a source's; the rest stands below names of its own."""
    if part is Part.TABLE and table:
        path = [*prefix, table]
        description = f"Synthetic copy of {table}."
    elif part is Part.SOURCE_TABLE and table:
        path = [*prefix, "source", table]
        description = "A table of the source, which is read and never written."
    else:
        path = [*prefix, "synth_ops", part.value]
        description = _DESCRIPTIONS[part.value]
    return dg.AssetSpec(
        key=path,
        group_name=group,
        description=description,
        code_version=None if part is Part.SOURCE_TABLE else __version__,
        kinds=set() if part is Part.SOURCE_TABLE else {"synth_ops"},
    )
