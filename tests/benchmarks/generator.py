"""One command, one table a work: `python tests/benchmarks/generator.py` measures the built-in generator on real data.

`--only fielding flights` picks works, `--settings '{"min_leaf": 50}'` sets the generator, `--json FILE` writes figures.
Every work measures a real holdout in the same run, as the ceiling. Seconds hold for the machine and the moment; the
other figures come out the same again, as every draw has a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

from rich.console import Console

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("SYNTH_OPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def main() -> None:
    """Measure and print."""
    from figures import Bench, as_json, as_table
    from works import WORKS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS), metavar="NAME")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the generator, as JSON")
    parser.add_argument("--data", type=Path, default=DATA, help="the folder of the real data sets")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    console = Console(width=None if Console().is_terminal else 200)
    bench = Bench(data=arguments.data, settings=arguments.settings)
    document = {"settings": arguments.settings, "works": {}}
    for name in arguments.only:
        started = time.perf_counter()
        figures = list(WORKS[name](bench))
        title = f"{name}: {WORKS[name].__doc__} ({time.perf_counter() - started:.0f} s)"
        console.print(as_table(figures, title))
        document["works"][name] = as_json(figures)
        if arguments.json:
            arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
