"""Whatever is wrong with the input: one line that says so and the way out, the right exit code, and nothing changes.

The shop's sensitive values are canaries, and so is whatever is planted in bad data: none of them is ever printed.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import yaml

from synth_ops.artifacts import ArtifactKind
from synth_ops.recipe import load_recipe
from synth_ops.run import open_store, run_step

CANARY = "c4nary"
SECRET = "hunter2-s3cret"


@pytest.fixture
def refused(shop, cli) -> Callable[..., str]:
    """Run the shop's recipe; it must be refused with this exit code. Returns the line that says why."""
    before = shop.published()

    def run(code: int, *arguments: object, command: str = "run") -> str:
        finished = cli(command, shop.recipe, *arguments)
        said = finished.out + finished.err
        assert finished.code == code, said
        assert CANARY not in said
        assert "Traceback" not in said
        assert "unexpected" not in said
        line = finished.lines[-1]
        assert line.startswith("synth-ops: ")
        assert line.endswith(")"), f"no way out: {line}"
        assert sum(each.startswith("synth-ops: ") for each in finished.lines) == 1
        assert shop.published() == before
        return line

    return run


# the source


def test_a_source_that_is_not_there(shop, refused):
    shop.source.unlink()
    assert "there is no file duckdb:////" in refused(5)


@pytest.mark.parametrize("scheme", ["duckdb", "parquet"])
def test_three_slashes_before_an_absolute_path(shop, refused, scheme):
    place = shop.source if scheme == "duckdb" else files_of(shop, scheme)
    shop.change(source=f"{scheme}://{place}")
    assert "four slashes for an absolute path" in refused(5)


@pytest.mark.parametrize("store", ["s3://bucket/store", "foo://x"])
def test_a_store_that_nothing_can_open(refused, monkeypatch, store):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert {"s": "(install s3fs)", "f": "unknown store protocol 'foo'"}[store[0]] in refused(2, "--store", store)


def test_a_source_that_is_a_folder(shop, refused):
    shop.change(source="duckdb:///folder.duckdb")
    (shop.folder / "folder.duckdb").mkdir()
    assert "is a folder, not a database file" in refused(5)


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_a_database_of_no_bytes(shop, refused, scheme):
    (shop.folder / "bad.file").write_bytes(b"")
    shop.change(source=f"{scheme}:///bad.file")
    assert "is empty (0 bytes)" in refused(5)


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_a_file_that_is_no_database(shop, refused, scheme):
    (shop.folder / "bad.file").write_text(f"{CANARY}\n" * 5000, encoding="utf-8")
    shop.change(source=f"{scheme}:///bad.file")
    assert "is not a " in refused(5)


def test_a_duckdb_file_cut_short(shop, refused):
    shop.source.write_bytes(shop.source.read_bytes()[:20_000])
    refused(5)


