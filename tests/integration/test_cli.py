"""The command line as a user meets it: what it prints, what it leaves behind, what it exits with."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import jsonschema
import pytest
import yaml

from synth_ops.artifacts import ArtifactKind, ArtifactRef
from synth_ops.recipe import load_recipe
from synth_ops.run import StepResult
from synth_ops.terminal import step_line

STEPS = ["snapshot", "fit", "sample", "gate", "publish"]
NEVER = {"gate": {"thresholds": {"fidelity.mean_column_distance": -1.0}}}
"""A gate that no copy passes."""


def printed(finished) -> dict:
    """The one object that stands last on standard output."""
    return json.loads(finished.out.splitlines()[-1])


def check_json(document: dict) -> None:
    """The fields and types that scripts may rely on."""
    assert document["verdict"] in ("passed", "failed")
    assert isinstance(document["published"], bool)
    assert document["generation"] is None or isinstance(document["generation"], int)
    assert all(re.fullmatch("[0-9a-f]{20}", each) for each in document["artifacts"].values())
    assert set(document["skipped"]) <= set(STEPS)
    assert Path(document["copy"]["path"]).is_dir()
    for table in document["copy"]["tables"].values():
        assert isinstance(table["rows"], int)
        assert all(Path(file).is_file() for file in table["files"])
    assert Path(document["report"]).read_text(encoding="utf-8").startswith("<!")
    assert all(isinstance(seconds, float) for seconds in document["seconds"].values())
    assert document["peak_bytes"] > 10_000_000


def test_run_prints_one_object_last(shop, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(shop.folder)
    finished = cli("run", "recipe.yaml", "--json", "--store", tmp_path / "fresh", "--seed", 5)
    assert finished.code == 0, finished.err
    document = printed(finished)
    check_json(document)
    assert document["verdict"] == "passed"
    assert document["published"] is True
    assert document["generation"] == 2
    assert document["error"] is None
    assert list(document["artifacts"]) == list(document["seconds"]) == STEPS
    assert document["skipped"] == []
    assert document["copy"]["tables"].keys() == {"customers", "orders"}
    rows = {name: len(found) for name, found in shop.published().items()}
    assert {name: table["rows"] for name, table in document["copy"]["tables"].items()} == rows


def test_a_failed_gate_prints_it_too_and_exits_3(shop, cli):
    before = shop.published()
    for skipped in (STEPS[:2], STEPS[:3]):
        finished = cli("run", shop.change(**NEVER), "--json", "--seed", 7)
        assert finished.code == 3
        document = printed(finished)
        check_json(document)
        assert document["verdict"] == "failed"
        assert document["published"] is False
        assert document["generation"] is None
        assert list(document["artifacts"]) == STEPS[:4]
        assert document["skipped"] == skipped
        assert "fidelity.mean_column_distance" in document["error"]
        assert finished.lines[-1].startswith("synth-ops: the copy failed its gate: fidelity.mean_column_distance")
        assert document["report"] in finished.lines[-1]
        line = finished.lines[-2]
        assert re.fullmatch(rf"gate      {document['artifacts']['gate']}  failed: \d+ checks, \d+ blocking.*", line)
    assert cli("gate", shop.recipe, "--seed", 7).lines[-2].split(",")[0] == line.split(",")[0]
    assert shop.published() == before


def test_a_refused_publication_prints_what_was_made_and_exits_4(shop, cli):
    foreign = shop.folder / "foreign.duckdb"
    with duckdb.connect(str(foreign)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    finished = cli("run", shop.change(target="foreign.duckdb"), "--json")
    assert finished.code == 4
    document = printed(finished)
    check_json(document)
    assert (document["verdict"], document["published"], document["generation"]) == ("passed", False, None)
    assert list(document["artifacts"]) == STEPS[:4]
    assert "was not published by synth_ops" in document["error"]


def test_a_target_that_breaks_after_the_gate_prints_what_was_made_and_exits_5(shop, cli):
    (shop.folder / "file").write_text("", encoding="utf-8")
    finished = cli("run", shop.change(target="duckdb:///file/test.duckdb"), "--json")
    assert finished.code == 5
    document = printed(finished)
    check_json(document)
    assert (document["verdict"], document["published"]) == ("passed", False)
    assert document["error"] in finished.lines[-1]


def test_a_store_that_breaks_after_the_gate_prints_what_can_be_told(shop):
    program = """
