"""What a change of the source's schema does: it is told of, or stops the snapshot before a row is read."""

from __future__ import annotations

import duckdb
import pytest

from synth_ops.errors import RecipeError, SourceError
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step

CHANGES = {
    "new_table": ("CREATE TABLE new (id INTEGER PRIMARY KEY)", "table 'new' is new"),
    "removed_table": ("DROP TABLE other", "table 'other' is gone"),
    "new_column": ("ALTER TABLE t ADD COLUMN phone VARCHAR", "column 'phone' of table 't' is new"),
    "removed_column": ("ALTER TABLE t DROP COLUMN b", "column 'b' of table 't' is gone"),
    "changed_type": ("ALTER TABLE t ALTER b TYPE BIGINT", "column 'b' of table 't' was INTEGER and is BIGINT"),
}
DECISIONS = {"new_table": {"new": {}}, "new_column": {"t": {"columns": {"phone": {"provider": "phone"}}}}}


@pytest.fixture
def snapshot(tmp_path):
    """Take the recipe's snapshot, after some statements in its source; the warnings."""

    def take(*statements, **sections):
        with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
            for statement in statements:
                connection.execute(statement)
        recipe = parse_recipe({"source": "s.duckdb", "target": "t.duckdb", **sections}).at(tmp_path)
        return run_step(recipe, "snapshot", store=open_store(recipe)).facts["warnings"]

    tables = ["CREATE TABLE t (id INTEGER PRIMARY KEY, b INTEGER)", "CREATE TABLE other (id INTEGER)"]
    first = take(*tables, "INSERT INTO t VALUES (1, 2)")
    assert not any("since the snapshot before" in line for line in first)
    return take


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_a_change_is_told_of_once(snapshot, what):
    statement, line = CHANGES[what]
    assert f"since the snapshot before, {line}" in snapshot(statement)
    assert not any("since the snapshot before" in warning for warning in snapshot("INSERT INTO t (id) VALUES (7)"))


def test_the_labels_of_an_enumeration_are_not_told(snapshot):
    snapshot("CREATE TYPE mood AS ENUM ('c4nary', 'b')", "CREATE TABLE m (mood mood)")
    told = snapshot("ALTER TABLE m ALTER mood TYPE ENUM ('c4nary', 'b', 'c')")
    assert "since the snapshot before, column 'mood' of table 'm' was ENUM(2 labels) and is ENUM(3 labels)" in told
    assert not any("c4nary" in line for line in told)
    told = snapshot("ALTER TABLE m ALTER mood TYPE ENUM ('c4nary', 'b', 'd')")
    assert "since the snapshot before, column 'mood' of table 'm' is ENUM(3 labels) as before, with others" in told


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_a_change_may_stop_it(snapshot, what):
    statement, line = CHANGES[what]
    for _ in range(2):
        with pytest.raises(SourceError, match=line) as stopped:
            snapshot(*([statement] if _ == 0 else []), drift={what: "fail"})
    assert what in stopped.value.hint
    assert not stopped.value.retryable
    others = {other: "fail" for other in CHANGES if other != what}
    assert any(line in warning for warning in snapshot(drift=others))


@pytest.mark.parametrize("what", sorted(DECISIONS))
def test_what_the_recipe_names_is_decided(snapshot, what):
    statement, line = CHANGES[what]
    warnings = snapshot(statement, drift={what: "fail"}, tables=DECISIONS[what])
    assert any(line in warning for warning in warnings)


def test_nothing_changed(snapshot):
    warnings = snapshot("INSERT INTO t VALUES (2, 3)", drift=dict.fromkeys(CHANGES, "fail"))
    assert not any("since" in line for line in warnings)


def test_a_wrong_word():
    with pytest.raises(RecipeError, match="did you mean 'fail'"):
        parse_recipe({"source": "a", "target": "b", "drift": {"new_table": "fial"}})
