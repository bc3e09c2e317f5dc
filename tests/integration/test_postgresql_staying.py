"""Rows that survive a refresh: fixtures with their keys and what they refer to, appended copies, kept tables."""

from __future__ import annotations

import pytest

from synth_ops.errors import PublishError, PublishRefusedError, RecipeError
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.ports import Fixtures, PublishRules
from synth_ops.recipe import Mismatch
from synth_ops.testing.contracts import unheard
from synth_ops.testing.warehouses import write_table


def table(name, columns, key, **references):
    return Table(
        name=name,
        path=("public", name),
        columns=tuple(Column(name=column, type=kind) for column, kind in columns.items()),
        primary_key=key,
        foreign_keys=tuple(
            ForeignKey(columns=(column,), parent=parent, parent_columns=(parent_column,))
            for column, (parent, parent_column) in references.items()
        ),
    )


PLANS = table("plans", {"code": "VARCHAR", "price": "INTEGER"}, ("code",))
ORGS = table(
    "orgs",
    {"id": "INTEGER", "plan": "VARCHAR", "above": "INTEGER"},
    ("id",),
    plan=("plans", "code"),
    above=("orgs", "id"),
)
USERS = table("users", {"id": "BIGINT", "org": "INTEGER", "login": "VARCHAR"}, ("id",), org=("orgs", "id"))
VISITS = table("visits", {"user": "BIGINT", "number": "SMALLINT"}, ("user", "number"), user=("users", "id"))
METADATA = Metadata(tables=(PLANS, ORGS, USERS, VISITS))
ADMIN = PublishRules(fixtures={"users": Fixtures(where="login LIKE '%@test.example'")})