import shutil, sys
from synth_ops import fallback
from synth_ops.cli import main

def publish(recipe, store, *_):
    for kind in ("copy", "report"):
        shutil.rmtree(store.root / kind)
    return _publish(recipe, store, *_)

_publish = fallback.RUNNERS["publish"]
fallback.RUNNERS = {**fallback.RUNNERS, "publish": publish}
main(["run", sys.argv[1], "--json"])
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, str(shop.recipe)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1, finished.stderr
    document = json.loads(finished.stdout)
    assert (document["published"], document["verdict"], document["copy"]) == (False, None, None)
    assert list(document["artifacts"]) == STEPS[:4]
    assert "the store has no" in document["error"]


def test_warnings_of_the_snapshot_are_shown(shop, cli):
    broken = " ".join(f"CREATE TABLE t{n} AS SELECT 1 AS id; INSERT INTO t{n} VALUES (NULL);" for n in range(12))
    shop.sql(broken)
    shop.change(tables={f"t{n}": {"primary_key": "id"} for n in range(12)})
    said = "warning: primary key (id) of table 't3': 1 of 2 rows hold NULL in it; the copy has none that do"
    for arguments in (["run"], ["snapshot"], ["run", "--json"]):
        finished = cli(arguments[0], shop.recipe, *arguments[1:])
        assert finished.code == 0, finished.err
        assert sum(line.startswith("warning: ") for line in finished.lines) == 10
        assert said in finished.lines
        assert "and 2 more: synth-ops plan shows them" in finished.lines
        assert "warning: " not in finished.out
    planned = cli("plan", shop.recipe)
    assert sum(line.startswith("warning: ") for line in planned.lines) == 12
    assert "more: synth-ops plan" not in planned.err


def test_a_database_without_people_is_said_so(shop, cli):
    said = "warning: no table seems to hold people"
    assert said not in cli("plan", shop.recipe).err
    shop.change(tables={"customers": {"exclude": True}})
    assert said in cli("plan", shop.recipe).err
    shop.change(tables={"customers": {"exclude": True}, "orders": {"subject": False}})
    assert said not in cli("plan", shop.recipe).err


@pytest.mark.parametrize(("count", "said"), [(0, ""), (1, ", 1 warning"), (2, ", 2 warnings")])
def test_one_warning_is_one(count, said):
    facts = {"verdict": "passed", "checks": 1234, "warnings": count}
    ref = ArtifactRef(kind=ArtifactKind.REPORT, id="0" * 20)
    line = step_line(StepResult(step="gate", ref=ref, skipped=True, seconds=0.1, facts=facts))
    assert line.endswith(f"passed: 1,234 checks{said}")


def test_the_version_is_an_option(cli):
    finished = cli("--version")
    assert (finished.code, finished.out) == (0, cli("version").out)


def test_a_step_that_fails_early_prints_what_there_is(shop, cli):
    shop.source.write_bytes(b"")
    finished = cli("run", shop.recipe, "--json")
    assert finished.code == 5
    document = printed(finished)
    assert document["verdict"] is document["copy"] is document["report"] is None
    assert document["artifacts"] == document["seconds"] == {}
    assert document["published"] is False
    assert "is empty" in document["error"]


def test_without_json_it_ends_with_the_target_and_the_report(shop, cli):
    finished = cli("run", shop.recipe)
    assert finished.code == 0
    published, report = finished.out.splitlines()
    assert published == f"published generation 1 to duckdb:///{shop.target}"
    assert Path(report.removeprefix("report").strip()).is_file()
    assert [line.split()[0] for line in finished.lines] == STEPS


