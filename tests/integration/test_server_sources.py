"""A database on a server gives the rows that the same database in files gives, and a copy that passes its gate."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb
import pytest

from synth_ops.artifact_io import write_table
from synth_ops.endpoints import open_source
from synth_ops.location import parse_location
from synth_ops.recipe import parse_recipe
from synth_ops.registry import PluginKind, load

POSTGRESQL = ("lahman", "sakila", "northwind", "employees", "chinook", "synthea_small")
MARIADB = ("sakila", "northwind", "synthea_small")
BENCHMARK = Path(__file__).resolve().parent.parent / "benchmarks" / "servers_end_to_end.py"
PLACES = [("postgres", name) for name in POSTGRESQL] + [("mariadb", name) for name in MARIADB]


@pytest.fixture
def source(request, datasets, real_data):
    """A data set on a server, by URL."""
    kind, name = request.param
    server = request.getfixturevalue(f"{kind}_server")
    with server.database() as database:
        if kind == "postgres":
            datasets.load_postgresql(real_data / name, server.url(database))
        else:
            datasets.load_mariadb(real_data / name, unix_socket=str(server.socket), user="root", database=database)
        yield name, server.url(database)


def compared(table, lists):
    """Its columns, as far as both sides write them the same."""
    return ", ".join(
        # a char(n) comes without the blanks that fill it up
        f'rtrim("{column.name}"::VARCHAR) AS "{column.name}"'
        if column.native_type.startswith("char")
        else f'"{column.name}"'
        for column in table.columns
        if column.name not in lists
    )


@pytest.mark.parametrize("source", PLACES, indirect=True, ids="-".join)
def test_the_same_rows(source, tmp_path, real_data):
    name, url = source
    recipe = parse_recipe({"source": url, "target": "t.duckdb"}).at(tmp_path)
    files = {file.stem: file for file in (real_data / name).glob("*.parquet")}
    with open_source(recipe).session() as session, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        metadata = session.metadata()
        assert set(metadata.table_names) == set(files)
        for table in metadata.tables:
            reader = session.read(table)
            (file,) = write_table(tmp_path, table.name, reader.schema, reader).files
            mine, theirs = f"read_parquet('{file}')", f"read_parquet('{files[table.name]}')"
            described = connection.execute(f"DESCRIBE FROM {theirs}").fetchall()
            json = [column for column, kind, *_ in described if kind == "VARCHAR[]" and url.startswith("mysql:")]
            columns = compared(table, json)
            for one, other in ((mine, theirs), (theirs, mine)):
                query = f"SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}"
                assert connection.execute(f"SELECT count(*) FROM ({query})").fetchall() == [(0,)], table.name


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_target_under_another_name_is_known_again(kind, request):
    server = request.getfixturevalue(f"{kind}_server")
    with server.database() as one, server.database() as other:
        places = [parse_location(server.url(name), Path.cwd()) for name in (one, other)]
        sources, targets = (
            [load(plugin, place.scheme)(place).identity() for place in places]
            for plugin in (PluginKind.SOURCE, PluginKind.TARGET)
        )
    assert sources == targets
    assert len(set(sources)) == 2


@pytest.mark.parametrize(("kind", "name"), [("postgres", "sakila"), ("mariadb", "northwind")])
def test_from_one_database_to_another_of_the_same_server(kind, name, request, datasets, real_data):
    """Two of the nine runs of the benchmark: all five steps, and the target itself enforces what its source does."""
    spec = importlib.util.spec_from_file_location("servers_end_to_end", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    run = {"postgres": benchmark.on_postgresql, "mariadb": benchmark.on_mariadb}[kind]
    assert run(request.getfixturevalue(f"{kind}_server"), real_data / name, datasets)
