"""Loads the real data sets into databases, with every constraint that their `dataset.json` says holds."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

_DUCKDB_TYPES = {
    "text": "VARCHAR",
    "bytea": "BLOB",
    "double precision": "DOUBLE",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "text[]": "VARCHAR[]",
    "mpaa_rating": "VARCHAR",
}
_SQLITE_TYPES = {
    "bytea": "BLOB",
    "text[]": "TEXT",
    "mpaa_rating": "TEXT",
    "uuid": "TEXT",
    "timestamptz": "TIMESTAMP",
}
_MARIADB_TYPES = {
    "bytea": "LONGBLOB",
    "real": "FLOAT",
    "text[]": "JSON",
    "timestamp": "DATETIME(6)",
    "timestamptz": "DATETIME(6)",
    "uuid": "CHAR(36)",  # its own UUID takes only those that a standard's version made
}


def load_duckdb(dataset: Path, path: Path) -> Path:
    """Make a DuckDB file from a data set's folder.

    DuckDB has no deferred foreign keys: in a cycle the one that closes it is left out.
    """
    tables = _tables(dataset)
    with duckdb.connect(str(path)) as connection:
        done: set[str] = set()
        for name in _parents_first(tables):
            done.add(name)
            types = {column: _duckdb_type(facts["pg"]) for column, facts in tables[name]["columns"].items()}
            connection.execute(_create_table(name, tables[name], types, parents=done))
            _insert(connection, name, tables[name], f"read_parquet('{dataset / name}.parquet')")
    return path


def load_sqlite(dataset: Path, path: Path) -> Path:
    """Make a SQLite file from a data set's folder, with all foreign keys that hold, cyclic ones too."""
    tables = _tables(dataset)
    connection = sqlite3.connect(path)
    reader = duckdb.connect()
    reader.execute("SET TimeZone = 'UTC'")
    for name, facts in tables.items():
        types = {column: _SQLITE_TYPES.get(each["pg"], each["pg"]) for column, each in facts["columns"].items()}
        connection.execute(_create_table(name, facts, types, parents=set(tables)))
        selected = ", ".join(_as_sqlite_value(column, each["pg"]) for column, each in facts["columns"].items())
        result = reader.execute(f"SELECT {selected} FROM read_parquet('{dataset / name}.parquet')")
        places = ", ".join("?" * len(types))
        while rows := result.fetchmany(10_000):
            connection.executemany(f"INSERT INTO {_quote(name)} VALUES ({places})", rows)
    connection.commit()
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
    reader.close()
    return path


def load_postgresql(dataset: Path, url: str) -> None:
    """Fill an empty PostgreSQL database. The references are declared, and hold: they are not checked again."""
    import psycopg

    with psycopg.connect(url) as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute((dataset / "schema.sql").read_text(encoding="utf-8"))
        connection.execute("SET session_replication_role = replica")
        for name, facts in _tables(dataset).items():
            selected = [_as_postgresql_text(column, each["pg"]) for column, each in facts["columns"].items()]
            file = _write_csv(dataset / f"{name}.parquet", selected, Path(folder), null="")
            columns = _names(list(facts["columns"]))
            command = f"COPY {_quote(name)} ({columns}) FROM STDIN (FORMAT csv)"
            with connection.cursor().copy(command) as copy, file.open("rb") as stream:
                shutil.copyfileobj(stream, copy, 2**20)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")


def load_mariadb(dataset: Path, **connection_arguments: Any) -> None:
    """Fill an empty MariaDB database with a data set, with all foreign keys that hold, cyclic ones too."""
    import pymysql

    tables = _tables(dataset)
    schema = (dataset / "schema.sql").read_text(encoding="utf-8")
    enums = dict(re.findall(r"CREATE TYPE (\w+) AS (ENUM \([^)]*\));", schema))
    connection = pymysql.connect(local_infile=True, autocommit=True, **connection_arguments)
    with contextlib.closing(connection), connection.cursor() as cursor, tempfile.TemporaryDirectory() as folder:
        cursor.execute("SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES', time_zone = '+00:00', foreign_key_checks = 0")
        for name, facts in tables.items():
            types = {column: _mariadb_type(column, facts, enums) for column in facts["columns"]}
            cursor.execute(_create_table(name, facts, types, parents=set(tables)))
            selected = [_as_mariadb_text(column, each["pg"]) for column, each in facts["columns"].items()]
            file = _write_csv(dataset / f"{name}.parquet", selected, Path(folder), null="NULL")
            blobs = [column for column, each in facts["columns"].items() if each["pg"] == "bytea"]
            targets = ", ".join(f"@{place}" if c in blobs else _quote(c) for place, c in enumerate(facts["columns"]))
            places = {column: place for place, column in enumerate(facts["columns"])}
            settings = ", ".join(f"{_quote(column)} = unhex(@{places[column]})" for column in blobs)
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {_quote(name)} CHARACTER SET utf8mb4 "
                f"FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"' ESCAPED BY '' "
                f"LINES TERMINATED BY '\\n' ({targets})" + (f" SET {settings}" if settings else "")
            )
            assert cursor.rowcount == facts["rows"], name


def load_without_keys(dataset: Path, path: Path) -> Path:
    """Make a DuckDB file that declares nothing, as `CREATE TABLE ... AS` does."""
    with duckdb.connect(str(path)) as connection:
        for name in _tables(dataset):
            connection.execute(f"CREATE TABLE {_quote(name)} AS FROM '{dataset / name}.parquet'")
    return path


