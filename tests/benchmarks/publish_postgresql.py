"""What publishing to PostgreSQL costs, beside psql, and how long a swap holds up readers.

Run it by hand: `python tests/benchmarks/publish_postgresql.py [rows]`. It starts a server of its own.
"""

from __future__ import annotations

import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import duckdb

from synth_ops.artifacts import TableData
from synth_ops.location import parse_location
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.native import Index
from synth_ops.targets.postgresql import history
from synth_ops.targets.postgresql.connection import connected
from synth_ops.targets.postgresql.swap import Change, oids, stamp, swap
from synth_ops.targets.postgresql.target import PostgreSQLTarget
from synth_ops.testing.warehouses import write_table

_ROUNDS = 5
_SWAPS = 200
_TABLES = 27
_CARRIERS = 16
_TYPES = (
    "BIGINT", "INTEGER", "SMALLINT", "SMALLINT", "INTEGER", "INTEGER", "DOUBLE", "DOUBLE", "INTEGER", "VARCHAR",
    "VARCHAR", "VARCHAR", "VARCHAR", "DOUBLE", "DOUBLE", "SMALLINT", "SMALLINT", "TIMESTAMP", "DECIMAL(8,2)",
)  # fmt: skip
_VALUES = {
    "INTEGER": "CASE WHEN random() > 0.02 THEN (random() * 2400)::INTEGER END",
    "SMALLINT": "(random() * 60)::SMALLINT",
    "DOUBLE": "CASE WHEN random() > 0.02 THEN round(random() * 600 - 60) END",
    "VARCHAR": "chr(65 + (random() * 25)::INTEGER) || 'N' || (random() * 900)::INTEGER",
    "TIMESTAMP": "TIMESTAMP '2013-01-01' + to_hours((random() * 8760)::INTEGER)",
    "DECIMAL(8,2)": "(random() * 99999)::DECIMAL(8,2)",
}
_CONSTRAINTS = """
ALTER TABLE {0}.trips ADD PRIMARY KEY (id);
ALTER TABLE {0}.trips ADD FOREIGN KEY (carrier) REFERENCES {0}.carriers (id);
CREATE INDEX by_time ON {0}.trips (c17);
"""


def _metadata() -> Metadata:
    names = ["id", "carrier", *(f"c{place}" for place in range(2, len(_TYPES)))]
    columns = [Column(name=name, type=kind) for name, kind in zip(names, _TYPES, strict=True)]
    carriers = Table(
        name="carriers",
        path=("public", "carriers"),
        columns=(Column(name="id", type="INTEGER", nullable=False),),
        primary_key=("id",),
    )
    trips = Table(
        name="trips",
        path=("public", "trips"),
        columns=tuple(columns),
        primary_key=("id",),
        foreign_keys=(ForeignKey(columns=("carrier",), parent="carriers", parent_columns=("id",)),),
        indexes=(Index(name="by_time", unique=False, definition="USING btree (c17)"),),
    )
    return Metadata(tables=(carriers, trips), dialect="postgresql")


def _make(folder: Path, metadata: Metadata, rows: int) -> dict[str, TableData]:
    trips = metadata.table("trips")
    values = ["i AS id", f"(i % {_CARRIERS})::INTEGER AS carrier"]
    values += [f"{_VALUES[column.type]} AS {column.name}" for column in trips.columns[2:]]
    file = folder / "trips.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT {', '.join(values)} FROM range({rows}) r(i)) TO '{file}' (FORMAT parquet)")
        connection.execute(f"COPY (FROM '{file}') TO '{folder / 'trips.csv'}' (FORMAT csv, HEADER false)")
    carriers = write_table(folder, metadata.table("carriers"), [(number,) for number in range(_CARRIERS)])
    return {"carriers": carriers, "trips": TableData(rows=rows, files=(file,))}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _psql(server: object, database: str, folder: Path, metadata: Metadata) -> None:
    kinds = {"DOUBLE": "double precision", "VARCHAR": "text", "DECIMAL(8,2)": "numeric(8,2)"}
    columns = ", ".join(f"{c.name} {kinds.get(c.type, c.type)}" for c in metadata.table("trips").columns)
    script = (
        f"DROP SCHEMA IF EXISTS peer CASCADE; CREATE SCHEMA peer; CREATE TABLE peer.carriers (id integer PRIMARY KEY);"
        f"INSERT INTO peer.carriers SELECT generate_series(0, {_CARRIERS - 1}); CREATE TABLE peer.trips ({columns});\n"
        f"\\copy peer.trips FROM '{folder / 'trips.csv'}' (FORMAT csv)\n"
        + _CONSTRAINTS.format("peer")
        + "ANALYZE peer.trips;"
    )
    url = server.url(database)  # type: ignore[attr-defined]
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url], input=script, text=True, check=True)