def test_a_sqlite_file_cut_short(shop, refused):
    with sqlite3.connect(shop.folder / "bad.db") as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO people VALUES (?, ?)", [(n, f"{CANARY}{n}") for n in range(5000)])
    connection.close()
    whole = (shop.folder / "bad.db").read_bytes()
    (shop.folder / "bad.db").write_bytes(whole[: len(whole) // 2])
    shop.change(source="bad.db")
    assert "damaged or cut short" in refused(5)


def test_a_source_that_somebody_writes_to(shop, refused):
    shop.sql("UPDATE customers SET city = 'Oslo' WHERE id = 1")
    hold = "import sys, duckdb; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(shop.source)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "held\n"
        assert "is locked by a writer (try again when" in refused(5)
        writer.stdin.close()


def files_of(shop, scheme: str) -> Path:
    """The shop as a folder of files, which becomes the recipe's source."""
    folder = shop.folder / scheme
    folder.mkdir()
    with duckdb.connect(str(shop.source), read_only=True) as connection:
        for table in ("customers", "orders"):
            connection.execute(f"COPY {table} TO '{folder / table}.{scheme}'")
    shop.change(source=f"{scheme}:///{scheme}")
    return folder


def test_a_parquet_file_of_no_bytes(shop, refused):
    (files_of(shop, "parquet") / "orders.parquet").write_bytes(b"")
    assert "'orders.parquet' is empty (0 bytes)" in refused(5)


def test_a_parquet_file_cut_short(shop, refused):
    file = files_of(shop, "parquet") / "customers.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    assert "'customers.parquet' is not a Parquet file, or is cut short" in refused(5)


def test_a_parquet_file_with_broken_pages(shop, refused):
    file = files_of(shop, "parquet") / "customers.parquet"
    content = bytearray(file.read_bytes())
    content[40 : len(content) // 2] = os.urandom(len(content) // 2 - 40)
    file.write_bytes(bytes(content))
    assert "customers" in refused(5)


def test_a_csv_file_with_a_ragged_row(shop, refused):
    file = files_of(shop, "csv") / "orders.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[40] = f"{CANARY},{CANARY},2024-01-01,new,a,b,c,d"
    file.write_text("\n".join(lines), encoding="utf-8")
    assert "'orders.csv', line 41: the row does not fit the header" in refused(5)


def test_a_csv_file_that_is_no_text(shop, refused):
    file = files_of(shop, "csv") / "customers.csv"
    file.write_bytes(file.read_bytes() + b"\xff\xfe\x00" + CANARY.encode("utf-16") * 9)
    refused(5)


def test_a_csv_file_of_no_bytes(shop, refused):
    (files_of(shop, "csv") / "customers.csv").write_bytes(b"")
    assert "is empty (0 bytes)" in refused(5)


@pytest.mark.parametrize("scheme", ["parquet", "csv"])
def test_a_folder_without_tables(shop, refused, scheme):
    (shop.folder / "nothing").mkdir()
    shop.change(source=f"{scheme}:///nothing")
    assert f"holds no .{scheme} files" in refused(5)


def test_a_database_without_tables(shop, refused):
    duckdb.connect(str(shop.folder / "nothing.duckdb")).close()
    shop.change(source="nothing.duckdb")
    assert "no tables" in refused(2)


# what is odd, but works


def test_mixed_types_and_impossible_dates_in_sqlite_work(shop, cli):
    with sqlite3.connect(shop.folder / "mixed.db") as connection:
        connection.execute(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, age INTEGER, born DATE, size REAL, nobody TEXT, flag BOOLEAN)"
        )
        ages = [7, "seven", 7.5, None, b"\x07"]
        dates = ["2020-02-30", "0000-00-00", "2020-01-01", "99999-01-01", None, 5]
        sizes = [float("inf"), float("-inf"), 1.5, "big"]
        rows = [(n, ages[n % 5], dates[n % 6], sizes[n % 4], None, n % 3) for n in range(200)]
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    finished = cli("run", shop.change(source="mixed.db", target="sqlite:///mixed_test.db"))
    assert finished.code == 0, finished.err
    with sqlite3.connect(shop.folder / "mixed_test.db") as connection:
        assert connection.execute("SELECT count(DISTINCT id) FROM people").fetchone() == (200,)
    planned = cli("plan", shop.recipe)
    assert "warning: column 'age' of table 'people' holds values that its type INTEGER does not allow" in planned.err


def test_nothing_but_odd_tables_works(shop, cli):
    with duckdb.connect(str(shop.folder / "odd.duckdb")) as connection:
        connection.execute("CREATE TABLE empty (id INTEGER PRIMARY KEY, word VARCHAR)")
        connection.execute("CREATE TABLE one AS SELECT 1 AS id, 'alone' AS word, DATE '2024-01-01' AS day")
        connection.execute("CREATE TABLE unknown AS SELECT NULL::INTEGER AS a, NULL::VARCHAR AS b FROM range(50)")
        connection.execute("CREATE TABLE far AS SELECT [DATE '5877642-06-25 (BC)', DATE 'infinity'][1 + i % 2] AS day,"
                           " ['nan'::DOUBLE, 'inf', '-inf'][1 + i % 3] AS number FROM range(60) t(i)")  # fmt: skip
    finished = cli("run", shop.change(source="odd.duckdb", target="odd_test.duckdb"))
    assert finished.code == 0, finished.err
    with duckdb.connect(str(shop.folder / "odd_test.duckdb")) as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("empty", "one", "unknown")]
        assert counts == [0, 1, 50]
        assert connection.execute("SELECT * FROM unknown WHERE a IS NOT NULL OR b IS NOT NULL").fetchall() == []


def test_a_key_that_the_data_repeats_is_made_unique(shop, cli):
    shop.sql("CREATE TABLE visits AS SELECT i % 190 AS id, 'x' || i % 3 AS kind FROM range(200) t(i)")
    finished = cli("run", shop.change(tables={"visits": {"primary_key": "id"}}))
    assert finished.code == 0, finished.err
    assert "warning: primary key (id) of table 'visits': 10 of 200 rows repeat it; the copy has none" in finished.err
    with duckdb.connect(str(shop.target)) as connection:
        assert connection.execute("SELECT count(DISTINCT id), count(*) FROM visits").fetchone() == (200, 200)


# the recipe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a mapping"),
        ("just words", "not a mapping"),
        ("- source: a\n- target: b\n", "not a mapping"),
        ("target: b.duckdb\n", "'source' is missing"),
        ("source: {a: b}\ntarget: b.duckdb\n", "'source'"),
        ("source: a: b: c\n", "not YAML at line 1"),
        ("source: [\n", "not YAML"),
        ("source: a.duckdb\ntarget: b.duckdb\nsede: 1\n", "unknown key 'sede'; did you mean 'seed'?"),
        ("source: a.duckdb\ntarget: b.duckdb\nseed: -1\n", "'seed'"),
        ("source: a.duckdb\ntarget: b.duckdb\nscale: 0\n", "'scale'"),
        ("source: a.duckdb\ntarget: b.duckdb\nscale: .nan\n", "'scale'"),
        ("source: a.duckdb\ntarget: b.duckdb\ntables: {x: {forein_keys: []}}\n", "did you mean 'foreign_keys'?"),
        (
            "source: a.duckdb\ntarget: b.duckdb\ntables: {x: {columns: {y: {kind: nmae}}}}\n",
            "'tables.x.columns.y.kind'",
        ),
        ("source: a.duckdb\ntarget: b.duckdb\npublish: {keep_generations: 0}\n", "keep_generations"),
        ("source: oracle://h/x\ntarget: b.duckdb\n", "there is no source 'oracle'"),
        ("source: duckdb:///shop.duckdb\ntarget: csv:///x\n", "there is no target 'csv'"),
        ("source: shop.xyz\ntarget: b.duckdb\n", "can't tell what kind of database"),
        ("source: duckdb://host/shop.duckdb\ntarget: b.duckdb\n", "host part"),
        ("source: ''\ntarget: b.duckdb\n", "empty"),
    ],
)
def test_a_recipe_of_the_wrong_shape(shop, cli, text, said):
    shop.recipe.write_text(text, encoding="utf-8")
    finished = cli("run", shop.recipe)
    assert finished.code == 2, finished.err
    (line,) = finished.lines
    assert line.startswith("synth-ops: ")
    assert said in line


