"""What is live is one whole generation, whoever is killed when, and however many publish or read at once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from synth_ops.errors import PublishRefusedError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.registry import PluginKind, load
from synth_ops.testing.contracts import MARKED, marked, unheard

URLS = {"duckdb": "live.duckdb", "sqlite": "live.db", "parquet": "parquet:///live"}
TABLES = 2
TICKS = TABLES + 5

TARGET = """
import os, signal, sys
from pathlib import Path
from synth_ops.errors import SynthOpsError
from synth_ops.location import parse_location
from synth_ops.registry import PluginKind, load
from synth_ops.testing.contracts import MARKED, marked, unheard

folder, location = Path(sys.argv[1]), parse_location(sys.argv[2], Path(sys.argv[1]))
target = load(PluginKind.TARGET, location.scheme)(location)

def publish(number, progress=unheard):
    target.publish(MARKED, marked(folder / "copies", number), copy_id=str(number), keep=2, progress=progress)
"""
NURSERY = """
import json

def die_at_a_tick(number, tick):
    def die(progress):
        if progress.done == tick:
            os.kill(os.getpid(), signal.SIGKILL)

    publish(number, die)

def publish_and_roll_back_forever(number):
    publish(number)
    print(os.getpid(), flush=True)
    while True:
        number += 1
        publish(number)
        publish(number + 1_000_000)
        target.rollback()

publish(0)  # so that each child finds everything loaded
print("started", flush=True)
for line in sys.stdin:
    task = json.loads(line)
    pid = os.fork()
    if not pid:
        globals()[task.pop("do")](**task)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
PUBLISH_ON_A_FULL_DISK = """
import os, resource
from synth_ops.errors import TargetUnavailableError
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.testing.warehouses import write_table

columns = (Column(name="id", type="INTEGER"), Column(name="noise", type="VARCHAR"))
table = Table(name="large", path=("large",), columns=columns, primary_key=("id",))
data = write_table(folder / "copies", table, [(number, os.urandom(50).hex()) for number in range(30_000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    target.publish(Metadata(tables=(table,)), {"large": data}, copy_id="large", keep=2, progress=unheard)
except TargetUnavailableError as error:
    print(bool(error.hint))
"""
PUBLISH_ONCE = """
print("started", flush=True)
sys.stdin.readline()
try:
    publish(int(sys.argv[3]))
except SynthOpsError as error:
    print(type(error).__name__)
else:
    print("published")
"""
MARKS = {
    "duckdb": """
import duckdb, sys
def marks(place):
    with duckdb.connect(place, read_only=True, config={'threads': 1}) as connection:
        return connection.execute("SELECT publication FROM first UNION SELECT publication FROM second").fetchall()
""",
    "sqlite": """
import contextlib, sqlite3, sys
def marks(place):
    with contextlib.closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT publication FROM first UNION SELECT publication FROM second").fetchall()
""",
    "parquet": """
import os, pyarrow.parquet as pq, sys
def marks(place):
    folder = os.path.realpath(place)
    tables = [pq.read_table(f"{folder}/{name}.parquet") for name in ("first", "second")]
    return [(mark,) for mark in {mark for table in tables for mark in table["publication"].to_pylist()}]
""",
}
READ_UNTIL_TOLD = """
import json, threading
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
seen, torn, reads = set(), 0, 0
print("started", flush=True)
while not told.wait(0.03):
    found = marks(sys.argv[1])
    reads, torn = reads + 1, torn + (len(found) != 1)
    seen |= {mark for mark, in found}
print(json.dumps({"reads": reads, "torn": torn, "seen": sorted(seen)}))
"""


@pytest.fixture(params=sorted(URLS))
def url(request):
    return URLS[request.param]


