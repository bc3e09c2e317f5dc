"""Dagster: `synthetic_assets` draws a recipe as assets, its gate as a blocking asset check."""

from synth_ops.dagster.assets import synthetic_assets

__all__ = ["synthetic_assets"]