def test_a_recipe_that_is_no_text_or_not_there(shop, refused):
    shop.recipe.write_bytes(b"\xff\xfe\x00source")
    assert "it is not UTF-8 text" in refused(2)
    shop.recipe.unlink()
    assert "No such file" in refused(2)
    shop.recipe.mkdir()
    assert "Is a directory" in refused(2)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"tables": {"custmers": {"subject": True}}}, "the source has no table 'custmers'; did you mean 'customers'?"),
        ({"tables": {"orders": {"columns": {"nte": {"kind": "text"}}}}}, "no column 'nte'; did you mean 'note'?"),
        ({"tables": {"orders": {"primary_key": "ids"}}}, "names column 'ids'"),
        (
            {"tables": {"orders": {"foreign_keys": [{"columns": "state", "references": "states"}]}}},
            "there is no such table",
        ),
        (
            {"tables": {"orders": {"foreign_keys": [{"columns": "custmer", "references": "customers"}]}}},
            "no column 'custmer' in 'orders'; did you mean 'customer'?",
        ),
        (
            {"tables": {"orders": {"foreign_keys": [
                {"columns": "state", "references": "customers", "parent_columns": "idd"}]}}},
            "no column 'idd' in 'customers'; did you mean 'id'?",
        ),
        (
            {"tables": {"orders": {"foreign_keys": [{"columns": ["id", "state"], "references": "customers"}]}}},
            "2 columns refer to 1",
        ),
        ({"tables": {"orders": {"checks": ["note >"]}}}, "is not an SQL expression"),
        ({"tables": {"orders": {"checks": ["prize > 0"]}}}, "names column 'prize'"),
        ({"tables": {"orders": {"exclude": True}, "customers": {"exclude": True}}}, "no tables to copy"),
        ({"generator": "relational_tres"}, "did you mean 'relational_trees'?"),
        ({"generator_settings": {"leafs": 3}}, "does not take these settings: leafs"),
        ({"gate": {"thresholds": {"privacy.extreme": 1}}}, "did you mean 'privacy.extremes'?"),
        ({"gate": {"suites": ["suites"]}}, "suites"),
        ({"tables": {"orders": {"columns": {"note": {"kind": "pii", "provider": "emial"}}}}}, "emial"),
    ],
)  # fmt: skip
def test_a_recipe_that_asks_for_what_is_not_there(shop, refused, sections, said):
    shop.change(**sections)
    assert said in refused(2)