def test_progress_is_plain_lines_where_nobody_watches(shop, shell):
    finished = shell("run", shop.recipe, "--store", shop.folder / "fresh")
    assert finished.code == 0
    assert [line.split()[0] for line in finished.lines] == STEPS
    assert "\x1b" not in finished.err + finished.out


def test_progress_is_bars_on_a_terminal(shop):
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("synth-ops")), "run", str(shop.recipe), "--store", "fresh", "--json"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment, cwd=shop.folder
    ) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(ours):
            shown += chunk
        document = json.loads(process.stdout.read().splitlines()[-1])
    os.close(ours)
    assert process.returncode == 0
    assert document["published"] is True
    assert b"\x1b[" in shown
    assert all(step.encode() in shown for step in STEPS)
    assert b"customers" in shown


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed
        return b""


def test_the_steps_one_by_one_do_what_run_does(shop, cli, tmp_path):
    store = tmp_path / "store"
    made = {}
    for step in STEPS:
        finished = cli(step, shop.recipe, "--store", store, "--json")
        assert finished.code == 0, finished.err
        document = printed(finished)
        assert document["step"] == step
        assert document["skipped"] is (step == "publish")  # this very copy is live
        made[step] = document["id"]
    assert printed(cli("run", shop.recipe, "--store", store, "--json"))["artifacts"] == made
    assert cli("sample", shop.recipe, "--store", store).out.split("  ")[-2:][0] == "nothing changed, skipped"


def test_a_step_can_start_from_an_artifact_by_its_id(shop, cli):
    model = printed(cli("run", shop.recipe, "--json"))["artifacts"]["fit"]
    copy = printed(cli("sample", shop.recipe, "--from", model, "--seed", 3, "--json"))["id"]
    assert printed(cli("gate", shop.recipe, "--from", copy, "--json"))["copy"] == copy
    assert cli("publish", shop.recipe, "--from", copy, "--json").code == 0
    unknown = cli("gate", shop.recipe, "--from", "0" * 20)
    assert unknown.code == 1
    assert unknown.lines == [line for line in unknown.lines if line.startswith("synth-ops: ")][:1]


def test_a_step_before_its_turn_says_which_one_comes_first(shop, cli, tmp_path):
    finished = cli("gate", shop.recipe, "--store", tmp_path / "empty")
    assert finished.code == 1
    assert finished.lines == ["synth-ops: this recipe has no copy in the store yet (run the step that makes it first)"]


def test_publish_alone_refuses_a_copy_that_was_not_judged(shop, cli):
    assert cli("run", shop.recipe).code == 0
    before = shop.published()
    copy = printed(cli("sample", shop.recipe, "--seed", 9, "--json"))["id"]
    finished = cli("publish", shop.recipe, "--from", copy)
    assert finished.code == 4
    assert "has not passed the recipe's gate" in finished.err
    assert shop.published() == before


