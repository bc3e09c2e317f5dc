"""Whole databases on servers, from source to published target: PostgreSQL to PostgreSQL, MariaDB to DuckDB.

Run it by hand: `python tests/benchmarks/servers_end_to_end.py [postgresql|mariadb] [data set ...]`. It starts servers
of its own; the data sets are those of `SYNTH_OPS_TEST_DATA`.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from synth_ops.errors import SynthOpsError
from synth_ops.plan import STEPS
from synth_ops.recipe import parse_recipe
from synth_ops.run import mark_target, open_store, run_step

_TESTS = Path(__file__).resolve().parent.parent
_DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", _TESTS.parent.parent / "shared" / "data"))
_SETS = {
    "postgresql": ("sakila", "northwind", "chinook", "synthea_small", "employees", "lahman"),
    "mariadb": ("sakila", "northwind", "chinook"),
}


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(what: str, source: str, target: str, folder: Path) -> None:
    recipe = parse_recipe({"source": source, "target": target}).at(folder)
    if target.startswith("postgresql:"):
        mark_target(recipe, "test", lambda name: name)
    store, needs, took = open_store(recipe), None, []
    for step in STEPS:
        started = time.perf_counter()
        try:
            result = run_step(recipe, step.name, store=store, needs=needs)
        except SynthOpsError as error:
            print(f"{what}: {step.name} failed after {', '.join(took)}: {error}", flush=True)  # noqa: T201
            return
        needs = result.ref
        took.append(f"{step.name} {time.perf_counter() - started:.1f} s")
    tables = result.facts["tables"]
    print(f"{what}: {len(tables)} tables, {sum(tables.values()):,} rows: {', '.join(took)}", flush=True)  # noqa: T201


def main(kinds: list[str], names: list[str]) -> None:
    """One line a database."""
    servers, datasets = _module("servers"), _module("datasets")
    for kind in kinds or list(_SETS):
        server = servers.MariaDBServer() if kind == "mariadb" else servers.PostgresServer(servers.wheel_postgresql())
        try:
            for name in names or _SETS[kind]:
                with server.database() as source, tempfile.TemporaryDirectory() as folder:
                    if kind == "mariadb":
                        reached = {"unix_socket": str(server.socket), "user": "root", "database": source}
                        datasets.load_mariadb(_DATA / name, **reached)
                        _run(f"{name} from MariaDB", server.url(source), "target.duckdb", Path(folder))
                        continue
                    datasets.load_postgresql(_DATA / name, server.url(source))
                    with server.database() as target:
                        _run(f"{name} from PostgreSQL", server.url(source), server.url(target), Path(folder))
        finally:
            server.close()


if __name__ == "__main__":
    main([each for each in sys.argv[1:] if each in _SETS], [each for each in sys.argv[1:] if each not in _SETS])
