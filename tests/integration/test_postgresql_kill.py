"""What is live in PostgreSQL is one whole generation, whoever is killed when, and however many publish or read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.ports import Fixtures, PublishRules
from synth_ops.targets.postgresql import history
from synth_ops.testing.contracts import MARKED, unheard
from synth_ops.testing.contracts import marked as marked_tables

NURSERY = """
import json, os, signal, sys, time
from pathlib import Path
import psycopg
from synth_ops.artifacts import TableData
from synth_ops.errors import SynthOpsError
from synth_ops.location import parse_location
from synth_ops.targets.postgresql import history
from synth_ops.targets.postgresql.connection import connected
from synth_ops.targets.postgresql.swap import Change, oids, stamp, swap
from synth_ops.targets.postgresql.target import PostgreSQLTarget
from synth_ops.testing.contracts import MARKED, unheard

def written(task):
    return {name: TableData(rows=200, files=(Path(file),)) for name, file in task["tables"].items()}

def publish(task):
    def die(point):
        if point == task["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    target = PostgreSQLTarget(parse_location(task["url"], Path.cwd()), at=die)
    try:
        target.publish(MARKED, written(task), copy_id=str(task["number"]), keep=2, progress=unheard)
    except SynthOpsError as error:
        return type(error).__name__
    return "published"

def apart(task):
    # one worker's part of a publication
    def die(point):
        if point == task["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    target = PostgreSQLTarget(parse_location(task["url"], Path.cwd()), at=die)
    tables, copy_id = written(task), str(task["number"])
    if not task["table"]:
        return target.begin(MARKED, tables, copy_id=copy_id)
    data = tables[task["table"]]
    target.load(MARKED, task["table"], data, copy_id=copy_id, token=task["token"])
    return "loaded"

def swap_back_and_forth(task):
    # the real swap, again and again between two generations
    target = PostgreSQLTarget(parse_location(task["url"], Path.cwd()))
    location = parse_location(task["url"], Path.cwd())
    with connected(location) as connection, history.publishing(connection, "target"):
        for _ in range(task["swaps"]):
            now = history.read(connection)
            live = now.live.published.number
            (other,) = set(now.generations) - {live}
            standing = oids(connection, list(now.live.homes))
            change = Change(
                number=other, fence=now.fence, out=now.live.homes, into=now.generations[other].homes,
                stamp=stamp(connection, list(standing.values())),
            )
            swap(connection, change, target._surroundings(frozenset()))
    return "swapped"

def rename_back_and_forth(task):
    # what a swap without locks would be
    with psycopg.connect(task["url"], autocommit=True) as connection:
        for _ in range(task["swaps"]):
            with connection.transaction():
                connection.execute(
                    "ALTER SCHEMA control RENAME TO aside; ALTER SCHEMA other RENAME TO control; "
                    "ALTER SCHEMA aside RENAME TO other"
                )
    return "renamed"

def read(task):
    reads = torn = failed = 0
    waits = []
    with psycopg.connect(task["url"], autocommit=True) as connection:
        while not Path(task["until"]).exists():
            started = time.perf_counter()
            try:
                marks = connection.execute(task["query"]).fetchall()
            except psycopg.Error:
                failed += 1
                continue
            waits.append(time.perf_counter() - started)
            reads += 1
            torn += len(set(marks)) != 1
    waits.sort()
    return json.dumps({"reads": reads, "torn": torn, "failed": failed, "p99_s": waits[int(len(waits) * 0.99)]})

for line in sys.stdin:
    task = json.loads(line)
    pipe_out, pipe_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(pipe_in, str(globals()[task["do"]](task)).encode())
        os._exit(0)
    os.close(pipe_in)
    _, status = os.waitpid(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), os.read(pipe_out, 65536).decode()]), flush=True)
    os.close(pipe_out)
"""
JOINED = """
SELECT DISTINCT f.publication, s.publication FROM {0}.first f FULL JOIN {0}.second s USING (id)
UNION ALL SELECT DISTINCT publication, publication FROM {0}.first
"""


class Nursery:
    """A process that has loaded everything, and has its children do one thing each."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, do, **task):
        self._process.stdin.write(json.dumps({"do": do, **task}) + "\n")
        self._process.stdin.flush()

    def end(self):
        code, said = json.loads(self._process.stdout.readline())
        return code, said

    def run(self, do, **task):
        self.begin(do, **task)
        return self.end()

    def close(self):
        with self._process:
            self._process.stdin.close()


