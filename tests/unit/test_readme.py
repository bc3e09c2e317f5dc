"""Every block and table of the README is true."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from synth_ops import errors
from synth_ops.cli import app
from synth_ops.errors import SynthOpsError
from synth_ops.kinds import PROVIDERS
from synth_ops.location import parse_location
from synth_ops.metadata import Kind
from synth_ops.recipe import Recipe, parse_recipe
from synth_ops.registry import PluginKind, load, names


@pytest.fixture(scope="module")
def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


def blocks(readme, language):
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_the_two_lines_are_found(repository):
    spec = importlib.util.spec_from_file_location("readme_lines", repository / "tests" / "readme_lines.py")
    lines = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lines)
    assert lines.readme_line("main").endswith("synth-ops run examples/nycflights/recipe.yaml")
    tests = lines.readme_line("tests")
    assert tests.startswith('python -m pip install -e ".[dev]" && python -m pytest -n auto --dist loadfile')
    with pytest.raises(SystemExit, match="nothing"):
        lines.readme_line("nothing")


def test_the_recipe_is_one(readme):
    block, *others = blocks(readme, "yaml")
    for other in others:
        parse_recipe(yaml.safe_load(other))
    recipe = parse_recipe(yaml.safe_load(block))
    assert set(yaml.safe_load(block)) >= {"source", "target", "tables", "gate", "publish"}
    known = {name for kind in names(PluginKind.CHECK) for name in load(PluginKind.CHECK, kind).thresholds}
    assert set(recipe.gate.thresholds) <= known
    used = {column.provider for table in recipe.tables.values() for column in table.columns.values() if column.provider}
    assert used <= set(PROVIDERS)


def test_the_defaults_that_the_recipe_shows_are_the_defaults(readme):
    block, *_ = blocks(readme, "yaml")
    shown, default = parse_recipe(yaml.safe_load(block)), Recipe(source="a.duckdb", target="b.duckdb")
    for name in ("seed", "scale", "publish", "generator"):
        assert getattr(shown, name) == getattr(default, name)


def test_the_shell_commands_exist(readme, repository):
    commands = {command.name or command.callback.__name__: command for command in app.registered_commands}
    click_app = typer.main.get_command(app)
    seen = set()
    for line in "\n".join(blocks(readme, "bash")).splitlines():
        for part in line.split("#")[0].split("&&"):
            words = shlex.split(part)
            if words[:1] == ["synth-ops"]:
                command = click_app.commands[words[1]]
                command = getattr(command, "commands", {}).get(words[2], command)
                options = {option for each in command.params for option in each.opts}
                assert {word for word in words[2:] if word.startswith("--")} <= options, part
                seen.add(words[1])
            elif words[:1] == ["python"] and words[1].endswith(".py"):
                assert (repository / words[1]).is_file()
    assert seen >= {"init", "plan", "run", "status", "rollback"}
    named = set(re.findall(r"`(?:synth-ops )?([a-z]+)`", readme)) & {"report", "suite", "schema"}
    assert named <= set(commands) and len(named) == 3  # noqa: PT018


def test_the_exit_codes_are_those_of_the_errors(readme):
    table = dict(re.findall(r"^\| (\d) \| (.+?) \|$", readme, re.MULTILINE))
    assert set(table) == {"0", "1", "2", "3", "4", "5"}
    every = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, SynthOpsError)]
    assert {str(each.exit_code) for each in every} == set(table) - {"0"}
    for code, word in (
        (errors.RecipeError.exit_code, "recipe"),
        (errors.GateFailedError.exit_code, "gate"),
        (errors.PublishRefusedError.exit_code, "publishing was refused"),
        (errors.SourceUnavailableError.exit_code, "source"),
        (errors.TargetUnavailableError.exit_code, "target"),
    ):
        assert word in table[str(code)]


def test_the_kinds_are_all_explained(readme):
    rows = re.findall(r"^\| ([a-z, ]+) \| .+ \|$", readme, re.MULTILINE)
    explained = {word for row in rows for word in row.split(", ")}
    assert explained >= {kind.value for kind in Kind}


@pytest.mark.parametrize("place", [0, 1], ids=["airflow", "dagster"])
def test_the_python_blocks_load(readme, repository, tmp_path, place):
    block = blocks(readme, "python")[place]
    imported = {node.module.split(".")[0] for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)}
    imported |= {
        alias.name for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Import) for alias in node.names
    }
    for name in imported:
        pytest.importorskip(name, reason=f'needs `pip install -e ".[{name}]"`')
    file = tmp_path / "block.py"
    file.write_text(block, encoding="utf-8")
    environment = {"AIRFLOW_HOME": str(tmp_path), "DAGSTER_HOME": "", "PATH": ""}
    finished = subprocess.run(
        [sys.executable, str(file)], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_the_component_is_the_one_of_the_project(readme, repository):
    (block,) = blocks(readme, "yml")
    files = list((repository / "assets" / "component").rglob("defs.yaml"))
    assert [file.read_text(encoding="utf-8") for file in files] == [block]


def test_every_dag_and_code_location_is_named(readme, repository):
    for file in (*(repository / "dags").glob("*.py"), *(repository / "assets").glob("*.py")):
        assert f"`{file.relative_to(repository)}`" in readme


def test_files_that_it_names_exist(readme, repository):
    for name in set(re.findall(r"`((?:dags|assets|examples|synth_ops|tests)/[\w/.]+\.py)`", readme)):
        assert (repository / name).is_file(), name
    for command in re.findall(r"`python ([\w/.]+)`", readme):
        assert (repository / command).is_file(), command


def test_what_is_installed_is_this_checkout(readme, repository):
    extras = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = re.findall(r"pip install (.+?)(?: &&|$)", "\n".join(blocks(readme, "bash")), re.MULTILINE)
    named = [re.fullmatch(r'-e "\.\[(\w+)\]"', what) for what in installed]
    assert all(named), installed
    assert {"airflow", "dagster"} <= {match[1] for match in named} <= extras["optional-dependencies"].keys()


def test_urls_of_absolute_paths_are_absolute(readme, tmp_path):
    absolute = re.findall(r"`(\w+:////[\w./]+)`", readme)
    assert absolute
    for url in absolute:
        assert parse_location(url, tmp_path).path == Path(url.partition(":///")[2])


@pytest.mark.parametrize(
    "told", ["holds production data", "After `rollback`", "sampling noise", "`subject: true`", "$SYNTH_OPS_RECIPE"]
)
def test_what_surprises_is_told(readme, told):
    assert told in readme