def test_init_writes_a_recipe_that_runs_as_it_is(shop, cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    finished = cli("init", shop.source, "--target", "sqlite:///fresh.db")
    assert finished.code == 0, finished.err
    assert "2 tables" in finished.out
    assert "nothing was kept" in finished.out
    assert finished.out.splitlines()[-1] == "next: synth-ops plan recipe.yaml, then synth-ops run recipe.yaml"
    assert {entry.name for entry in tmp_path.iterdir()} == {"shop", "recipe.yaml"}
    text = Path("recipe.yaml").read_text(encoding="utf-8")
    assert "c4nary" not in text
    assert set(yaml.safe_load(text)) >= {"source", "target"}
    assert cli("run", "recipe.yaml").code == 0
    assert Path("fresh.db").is_file()


def test_init_does_not_overwrite(shop, cli):
    before = shop.recipe.read_bytes()
    arguments = ["init", shop.source, "--target", "x.duckdb", "-o", shop.recipe]
    finished = cli(*arguments)
    assert finished.code == 2
    assert finished.lines == [f"synth-ops: {shop.recipe} exists (choose another --output, or --force to overwrite it)"]
    assert shop.recipe.read_bytes() == before
    assert cli(*arguments, "--force").code == 0
    assert load_recipe(shop.recipe).target == "x.duckdb" or load_recipe(shop.recipe).target.endswith("/x.duckdb")


def test_init_proposes_keys_that_are_not_declared(shop, cli, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with duckdb.connect("bare.duckdb") as connection:
        connection.execute(f"ATTACH '{shop.source}' AS shop (READ_ONLY)")
        for table in ("customers", "orders"):
            connection.execute(f"CREATE TABLE {table} AS FROM shop.{table}")
    written = cli("init", "bare.duckdb", "--target", "t.duckdb", "--output", "bare.yaml")
    assert written.code == 0
    assert "first: uncomment the keys that are right in bare.yaml" in written.out
    text = Path("bare.yaml").read_text(encoding="utf-8")
    assert re.search(r"#.*primary_key: \[?id", text)
    assert re.search(r"#.*references: customers", text)
    assert "c4nary" not in text
    assert cli("run", "bare.yaml").code == 0
    accepted = "\n".join(re.sub(r"^(\s*)# ?(?=\s*[\w-]+:|\s*- )", r"\1", line) for line in text.splitlines())
    assert yaml.safe_load(accepted)["tables"]["customers"]["primary_key"] in ("id", ["id"])


def test_plan_shows_tables_in_order_with_keys_and_kinds(shop, cli):
    finished = cli("plan", shop.recipe)
    assert finished.code == 0
    lines = finished.out.splitlines()
    assert lines.index(next(line for line in lines if line.startswith("customers  300 rows"))) < lines.index(
        next(line for line in lines if line.startswith("orders  900 rows"))
    )
    assert "  primary key (id)" in lines
    assert "  (customer) -> customers(id), orphans: repair" in lines
    assert any(line.split()[:3] == ["email", "pii", "email"] for line in lines)
    assert "c4nary" not in finished.out
    assert lines[-1].startswith("then: fit -> sample -> gate -> publish -> duckdb:////")
    assert lines[-2] == "generator: relational_trees"
    assert re.fullmatch(rf"snapshot \w{{20}} of the source was there already, in the store {shop.store}", lines[-3])
    shop.sql("INSERT INTO customers VALUES (1000, 'c4nary', 'c4nary@example.org', 'Oslo', 1)")
    finished = cli("plan", shop.change(tables={"orders": {"exclude": True}}))
    lines = finished.out.splitlines()
    assert "excluded: orders" in lines
    assert " of the source was taken, in the store " in lines[-3]


def test_an_exported_suite_tightened_by_hand_blocks(shop, cli):
    assert cli("suite", shop.recipe, "-o", shop.folder / "suites").code == 0
    files = {file.stem: file for file in (shop.folder / "suites").iterdir()}
    assert files.keys() == {"customers", "orders", "gate limits"}
    recipe = shop.change(gate={"suites": ["suites"]})
    assert cli("run", recipe).code == 0
    before = shop.published()
    suite = json.loads(files["orders"].read_text(encoding="utf-8"))
    (rows,) = (each for each in suite["expectations"] if each["type"] == "expect_table_row_count_to_be_between")
    rows["kwargs"] = {"min_value": 5000, "max_value": 6000}
    files["orders"].write_text(json.dumps(suite), encoding="utf-8")
    blocked = cli("run", recipe)
    assert blocked.code == 3
    assert "integrity.row_count[orders]" in blocked.err
    assert shop.published() == before
    rows["kwargs"] = {"min_value": 1, "max_value": 6000}
    files["orders"].write_text(json.dumps(suite), encoding="utf-8")
    assert cli("run", recipe).code == 0


def test_status_and_rollback(shop, cli):
    assert cli("run", shop.recipe, "--seed", 1).code == 0
    second = shop.published()
    (first, live) = printed(cli("status", shop.recipe, "--json"))["generations"]
    assert (first["number"], first["live"], live["number"], live["live"]) == (1, False, 2, True)
    assert live["tables"]["orders"] == len(second["orders"])
    shown = cli("status", shop.recipe).out.splitlines()
    assert shown[0] == f"duckdb:///{shop.target}"
    assert [line[0] for line in shown[1:]] == [" ", "*"]
    back = cli("rollback", shop.recipe)
    assert back.code == 0
    assert back.out == f"generation 1 (copy {first['copy']}) is live again\n"
    assert shop.published() != second
    assert [each["live"] for each in printed(cli("status", shop.recipe, "--json"))["generations"]] == [True, False]
    refused = cli("rollback", shop.recipe)
    assert refused.code == 4
    assert "keeps no generation before 1" in refused.err


def test_status_of_a_target_that_is_not_there_yet(shop, cli):
    assert "nothing was published here yet" in cli("status", shop.change(target="new.duckdb")).out


def test_report_shows_the_verdict_and_where_it_is(shop, cli):
    assert cli("run", shop.recipe).code == 0
    finished = cli("report", shop.recipe)
    assert finished.out.startswith("passed: ")
    assert Path(finished.out.splitlines()[-1]).is_file()
    assert cli("run", shop.change(**NEVER)).code == 3
    document = printed(cli("report", shop.recipe, "--json"))
    assert document["verdict"] == "failed"
    assert {each["check"] for each in document["failed"]} >= {"fidelity.mean_column_distance"}
    lines = cli("report", shop.recipe).out.splitlines()
    place = next(place for place, line in enumerate(lines) if "critical fidelity.mean_column_distance" in line)
    assert ", asked for is at most " in lines[place]
    assert "synth-ops plan" in lines[place + 1]  # the way out
    assert not any(lines[place].replace("critical", "warning ") == line for line in lines)


def test_the_schema_is_one_and_fits_our_recipes(cli, repository):
    schema = json.loads(cli("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    recipes = sorted((repository / "examples").rglob("recipe.yaml"))
    assert recipes
    for file in recipes:
        jsonschema.validate(yaml.safe_load(file.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"source": "a", "target": "b", "sorce": "c"}, schema)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing argument 'RECIPE'"),
        (["run", "recipe.yaml", "--bogus"], "No such option: --bogus"),
        (["runn", "recipe.yaml"], "No such command 'runn'"),
        (["run", "recipe.yaml", "--seed", "-1"], "--seed"),
        (["run", "recipe.yaml", "--seed", str(2**63)], "--seed"),
        (["run", "recipe.yaml", "--seed", "x"], "--seed"),
    ],
)
def test_a_wrong_call_is_one_line_and_exits_2(cli, arguments, said):
    finished = cli(*arguments)
    assert finished.code == 2
    assert finished.out == ""
    (line,) = finished.lines
    assert line.startswith("synth-ops: ")
    assert said in line


def test_help_lists_every_command(cli):
    for arguments in ([], ["--help"]):
        finished = cli(*arguments)
        assert finished.code == 0
        assert all(word in finished.out for word in [*STEPS, "init", "plan", "run", "suite", "status", "rollback"])


def test_an_interrupted_run_says_so_and_exits_130(shop, tmp_path):
    program = """
import signal, sys, time
from synth_ops import fallback
from synth_ops.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background ignores it
# which Python hears of in a moment
fallback.run_fit = lambda *_, **__: (signal.raise_signal(signal.SIGINT), time.sleep(5))
main(["run", sys.argv[1], "--store", sys.argv[2]])
"""
    finished = subprocess.run(
        [sys.executable, "-c", program, str(shop.recipe), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 130
    assert finished.stderr.splitlines()[-1].startswith("synth-ops: interrupted; what was live is live still")
    assert "Traceback" not in finished.stderr
