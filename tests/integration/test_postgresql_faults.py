"""What goes wrong around a publication: the network, the server, the disk, privileges, poolers."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from synth_ops.errors import PublishError, PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.ports import PublishRules
from synth_ops.targets.postgresql.target import PostgreSQLTarget
from synth_ops.testing.contracts import MARKED, marked, unheard
from synth_ops.testing.warehouses import write_table


def publish(target, folder, number):
    return target.publish(MARKED, marked(folder, number), copy_id=str(number), keep=2, progress=unheard)


def live_mark(database):
    ((mark,),) = database.rows("SELECT publication FROM first UNION SELECT publication FROM second")
    return mark


class Link:
    """A way to a server through TCP; `lose` says what becomes of the next COMMIT, and of the connection with it.

    With `pool`, each transaction goes to another of two sessions, as behind a pooler in transaction mode.
    """

    def __init__(self, server, *, pool=False):
        self.lose = ""
        self._sessions = 2 if pool else 1
        self._upstream = f"{server.folder}/.s.PGSQL.{server.port}"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database):
        return f"postgresql://synth@127.0.0.1:{self.port}/{database}?sslmode=disable&gssencmode=disable"

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            stack.enter_context(client)
            servers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(self._sessions)]
            hello = client.recv(65536)
            for server in servers:
                server.connect(self._upstream)
                server.sendall(hello)
            for spare in servers[1:]:
                while not spare.recv(65536).endswith(b"Z\0\0\0\5I"):
                    pass
            self._pump(client, servers)

    def _pump(self, client, servers):
        with selectors.DefaultSelector() as ready:
            for each in (client, *servers):
                ready.register(each, selectors.EVENT_READ)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    if key.fileobj is not client:
                        client.sendall(data)
                        if data.endswith(b"Z\0\0\0\5I"):
                            servers.append(servers.pop(0))
                    elif self.lose and b"COMMIT" in data:
                        if self.lose == "answer":
                            servers[0].sendall(data)
                            servers[0].recv(65536)
                        self.lose = ""
                        return
                    else:
                        servers[0].sendall(data)


@pytest.mark.parametrize("lost", ["answer", "question"])
def test_a_commit_lost_in_the_network_is_resolved(marked, tmp_path, lost):
    publish(marked.target(), tmp_path, 1)
    link = Link(marked.server)

    def lose(point):
        if point == "journal written":
            link.lose = lost

    target = PostgreSQLTarget(parse_location(link.url(marked.name), tmp_path), at=lose)
    if lost == "answer":
        assert publish(target, tmp_path, 2).number == 2
        assert live_mark(marked) == 2
    else:
        with pytest.raises(TargetUnavailableError, match="what was live is live still"):
            publish(target, tmp_path, 2)
        assert live_mark(marked) == 1
    assert publish(marked.target(), tmp_path, 2).number == 2
    assert publish(marked.target(), tmp_path, 3).number == 3
    link.close()
    homes = marked.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_' ORDER BY 1")
    assert homes == [("synth_ops_2_1",), ("synth_ops_3_1",)]


def test_what_fails_after_the_swap_does_not_undo_it(marked, tmp_path, caplog):
    publish(marked.target(), tmp_path, 1)

    def lose(point):
        if point == "swapped":
            marked.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip

    assert publish(marked.target(at=lose), tmp_path, 2).number == 2
    assert live_mark(marked) == 2
    assert "stays until the next run" in caplog.text
    assert publish(marked.target(), tmp_path, 3).number == 3


def test_what_somebody_dropped_of_a_dead_run_is_built_anew(marked, tmp_path):
    publish(marked.target(), tmp_path, 1)

    def lose(point):
        if point == "table second loaded":
            marked.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip

    with pytest.raises(TargetUnavailableError):
        publish(marked.target(at=lose), tmp_path, 2)
    ((home,),) = marked.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_2'")
    marked.execute(f"DROP SCHEMA {home} CASCADE")
    assert publish(marked.target(), tmp_path, 2).live
    assert live_mark(marked) == 2


def test_a_pooler_in_transaction_mode_is_refused(marked, tmp_path):
    publish(marked.target(), tmp_path, 1)
    link = Link(marked.server, pool=True)
    with pytest.raises(PublishRefusedError, match="pooler in transaction mode"):
        publish(PostgreSQLTarget(parse_location(link.url(marked.name), tmp_path)), tmp_path, 2)
    link.close()
    assert live_mark(marked) == 1


@pytest.mark.parametrize(
    "point", ["table first created", "keys of table first", "live tables locked", "journal written"]
)
def test_a_server_that_dies_leaves_what_was_live(servers, own_server, tmp_path, point):
    database = own_server
    publish(database.target(), tmp_path, 1)

    def die(reached):
        if reached == point:
            database.server.kill()

    with pytest.raises(TargetUnavailableError) as failure:
        publish(database.target(at=die), tmp_path, 2)
    assert failure.value.retryable
    database.server.start()
    assert live_mark(database) == 1
    publish(database.target(), tmp_path, 2)
    assert live_mark(database) == 2
    assert len(database.rows("SELECT FROM pg_namespace WHERE nspname ~ '^synth_ops_'")) == 2


def test_a_server_that_dies_while_it_takes_rows_leaves_what_was_live(own_server, tmp_path):
    database = own_server
    publish(database.target(), tmp_path, 1)
    database.execute("ALTER TABLE first ADD CONSTRAINT slow CHECK (id < 100 OR pg_sleep(60) IS NOT NULL) NOT VALID")
    copying = "SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event = 'PgSleep'"

    def die():
        until = time.monotonic() + 30
        while not database.rows(copying):
            assert time.monotonic() < until
            time.sleep(0.02)
        database.server.kill()

    with ThreadPoolExecutor(1) as another:
        killed = another.submit(die)
        with pytest.raises(TargetUnavailableError) as failure:
            publish(database.target(), tmp_path, 2)
        killed.result()
    assert failure.value.retryable
    database.server.start()
    assert live_mark(database) == 1
    database.execute("ALTER TABLE first DROP CONSTRAINT slow")
    publish(database.target(), tmp_path, 2)
    assert live_mark(database) == 2
    assert len(database.rows("SELECT FROM pg_namespace WHERE nspname ~ '^synth_ops_'")) == 2


@pytest.fixture(scope="module")
def lonely_server(servers):
    server = servers.PostgresServer(servers.wheel_postgresql())
    yield server
    server.close()


@pytest.fixture
def own_server(lonely_server, tmp_path, marked_database):
    with lonely_server.database() as name:
        yield marked_database(lonely_server, name, tmp_path)


def test_a_full_disk_is_told_and_leaves_what_was_live(own_server, tmp_path):
    database, small = own_server, own_server.server.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a small tmpfs: run the tests as root, in a container that may mount")
    try:
        space = small / "space"
        space.mkdir()
        owner = database.server.data.stat()
        os.chown(space, owner.st_uid, owner.st_gid)
        publish(database.target(), tmp_path, 1)
        database.server.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        database.server.execute(f"ALTER DATABASE {database.name} SET default_tablespace = small")
        noise = Table(name="noise", path=("noise",), columns=(Column(name="text", type="VARCHAR"),))
        data = write_table(tmp_path / "noise", noise, [(os.urandom(500).hex(),) for _ in range(20_000)])
        with pytest.raises(TargetUnavailableError, match="no room"):
            database.target().publish(Metadata(tables=(noise,)), {"noise": data}, copy_id="2", keep=2, progress=unheard)
        assert live_mark(database) == 1
        assert len(database.rows("SELECT FROM pg_namespace WHERE nspname ~ '^synth_ops_'")) == 1
        database.server.execute(f"ALTER DATABASE {database.name} RESET default_tablespace", "DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_role_that_may_not_is_told_what_it_lacks(marked, tmp_path):
    publish(marked.target(), tmp_path, 1)
    role = f"{marked.name}_weak"
    marked.execute(f"CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA synth_ops TO {role}; "
                   f"GRANT ALL ON ALL TABLES IN SCHEMA synth_ops TO {role}")  # fmt: skip
    weak = PostgreSQLTarget(parse_location(marked.server.url(marked.name, user=role), tmp_path))
    with pytest.raises(PublishRefusedError, match="lacks privileges") as refusal:
        publish(weak, tmp_path, 2)
    for grant in (f"GRANT CREATE ON DATABASE {marked.name}", "GRANT CREATE, USAGE ON SCHEMA public", "GRANT synth TO"):
        assert grant in str(refusal.value)
    assert live_mark(marked) == 1
    marked.execute(f"GRANT CREATE ON DATABASE {marked.name} TO {role}; GRANT CREATE ON SCHEMA public TO {role}; "
                   f"GRANT synth TO {role}")  # fmt: skip
    assert publish(weak, tmp_path, 2).number == 2
    marked.execute(f"REASSIGN OWNED BY {role} TO synth; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("url", "reason", "retryable"),
    [
        ("postgresql://nobody:hunter2@/{name}?host={folder}&port={port}", "no such user", False),
        ("postgresql://synth:hunter2@/nothing?host={folder}&port={port}", "no such database", False),
        ("postgresql://synth:hunter2@127.0.0.1:1/{name}", "nothing listens", True),
        ("postgresql://synth:hunter2@nowhere.invalid/{name}", "leads nowhere", True),
        ("postgresql://synth:hunter2@/{name}?host=/nowhere", "nothing listens", True),
    ],
)
def test_no_way_to_the_server_is_told_without_secrets(marked, tmp_path, url, reason, retryable):
    server = marked.server
    text = url.format(name=marked.name, folder=server.folder, port=server.port)
    with pytest.raises(PublishError, match=reason) as failure:
        PostgreSQLTarget(parse_location(text, tmp_path)).generations()
    assert failure.value.retryable is retryable
    assert "hunter2" not in f"{failure.value}{failure.value.__cause__}"


class TestGuard:
    def test_an_unmarked_database_is_refused(self, postgres_server, postgres_database, tmp_path):
        target = PostgreSQLTarget(parse_location(postgres_server.url(postgres_database), tmp_path))
        for call in (target.generations, target.rollback, lambda: publish(target, tmp_path, 1)):
            with pytest.raises(PublishRefusedError, match="target init"):
                call()
        with psycopg.connect(postgres_server.url(postgres_database)) as connection:
            assert connection.execute("SELECT FROM pg_namespace WHERE nspname ~ '^synth'").fetchall() == []

    @pytest.mark.parametrize("environment", ["production", "PROD", "eu-prod-2", "live", "", "--"])
    def test_production_can_not_be_marked(self, postgres_server, postgres_database, tmp_path, environment):
        target = PostgreSQLTarget(parse_location(postgres_server.url(postgres_database), tmp_path))
        with pytest.raises(PublishRefusedError, match="no name for an environment"):
            target.mark(environment, confirm=postgres_database)

    def test_a_marker_that_came_with_a_copy_is_none(self, marked, tmp_path):
        marked.server.execute(f"CREATE DATABASE {marked.name}_copy TEMPLATE {marked.name}")
        try:
            target = PostgreSQLTarget(parse_location(marked.server.url(f"{marked.name}_copy"), tmp_path))
            with pytest.raises(PublishRefusedError, match="marker of another database"):
                publish(target, tmp_path, 1)
        finally:
            marked.server.execute(f"DROP DATABASE {marked.name}_copy WITH (FORCE)")

    @pytest.mark.parametrize("pattern", ["{name}", "TEST_*", "*synth-pg*"])
    def test_a_denied_name_is_refused(self, marked, tmp_path, pattern):
        rules = PublishRules(deny=(pattern.format(name=marked.name),))
        target = marked.target(rules=rules)
        for call in (target.generations, lambda: publish(target, tmp_path, 1), lambda: target.mark("x", confirm="y")):
            with pytest.raises(PublishRefusedError, match="denied"):
                call()

    def test_a_database_is_told_by_what_it_is(self, marked, tmp_path):
        link = Link(marked.server)
        through = PostgreSQLTarget(parse_location(link.url(marked.name), tmp_path))
        assert through.identity() == marked.target().identity()
        assert (
            through.identity() != PostgreSQLTarget(parse_location(marked.server.url("postgres"), tmp_path)).identity()
        )
        link.close()

    def test_names_that_postgresql_would_cut_are_refused(self, marked, tmp_path):
        names = [f"{'x' * 63}{last}" for last in "ab"]
        tables = [Table(name=name, path=(name,), columns=(Column(name="id", type="INTEGER"),)) for name in names]
        data = {table.name: write_table(tmp_path, table, [(1,)]) for table in tables}
        with pytest.raises(PublishRefusedError, match="63 bytes") as refusal:
            marked.target().publish(Metadata(tables=tuple(tables)), data, copy_id="1", keep=1, progress=unheard)
        assert all(name in str(refusal.value) for name in names)


STARVED = """
import os, resource, sys
from pathlib import Path
from synth_ops.artifacts import TableData
from synth_ops.errors import SynthOpsError
from synth_ops.location import parse_location
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.targets.postgresql.target import PostgreSQLTarget
from synth_ops.testing.contracts import unheard

