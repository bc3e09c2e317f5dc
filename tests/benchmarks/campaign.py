"""One command over many databases: `init`, then `run`, unattended, no recipe edited by hand.

`python tests/benchmarks/campaign.py` takes every data set of the folder named by `SYNTH_OPS_TEST_DATA` and every SQLite
file of its archives; `--only chinook academic` picks some, `--keep FOLDER` keeps recipes, stores and reports. A line
each: whether it was published or why not, how many declared constraints the copy breaks, how many rules found in the
source, and how long it took; below it, what the gate did not pass, with its limit. It ends with an error where a
published copy breaks a declared constraint, or a run ended without a reason.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import yaml
from rich.console import Console

from synth_ops import cli
from synth_ops.artifact_io import read_copy, read_report
from synth_ops.artifacts import ArtifactKind, Outcome, SyntheticCopy
from synth_ops.errors import ArtifactNotFoundError
from synth_ops.recipe import load_recipe
from synth_ops.rules import violations_sql
from synth_ops.run import latest, open_store
from synth_ops.sql import connect, register
from synth_ops.testing.generator_cases import broken_constraints

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
_LOADERS = REPOSITORY / "tests" / "datasets.py"
_SAID = {0: "published", 3: "gate", 4: "refused", 5: "unavailable", 2: "recipe", 1: "failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What became of one database."""

    name: str
    code: int
    reason: str
    tables: int
    broken: int
    rules: int
    rules_broken: int
    seconds: float
    not_passed: tuple[Outcome, ...] = ()

    def line(self) -> str:
        """One line of the table."""
        kept = f"{self.rules - self.rules_broken}/{self.rules}"
        said = f"{_SAID.get(self.code, str(self.code)):<11}"
        return f"{self.name:<32} {said} {self.tables:>4} {self.broken:>6} {kept:>9} {self.seconds:>7.1f}  {self.reason}"

    def gate_lines(self) -> list[str]:
        """What the gate did not pass: the measure, what on, the number and its interval, the limit, what real gives."""
        lines = []
        for evidence in (each.evidence for each in self.not_passed):
            limit = f"<= {evidence.maximum}" if evidence.maximum is not None else f">= {evidence.minimum}"
            interval = "" if evidence.ci_low is None else f" [{evidence.ci_low:.3g}, {evidence.ci_high or 0:.3g}]"
            real = "" if evidence.reference is None else f"; real {evidence.reference:.3g}"
            lines.append(
                f"    {evidence.severity.value:<8} {evidence.check}[{evidence.subject}] {evidence.value:.4g}{interval}"
                f" {limit}{real}; n {evidence.n}; {evidence.detail}"
            )
        return lines