def _tables(dataset: Path) -> dict[str, Any]:
    tables: dict[str, Any] = json.loads((dataset / "dataset.json").read_text(encoding="utf-8"))["tables"]
    return tables


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _names(columns: list[str]) -> str:
    return ", ".join(map(_quote, columns))


def _duckdb_type(pg: str) -> str:
    if re.match(r"(var)?char\(", pg):
        return "VARCHAR"
    return _DUCKDB_TYPES.get(pg, pg.upper().replace("NUMERIC", "DECIMAL"))


def _as_sqlite_value(column: str, pg: str) -> str:
    name = _quote(column)
    if pg in ("date", "timestamp", "uuid"):
        return f"{name}::VARCHAR"
    if pg == "timestamptz":
        return f"strftime({name}::TIMESTAMP, '%Y-%m-%d %H:%M:%S')"
    if pg.startswith("numeric"):
        return f"{name}::DOUBLE"
    return f"to_json({name})::VARCHAR" if pg.endswith("[]") else name


def _write_csv(parquet: Path, selected: list[str], folder: Path, null: str) -> Path:
    """Every value quoted but for NULL, times in UTC."""
    file = folder / "rows.csv"
    options = f"FORMAT csv, HEADER false, FORCE_QUOTE *, NULLSTR '{null}'"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY (SELECT {', '.join(selected)} FROM '{parquet}') TO '{file}' ({options})")
    return file


def _as_postgresql_text(column: str, pg: str) -> str:
    name = _quote(column)
    if pg == "bytea":
        return f"'\\x' || hex({name})"
    if pg.endswith("[]"):  # no element holds a quote
        return f"'{{' || array_to_string(list_transform({name}, lambda x: '\"' || x || '\"'), ',') || '}}'"
    return name


def _as_mariadb_text(column: str, pg: str) -> str:
    name = _quote(column)
    if pg == "bytea":
        return f"hex({name})"
    if pg.endswith("[]"):
        return f"to_json({name})"
    if pg == "boolean":
        return f"{name}::INTEGER"
    return f"strftime({name}::TIMESTAMP, '%Y-%m-%d %H:%M:%S.%f')" if pg.startswith("timestamp") else name


def _mariadb_type(column: str, facts: Mapping[str, Any], enums: Mapping[str, str]) -> str:
    pg = facts["columns"][column]["pg"]
    if pg != "text":
        return enums.get(pg) or _MARIADB_TYPES.get(pg, pg)
    keys = [facts["primary_key"] or [], *facts["unique"], *(key["columns"] for key in facts["foreign_keys"])]
    return "VARCHAR(100)" if any(column in key for key in keys) else "LONGTEXT"  # a key takes no LONGTEXT


def _create_table(name: str, facts: Mapping[str, Any], types: Mapping[str, str], parents: set[str]) -> str:
    lines = [
        f"{_quote(column)} {types[column]}{' NOT NULL' if each['not_null'] else ''}"
        for column, each in facts["columns"].items()
    ]
    if facts["primary_key"]:
        lines.append(f"PRIMARY KEY ({_names(facts['primary_key'])})")
    lines += [f"UNIQUE ({_names(key)})" for key in facts["unique"]]
    lines += [f"CHECK ({check})" for check in facts["checks"]]
    lines += [
        f"FOREIGN KEY ({_names(key['columns'])}) REFERENCES {_quote(key['ref_table'])} ({_names(key['ref_columns'])})"
        for key in facts["foreign_keys"]
        if key["enforced"] and key["ref_table"] in parents
    ]
    return f"CREATE TABLE {_quote(name)} ({', '.join(lines)})"


def _parents_first(tables: Mapping[str, Any]) -> list[str]:
    waiting = {
        name: {key["ref_table"] for key in facts["foreign_keys"] if key["enforced"]} - {name}
        for name, facts in tables.items()
    }
    order: list[str] = []
    while waiting:
        ready = [name for name, parents in waiting.items() if not parents & set(waiting)]
        # a cycle: begin with the table that waits for the fewest
        ready = ready or [min(waiting, key=lambda name: len(waiting[name] & set(waiting)))]
        order += ready
        for name in ready:
            del waiting[name]
    return order


def _insert(connection: duckdb.DuckDBPyConnection, name: str, facts: Mapping[str, Any], rows: str) -> None:
    """Insert all rows; where a table refers to itself, generation by generation, as DuckDB checks each statement."""
    table = _quote(name)
    own = [key for key in facts["foreign_keys"] if key["enforced"] and key["self"]]
    if not own:
        connection.execute(f"INSERT INTO {table} SELECT * FROM {rows}")
        return
    ready = " AND ".join(
        f"(({_names(key['columns'])}) IS NULL OR ({_names(key['columns'])}) IN (SELECT ({_names(key['ref_columns'])}) "
        f"FROM {table}))"
        for key in own
    )
    new = f"({_names(facts['primary_key'])}) NOT IN (SELECT ({_names(facts['primary_key'])}) FROM {table})"
    while connection.execute(f"INSERT INTO {table} SELECT * FROM {rows} WHERE {new} AND {ready}").fetchone() != (0,):
        pass
