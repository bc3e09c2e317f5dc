"""The shape of the house: what is exported, how long the thin files are, what stands where."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = sorted(
    f"{path.parent.name}/{path.name}" for place in ("dags", "assets") for path in (REPOSITORY / place).glob("*.py")
)
EXPORTS = {
    "synth_ops": ["Recipe", "SynthOpsError", "load_recipe", "open_store", "run_all", "run_step"],
    "synth_ops.airflow": [
        "SynthFitOperator",
        "SynthGateFailed",
        "SynthGateOperator",
        "SynthPlanShardsOperator",
        "SynthPlanTablesOperator",
        "SynthPreflightOperator",
        "SynthPublishOperator",
        "SynthSampleOperator",
        "SynthShardsOperator",
        "SynthSnapshotOperator",
        "SynthStepOperator",
        "SynthTablesOperator",
        "SynthTidyOperator",
        "get_provider_info",
        "published_tables",
        "synthetic_asset",
        "synthetic_copy",
    ],
    "synth_ops.dagster": [
        "AssetPart",
        "Part",
        "SynthOpsComponent",
        "SynthOpsDatabase",
        "SynthOpsStore",
        "SynthOpsTranslator",
        "source_sensor",
        "synthetic_asset_specs",
        "synthetic_assets",
    ],
}


@pytest.mark.parametrize("module", EXPORTS)
def test_public_names_are_pinned(module):
    assert sorted(importlib.import_module(module).__all__) == EXPORTS[module]


@pytest.mark.parametrize("file", COPIED)
def test_what_users_copy_is_short_and_explained(repository, file):
    text = (repository / file).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    explained = ast.get_docstring(ast.parse(text))
    assert "SYNTH_OPS_RECIPE" in explained
    assert "SYNTH_OPS_STORE" in explained


@pytest.mark.parametrize("file", COPIED)
def test_the_default_recipe_is_there(repository, file, tmp_path):
    program = f"import runpy; print(runpy.run_path({str(repository / file)!r})['EXAMPLE'])"
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": ""}
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert Path(finished.stdout.splitlines()[-1]).is_file()


def test_dagster_modules_keep_their_annotations(repository):
    for file in [*(repository / "synth_ops" / "dagster").glob("*.py"), *(repository / "assets").glob("*.py")]:
        assert "\nfrom __future__ import annotations" not in file.read_text(encoding="utf-8")


def test_no_room_is_called_after_nothing(repository):
    names = {path.stem for path in (repository / "synth_ops").rglob("*.py")}
    assert not names & {"utils", "util", "common", "helpers", "base", "misc"}
