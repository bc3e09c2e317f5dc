"""A table of 19 columns read out of PostgreSQL, beside psql's own \\copy to a file: `snapshot_postgresql.py [rows]`."""

from __future__ import annotations

import importlib.util
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROUNDS, _MANY_ROWS = 9, 2_000_000
_SERVERS = Path(__file__).resolve().parent.parent / "servers.py"
_TABLE = """
CREATE UNLOGGED TABLE flight (
  year smallint, month smallint, day smallint, dep_time integer, sched_dep_time integer, dep_delay integer,
  arr_time integer, sched_arr_time integer, arr_delay integer, carrier text, flight integer, tailnum text, origin text,
  dest text, air_time integer, distance integer, hour smallint, minute smallint, time_hour timestamptz)
"""
_ROWS = """
INSERT INTO flight
SELECT 2013, 1 + i % 12, 1 + i % 28, CASE WHEN i % 40 > 0 THEN h * 100 + m END, h * 100 + m, (i * 7919) % 200 - 20,
       CASE WHEN i % 40 > 0 THEN (i * 31) % 2400 END, (i * 37) % 2400, (i * 6151) % 300 - 50,
       (ARRAY['UA', 'AA', 'B6', 'DL', 'EV', 'MQ', 'US', 'WN'])[1 + i % 8], (i * 13) % 6000,
       'N' || (i * 17) % 99999 || (ARRAY['UA', 'AA', 'B6'])[1 + i % 3], (ARRAY['EWR', 'JFK', 'LGA'])[1 + i % 3],
       'D' || lpad(((i * 11) % 105)::text, 2, '0'), (i * 3) % 600, (i * 97) % 4900 + 80, h, m,
       timestamptz '2013-01-01' + i % 8760 * interval '1 hour'
FROM (SELECT i, (i * 5) % 24 AS h, (i * 7) % 60 AS m FROM generate_series(1::bigint, {rows}) i) numbered
"""


def read(url: str, folder: str) -> None:
    """Read the table as a snapshot does; prints the seconds, without imports, and the peak of its memory, in MB."""
    import pyarrow.parquet  # noqa: F401

    from synth_ops.artifact_io import write_table
    from synth_ops.location import parse_location
    from synth_ops.sources.postgresql.source import PostgreSQLSource

    started = time.perf_counter()
    with PostgreSQLSource(parse_location(url, Path.cwd())).session() as session:
        (table,) = session.metadata().tables
        reader = session.read(table)
        write_table(Path(folder), table.name, reader.schema, reader)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(seconds, peak)  # noqa: T201


def main(rows: int) -> None:
    """Both ways in turn, in one run; the median of the pairs' ratios is judged, as a machine's speed comes and goes."""
    spec = importlib.util.spec_from_file_location("servers", _SERVERS)
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    server = servers.PostgresServer(servers.wheel_postgresql())
    try:
        server.execute(_TABLE, _ROWS.format(rows=rows), "VACUUM ANALYZE flight", "CHECKPOINT")
        psql, own, peaks = [], [], []
        rounds = _ROUNDS if rows <= _MANY_ROWS else 1
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                started = time.perf_counter()
                command = f"\\copy flight to '{folder}/rows'"
                subprocess.run([server.binaries / "psql", "-q", "-d", server.url(), "-c", command], check=True)
                psql.append(time.perf_counter() - started)
                script = [sys.executable, __file__, "--read", server.url(), folder]
                seconds, peak = subprocess.run(script, check=True, capture_output=True, text=True).stdout.split()
                own.append(float(seconds))
                peaks.append(float(peak))
    finally:
        server.close()
    one, other = statistics.median(own), statistics.median(psql)
    ratios = sorted(mine / theirs for mine, theirs in zip(own, psql, strict=True))
    print(f"{rows:,} rows x 19 columns, PostgreSQL to Parquet, {rounds} pairs")  # noqa: T201
    print(f"ours {one:.2f} s, psql \\copy {other:.2f} s: {statistics.median(ratios):.2f} times (bar 1.4)")  # noqa: T201
    print(f"pairs from {ratios[0]:.2f} to {ratios[-1]:.2f} times")  # noqa: T201
    print(f"peak {max(peaks):.0f} MB (bar 300)")  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
