"""Whole databases on servers, from source to published target: PostgreSQL to PostgreSQL, MariaDB to MariaDB.

Run it by hand: `python tests/benchmarks/servers_end_to_end.py [postgresql|mariadb] [data set ...]`. It starts servers
of its own; the data sets are those of `SYNTH_OPS_TEST_DATA`. It fails where a step does,
and where the target has fewer constraints than its source.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from synth_ops.endpoints import mark_target
from synth_ops.errors import SynthOpsError
from synth_ops.plan import STEPS
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step

_TESTS = Path(__file__).resolve().parent.parent
_DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", _TESTS.parent.parent / "shared" / "data"))
_SETS = {
    "postgresql": ("sakila", "northwind", "chinook", "synthea_small", "employees", "lahman"),
    "mariadb": ("sakila", "northwind", "chinook"),
}
_KINDS = {"p": "primary keys", "u": "unique keys", "f": "foreign keys", "c": "checks", "n": "not null"}


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, _TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(what: str, source: str, target: str, folder: Path) -> bool:
    recipe = parse_recipe({"source": source, "target": target}).at(folder)
    mark_target(recipe, "test", lambda name: name)
    store, needs, took = open_store(recipe), None, []
    for step in STEPS:
        started = time.perf_counter()
        try:
            result = run_step(recipe, step.name, store=store, needs=needs)
        except SynthOpsError as error:
            print(f"{what}: {step.name} failed after {', '.join(took)}: {error}", flush=True)  # noqa: T201
            return False
        needs = result.ref
        took.append(f"{step.name} {time.perf_counter() - started:.1f} s")
    tables = result.facts["tables"]
    print(f"{what}: {len(tables)} tables, {sum(tables.values()):,} rows: {', '.join(took)}", flush=True)  # noqa: T201
    return True


def on_postgresql(server: object, dataset: Path, datasets: ModuleType) -> bool:
    """From one PostgreSQL database to another; tells whether all went through, and the constraints are there."""
    import psycopg

    def constraints(url: str) -> dict[str, int]:
        query = "SELECT contype, count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace GROUP BY 1"
        with psycopg.connect(url) as connection:
            return {_KINDS[kind]: count for kind, count in connection.execute(query).fetchall() if kind in _KINDS}

    with server.database() as source, server.database() as target, tempfile.TemporaryDirectory() as folder:
        urls = server.url(source), server.url(target)
        datasets.load_postgresql(dataset, urls[0])
        done = _run(f"{dataset.name} on PostgreSQL", *urls, Path(folder))
        return done and _same(*map(constraints, urls))


def on_mariadb(server: object, dataset: Path, datasets: ModuleType) -> bool:
    """The same for MariaDB."""

    def constraints(database: str) -> dict[str, int]:
        query = "SELECT CONSTRAINT_TYPE, count(*) FROM information_schema.TABLE_CONSTRAINTS WHERE "
        query += "CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME NOT LIKE 'synth\\_ops\\_%' GROUP BY 1"
        with contextlib.closing(server.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return {kind.lower(): count for kind, count in cursor.fetchall()}

    with server.database() as source, server.database() as target, tempfile.TemporaryDirectory() as folder:
        datasets.load_mariadb(dataset, unix_socket=str(server.socket), user="root", database=source)
        done = _run(f"{dataset.name} on MariaDB", server.url(source), server.url(target), Path(folder))
        return done and _same(constraints(source), constraints(target))


def _same(source: dict[str, int], target: dict[str, int]) -> bool:
    kinds = ", ".join(f"{target.get(kind, 0)} of {count} {kind}" for kind, count in sorted(source.items()))
    print(f"  the target itself enforces: {kinds}", flush=True)  # noqa: T201
    return all(target.get(kind, 0) >= count for kind, count in source.items())


def main(kinds: list[str], names: list[str]) -> bool:
    """Two lines a database; tells whether all went through."""
    servers, datasets = _module("servers"), _module("datasets")
    done = []
    for kind in kinds or list(_SETS):
        mariadb = kind == "mariadb"
        server = servers.MariaDBServer() if mariadb else servers.PostgresServer(servers.wheel_postgresql())
        try:
            run = on_mariadb if mariadb else on_postgresql
            done += [run(server, _DATA / name, datasets) for name in names or _SETS[kind]]
        finally:
            server.close()
    return all(done)


if __name__ == "__main__":
    kinds, names = ([each for each in sys.argv[1:] if (each in _SETS) is known] for known in (True, False))
    sys.exit(not main(kinds, names))