def child(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def nursery_at(folder, url):
    """A process that has published once, and has its children do one thing each."""
    with child(TARGET + NURSERY, folder, url) as nursery:
        assert nursery.stdout.readline() == "started\n"
        yield nursery
        nursery.stdin.close()


def ask(nursery, do, **task):
    """Have a nursery's child do something, and read one number from it or of it."""
    nursery.stdin.write(json.dumps({"do": do, **task}) + "\n")
    nursery.stdin.flush()
    return int(nursery.stdout.readline())


def target_at(folder, url):
    location = parse_location(url, folder)
    return load(PluginKind.TARGET, location.scheme)(location)


def publish(folder, url, number, progress=unheard, keep=2):
    tables = marked(folder / "copies", number)
    return target_at(folder, url).publish(MARKED, tables, copy_id=str(number), keep=keep, progress=progress)


def live_mark(folder, url):
    location = parse_location(url, folder)
    reader = {}
    exec(MARKS[location.scheme], reader)
    ((mark,),) = reader["marks"](location.path)
    return int(mark)


def assert_consistent(folder, url):
    """One generation is live, it is the one that readers see, and a rerun finds nothing odd."""
    generations = target_at(folder, url).generations()
    numbers = [each.number for each in generations]
    assert numbers == sorted(set(numbers))
    (live,) = [each for each in generations if each.live]
    assert int(live.copy) == live_mark(folder, url)
    return live


def assert_no_left_overs(folder, url):
    location = parse_location(url, folder)
    assert {entry.name for entry in folder.iterdir()} == {
        location.path.name,
        f".{location.path.name}.generations",
        "copies",
    }
    inside = {entry.name for entry in (folder / f".{location.path.name}.generations").iterdir()}
    kept = {each.number for each in target_at(folder, url).generations()}
    entries = {f"{number:06}" for number in kept}
    assert inside <= {"lock", *entries, *(f"data-{entry}" for entry in entries)}


def test_a_publisher_killed_at_any_tick_leaves_old_or_new(tmp_path, url):
    number, outcomes = 1, set()
    with nursery_at(tmp_path, url) as nursery:
        publish(tmp_path, url, number)
        for tick in range(1, TICKS + 1):
            number += 1
            code = ask(nursery, "die_at_a_tick", number=number, tick=tick)
            assert code == -signal.SIGKILL, "every tick was reached"
            live = int(assert_consistent(tmp_path, url).copy)
            assert live in {number - 1, number}
            outcomes.add(live == number)
            publish(tmp_path, url, number)
            assert int(assert_consistent(tmp_path, url).copy) == number
            publish(tmp_path, url, number := number + 1)
            assert_no_left_overs(tmp_path, url)
    assert outcomes == {False, True}, "kills before and after the swap"


def test_a_publisher_killed_at_any_moment_leaves_a_whole_generation(tmp_path, url):
    moments = random.Random(7)
    with nursery_at(tmp_path, url) as nursery:
        for start in range(100, 1100, 100):
            publisher = ask(nursery, "publish_and_roll_back_forever", number=start)
            time.sleep(moments.uniform(0.01, 0.3))
            os.kill(publisher, signal.SIGKILL)
            assert int(nursery.stdout.readline()) == -signal.SIGKILL, "it did not fail before"
            assert_consistent(tmp_path, url)
    publish(tmp_path, url, 99)
    assert live_mark(tmp_path, url) == 99
    assert_no_left_overs(tmp_path, url)


def test_publishers_that_race_are_served_one_after_the_other(tmp_path, url):
    with child(TARGET + PUBLISH_ONCE, tmp_path, url, 1) as one, child(TARGET + PUBLISH_ONCE, tmp_path, url, 2) as two:
        for racer in (one, two):
            assert racer.stdout.readline() == "started\n"
        for racer in (one, two):
            racer.stdin.write("go\n")
            racer.stdin.flush()
        said = [racer.communicate(timeout=60)[0].strip() for racer in (one, two)]
    assert "published" in said
    assert set(said) <= {"published", "TargetUnavailableError"}
    assert_consistent(tmp_path, url)
    assert [each.number for each in target_at(tmp_path, url).generations()] == list(
        range(1, 1 + said.count("published"))
    )


def test_a_second_publisher_waits_a_little_then_gives_up(tmp_path, url):
    publish(tmp_path, url, 1)
    staged, go_on = threading.Event(), threading.Event()

    def pause(progress):
        if progress.item == "staged":
            staged.set()
            assert go_on.wait(timeout=60)

    first = threading.Thread(target=publish, args=(tmp_path, url, 2, pause))
    first.start()
    assert staged.wait(timeout=60)
    try:
        with pytest.raises(TargetUnavailableError, match="another run") as failure:
            publish(tmp_path, url, 3)
        assert failure.value.retryable
        assert live_mark(tmp_path, url) == 1
    finally:
        go_on.set()
        first.join()
    assert live_mark(tmp_path, url) == 2


def test_reading_processes_see_whole_generations_through_thirty_swaps(tmp_path, url):
    publish(tmp_path, url, 1)
    location = parse_location(url, tmp_path)
    code = MARKS[location.scheme] + READ_UNTIL_TOLD
    with child(code, location.path) as one, child(code, location.path) as two:
        readers = (one, two)
        for reader in readers:
            assert reader.stdout.readline() == "started\n"
        for number in range(2, 31):
            publish(tmp_path, url, number, keep=40)  # these nights are shorter than a slow reader's look at a folder
        target_at(tmp_path, url).rollback()
        said = [json.loads(reader.communicate("enough\n", timeout=60)[0]) for reader in readers]
    for one in said:
        assert one["torn"] == 0
        assert one["reads"] > 0
    assert len({mark for one in said for mark in one["seen"]}) > 2, "they read while swaps went on"


def test_rollback_of_an_unpublished_place_leaves_it_publishable(tmp_path, url):
    with pytest.raises(PublishRefusedError):
        target_at(tmp_path, url).rollback()
    publish(tmp_path, url, 1)
    assert_no_left_overs(tmp_path, url)


def test_a_full_disk_leaves_what_is_live_and_nothing_else(tmp_path, url):
    publish(tmp_path, url, 1)
    with child(TARGET + PUBLISH_ON_A_FULL_DISK, tmp_path, url) as publisher:
        assert publisher.communicate(timeout=60)[0] == "True\n"
    assert int(assert_consistent(tmp_path, url).copy) == 1
    assert_no_left_overs(tmp_path, url)
