"""Dagster: `synthetic_assets` draws a recipe as assets, its gate as blocking checks; `SynthOpsComponent` from YAML."""

from synth_ops.dagster.assets import synthetic_asset_specs, synthetic_assets
from synth_ops.dagster.component import SynthOpsComponent
from synth_ops.dagster.resources import SynthOpsDatabase, SynthOpsStore
from synth_ops.dagster.sensors import source_sensor
from synth_ops.dagster.translator import AssetPart, Part, SynthOpsTranslator

__all__ = [
    "AssetPart",
    "Part",
    "SynthOpsComponent",
    "SynthOpsDatabase",
    "SynthOpsStore",
    "SynthOpsTranslator",
    "source_sensor",
    "synthetic_asset_specs",
    "synthetic_assets",
]
