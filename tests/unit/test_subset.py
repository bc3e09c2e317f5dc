"""Parts of a database: every reference holds, nothing is there without a reason, nothing that belongs is missing."""

from __future__ import annotations

import duckdb
import pytest

from synth_ops.artifact_io import read_snapshot
from synth_ops.errors import RecipeError
from synth_ops.recipe import parse_recipe
from synth_ops.run import open_store, run_step
from synth_ops.sql import connect, register

SCHEMA = """
CREATE TABLE country (id INTEGER PRIMARY KEY, name VARCHAR);
CREATE TABLE customer (id INTEGER PRIMARY KEY, country INTEGER REFERENCES country (id), friend INTEGER);
CREATE TABLE product (id INTEGER PRIMARY KEY, parent INTEGER, name VARCHAR);
CREATE TABLE placed (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer (id), day DATE);
CREATE TABLE line (placed INTEGER REFERENCES placed (id), product INTEGER REFERENCES product (id), n INTEGER);
CREATE TABLE stock (product INTEGER REFERENCES product (id), n INTEGER);
CREATE TABLE alone (id INTEGER PRIMARY KEY);
CREATE TABLE "rows" (id INTEGER PRIMARY KEY);
INSERT INTO country SELECT i, 'c' || i FROM range(20) t(i);
INSERT INTO customer SELECT i, i % 20, (i * 7) % 200 FROM range(200) t(i);
INSERT INTO product SELECT i, CASE WHEN i > 0 THEN (i - 1) // 2 END, 'p' || i FROM range(64) t(i);
INSERT INTO placed SELECT i, (i * 3) % 200, DATE '2024-01-01' + (i % 100)::INT FROM range(1000) t(i);
INSERT INTO line SELECT (i * 7) % 1000, (i * 11) % 64, i FROM range(3000) t(i);
INSERT INTO line VALUES (NULL, 1, -1);
INSERT INTO stock SELECT i, i FROM range(64) t(i);
INSERT INTO alone SELECT i FROM range(10) t(i);
INSERT INTO "rows" SELECT i FROM range(10) t(i);
"""
PARENT = {"foreign_keys": [{"columns": "parent", "references": "product"}]}
FRIEND = {"customer": {"foreign_keys": [{"columns": "friend", "references": "customer"}]}}


@pytest.fixture
def part(tmp_path):
    """The rows that a recipe reads, as a function of a query on them; and the warnings."""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        for statement in filter(str.strip, SCHEMA.split(";")):
            connection.execute(statement)

    def take(**sections):
        tables = {**sections.pop("tables", {})}
        tables["product"] = {**tables.get("product", {}), **PARENT}
        recipe = parse_recipe({"source": "shop.duckdb", "target": "t.duckdb", "tables": tables, **sections}).at(
            tmp_path
        )
        store = open_store(recipe)
        snapshot = read_snapshot(store, run_step(recipe, "snapshot", store=store).ref)

        def query(sql):
            with connect() as connection:
                register(connection, snapshot.tables, "part")
                connection.execute("USE part")
                connection.execute(f"ATTACH '{tmp_path / 'shop.duckdb'}' AS whole (READ_ONLY)")
                return connection.execute(sql).fetchall()

        return query, snapshot

    return take


def orphans(query):
    references = [
        ("customer", "country", "country"),
        ("placed", "customer", "customer"),
        ("line", "placed", "placed"),
        ("line", "product", "product"),
        ("stock", "product", "product"),
        ("product", "parent", "product"),
    ]
    return [
        query(f"SELECT count(*) FROM {t} c WHERE c.{k} IS NOT NULL AND NOT EXISTS (FROM {p} p WHERE p.id = c.{k})")[0][
            0
        ]
        for t, k, p in references
    ]