def publish(database, folder, number, rules=None, metadata=METADATA):
    rows = {
        "plans": [("free", number), ("paid", number)],
        "orgs": [(each, "free", max(1, each - 1)) for each in range(1, 6)],
        "users": [(each, each % 5 + 1, f"{number}-{each}") for each in range(1, 21)],
        "visits": [(each % 20 + 1, each // 20) for each in range(60)],
    }
    tables = {each.name: write_table(folder / f"c{number}", each, rows[each.name]) for each in METADATA.tables}
    target = database.target(rules=rules or PublishRules())
    return target.publish(metadata, tables, copy_id=str(number), keep=2, progress=unheard)


@pytest.fixture
def with_admin(marked, tmp_path):
    """A published database to which testers added an organization, its parent, and somebody to log in."""
    publish(marked, tmp_path, 0)
    marked.execute(
        "INSERT INTO plans VALUES ('gold', 99); "
        "INSERT INTO orgs VALUES (70, 'paid', NULL), (71, 'gold', 70); "
        "INSERT INTO users VALUES (7, 1, 'seven@test.example') ON CONFLICT (id) DO UPDATE SET login = excluded.login; "
        "INSERT INTO users VALUES (900, 71, 'admin@test.example')"
    )
    return marked


def test_fixtures_survive_with_their_keys_and_what_they_refer_to(with_admin, tmp_path):
    query = "SELECT id, org, login FROM users WHERE login LIKE '%@test.example' ORDER BY id"
    before = with_admin.rows(query)
    for number in (1, 2, 3):
        generation = publish(with_admin, tmp_path, number, ADMIN)
        assert with_admin.rows(query) == before
        assert with_admin.rows("SELECT id, plan, above FROM orgs WHERE id IN (70, 71) ORDER BY id") == [
            (70, "paid", None),
            (71, "gold", 70),
        ]
        assert with_admin.rows("SELECT price FROM plans WHERE code = 'gold'") == [(99,)]
        counts = {name: with_admin.rows(f"SELECT count(*) FROM {name}")[0][0] for name in generation.tables}
        assert counts == dict(generation.tables)
        assert counts["users"] == 22, "all of the copy's, with keys after the fixtures'"
        assert with_admin.rows("SELECT min(id) FROM users WHERE login LIKE '_-%'") == [(901,)]
        assert with_admin.rows("SELECT count(*) FROM visits v JOIN users u ON u.id = v.user") == [(60,)]
        assert with_admin.rows("SELECT count(*) FROM orgs o JOIN orgs p ON p.id = o.above WHERE o.id > 71") == [(5,)]


def test_a_condition_may_end_with_a_comment(with_admin, tmp_path):
    rules = PublishRules(fixtures={"users": Fixtures(where="login LIKE '%@test.example'  -- who can log in")})
    publish(with_admin, tmp_path, 1, rules)
    assert with_admin.rows("SELECT id FROM users WHERE login LIKE '%@test.example' ORDER BY id") == [(7,), (900,)]


def test_a_natural_key_that_is_taken_stays_taken(with_admin, tmp_path):
    rules = PublishRules(fixtures={"plans": Fixtures(where="code = 'free'")})
    with_admin.execute("UPDATE plans SET price = 5 WHERE code = 'free'")
    publish(with_admin, tmp_path, 1, rules)
    assert with_admin.rows("SELECT code, price FROM plans ORDER BY code") == [("free", 5), ("paid", 1)]


def test_rows_of_the_recipe_are_there_from_the_first_publication_on(marked, tmp_path):
    rows = ({"id": 3, "login": "it's me"}, {"id": 4, "org": None, "login": "%s"})
    rules = PublishRules(fixtures={"users": Fixtures(rows=rows)})
    for number in (1, 2):
        assert publish(marked, tmp_path, number, rules).tables["users"] == 22
        found = marked.rows("SELECT id, org, login FROM users WHERE id < 5 ORDER BY id")
        assert found == [(3, None, "it's me"), (4, None, "%s")]


def test_appending_gives_keys_after_the_targets(marked, tmp_path):
    rules = PublishRules(append=True)
    for number in (1, 2, 3):
        publish(marked, tmp_path, number, rules)
    assert marked.rows("SELECT count(*), count(DISTINCT id), max(id) FROM users") == [(60, 60, 60)]
    assert marked.rows("SELECT count(*) FROM visits") == [(180,)]
    assert marked.rows("SELECT login FROM users WHERE id = 41") == [("3-1",)]
    assert marked.rows("SELECT count(*) FROM plans") == [(2,)]
    assert marked.target().rollback().number == 2
    assert marked.rows("SELECT count(*) FROM users") == [(40,)]


def test_kept_tables_stay_and_are_referred_to(marked, tmp_path):
    publish(marked, tmp_path, 0)
    marked.execute("UPDATE plans SET price = 77; INSERT INTO plans VALUES ('mine', 1)")
    rules = PublishRules(kept=frozenset({"plans"}))
    for number in (1, 2):
        assert "plans" not in publish(marked, tmp_path, number, rules).tables
        assert marked.rows("SELECT code, price FROM plans ORDER BY 1") == [("free", 77), ("mine", 1), ("paid", 77)]
        reference = "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = 'orgs_plan_fkey'"
        assert ("plans",) in marked.rows(reference)
    marked.target(rules=rules).rollback()
    assert marked.rows("SELECT count(*) FROM plans") == [(3,)]


def test_kept_children_follow_their_new_parents(marked, tmp_path):
    publish(marked, tmp_path, 0)
    rules = PublishRules(kept=frozenset({"visits"}))
    publish(marked, tmp_path, 1, rules)
    assert marked.rows(
        "SELECT confrelid::regclass::text, convalidated FROM pg_constraint WHERE conrelid = 'visits'::regclass "
        "AND contype = 'f'"
    ) == [("users", True)]
    assert marked.rows("SELECT count(*) FROM visits v JOIN users u ON u.id = v.user") == [(60,)]


@pytest.mark.parametrize(
    ("fixtures", "named"),
    [
        ({"users": Fixtures(where="no such thing")}, "'users'"),
        ({"people": Fixtures(where="true")}, "people"),
    ],
)
def test_fixtures_that_can_not_be(with_admin, tmp_path, fixtures, named):
    with pytest.raises(RecipeError, match=named):
        publish(with_admin, tmp_path, 1, PublishRules(fixtures=fixtures))
    assert with_admin.rows("SELECT price FROM plans WHERE code = 'gold'") == [(99,)]


def test_a_fixture_without_its_parent_is_found_before_the_swap(marked, tmp_path):
    publish(marked, tmp_path, 0)
    rules = PublishRules(fixtures={"users": Fixtures(rows=({"id": 1, "org": 4711, "login": "x"},))})
    with pytest.raises(PublishError, match=r"'users'.*foreign key") as failure:
        publish(marked, tmp_path, 1, rules)
    assert "4711" not in str(failure.value)
    assert marked.rows("SELECT DISTINCT price FROM plans") == [(0,)]


def test_a_target_with_a_schema_of_its_own(marked, tmp_path):
    publish(marked, tmp_path, 0)
    marked.execute(
        "ALTER TABLE users DROP COLUMN org, ADD COLUMN seen date DEFAULT '2020-01-01', "
        "ALTER COLUMN login TYPE date USING NULL"
    )
    with pytest.raises(PublishRefusedError, match="differ from the copy's") as refusal:
        publish(marked, tmp_path, 1)
    assert "the target lacks column 'org'" in str(refusal.value)
    marked.execute("ALTER TABLE users ALTER COLUMN login TYPE text")
    publish(marked, tmp_path, 1, PublishRules(on_mismatch=Mismatch.TARGET))
    assert marked.rows("SELECT count(*), min(seen)::text FROM users WHERE login LIKE '1-%'") == [(20, "2020-01-01")]
    publish(marked, tmp_path, 2, PublishRules(on_mismatch=Mismatch.SOURCE))
    names = "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 ORDER BY attnum"
    assert marked.rows(names) == [("id",), ("org",), ("login",)]
    marked.execute(
        "ALTER TABLE users ADD COLUMN must integer NOT NULL DEFAULT 0; ALTER TABLE users ALTER must DROP DEFAULT"
    )
    with pytest.raises(PublishRefusedError, match="'must', which needs a value"):
        publish(marked, tmp_path, 3, PublishRules(on_mismatch=Mismatch.TARGET))
