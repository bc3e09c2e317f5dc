"""A Dagster project whose refresh is a component: `defs/test_database/defs.yaml` is all that there is to write.

Start it with `dg dev` in `assets/component`, with two variables in the environment: `SYNTH_OPS_RECIPE`, the recipe to
run, and `SYNTH_OPS_STORE`, where artifacts are kept (a folder beside the recipe when left out).
"""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything in the folder `defs`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