def main() -> int:
    """Run all, print a line each, and say whether all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the real data sets")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--keep", type=Path, help="a new folder in which everything is left, to look at")
    parser.add_argument("--generator", help="who makes the columns, instead of the built-in one")
    parser.add_argument("--minutes", type=float, help="how long the generator may learn")
    arguments = parser.parse_args()
    sections = {"generator": arguments.generator, "fit": arguments.minutes and {"max_minutes": arguments.minutes}}
    console = Console(width=200, highlight=False, markup=False)
    console.print(f"{'database':<32} {'':<11} {'tables':>4} {'broken':>6} {'rules':>9} {'s':>7}")
    nights = []
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.keep or Path(folder)
        for name, source in sources(arguments.data, work / "sources", arguments.only):
            nights.append(
                night(name, source, work / "nights" / name, {key: each for key, each in sections.items() if each})
            )
            console.print("\n".join([nights[-1].line(), *nights[-1].gate_lines()]), soft_wrap=True)
    published = sum(each.code == 0 for each in nights)
    broken = sum(each.broken for each in nights)
    unexplained = [each.name for each in nights if each.code not in (0, 3) and not each.reason]
    console.print(f"\n{published} of {len(nights)} published; {broken} broken constraints in all copies")
    console.print(f"{sum(n.rules - n.rules_broken for n in nights)} of {sum(n.rules for n in nights)} rules kept")
    return int(bool(broken or unexplained))


def loaders() -> ModuleType:
    """What loads the real data sets, for the tests and for benchmarks."""
    spec = importlib.util.spec_from_file_location("synth_ops_test_datasets", _LOADERS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources(data: Path, folder: Path, only: list[str]) -> Iterator[tuple[str, Path]]:
    """Every database as a file: data sets in DuckDB, or in SQLite where DuckDB can't declare a cycle."""
    load = loaders()
    folder.mkdir(parents=True)
    for dataset in sorted(each.parent for each in data.glob("*/schema.sql")):
        if only and dataset.name not in only:
            continue
        try:
            yield dataset.name, load.load_duckdb(dataset, folder / f"{dataset.name}.duckdb")
        except duckdb.Error:
            yield dataset.name, load.load_sqlite(dataset, folder / f"{dataset.name}.db")
    for archive in sorted(data.glob("*/sqlite.tar.xz")):
        with tarfile.open(archive) as opened:
            for member in sorted(opened.getmembers(), key=lambda each: each.name):
                name = Path(member.name).stem
                if member.isfile() and (not only or name in only):
                    member.name = f"{name}.sqlite"
                    opened.extract(member, folder, filter="data")
                    yield name, folder / member.name


def night(name: str, source: Path, folder: Path, sections: Mapping[str, Any]) -> Night:
    """One unattended night, by the command line.

    Args:
        sections: Of the recipe, beside what `init` writes.
    """
    folder.mkdir(parents=True)
    recipe, suffix = folder / "recipe.yaml", source.suffix
    started = time.perf_counter()
    code, reason = _command("init", str(source), "--target", str(folder / f"target{suffix}"), "--output", str(recipe))
    if code == 0:
        with recipe.open("a", encoding="utf-8") as file:
            file.write(yaml.safe_dump(dict(sections)) if sections else "")
        code, reason = _command("run", str(recipe))
    seconds = time.perf_counter() - started
    copy = _copy(recipe) if recipe.exists() else None
    rules, broken_rules = _rules(copy) if copy else (0, 0)
    return Night(
        name=name,
        code=code,
        reason=reason[:160],
        tables=len(copy.tables) if copy else 0,
        broken=sum(broken_constraints(copy.metadata, copy.tables).values()) if copy else 0,
        rules=rules,
        rules_broken=broken_rules,
        seconds=seconds,
        not_passed=_not_passed(recipe) if copy else (),
    )


def _command(*arguments: str) -> tuple[int, str]:
    """The command line in this process: its exit code, and what it said last on standard error."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            cli.main(arguments)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    lines = [line for line in said.getvalue().splitlines() if line.strip()]
    return code, lines[-1] if code and lines else ""


def _copy(recipe: Path) -> SyntheticCopy | None:
    loaded = load_recipe(recipe)
    store = open_store(loaded)
    try:
        return read_copy(store, latest(loaded, ArtifactKind.COPY, store=store))
    except ArtifactNotFoundError:
        return None


def _not_passed(recipe: Path) -> tuple[Outcome, ...]:
    loaded = load_recipe(recipe)
    store = open_store(loaded)
    try:
        report = read_report(store, latest(loaded, ArtifactKind.REPORT, store=store))
    except ArtifactNotFoundError:
        return ()
    return tuple(each for each in report.outcomes if not each.passed)


def _rules(copy: SyntheticCopy) -> tuple[int, int]:
    found = [(table, rule) for table in copy.metadata.tables for rule in table.rules]
    with connect() as connection:
        register(connection, copy.tables, "copy")
        broken = [
            connection.sql(f"SELECT count(*) FROM ({violations_sql(table, rule, schema='copy')})").fetchall()[0][0]
            for table, rule in found
        ]
    return len(found), sum(count > 0 for count in broken)


if __name__ == "__main__":
    sys.exit(main())