def test_a_key_that_the_data_contradict(shop, refused):
    shop.change(tables={"orders": {"primary_key": "customer", "unique": [["state", "placed"]]}})
    line = refused(2)
    assert "primary key (customer) of table 'orders': 600 of 900 rows repeat it" in line
    assert "unique key (state, placed) of table 'orders': 300 of 900 rows repeat it" in line


def test_a_check_that_every_row_breaks(shop, refused):
    shop.change(tables={"orders": {"checks": ["id < 0"]}})
    assert "a check on (id) of table 'orders': 900 of 900 rows break it (" in refused(2)


def test_a_plain_path_that_was_meant_as_a_url(shop, refused):
    shop.change(target="parquet:csv_out")
    assert "write parquet:///relative/path" in refused(2)
    assert not list(shop.folder.glob("parquet*"))


# the environment


def test_a_variable_that_is_not_set(shop, refused, monkeypatch):
    monkeypatch.delenv("SHOP_FOLDER", raising=False)
    shop.change(source="duckdb:///${SHOP_FOLDER}/shop.duckdb")
    assert "environment variables not set: SHOP_FOLDER (export them" in refused(2)


@pytest.mark.parametrize(
    "written", ["duckdb:///${SHOP_SECRET}/shop.duckdb", "${SHOP_URL}", "${SHOP_SECRET}/shop.duckdb"]
)
def test_what_a_variable_holds_is_never_printed_or_stored(shop, cli, monkeypatch, written):
    (shop.folder / SECRET).mkdir()
    shutil.copy(shop.source, shop.folder / SECRET / "shop.duckdb")
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    monkeypatch.setenv("SHOP_URL", f"duckdb:///{SECRET}/shop.duckdb")
    target = written.replace("shop.duckdb", "test.duckdb").replace("SHOP_URL", "SHOP_URL_TEST")
    monkeypatch.setenv("SHOP_URL_TEST", f"duckdb:///{SECRET}/test.duckdb")
    shop.change(source=written, target=target)
    said = ""
    for arguments in (
        ["run", "--json"],
        ["plan"],
        ["status"],
        ["report"],
        ["rollback"],
        ["suite", "--output", shop.folder / "s"],
    ):
        finished = cli(arguments[0], shop.recipe, *arguments[1:])
        said += finished.out + finished.err
        assert finished.code == (4 if arguments[0] == "rollback" else 0), finished.err
    (shop.folder / SECRET / "shop.duckdb").write_bytes(b"")
    said += cli("run", shop.recipe).err
    (shop.folder / SECRET / "shop.duckdb").unlink()
    failed = cli("run", shop.recipe)
    assert failed.code == 5
    said += failed.err
    assert "${SHOP_" in said
    assert SECRET not in said
    kept = [file for file in shop.store.rglob("*") if file.is_file()]
    assert kept
    assert not [file for file in kept if SECRET.encode() in file.read_bytes() or SECRET in file.name]


# the store


def test_a_store_that_is_a_file(shop, refused):
    (shop.folder / "file").write_text("", encoding="utf-8")
    assert "the store" in refused(1, "--store", shop.folder / "file")
    assert "can't be used" in refused(1, "--store", shop.folder / "file" / "below")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run the tests as another user")
def test_a_store_that_may_not_be_written(shop, refused):
    (shop.folder / "closed").mkdir(mode=0o500)
    assert "can't be used: Permission denied" in refused(1, "--store", shop.folder / "closed")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system: run as root; in a container, with `--cap-add SYS_ADMIN`")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # a failure's traceback may still hold a file open


def test_a_full_disk_under_the_store(shop, refused, small_disk):
    (small_disk / "filler").write_bytes(b"x" * 900_000)
    line = refused(1, "--store", small_disk / "store", "--seed", 4)
    assert "can't be used" in line
    assert "No space left on device" in line
    assert "free space" in line