@pytest.mark.parametrize("size", [{"share": 0.1}, {"rows": 20}])
def test_a_subset_holds_together(part, size):
    query, snapshot = part(subset={"root": "customer", **size}, tables=FRIEND)
    assert orphans(query) == [0] * 6
    drawn = query("SELECT count(*) FROM customer WHERE id IN (SELECT customer FROM placed)")[0][0]
    assert drawn == 20
    needed = "SELECT id FROM customer UNION SELECT friend FROM customer"
    assert query(f"SELECT count(*) FROM ({needed})") == query("SELECT count(*) FROM customer")
    # all that belongs to those that were drawn, and only that
    theirs = "customer IN (SELECT customer FROM placed)"
    assert query("FROM placed ORDER BY id") == query(f"FROM whole.placed WHERE {theirs} ORDER BY id")
    lines = query("SELECT n FROM line ORDER BY n")
    assert lines == query("SELECT n FROM whole.line WHERE placed IN (SELECT id FROM placed) ORDER BY n")
    # of what has no part in it only what is needed
    assert query("SELECT count(*) FROM stock") == [(0,)]
    assert query("SELECT count(*) FROM country")[0][0] <= 20
    parents = "SELECT parent FROM product WHERE parent IS NOT NULL"
    assert query(f"FROM product WHERE id NOT IN (SELECT product FROM line) AND id NOT IN ({parents})") == []
    # what hangs together with nothing comes whole
    assert query('SELECT (SELECT count(*) FROM alone), (SELECT count(*) FROM "rows")') == [(10, 10)]
    assert "no row of table 'stock' is in the subset" in snapshot.warnings


def test_the_same_part_again_in_the_same_order(part):
    one, first = part(subset={"root": "customer", "share": 0.2})
    _, second = part(subset={"root": "customer", "share": 0.2, "rows": None}, seed=5)
    assert first.ref == second.ref
    ids = [row[0] for row in one("SELECT id FROM placed")]
    assert ids == sorted(ids)


def test_the_whole_root_is_the_whole_of_what_belongs_to_it(part):
    query, _ = part(subset={"root": "customer", "share": 1})
    assert query("SELECT count(*) FROM customer") == [(200,)]
    assert query("SELECT count(*) FROM line") == [(3000,)], "all but the one that belongs to nobody"


def test_a_condition_takes_along_what_refers_to_the_rows_that_it_leaves_out(part):
    query, _ = part(tables={"placed": {"where": "day < DATE '2024-02-01' -- January"}})
    assert query("SELECT max(day) < DATE '2024-02-01', count(*) FROM placed") == [(True, 310)]
    assert orphans(query) == [0] * 6
    kept = "placed IS NULL OR placed IN (SELECT id FROM placed)"
    assert query("SELECT count(*) FROM line") == query(f"SELECT count(*) FROM whole.line WHERE {kept}")
    assert query("SELECT count(*) FROM customer") == [(200,)]


def test_conditions_and_a_subset(part):
    tables = {"placed": {"where": "id % 2 = 0"}, "product": {"where": "id < 32"}, **FRIEND}
    query, _ = part(tables=tables, subset={"root": "customer", "rows": 30})
    assert orphans(query) == [0] * 6
    assert query("SELECT count(*) FROM placed WHERE id % 2 = 1") == [(0,)]
    assert query("SELECT count(*) FROM product WHERE id >= 32") == [(0,)]


def test_excluded_columns_and_tables(part):
    tables = {"placed": {"columns": {"customer": {"exclude": True}}}, "stock": {"exclude": True}}
    query, snapshot = part(tables=tables)
    assert snapshot.metadata.table("placed").column_names == ("id", "day")
    assert snapshot.metadata.table("placed").foreign_keys == ()
    assert any("names an excluded column" in line for line in snapshot.warnings)
    assert query("SELECT count(*) FROM placed") == [(1000,)]
    assert "stock" not in snapshot.metadata.table_names


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"subset": {"root": "custmer", "share": 0.5}}, "did you mean 'customer'"),
        ({"subset": {"root": "line", "share": 0.5}}, "has no primary key"),
        ({"subset": {"root": "stock", "rows": 3}, "tables": {"stock": {"exclude": True}}}, "is excluded"),
        ({"tables": {"placed": {"where": "nobody = 3"}}}, "`where` of table 'placed'"),
        ({"tables": {"placed": {"where": "id = 'x' )"}}}, "`where` of table 'placed'"),
    ],
)
def test_what_can_not_be(part, sections, message):
    with pytest.raises(RecipeError, match=message):
        part(**sections)


@pytest.mark.parametrize("subset", [{"root": "a"}, {"root": "a", "share": 0.1, "rows": 3}, {"root": "a", "share": 2}])
def test_sizes(subset):
    with pytest.raises(RecipeError):
        parse_recipe({"source": "a", "target": "b", "subset": subset})
