"""A physical replica is the database that it replicates: it is read like that one, and copied to it never."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
import yaml

from synth_ops.location import parse_location
from synth_ops.sources.postgresql.source import PostgreSQLSource
from synth_ops.targets.postgresql.target import PostgreSQLTarget

TABLES = """
CREATE TABLE branch (id int PRIMARY KEY, city text NOT NULL);
CREATE TABLE parcel (id int PRIMARY KEY, branch int NOT NULL REFERENCES branch, weight numeric(6, 2), sent timestamptz);
INSERT INTO branch SELECT i, 'town ' || i FROM generate_series(1, 20) i;
INSERT INTO parcel
SELECT i, 1 + i % 20, i % 90, timestamptz '2024-01-01' + i * interval '1 h' FROM generate_series(1, 9000) i
"""


@pytest.fixture(scope="module")
def pair(servers):
    """A primary and its replica, which has all that was written so far."""
    primary = servers.PostgresServer(servers.wheel_postgresql())
    primary.execute(TABLES)
    replica = servers.PostgresServer(servers.wheel_postgresql(), primary=primary)
    with psycopg.connect(primary.url()) as one, psycopg.connect(replica.url(), autocommit=True) as other:
        (place,) = one.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        until = time.monotonic() + 60
        while not other.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (place,)).fetchone()[0]:
            assert time.monotonic() < until
            time.sleep(0.05)
    yield primary, replica
    replica.close()
    primary.close()


def test_it_is_read_like_its_primary_by_several_connections(pair, monkeypatch):
    monkeypatch.setattr("synth_ops.sources.postgresql.source._PART_PAGES", 8)
    read = []
    for server in pair:
        source = PostgreSQLSource(parse_location(server.url(), Path.cwd()))
        with source.session() as session:
            tables = session.metadata().tables
            assert session.position["wal"]
            read.append((source.identity(), [(table.name, session.read(table).read_all()) for table in tables]))
    assert read[0] == read[1]
    assert [(name, rows.num_rows) for name, rows in read[0][1]] == [("branch", 20), ("parcel", 9000)]


def test_its_primary_is_no_target_of_it(pair, cli, tmp_path):
    primary, replica = pair
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"source": replica.url(), "target": primary.url()}), encoding="utf-8")
    refused = cli("target", "init", recipe, "--environment", "test", "--confirm", "postgres")
    assert (refused.code, "is the source, under another name" in refused.err) == (4, True)
    PostgreSQLTarget(parse_location(primary.url(), tmp_path)).mark("test", confirm="postgres")
    refused = cli("run", recipe)
    assert (refused.code, "is the source, under another name" in refused.err) == (4, True)
    with psycopg.connect(primary.url()) as connection:
        assert connection.execute("SELECT count(*) FROM parcel").fetchone() == (9000,)
