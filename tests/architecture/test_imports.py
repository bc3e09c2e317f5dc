"""What an import may cost, and who may import whom."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = [
    "airflow",
    "dagster",
    "duckdb",
    "faker",
    "great_expectations",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "sdv",
    "sklearn",
    "sqlalchemy",
    "sqlglot",
    "torch",
]
PROBE = """
import json, sys, time
{before}
known, started = set(sys.modules), time.perf_counter()
{statement}
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted({{name.partition('.')[0] for name in set(sys.modules) - known}})]))
"""


def cost_of(statement: str, before: str = "", **environment: str) -> tuple[float, set[str]]:
    """Seconds, the best of three, and the top-level packages that a statement loads in a fresh process."""
    program = PROBE.format(before=before, statement=statement)
    runs = []
    for _ in range(3):
        finished = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        runs.append(json.loads(finished.stdout.splitlines()[-1]))
    return min(seconds for seconds, _ in runs), set(runs[0][1])


def test_importing_synth_ops_costs_nothing():
    seconds, packages = cost_of("import synth_ops")
    assert seconds <= 0.15
    assert not packages & {*HEAVY, "pydantic", "yaml", "upath"}


@pytest.mark.parametrize(
    "module", ["recipe", "artifacts", "ports", "plan", "registry", "store", "run", "airflow", "errors", "metadata"]
)
def test_the_contracts_load_nothing_heavy(module):
    _, packages = cost_of(f"import synth_ops.{module}")
    assert not packages & set(HEAVY)


def test_parsing_a_dag_adds_little_to_airflow(repository, tmp_path):
    statement = f"import runpy; runpy.run_path({str(repository / 'dags' / 'nightly_refresh.py')!r})"
    seconds, packages = cost_of(statement, before="import airflow.sdk", AIRFLOW_HOME=str(tmp_path), PATH="")
    assert seconds <= 0.5
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
    files = sorted((repository / folder).glob("*.py"))
    assert files
    assert not [(file.name, name) for file in files for name in private if name in file.read_text(encoding="utf-8")]
