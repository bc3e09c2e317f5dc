"""The pipeline that a user would write today: pandas, SDV GaussianCopula a table, Great Expectations, `to_sql`.

Every part in its default form; no keys between tables, as SDV's multi-table synthesizer refuses or takes hours here.
"""

from __future__ import annotations

import sqlite3
import sys
import warnings
from pathlib import Path

import duckdb
import great_expectations as gx
import pandas as pd
from sdv.metadata import Metadata
from sdv.single_table import GaussianCopulaSynthesizer


def read(source: Path) -> dict[str, pd.DataFrame]:
    """Every table of a DuckDB file as a frame."""
    with duckdb.connect(str(source), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
        return {name: connection.execute(f'SELECT * FROM "{name}"').df() for name in names}


def synthesize(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Fit a copula on one table and sample as many rows."""
    metadata = Metadata.detect_from_dataframes({name: frame}, infer_keys=None)
    synthesizer = GaussianCopulaSynthesizer(metadata)
    synthesizer.fit({name: frame})
    sampled = synthesizer.sample(num_rows=len(frame))
    return sampled[name] if isinstance(sampled, dict) else sampled


def passes(name: str, real: pd.DataFrame, frame: pd.DataFrame) -> bool:
    """A light gate: columns, row count, NOT NULL."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
    expectations = [
        gx.expectations.ExpectTableColumnsToMatchSet(column_set=list(real.columns)),
        gx.expectations.ExpectTableRowCountToEqual(value=len(real)),
        *(
            gx.expectations.ExpectColumnValuesToNotBeNull(column=column)
            for column in real.columns
            if not real[column].isna().any()
        ),
    ]
    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    return bool(batch.get_batch({"dataframe": frame}).validate(suite).success)


def main(source: Path, target: Path) -> None:
    """Run it."""
    warnings.simplefilter("ignore")
    tables = read(source)
    copies = {name: synthesize(name, frame) for name, frame in tables.items()}
    if not all(passes(name, tables[name], copy) for name, copy in copies.items()):
        sys.stderr.write("the light gate failed; publishing all the same, to time it\n")
    with sqlite3.connect(target) as connection:
        for name, copy in copies.items():
            copy.to_sql(name, connection, index=False, if_exists="replace", chunksize=10_000)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
