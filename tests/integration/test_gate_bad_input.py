"""Few people, one column, one class, no rows: the gate judges, or it blocks and says why, and nothing is published."""

from __future__ import annotations

import duckdb
import pytest
import yaml

SOURCE = """
CREATE TABLE people (id INTEGER PRIMARY KEY, city VARCHAR, age INTEGER, income INTEGER, alive BOOLEAN);
INSERT INTO people SELECT i, ['Oslo', 'Lyon', 'Gent'][1 + i * 7 % 3], 20 + i * 31 % 60, 1000 * (20 + i * 17 % 50), true
FROM range(50) t(i);
CREATE TABLE words AS SELECT ['yes', 'no'][1 + i * 5 % 2] AS word FROM range(200) t(i);
"""
COPYIST = """
import pyarrow as pa
import pyarrow.parquet as pq
from synth_ops.artifact_io import write_table

class Copyist:
    version = "1"

    def __init__(self, *, rows=None):
        self._rows = rows

    def fit(self, snapshot, folder, *, progress):
        for name, data in snapshot.tables.items():
            pq.write_table(pa.concat_tables([pq.read_table(file) for file in data.files]), folder / name)

    def load(self, folder, metadata):
        self._model, self._names = folder, metadata.table_names
        return self

    def sample(self, folder, *, seed, scale, progress):
        tables = {name: pq.read_table(self._model / name).slice(0, self._rows) for name in self._names}
        return {name: write_table(folder, name, table.schema, table.to_batches()) for name, table in tables.items()}
"""
"""Gives out what it was given, or the first rows of it."""


@pytest.fixture
def run(tmp_path, cli, install):
    """Refresh a database of fifty people, by settings of the recipe."""
    install("copyist", "Copyist", COPYIST)
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        connection.execute(SOURCE)

    def call(**sections):
        recipe = tmp_path / "recipe.yaml"
        tables = {"people": {"subject": True, **sections.pop("people", {})}}
        recipe.write_text(
            yaml.safe_dump({"source": "source.duckdb", "target": "test.duckdb", "tables": tables, **sections})
        )
        return cli("run", recipe), tmp_path / "test.duckdb"

    return call


def test_fifty_people_and_a_table_of_one_column_are_judged(run):
    finished, target = run()
    assert finished.code == 0, finished.err
    assert target.exists()


def test_a_copy_of_fifty_people_is_blocked(run):
    finished, target = run(generator="copyist", people={"columns": {"alive": {"target": True}}})
    assert finished.code == 3
    assert "efficacy.score_ratio[people.alive], privacy.dcr_share[people]" in finished.err
    assert not target.exists()


def test_a_copy_without_rows_is_blocked(run):
    finished, target = run(generator={"copyist": {"rows": 0}})
    assert finished.code == 3
    assert "fidelity.column_distance[people.age]" in finished.err
    assert not target.exists()