def publishing(server: object, folder: Path, rows: int) -> None:
    """A million rows with their keys: this tool beside psql, in turns."""
    metadata = _metadata()
    tables = _make(folder, metadata, rows)
    ratios, peers = [], []
    with server.database() as database:  # type: ignore[attr-defined]
        target = _target(server, database)
        for number in range(_ROUNDS):
            peer = _seconds(lambda: _psql(server, database, folder, metadata))
            ours = _seconds(
                lambda number=number: target.publish(
                    metadata, tables, copy_id=str(number), keep=1, progress=lambda _: None
                )
            )
            ratios.append(ours / peer)
            peers.append(peer)
            _say(f"  publish {ours:.2f} s, psql {peer:.2f} s: {ours / peer:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _say(
        f"publish {rows:,} x {len(_TYPES)} rows: {statistics.median(ratios):.2f} of psql (bar 1.3), peak {peak:.0f} MB"
    )


def holding(server: object, folder: Path) -> None:
    """From the moment that all live tables are locked to the end of the transaction."""
    columns = (Column(name="id", type="INTEGER", nullable=False), Column(name="above", type="INTEGER"))
    tables = tuple(
        Table(
            name=f"t{number}",
            path=("public", f"t{number}"),
            columns=columns,
            primary_key=("id",),
            foreign_keys=(ForeignKey(columns=("above",), parent=f"t{max(0, number - 1)}", parent_columns=("id",)),),
        )
        for number in range(_TABLES)
    )
    metadata = Metadata(tables=tables)
    data = {table.name: write_table(folder / "small", table, [(1, 1), (2, 1)]) for table in tables}
    held: list[float] = []
    since = 0.0

    def at(point: str) -> None:
        nonlocal since
        if point == "dependents listed":
            since = time.perf_counter()
        elif point == "committed":
            held.append(time.perf_counter() - since)

    with server.database() as database:  # type: ignore[attr-defined]
        target = _target(server, database, at)
        for number in (1, 2):
            target.publish(metadata, data, copy_id=str(number), keep=2, progress=lambda _: None)
        with connected(_location(server, database)) as connection, history.publishing(connection, "target"):
            for _ in range(_SWAPS):
                now = history.read(connection)
                assert now.live is not None
                (other,) = set(now.generations) - {now.live.published.number}
                change = Change(
                    number=other,
                    fence=now.fence,
                    out=now.live.homes,
                    into=now.generations[other].homes,
                    stamp=stamp(connection, list(oids(connection, list(now.live.homes)).values())),
                )
                swap(connection, change, target._surroundings(frozenset()))
    held.sort()
    p50, p99 = (held[int(len(held) * share)] * 1000 for share in (0.5, 0.99))
    _say(
        f"readers of {_TABLES} tables held by one of {len(held)} swaps: median {p50:.0f} ms, p99 {p99:.0f} ms (bar 50)"
    )


def _target(server: object, database: str, at: Callable[[str], None] | None = None) -> PostgreSQLTarget:
    target = PostgreSQLTarget(_location(server, database), at=at)
    target.mark("test", confirm=database)
    return target


def _location(server: object, database: str) -> object:
    return parse_location(server.url(database), Path.cwd())  # type: ignore[attr-defined]


def _servers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("servers", Path(__file__).resolve().parent.parent / "servers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Both measures, on one server."""
    servers = _servers()
    server = servers.PostgresServer(servers.wheel_postgresql())
    try:
        with tempfile.TemporaryDirectory() as folder:
            publishing(server, Path(folder), int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
            holding(server, Path(folder))
    finally:
        server.close()


if __name__ == "__main__":
    main()
