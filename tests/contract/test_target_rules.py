"""What a recipe says about going live: every target follows the rules that it declares, and is asked for no others.

Fixtures with their keys and what they refer to, appended copies, kept tables, tables with columns of their own.
"""

from __future__ import annotations

import contextlib
import threading
import time

import psycopg
import pytest

from synth_ops.endpoints import open_target
from synth_ops.errors import PublishError, PublishRefusedError, RecipeError, TargetUnavailableError
from synth_ops.location import parse_location
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.ports import RULES, Fixtures, PublishRules
from synth_ops.recipe import Mismatch, parse_recipe
from synth_ops.registry import PluginKind, load
from synth_ops.testing.contracts import unheard
from synth_ops.testing.warehouses import write_table

SERVERS = ("postgres", "mariadb")
FILES = ("duckdb", "sqlite", "parquet")
ASKED = {
    "deny": {"publish": {"deny": ["*prod*"]}},
    "on_mismatch": {"publish": {"on_mismatch": "source"}},
    "recreate_dependents": {"publish": {"dependents": "recreate"}},
    "kept": {"tables": {"t": {"keep": True}}},
    "fixtures": {"tables": {"t": {"fixtures": {"where": "id = 1"}}}},
    "append": {"publish": {"mode": "append"}},
    "lock_timeout_ms": {"publish": {"lock_timeout_ms": 100}},
    "deadline_s": {"publish": {"swap_deadline_s": 5}},
}
"""Every rule, as a recipe asks for it."""


class Database:
    """A database of its own, marked as a target; statements are read by both kinds of server."""

    def __init__(self, kind, server, name, folder):
        self.kind, self.server, self.name, self.folder = kind, server, name, folder
        self.url = server.url(name)
        self.target().mark("test", confirm=name)

    def target(self, **arguments):
        location = parse_location(self.url, self.folder)
        return load(PluginKind.TARGET, location.scheme)(location, **arguments)

    def connect(self):
        if self.kind == "postgres":
            return psycopg.connect(self.url, autocommit=True)
        connection = self.server.connect(self.name)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
        return connection

    def rows(self, *statements):
        """The rows of the last statement that has some."""
        found = []
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                found = list(cursor.fetchall()) if cursor.description else found
        return found


@pytest.fixture(params=SERVERS)
def marked(request, tmp_path):
    server = request.getfixturevalue(f"{request.param}_server")
    with server.database() as name:
        yield Database(request.param, server, name, tmp_path)


def test_every_rule_is_asked_for_here():
    assert ASKED.keys() == RULES


@pytest.mark.parametrize("rule", sorted(ASKED))
@pytest.mark.parametrize("scheme", [*FILES, "postgresql", "mysql"])
def test_a_target_that_can_not_follow_a_rule_says_so(tmp_path, scheme, rule):
    url = f"{scheme}://host/name" if scheme in ("postgresql", "mysql") else f"{scheme}:///there"
    recipe = parse_recipe({"source": "a.duckdb", "target": url, **ASKED[rule]}).at(tmp_path)
    if rule in load(PluginKind.TARGET, scheme).capabilities:
        assert open_target(recipe).capabilities
    else:
        with pytest.raises(RecipeError, match=r"can't do what the recipe asks of it: `(publish|tables): "):
            open_target(recipe)