def starve(point):
    if point == "table noise created":  # everything is loaded; what comes now may take 24 MB and no more
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 24 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

url, file, rows = sys.argv[1:]
noise = Table(name="noise", path=("noise",), columns=(Column(name="text", type="VARCHAR"),))
target = PostgreSQLTarget(parse_location(url, Path.cwd()), at=starve)
tables = {"noise": TableData(rows=int(rows), files=(Path(file),))}
try:
    target.publish(Metadata(tables=(noise,)), tables, copy_id="2", keep=2, progress=unheard)
except (SynthOpsError, MemoryError) as error:
    print(type(error).__name__)
"""


def test_a_publisher_without_memory_leaves_what_was_live(marked, tmp_path):
    publish(marked.target(), tmp_path, 1)
    noise = Table(name="noise", path=("noise",), columns=(Column(name="text", type="VARCHAR"),))
    data = write_table(tmp_path / "noise", noise, [(os.urandom(2000).hex(),) for _ in range(30_000)])
    command = [sys.executable, "-c", STARVED, marked.url, str(data.files[0]), str(data.rows)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "noise" not in {
        table for (table,) in marked.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    assert live_mark(marked) == 1
    assert finished.stdout in ("PublishError\n", "MemoryError\n", "TargetUnavailableError\n"), finished.stderr
    assert publish(marked.target(), tmp_path, 3).number == 2
    homes = marked.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_' ORDER BY 1")
    assert len(homes) == 2