def test_a_disk_that_may_not_be_written(shop, refused, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "Read-only file system" in refused(1, "--store", small_disk / "store")


def test_a_full_disk_under_the_target(shop, refused, small_disk):
    shop.change(target=f"duckdb:///{small_disk}/test.duckdb")
    (small_disk / "filler").write_bytes(b"x" * 900_000)
    refused(5)
    assert [path.name for path in small_disk.iterdir() if path.name == "test.duckdb"] == []


@pytest.mark.parametrize("step", ["snapshot", "fit", "sample", "publish"])
def test_files_that_may_not_grow(shop, shell, tmp_path, step):
    """As on a full disk, without the right to make one: a limit on the size of every file."""
    before = shop.published()
    recipe, store, ref = load_recipe(shop.recipe), open_store(load_recipe(shop.recipe), tmp_path / "store"), None
    for name in ["snapshot", "fit", "sample", "gate", "publish"]:
        if name == step:
            break
        ref = run_step(recipe, name, store=store, needs=ref).ref
    program = (
        "import resource, sys; from synth_ops.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.RLIM_INFINITY));"
        "main(['run', sys.argv[1], '--store', sys.argv[2]])"
    )
    shop.sql("UPDATE customers SET city = 'Oslo' WHERE id = 1") if step == "snapshot" else None
    if step == "publish":
        shop.target.rename(shop.folder / "elsewhere.duckdb")
    finished = subprocess.run(
        [sys.executable, "-c", program, shop.recipe, tmp_path / "store"], capture_output=True, text=True, check=False
    )
    if step == "publish":
        assert not shop.target.exists()
        (shop.folder / "elsewhere.duckdb").rename(shop.target)
    assert finished.returncode == (5 if step == "publish" else 1), finished.stderr
    line = finished.stderr.splitlines()[-1]
    assert line.startswith("synth-ops: ")
    assert "free space" in line
    assert CANARY not in finished.stderr + finished.stdout
    assert shop.published() == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


# tampered artifacts


def tamper(file: Path, change: Callable[[bytes], bytes]) -> None:
    content = file.read_bytes()
    changed = change(content)
    assert changed != content
    file.write_bytes(changed)


def one(place: Path, pattern: str) -> Path:
    (found,) = place.glob(pattern)
    return found


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("pattern", "seed"),
    [
        ("snapshot/*/tables/customers/*.parquet", 2),
        ("model/*/model/arrays.npz", 2),
        ("model/*/model/model.json", 2),
        ("model/*/manifest.json", 2),
        ("copy/*/tables/orders/*.parquet", 0),
        ("copy/*/manifest.json", 0),
        ("report/*/manifest.json", 0),
        ("report/*/report.html", 0),
    ],
)
def test_a_tampered_artifact(shop, refused, pattern, seed):
    tamper(one(shop.store, pattern), flip)
    if pattern.startswith("snapshot"):
        shutil.rmtree(one(shop.store, "model/*"))
    if pattern.startswith("copy"):
        shop.change(gate={"thresholds": {"privacy.extremes": 1}, "reason": "a test"})
    line = refused(1, "--seed", seed)
    assert "was changed after it was written" in line
    assert "delete" in line


def test_a_verdict_edited_by_hand(shop, refused, cli):
    shop.change(gate={"thresholds": {"fidelity.mean_column_distance": -1}})
    refused(3)
    verdicts = [file for file in shop.store.glob("report/*/manifest.json") if b'"failed"' in file.read_bytes()]
    tamper(verdicts[0], lambda content: content.replace(b'"failed"', b'"passed"'))
    assert "signature does not match" in refused(1, command="publish")
    assert "signature does not match" in refused(1)


def test_a_report_borrowed_from_another_copy(shop, refused, cli):
    """A passed report copied to the place where the failed copy's report would be is not believed."""
    passed = one(shop.store, "report/*")
    shop.change(gate={"thresholds": {"fidelity.mean_column_distance": -1}})
    refused(3)
    failed = next(place for place in shop.store.glob("report/*") if place != passed)
    shutil.rmtree(failed)
    shutil.copytree(passed, failed)
    assert "was changed after it was written" in refused(1)


def test_an_edited_memo_is_not_believed(shop, cli):
    first = cli("run", shop.recipe, "--json")
    notes = [note for note in (shop.store / "memo").iterdir() if b'"snapshot"' in note.read_bytes()]
    assert notes
    for note in notes:
        tamper(note, lambda content: content.replace(b'"snapshot"', b'"model"'))
    second = cli("run", shop.recipe, "--json")
    artifacts = [json.loads(each.out.splitlines()[-1])["artifacts"] for each in (first, second)]
    assert artifacts[0] == artifacts[1]