def table(name, columns, key, **references):
    return Table(
        name=name,
        path=(name,),
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


def publish(database, folder, number, rules=None, without=()):
    rows = {
        "plans": [("free", number), ("paid", number)],
        "orgs": [(each, "free", max(1, each - 1)) for each in range(1, 6)],
        "users": [(each, each % 5 + 1, f"{number}-{each}") for each in range(1, 21) if each not in without],
        "visits": [(each % 20 + 1, each // 20) for each in range(60) if each % 20 + 1 not in without],
    }
    tables = {each.name: write_table(folder / f"c{number}", each, rows[each.name]) for each in METADATA.tables}
    target = database.target(rules=rules or PublishRules())
    return target.publish(METADATA, tables, copy_id=str(number), keep=2, progress=unheard)


@pytest.fixture
def with_admin(marked, tmp_path):
    """A published database to which testers added an organization, its parent, and somebody to log in."""
    publish(marked, tmp_path, 0)
    marked.rows(
        "INSERT INTO plans VALUES ('gold', 99)",
        "INSERT INTO orgs VALUES (70, 'paid', NULL), (71, 'gold', 70)",
        "UPDATE users SET login = 'seven@test.example' WHERE id = 7",
        "INSERT INTO users VALUES (900, 71, 'admin@test.example')",
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
        assert with_admin.rows('SELECT count(*) FROM visits v JOIN users u ON u.id = v."user"') == [(60,)]
        assert with_admin.rows("SELECT count(*) FROM orgs o JOIN orgs p ON p.id = o.above WHERE o.id > 71") == [(5,)]


def test_a_condition_may_end_with_a_comment(with_admin, tmp_path):
    rules = PublishRules(fixtures={"users": Fixtures(where="login LIKE '%@test.example'  -- who can log in")})
    publish(with_admin, tmp_path, 1, rules)
    assert with_admin.rows("SELECT id FROM users WHERE login LIKE '%@test.example' ORDER BY id") == [(7,), (900,)]


def test_a_natural_key_that_is_taken_stays_taken(with_admin, tmp_path):
    rules = PublishRules(fixtures={"plans": Fixtures(where="code = 'free'")})
    with_admin.rows("UPDATE plans SET price = 5 WHERE code = 'free'")
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


def references(database, name):
    """Which columns of which tables a live table's foreign keys lead to, as the server itself knows them."""
    if database.kind == "postgres":
        return database.rows(
            "SELECT p.relname, a.attname FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid "
            "JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum = ANY(k.confkey) JOIN pg_namespace n "
            "ON n.oid = p.relnamespace AND n.nspname = 'public' WHERE k.convalidated AND k.contype = 'f' "
            f"AND k.conrelid = 'public.{name}'::regclass ORDER BY 1"
        )
    return database.rows(
        "SELECT REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
        f"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{name}' AND REFERENCED_TABLE_NAME IS NOT NULL ORDER BY 1"
    )


def test_kept_tables_stay_and_are_referred_to(marked, tmp_path):
    publish(marked, tmp_path, 0)
    marked.rows("UPDATE plans SET price = 77", "INSERT INTO plans VALUES ('mine', 1)")
    rules = PublishRules(kept=frozenset({"plans"}))
    for number in (1, 2):
        assert "plans" not in publish(marked, tmp_path, number, rules).tables
        assert marked.rows("SELECT code, price FROM plans ORDER BY 1") == [("free", 77), ("mine", 1), ("paid", 77)]
        assert ("plans", "code") in references(marked, "orgs")
    marked.target(rules=rules).rollback()
    assert marked.rows("SELECT count(*) FROM plans") == [(3,)]


def test_kept_children_follow_their_new_parents(marked, tmp_path):
    publish(marked, tmp_path, 0)
    rules = PublishRules(kept=frozenset({"visits"}))
    publish(marked, tmp_path, 1, rules)
    assert references(marked, "visits") == [("users", "id")]
    assert marked.rows('SELECT count(*) FROM visits v JOIN users u ON u.id = v."user"') == [(60,)]


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
    if marked.kind == "mariadb":
        marked.rows(f"ALTER TABLE users DROP FOREIGN KEY {name_of_key(marked, 'users')}")
    marked.rows("ALTER TABLE users DROP COLUMN org")
    marked.rows("ALTER TABLE users ADD COLUMN seen date DEFAULT '2020-01-01'")
    marked.rows("ALTER TABLE users DROP COLUMN login", "ALTER TABLE users ADD COLUMN login date")
    with pytest.raises(PublishRefusedError, match="differ from the copy's") as refusal:
        publish(marked, tmp_path, 1)
    assert "the target lacks column 'org'" in str(refusal.value)
    assert marked.target().differences(METADATA) == {"users": ["the target lacks column 'org'"]}
    marked.rows("ALTER TABLE users DROP COLUMN login", "ALTER TABLE users ADD COLUMN login varchar(99)")
    publish(marked, tmp_path, 1, PublishRules(on_mismatch=Mismatch.TARGET))
    ((count, seen),) = marked.rows("SELECT count(*), min(seen) FROM users WHERE login LIKE '1-%'")
    assert (count, str(seen)) == (20, "2020-01-01")
    publish(marked, tmp_path, 2, PublishRules(on_mismatch=Mismatch.SOURCE))
    assert columns(marked, "users") == ["id", "org", "login"]
    marked.rows("ALTER TABLE users ADD COLUMN must integer NOT NULL DEFAULT 0")
    marked.rows("ALTER TABLE users ALTER COLUMN must DROP DEFAULT")
    with pytest.raises(PublishRefusedError, match="'must', which needs a value"):
        publish(marked, tmp_path, 3, PublishRules(on_mismatch=Mismatch.TARGET))


def columns(database, name):
    own = "current_schema()" if database.kind == "postgres" else "DATABASE()"
    query = "SELECT column_name FROM information_schema.columns WHERE table_schema = {} AND table_name = '{}' ORDER BY "
    return [found for (found,) in database.rows(f"{query.format(own, name)}ordinal_position")]


def name_of_key(database, name):
    ((found,),) = database.rows(
        "SELECT CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS "
        f"WHERE CONSTRAINT_SCHEMA = DATABASE() AND TABLE_NAME = '{name}'"
    )
    return found


def test_tables_that_stood_there_are_a_generation_to_go_back_to(marked, tmp_path):
    marked.rows(
        "CREATE TABLE plans (code varchar(9) PRIMARY KEY, price integer)", "INSERT INTO plans VALUES ('old', 1)"
    )
    assert publish(marked, tmp_path, 1).number == 2
    assert marked.rows("SELECT count(*) FROM plans") == [(2,)]
    marked.target().rollback()
    assert marked.rows("SELECT code, price FROM plans") == [("old", 1)]
    assert publish(marked, tmp_path, 2).number == 3


def test_tables_that_refer_to_the_live_ones_are_refused_or_follow(marked, tmp_path, caplog):
    publish(marked, tmp_path, 0)
    marked.rows(
        "CREATE TABLE notes (about bigint, CONSTRAINT about_whom FOREIGN KEY (about) REFERENCES users (id) "
        "ON DELETE CASCADE)",
        "INSERT INTO notes VALUES (3)",
    )
    with pytest.raises(PublishRefusedError, match=r"about_whom.*dependents: recreate"):
        publish(marked, tmp_path, 1)
    rules = PublishRules(recreate_dependents=True)
    for number in (1, 2):
        publish(marked, tmp_path, number, rules)
        assert references(marked, "notes") == [("users", "id")]
    marked.target(rules=rules).rollback()
    assert references(marked, "notes") == [("users", "id")]
    publish(marked, tmp_path, 3, rules)
    marked.rows("DELETE FROM visits", "DELETE FROM users WHERE id = 3")
    assert marked.rows("SELECT * FROM notes") == [], "the key still cascades"
    marked.rows("INSERT INTO notes VALUES (5)")
    if marked.kind == "postgres":  # which can hold a key for new rows alone, and tells so
        publish(marked, tmp_path, 4, rules, without={5})
        assert "about_whom failed (23503): a foreign key holds for new rows alone" in caplog.text
        return
    with pytest.raises(PublishError, match=r"notes.*foreign key"):
        publish(marked, tmp_path, 4, rules, without={5})
    assert references(marked, "notes") == [("users", "id")]
    assert marked.rows("SELECT count(*) FROM users WHERE login LIKE '3-%'") == [(19,)]


def test_what_this_tool_keeps_in_a_target_is_no_part_of_a_source(marked, tmp_path):
    for number in (1, 2):
        publish(marked, tmp_path, number)
    assert_source(marked.url, tmp_path, METADATA.table_names)


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_what_this_tool_keeps_in_a_file_is_no_part_of_a_source(scheme, tmp_path):
    table = Table(name="plans", path=("plans",), columns=(Column(name="code", type="VARCHAR"),))
    url, data = f"{scheme}:///t.db", {"plans": write_table(tmp_path / "c", table, [("a",)])}
    target = load(PluginKind.TARGET, scheme)(parse_location(url, tmp_path))
    target.publish(Metadata(tables=(table,)), data, copy_id="1", keep=1, progress=unheard)
    assert_source(url, tmp_path, ["plans"])


def assert_source(url, folder, tables):
    location = parse_location(url, folder)
    with load(PluginKind.SOURCE, location.scheme)(location).session() as session:
        assert set(session.metadata().table_names) == set(tables)


@pytest.mark.parametrize("pattern", ["{name}", "TEST_*"])
def test_a_denied_name_is_refused(marked, tmp_path, pattern):
    rules = PublishRules(deny=(pattern.format(name=marked.name),))
    target = marked.target(rules=rules)
    for call in (
        target.generations,
        lambda: publish(marked, tmp_path, 1, rules),
        lambda: target.mark("test", confirm=marked.name),
        lambda: target.differences(METADATA),
    ):
        with pytest.raises(PublishRefusedError, match="denied"):
            call()


def test_the_same_copy_under_other_rules_is_published_again(marked, tmp_path):
    first = publish(marked, tmp_path, 1)
    assert publish(marked, tmp_path, 1) == first
    rules = PublishRules(fixtures={"plans": Fixtures(rows=({"code": "mine", "price": 1},))})
    assert publish(marked, tmp_path, 1, rules).number == 2
    assert publish(marked, tmp_path, 1, rules).number == 2


def test_a_reader_holds_the_swap_up_until_the_deadline_and_others_for_moments(marked, tmp_path):
    publish(marked, tmp_path, 0)
    rules, waits, done = PublishRules(lock_timeout_ms=100, deadline_s=1.5), [], threading.Event()

    def read():
        while not done.is_set():
            begun = time.monotonic()
            marked.rows("SELECT count(*) FROM users")
            waits.append(time.monotonic() - begun)

    with contextlib.closing(marked.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT count(*) FROM plans")
        other = threading.Thread(target=read)
        other.start()
        try:
            with pytest.raises(TargetUnavailableError, match="others held locks on the live tables for 2 s"):
                publish(marked, tmp_path, 1, rules)
        finally:
            done.set()
            other.join()
        cursor.execute("COMMIT")
    assert sorted(waits)[-2] < 1, "none waits for the whole of the deadline"
    assert marked.rows("SELECT DISTINCT price FROM plans") == [(0,)]
    assert publish(marked, tmp_path, 1, rules).live
