"""A published shop to break, and ways to call the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from synth_ops.location import parse_location
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_all

CANARY = "c4nary"
"""Part of every name, e-mail address and note of the shop."""
SHOP = f"""
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, email VARCHAR NOT NULL UNIQUE, city VARCHAR,
                        credit DECIMAL(8,2) CHECK (credit >= 0));
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers (id), placed DATE NOT NULL,
                     state VARCHAR NOT NULL, note VARCHAR);
INSERT INTO customers SELECT i, 'Ada {CANARY}' || i, 'ada.{CANARY}' || i || '@example.org',
                             ['Oslo', 'Lyon', 'Gent', NULL][1 + i % 4], i % 50 FROM range(300) t(i);
INSERT INTO orders SELECT i, (i * 7) % 300, DATE '2024-01-01' + (i % 200)::INT, ['new', 'paid', 'sent'][1 + i % 3],
                          CASE WHEN i % 2 = 0 THEN 'leave it with {CANARY}' || i END FROM range(900) t(i);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """What it said on standard error."""
        return self.err.splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A folder with a source, a recipe, a store and a published target; `canary` is part of every sensitive value."""

    folder: Path
    canary: str = CANARY

    @property
    def source(self) -> Path:
        return self.folder / "shop.duckdb"

    @property
    def target(self) -> Path:
        return self.folder / "test.duckdb"

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def store(self) -> Path:
        return self.folder / ".synth_ops"

    def change(self, **sections: Any) -> Path:
        """Change sections of the recipe; None takes one out."""
        document = {**yaml.safe_load(self.recipe.read_text(encoding="utf-8")), **sections}
        kept = {key: value for key, value in document.items() if value is not None}
        self.recipe.write_text(yaml.safe_dump(kept), encoding="utf-8")
        return self.recipe

    def sql(self, *statements: str) -> None:
        """Change the source."""
        with duckdb.connect(str(self.source)) as connection:
            for statement in statements:
                connection.execute(statement)

    def published(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of the target, by table."""
        with duckdb.connect() as connection:  # a file that was swapped must be attached afresh
            connection.execute(f"ATTACH '{self.target}' AS live (READ_ONLY)")
            return {
                name: connection.execute(f"SELECT * FROM live.main.{name} ORDER BY ALL").fetchall()
                for name in ("customers", "orders")
            }


def make_shop(folder: Path) -> Shop:
    """Make the source and the recipe, and run it."""
    folder.mkdir(parents=True, exist_ok=True)
    shop = Shop(folder=folder)
    shop.sql(SHOP)
    shop.recipe.write_text("source: shop.duckdb\ntarget: test.duckdb\n", encoding="utf-8")
    return shop


@pytest.fixture(scope="session")
def first_shop(tmp_path_factory) -> Shop:
    """Published once; not to be changed."""
    shop = make_shop(tmp_path_factory.mktemp("shop"))
    recipe = load_recipe(shop.recipe)
    run_all(recipe, store=open_store(recipe))
    return shop


@pytest.fixture
def shop(first_shop, tmp_path) -> Shop:
    """A published shop of the test's own."""
    shutil.copytree(first_shop.folder, tmp_path / "shop", symlinks=True)
    return Shop(folder=tmp_path / "shop")


@pytest.fixture
def cli(capfd, monkeypatch) -> Callable[..., Finished]:
    """Call the command line in this process."""
    from synth_ops.cli import main

    monkeypatch.delenv("SYNTH_OPS_STORE", raising=False)

    def call(*arguments: object) -> Finished:
        capfd.readouterr()
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        else:
            code = 0
        out, err = capfd.readouterr()
        return Finished(code=code, out=out, err=err)

    return call


@pytest.fixture(scope="session")
def shell() -> Callable[..., Finished]:
    """Call the installed command."""
    command = str(Path(sys.executable).with_name("synth-ops"))

    def call(*arguments: object, folder: Path | None = None, env: Mapping[str, str] | None = None) -> Finished:
        finished = subprocess.run(
            [command, *map(str, arguments)],
            cwd=folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(code=finished.returncode, out=finished.stdout, err=finished.stderr)

    return call


class MarkedDatabase:
    """A database of its own on a PostgreSQL server, marked as a target."""

    def __init__(self, server, name, folder):
        self.server, self.name, self._folder = server, name, folder
        self.url = server.url(name)
        self.target().mark("test", confirm=name)

    def target(self, **arguments):
        """The target, anew."""
        from synth_ops.targets.postgresql.target import PostgreSQLTarget

        return PostgreSQLTarget(parse_location(self.url, self._folder), **arguments)

    def execute(self, statements):
        """Run statements, all in one transaction."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            connection.execute(statements)

    def rows(self, query):
        """All rows of a query."""
        import psycopg

        with psycopg.connect(self.url) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="session")
def marked_database():
    """Mark a database on a server: `marked_database(server, name, folder)`."""
    return MarkedDatabase


@pytest.fixture
def marked(postgres_server, postgres_database, tmp_path):
    """A fresh PostgreSQL database that may be published to."""
    return MarkedDatabase(postgres_server, postgres_database, tmp_path)