def test_deleting_what_was_tampered_with_helps(shop, refused, cli):
    file = one(shop.store, "copy/*/tables/orders/*.parquet")
    tamper(file, flip)
    shop.change(gate={"thresholds": {"privacy.extremes": 1}, "reason": "a test"})
    line = refused(1)
    place = Path(line.split("delete ")[1].split(" and run again")[0])
    shutil.rmtree(place)
    assert cli("run", shop.recipe).code == 0


# the target


SPELLINGS = {
    "plain": "shop.duckdb",
    "url": "duckdb:///shop.duckdb",
    "absolute": "duckdb:///{folder}/shop.duckdb",
    "dots": "duckdb:///../shop/./shop.duckdb",
    "symbolic link": "link.duckdb",
    "hard link": "hard.duckdb",
    "linked folder": "duckdb:///here/shop.duckdb",
    "upper case": "DUCKDB:///shop.duckdb",
    "other plug-in": "sqlite:///shop.duckdb",
    "query": "duckdb:///shop.duckdb?x=1",
}
"""The source, as somebody may call it by mistake."""


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_target_that_is_the_source(shop, refused, spelling):
    before = shop.source.read_bytes()
    (shop.folder / "link.duckdb").symlink_to(shop.source)
    os.link(shop.source, shop.folder / "hard.duckdb")
    (shop.folder / "here").symlink_to(shop.folder)
    shop.change(target=SPELLINGS[spelling].format(folder=shop.folder))
    for command in ("run", "status", "rollback"):
        assert "is the source" in refused(4, command=command)
    assert shop.source.read_bytes() == before


@pytest.mark.parametrize("target", ["parquet:///parquet", "parquet:///parquet/out", "parquet:///.", "parquet/x.duckdb"])
def test_a_target_in_or_around_a_source_folder(shop, refused, target):
    folder = files_of(shop, "parquet")
    before = {file: file.read_bytes() for file in folder.iterdir()}
    shop.change(target=target)
    assert "is the source, or lies inside it" in refused(4)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite", "parquet"])
def test_a_target_that_is_somebody_elses(shop, refused, scheme):
    theirs = shop.folder / f"theirs.{scheme}"
    if scheme == "duckdb":
        with duckdb.connect(str(theirs)) as connection:
            connection.execute("CREATE TABLE theirs AS SELECT 1 AS id")
    elif scheme == "sqlite":
        with sqlite3.connect(theirs) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
        connection.close()
    else:
        theirs.mkdir()
        (theirs / "theirs.txt").write_text("precious", encoding="utf-8")
    before = [file.read_bytes() for file in [theirs, *theirs.rglob("*")] if file.is_file()]
    shop.change(target=f"{scheme}:///theirs.{scheme}")
    assert "was not published by synth_ops (move it away or choose another target)" in refused(4)
    assert [file.read_bytes() for file in [theirs, *theirs.rglob("*")] if file.is_file()] == before


def test_a_target_whose_folder_can_not_be_made(shop, refused):
    (shop.folder / "file").write_text("", encoding="utf-8")
    shop.change(target="duckdb:///file/below/test.duckdb")
    refused(5)


def test_the_canaries_would_be_seen(shop):
    with duckdb.connect(str(shop.source), read_only=True) as connection:
        assert CANARY in str(connection.execute("SELECT * FROM customers").fetchall())
    assert shop.canary == CANARY
    assert yaml.safe_load(shop.recipe.read_text(encoding="utf-8"))["source"] == "shop.duckdb"


@pytest.mark.parametrize("verdict", ["passed", "failed"])
def test_no_canary_stands_in_what_a_run_leaves_for_people(shop, cli, verdict):
    if verdict == "failed":
        shop.change(gate={"thresholds": {"fidelity.mean_column_distance": -1.0}})
    finished = cli("run", shop.recipe, "--json")
    assert finished.code == (0 if verdict == "passed" else 3)
    shown = [cli("report", shop.recipe, "--format", form).out for form in ("markdown", "json")]
    assert all(verdict in text for text in shown)
    assert CANARY not in finished.out + finished.err + "".join(shown)
    assert CANARY not in str(shop.published())
    for place in [place for place in shop.store.iterdir() if place.name != ArtifactKind.SNAPSHOT]:
        for file in place.rglob("*"):
            assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file
