"""What an import may cost, and who may import whom."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "adbc_driver_manager",
    "adbc_driver_postgresql",
    "airflow",
    "dagster",
    "duckdb",
    "faker",
    "great_expectations",
    "lightgbm",
    "numba",
    "numpy",
    "pandas",
    "psycopg",
    "pyarrow",
    "pymysql",
    "sdv",
    "sklearn",
    "sqlalchemy",
    "sqlglot",
    "torch",
]
LIGHT = ["airflow", "artifacts", "cli", "errors", "metadata", "plan", "ports", "recipe", "registry", "run", "store"]
PROBE = """
import json, sys
{before}
known = set(sys.modules)
{statement}
print(json.dumps(sorted({{name.partition('.')[0] for name in set(sys.modules) - known}})))
"""


def loaded_by(statement: str, before: str = "", **environment: str) -> set[str]:
    """The top-level packages that a statement loads in a fresh process, beyond those that are there before."""
    program = PROBE.format(before=before, statement=statement)
    command = [sys.executable, "-c", program]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(json.loads(finished.stdout.splitlines()[-1]))


def test_importing_synth_ops_loads_nothing_else():
    assert "pandas" in loaded_by("import pandas")
    assert {name for name in loaded_by("import synth_ops") if name not in sys.stdlib_module_names} == {"synth_ops"}


@pytest.mark.parametrize("module", LIGHT)
def test_the_contracts_load_nothing_heavy(module):
    assert not loaded_by(f"import synth_ops.{module}") & set(HEAVY)


def test_parsing_the_dags_adds_nothing_heavy_to_airflow(repository, tmp_path):
    files = sorted(map(str, (repository / "dags").glob("*.py")))
    assert len(files) > 1
    statement = f"import runpy; [runpy.run_path(file) for file in {files!r}]"
    packages = loaded_by(statement, before="import airflow.sdk", AIRFLOW_HOME=str(tmp_path), PATH="")
    assert "synth_ops" in packages
    assert not packages & set(HEAVY) - {"airflow"}


def test_import_contracts(repository):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    finished = subprocess.run([*command, "--no-cache"], cwd=repository, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
    assert "0 broken" in finished.stdout


@pytest.mark.parametrize(
    ("folder", "private"),
    [
        ("synth_ops/airflow", ("airflow.models", "airflow.utils", "airflow.providers")),
        ("dags", ("airflow.models", "airflow.utils", "airflow.providers")),
        ("synth_ops/dagster", ("dagster._",)),
        ("assets", ("dagster._",)),
    ],
)
def test_the_adapters_use_public_interfaces_alone(repository, folder, private):
    files = sorted((repository / folder).rglob("*.py"))
    assert files
    used = {(file.name, name) for file in files for name in private if name in file.read_text(encoding="utf-8")}
    # OpenLineage's own provider loads this module, and says what an operator returns
    assert used <= {("openlineage.py", "airflow.providers")}