@pytest.fixture(scope="module")
def nurseries():
    started = [Nursery() for _ in range(5)]
    yield started
    for each in started:
        each.close()


def written(folder, number):
    """The files of a publication's tables, for a nursery's child."""
    return {name: str(data.files[0]) for name, data in marked_tables(folder, number).items()}


def publish(database, folder, number, **arguments):
    tables = marked_tables(folder, number)
    return database.target(**arguments).publish(MARKED, tables, copy_id=str(number), keep=2, progress=unheard)


def live_mark(database):
    ((first, second),) = set(database.rows(JOINED.format("public")))
    assert first == second
    return first


def assert_consistent(database):
    """One generation is live, whole, and it is the one that readers see."""
    generations = database.target().generations()
    (live,) = [each for each in generations if each.live]
    assert int(live.copy) == live_mark(database)
    assert database.rows("SELECT count(*), sum(id) FROM public.first") == [(200, 19900)]
    assert database.rows("SELECT count(*), sum(id) FROM public.second") == [(200, 19900)]
    return int(live.copy)


def assert_no_left_overs(database):
    kept = {each.number for each in database.target().generations()}
    homes = {name for (name,) in database.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_'")}
    assert {int(home.split("_")[-2]) for home in homes} == kept
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = {}"
    own = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    assert database.rows(locks.format(own)) == [(0,)]


def failpoints(database, folder):
    """Every named point of a publication over a live one."""
    publish(database, folder, 1)
    points = []
    publish(database, folder, 2, at=points.append)
    assert len(points) == len(set(points)) >= 20
    assert {"swap begun", "live tables locked", "journal written", "committed"} <= set(points)
    return points


def test_a_publisher_killed_anywhere_leaves_old_or_new(marked_with_view, tmp_path, nurseries, quick):
    database, number, outcomes = marked_with_view, 2, set()
    for point in failpoints(database, tmp_path) * (1 if quick else 5):
        number += 1
        tables = written(tmp_path, number)
        code, _ = nurseries[0].run("publish", url=database.url, tables=tables, number=number, die_at=point)
        assert code == -signal.SIGKILL, point
        live = assert_consistent(database)
        assert live in {number - 1, number}
        outcomes.add(live == number)
        publish(database, tmp_path, number)
        assert assert_consistent(database) == number
    assert outcomes == {False, True}
    publish(database, tmp_path, number + 1)
    assert_no_left_overs(database)
    assert database.rows("SELECT DISTINCT publication FROM public.both") == [(number + 1,)]


@pytest.mark.parametrize("table", ["", "first", "second"])
def test_a_worker_killed_anywhere_is_retried(marked, tmp_path, nurseries, table):
    """Who begins, or loads a table: another process does it again, and the publication is whole."""

    def work(number, table, token="", die_at=""):
        given = {"tables": written(tmp_path, number), "number": number, "token": token, "die_at": die_at}
        return nurseries[0].run("apart", url=marked.url, table=table, **given)

    publish(marked, tmp_path, 1)
    points = ["lock taken", "left-overs collected", "homes made", "stage open"]
    if table:
        points = [f"table {table} created", f"table {table} loaded", f"keys of table {table}"]
    for number, point in enumerate(points, start=2):
        if not table:
            assert work(number, "", die_at=point)[0] == -signal.SIGKILL, point
        code, token = work(number, "")
        assert code == 0
        if table:
            assert work(number, table, token, die_at=point)[0] == -signal.SIGKILL, point
        for each in ("second", "first"):
            assert work(number, each, token) == (0, "loaded")
        assert assert_consistent(marked) == number - 1
        seen = []
        publish(marked, tmp_path, number, at=seen.append)
        assert not [each for each in seen if each.endswith(("created", "loaded"))], "the workers have done it"
        assert assert_consistent(marked) == number
        assert_no_left_overs(marked)
    assert marked.rows("SELECT count(*) FROM synth_ops.stage") == [(0,)]


def test_a_table_is_loaded_by_one_worker_at_a_time(marked, tmp_path):
    tables = marked_tables(tmp_path, 1)
    token = marked.target().begin(MARKED, tables, copy_id="1")

    def load(**arguments):
        marked.target(**arguments).load(MARKED, "first", tables["first"], copy_id="1", token=token)

    def meanwhile(point):
        if point == "table first loaded":
            with pytest.raises(TargetUnavailableError) as failure:
                load()
            assert failure.value.retryable
            with pytest.raises(TargetUnavailableError, match="another run is publishing"):
                marked.target().begin(MARKED, marked_tables(tmp_path, 2), copy_id="2")

    load(at=meanwhile)
    seen = []
    load(at=seen.append)
    assert seen == []
    publish(marked, tmp_path, 1)
    assert assert_consistent(marked) == 1


def test_live_tables_that_were_altered_meanwhile_are_followed(marked, tmp_path):
    publish(marked, tmp_path, 1)
    tables = marked_tables(tmp_path, 2)
    token = marked.target().begin(MARKED, tables, copy_id="2")
    marked.target().load(MARKED, "first", tables["first"], copy_id="2", token=token)
    marked.execute("CREATE INDEX theirs ON public.first (publication)")
    with pytest.raises(PublishRefusedError, match="another run has begun to publish, or the live tables were altered"):
        marked.target().load(MARKED, "second", tables["second"], copy_id="2", token=token)
    publish(marked, tmp_path, 2)
    assert assert_consistent(marked) == 2
    assert marked.rows("SELECT count(*) FROM pg_indexes WHERE indexname = 'theirs' AND schemaname = 'public'") == [(1,)]
    assert_no_left_overs(marked)


def test_rows_that_stay_tie_the_tables_together(marked, tmp_path):
    rules = PublishRules(fixtures={"first": Fixtures(where="publication = 1000")})
    assert marked.target(rules=rules).begin(MARKED, marked_tables(tmp_path, 1), copy_id="1") is None


@pytest.fixture
def marked_with_view(marked, tmp_path):
    publish(marked, tmp_path, 0)
    marked.execute("CREATE VIEW public.both AS SELECT f.* FROM public.first f JOIN public.second s USING (id)")
    return marked


def test_a_publisher_killed_while_the_server_works_for_it_frees_its_lock(marked, tmp_path, nurseries):
    publish(marked, tmp_path, 1)
    marked.execute("ALTER TABLE public.first ADD CONSTRAINT slow CHECK (id < 1 OR pg_sleep(30) IS NOT NULL) NOT VALID")
    nurseries[0].begin("publish", url=marked.url, tables=written(tmp_path, 2), number=2, die_at="")
    busy = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event = 'PgSleep'"
    wait_for(lambda: marked.rows(busy))
    clients = subprocess.run(
        ["pgrep", "-P", str(nurseries[0]._process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(int(clients.stdout), signal.SIGKILL)
    marked.execute("ALTER TABLE public.first DROP CONSTRAINT slow")
    publish(marked, tmp_path, 3)  # which waits for the lock for two seconds at most
    assert nurseries[0].end()[0] == -signal.SIGKILL
    assert assert_consistent(marked) == 3
    assert_no_left_overs(marked)


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_publishers_that_race_are_served_one_after_the_other(marked, tmp_path, nurseries):
    for number, nursery in enumerate(nurseries[:3], start=1):
        nursery.begin("publish", url=marked.url, tables=written(tmp_path, number), number=number, die_at="")
    said = [nursery.end()[1] for nursery in nurseries[:3]]
    assert set(said) <= {"published", "TargetUnavailableError"}
    assert "published" in said
    assert_consistent(marked)
    assert_no_left_overs(marked)


def test_a_second_publisher_waits_a_little_then_gives_up(marked, tmp_path):
    publish(marked, tmp_path, 1)

    def meanwhile(point):
        if point == "staged":
            with pytest.raises(TargetUnavailableError, match="another run") as failure:
                publish(marked, tmp_path, 3)
            assert failure.value.retryable

    publish(marked, tmp_path, 2, at=meanwhile)
    assert assert_consistent(marked) == 2


def test_a_stale_run_is_refused(marked, tmp_path):
    publish(marked, tmp_path, 1)

    def overtake(point):
        if point == "swap begun":  # what another publisher's swap leaves behind
            marked.execute("INSERT INTO synth_ops.swap (number, token) VALUES (1, 'another')")

    with pytest.raises(PublishRefusedError, match="another run swapped"):
        publish(marked, tmp_path, 2, at=overtake)
    assert assert_consistent(marked) == 1
    assert_no_left_overs(marked)


def test_a_run_that_another_one_overtook_is_refused(marked, tmp_path, monkeypatch):
    """It stands before its swap while another publishes, which only somebody can who knows nothing of its lock."""
    publish(marked, tmp_path, 1)

    def overtake(point):
        if point == "swap begun":
            with monkeypatch.context() as patch:
                patch.setattr(history, "_PUBLISHING", (0x53594E, 99))
                assert publish(marked, tmp_path, 3).live

    with pytest.raises(PublishRefusedError, match="another run swapped"):
        publish(marked, tmp_path, 2, at=overtake)
    assert assert_consistent(marked) == 3
    assert_no_left_overs(marked)


def read_through(database, nurseries, folder, query, work):
    """Four readers loop a statement while `work` runs; returns what they saw, summed up."""
    until = folder / "enough"
    until.unlink(missing_ok=True)
    for nursery in nurseries[1:]:
        nursery.begin("read", url=database.url, until=str(until), query=query)
    try:
        work()
    finally:
        until.touch()
    seen = [json.loads(nursery.end()[1]) for nursery in nurseries[1:]]
    return {name: sum(each[name] for each in seen) for name in seen[0]}


def test_no_statement_meets_two_generations(marked, tmp_path, nurseries, quick):
    for number in (1, 2):
        publish(marked, tmp_path, number)

    def swap():
        done = nurseries[0].run("swap_back_and_forth", url=marked.url, swaps=60 if quick else 1000)
        assert done == (0, "swapped")

    seen = read_through(marked, nurseries, tmp_path, JOINED.format("public"), swap)
    assert (seen["torn"], seen["failed"]) == (0, 0)
    assert seen["reads"] > 100


def test_renaming_schemas_without_a_lock_tears_reads(marked, tmp_path, nurseries):
    for mark, schema in enumerate(("control", "other")):
        marked.execute(
            f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.first AS SELECT id, {mark} AS publication "
            f"FROM generate_series(1, 200) id; CREATE TABLE {schema}.second AS TABLE {schema}.first"
        )
    torn = 0

    def rename():
        nurseries[0].run("rename_back_and_forth", url=marked.url, swaps=500)

    for _ in range(40):
        torn += read_through(marked, nurseries, tmp_path, JOINED.format("control"), rename)["torn"]
        if torn:
            break
    assert torn > 0, "the readers of the test above would see a torn read if there were one"


def test_a_long_reader_is_not_waited_for_at_others_cost(marked, tmp_path, nurseries):
    for number in (1, 2):
        publish(marked, tmp_path, number)
    rules = PublishRules(lock_timeout_ms=200, deadline_s=3)
    with psycopg.connect(marked.url) as reader:
        assert reader.execute("SELECT count(*) FROM public.second").fetchone() == (200,)

        def try_to_publish():
            with pytest.raises(TargetUnavailableError, match="others held locks"):
                publish(marked, tmp_path, 3, rules=rules)

        seen = read_through(marked, nurseries, tmp_path, JOINED.format("public"), try_to_publish)
        assert seen["failed"] == seen["torn"] == 0
        assert seen["p99_s"] / 4 < 0.2
        assert reader.execute("SELECT max(publication) FROM public.first").fetchone() == (2,)
    assert assert_consistent(marked) == 2
    publish(marked, tmp_path, 3, rules=rules)
    assert assert_consistent(marked) == 3
    assert_no_left_overs(marked)


def test_a_generation_that_somebody_reads_is_removed_later(marked, tmp_path):
    publish(marked, tmp_path, 1)
    with psycopg.connect(marked.url) as reader:
        reader.execute("BEGIN")
        for number in (2, 3, 4):
            publish(marked, tmp_path, number)
            if number == 3:
                reader.execute("SELECT count(*) FROM synth_ops_2_1.first")
        assert [each.number for each in marked.target().generations()] == [2, 3, 4], "2 is read"
        assert reader.execute("SELECT count(*) FROM synth_ops_2_1.first").fetchone() == (200,)
    publish(marked, tmp_path, 5)
    assert [each.number for each in marked.target().generations()] == [4, 5]
    assert_no_left_overs(marked)


def test_transactions_see_what_the_readme_says(marked, tmp_path):
    publish(marked, tmp_path, 1)
    marked.execute("INSERT INTO first VALUES (1000, 1000)")
    query = "SELECT count(*), count(*) FILTER (WHERE publication = 2) FROM public.first"
    rules = PublishRules(fixtures={"first": Fixtures(where="publication = 1000")})
    with psycopg.connect(marked.url) as committed, psycopg.connect(marked.url) as repeatable:
        repeatable.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        repeatable.execute("SELECT 1")
        committed.execute("SELECT 1")
        publish(marked, tmp_path, 2, rules=rules)
        assert committed.execute(query).fetchone() == (201, 200)
        assert repeatable.execute(query).fetchone() == (200, 200), "the copy's frozen rows, and those alone"
