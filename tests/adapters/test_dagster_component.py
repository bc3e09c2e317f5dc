"""The component: scaffolded, loaded, checked as `dg` does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

from synth_ops.dagster import AssetPart, SynthOpsComponent
from synth_ops.recipe import load_recipe


class Owned(SynthOpsComponent):
    """A company's own, which says who answers for the assets."""

    def get_asset_spec(self, part: AssetPart) -> dg.AssetSpec:
        return part.default.replace_attributes(owners=["team:data"])


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated", "ignore:.*is currently in beta")  # the sandbox
def test_what_is_scaffolded_loads(warehouse, monkeypatch):
    monkeypatch.setenv("SYNTH_OPS_STORE", str(warehouse.parent / "scaffolded"))
    with create_defs_folder_sandbox() as sandbox:
        given = {"source": str(warehouse), "target": "copy.duckdb", "schedule": "0 4 * * *"}
        folder = sandbox.scaffold_component(component_cls=SynthOpsComponent, scaffold_params=given)
        assert yaml.safe_load((folder / "defs.yaml").read_text()) == {
            "type": "synth_ops.dagster.component.SynthOpsComponent",
            "attributes": {"recipe": "recipe.yaml", "schedule": "0 4 * * *"},
        }
        recipe = load_recipe(folder / "recipe.yaml")
        assert (recipe.source, recipe.target) == (str(warehouse), "copy.duckdb")
        with sandbox.load_component_and_build_defs(defs_path=folder) as (component, defs):
            assert isinstance(component, SynthOpsComponent)
            (schedule,) = defs.schedules
            assert schedule.cron_schedule == "0 4 * * *"
            job = defs.resolve_job_def(schedule.job_name)
            assert len(job.nodes) == 5


def test_attributes_reach_the_assets_and_a_subclass_changes_them(refresh):
    attributes = {
        "recipe": str(refresh().file),
        "name": "mine",
        "key_prefix": ["a", "b"],
        "tables": ["orders"],
        "on_change": True,
        "retries": 0,
    }
    component = Owned.from_attributes_dict(attributes=attributes)
    defs = dg.component_defs(component=component)
    graph = defs.resolve_asset_graph()
    orders = graph.get(dg.AssetKey(["a", "b", "orders"]))
    assert (orders.group_name, orders.owners) == ("mine", ["team:data"])
    assert [sensor.name for sensor in defs.sensors] == ["mine_source_changed"]
    assert not defs.schedules


def test_dg_says_in_which_line_an_attribute_is_wrong(repository, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(repository / "assets" / "component", project)
    file = project / "refresh" / "defs" / "test_database" / "defs.yaml"
    file.write_text(file.read_text().replace("retries: 2", "retires: 2"), encoding="utf-8")
    dg_command = str(Path(sys.executable).with_name("dg"))
    finished = subprocess.run([dg_command, "check", "yaml"], cwd=project, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "refresh/defs/test_database/defs.yaml:7" in finished.stdout
    assert "retires" in finished.stdout


def test_dg_scaffolds_it_into_a_project(repository, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(repository / "assets" / "component", project)
    dg_command = str(Path(sys.executable).with_name("dg"))
    what = ["scaffold", "defs", "synth_ops.dagster.SynthOpsComponent", "staging", "--source", "shop.duckdb"]
    finished = subprocess.run([dg_command, *what], cwd=project, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    folder = project / "refresh" / "defs" / "staging"
    assert yaml.safe_load((folder / "defs.yaml").read_text())["attributes"]["schedule"] == "0 3 * * *"
    assert load_recipe(folder / "recipe.yaml", target="copy.duckdb").source == "shop.duckdb"


@pytest.mark.parametrize("name", ["synth_ops.dagster"])
def test_dg_finds_the_component_by_its_entry_point(name):
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="dagster_dg_cli.registry_modules", value=name)
    assert entry.load().SynthOpsComponent is SynthOpsComponent
