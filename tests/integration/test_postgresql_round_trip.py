"""Whole databases from one PostgreSQL to another: the target's schema is the source's, and it enforces it itself."""

from __future__ import annotations

import psycopg
import pytest
import yaml

from synth_ops.artifact_io import read_snapshot
from synth_ops.metadata import Column, Metadata, Table
from synth_ops.native import GeneratedColumn
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_step
from synth_ops.store import Store
from synth_ops.testing.contracts import unheard
from synth_ops.testing.warehouses import write_table

SCHEMA = {
    "columns": """
        SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity::text, a.attgenerated::text,
            CASE WHEN a.attgenerated = '' THEN '' ELSE pg_get_expr(d.adbin, d.adrelid) END
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'hr')
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0""",
    "keys": """
        SELECT conrelid::regclass::text, contype::text, regexp_replace(pg_get_constraintdef(k.oid), '\\s+', ' ', 'g'),
            convalidated
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND n.nspname IN ('public', 'hr')
        WHERE contype IN ('p', 'u', 'f', 'c') AND conrelid <> 0""",
    "types": """
        SELECT t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_type t
        JOIN pg_enum e ON e.enumtypid = t.oid GROUP BY t.typname""",
    "comments": """
        SELECT d.objoid::regclass::text, d.objsubid > 0, d.description FROM pg_description d
        JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass AND c.relkind = 'r'
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'hr')""",
}


def schema(url):
    found = {}
    with psycopg.connect(url) as connection:
        for what, query in SCHEMA.items():
            found[what] = sorted(map(repr, connection.execute(query).fetchall()))
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'hr')"
        ).fetchall()
        for (name,) in names:
            query = f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {name} t"
            found[name] = connection.execute(query).fetchall()
    return found


def publish_as_it_is(source_url, database, folder):
    """The snapshot itself, without a generator in between."""
    recipe = parse_recipe({"source": source_url, "target": database.url}).at(folder)
    store = Store(folder / "store")
    snapshot = read_snapshot(store, run_step(recipe, "snapshot", store=store).ref)
    return database.target().publish(
        snapshot.metadata, snapshot.tables, copy_id=snapshot.ref.id, keep=2, progress=unheard
    )


@pytest.mark.parametrize("name", ["chinook", "employees", "lahman", "northwind", "sakila", "synthea_small"])
def test_a_data_set_is_the_same_in_the_target(postgres_server, marked, real_data, datasets, tmp_path, name):
    with postgres_server.database() as source:
        url = postgres_server.url(source)
        datasets.load_postgresql(real_data / name, url)
        generation = publish_as_it_is(url, marked, tmp_path)
        before, after = schema(url), schema(marked.url)
    assert generation.number == 1
    assert len(generation.tables) > 4
    for what, found in before.items():
        assert after[what] == found, what


HARD = """
CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'a, b'); CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE SCHEMA hr; CREATE TYPE hr.level AS ENUM ('low', 'high');
CREATE TABLE hr."Order" ("select" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, level hr.level[]);
CREATE TABLE "a""; drop table x; --" (
    id serial PRIMARY KEY, mood mood NOT NULL DEFAULT 'sad', amount numeric(12, 3), tags text[], big positive,
    "when" timestamptz(3), span interval, raw bytea, doc jsonb, one uuid UNIQUE, part varchar(7), fixed char(3),
    boss integer REFERENCES "a""; drop table x; --" ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    placed bigint REFERENCES hr."Order" ON UPDATE CASCADE, grid integer[][], flag boolean, day date, at time,
    half numeric GENERATED ALWAYS AS (amount / 2) STORED, CHECK (amount < 1000),
    CHECK (part ~ '^(?!x).*$'), CHECK (doc ? 'a'), UNIQUE (part, fixed)
);
COMMENT ON TABLE hr."Order" IS 'it''s an order'; COMMENT ON COLUMN hr."Order".level IS '%s; --';
CREATE INDEX "by %s; tags" ON "a""; drop table x; --" USING gin (tags);
CREATE UNIQUE INDEX by_part ON "a""; drop table x; --" (lower(part)) WHERE amount > 5;
INSERT INTO hr."Order" (level) VALUES ('{low,high}'), (NULL), ('{}');
INSERT INTO "a""; drop table x; --"
    (mood, amount, tags, big, "when", span, raw, doc, one, part, fixed, boss, placed, grid, flag, day, at)
SELECT 'a, b', n * 1.001, ARRAY['x', NULL, '"q\\'], n, timestamptz '2020-01-01 12:00:00.123+02', interval '1 month 3 h',
    '\\x00ff', '{"a": [1, "ü"]}', gen_random_uuid(), 'p' || n, 'f', greatest(1, n - 1), 1 + n % 3,
    CASE WHEN n % 2 = 0 THEN '{{1,2},{3,NULL}}'::integer[] END, n % 2 = 0, '2020-02-29', '23:59:59.5'
FROM generate_series(1, 50) n;
INSERT INTO "a""; drop table x; --" (mood) VALUES ('it''s ok');
"""


def test_hard_names_and_types_are_the_same_in_the_target(postgres_server, marked, tmp_path):
    with postgres_server.database() as source:
        postgres_server.execute(HARD, database=source)
        url = postgres_server.url(source)
        publish_as_it_is(url, marked, tmp_path)
        before, after = schema(url), schema(marked.url)
        indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('public', 'hr') AND indexname ~ '^by'"
        with psycopg.connect(url) as connection:
            assert sorted(marked.rows(indexes)) == sorted(connection.execute(indexes).fetchall())
    for what, found in before.items():
        assert after[what] == found, what
    marked.execute("""INSERT INTO "a""; drop table x; --" DEFAULT VALUES""")
    assert marked.rows("""SELECT max(id), min(mood) FROM "a""; drop table x; --" """) == [(52, "sad")]
    with pytest.raises(psycopg.errors.CheckViolation):
        marked.execute("""INSERT INTO "a""; drop table x; --" (amount) VALUES (1000)""")


ENDLESS = """
CREATE TABLE period (id integer PRIMARY KEY, since date, until timestamp, noted timestamptz);
INSERT INTO period VALUES (1, '-infinity', 'infinity', 'infinity'), (2, 'infinity', '-infinity', '-infinity'),
    (3, '2024-02-29', '2024-02-29 10:11:12.131415', '2024-02-29 10:11:12.131415+00'), (4, NULL, NULL, NULL);
"""


def test_times_without_end_stay_so(postgres_server, marked, tmp_path):
    with postgres_server.database() as source:
        postgres_server.execute(ENDLESS, database=source)
        url = postgres_server.url(source)
        publish_as_it_is(url, marked, tmp_path)
        assert schema(marked.url)["public.period"] == schema(url)["public.period"]


SHOP = """
CREATE TYPE size AS ENUM ('s', 'm', 'l');
CREATE TABLE customers (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, email text UNIQUE);
CREATE TABLE orders (id serial PRIMARY KEY, customer integer NOT NULL REFERENCES customers, size size, tags text[],
    placed timestamptz, amount numeric(8, 2) CHECK (amount >= 0));
INSERT INTO customers (name, email) SELECT 'Ada ' || n, 'ada' || n || '@example.org' FROM generate_series(1, 200) n;
INSERT INTO orders (customer, size, tags, placed, amount)
SELECT 1 + n % 200, (ARRAY['s', 'm', 'l'])[1 + n % 3]::size, ARRAY['t' || n % 4], now() - n * interval '1 h', n % 90
FROM generate_series(1, 800) n;
"""


def test_the_command_line_marks_and_publishes(postgres_server, postgres_database, cli, tmp_path):
    with postgres_server.database() as source:
        postgres_server.execute(SHOP, database=source)
        url = postgres_server.url(postgres_database)
        written = {"source": postgres_server.url(source), "target": url, "tables": {"customers": {"subject": True}}}
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(written))
        refused = cli("run", recipe)
        assert refused.code == 4
        assert "synth-ops target init" in refused.err
        wrong = cli("target", "init", recipe, "--environment", "staging", "--confirm", "another")
        assert wrong.code == 4
        production = cli("target", "init", recipe, "--environment", "eu-prod", "--confirm", postgres_database)
        assert production.code == 4
        assert "is not marked" in cli("plan", recipe).out
        marked = cli("target", "init", recipe, "--environment", "staging", "--confirm", postgres_database)
        assert (marked.code, postgres_database in marked.out) == (0, True)
        finished = cli("run", recipe)
        assert finished.code == 0, finished.err
        assert "published generation 1" in finished.out
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM orders JOIN customers c ON c.id = customer").fetchone() == (
                800,
            )
            kinds = "SELECT pg_typeof(size)::text, pg_typeof(tags)::text FROM orders LIMIT 1"
            assert connection.execute(kinds).fetchone() == ("size", "text[]")
        assert "* " in cli("status", recipe).out
        postgres_server.execute("ALTER TABLE orders DROP COLUMN tags", database=postgres_database)
        assert "the target lacks column 'tags': publishing will be refused" in cli("plan", recipe).out
        same = tmp_path / "same.yaml"
        same.write_text(yaml.safe_dump({"source": f"{url}&user=synth", "target": url}))
        itself = cli("run", same)
        assert (itself.code, "is the source" in itself.err) == (4, True)


def test_text_comes_as_it_is_whatever_the_client_s_encoding(marked, tmp_path, monkeypatch):
    table = Table(
        name="words",
        path=("public", "words"),
        columns=(Column(name="id", type="INTEGER"), Column(name="said", type="VARCHAR")),
        primary_key=("id",),
    )
    data = {"words": write_table(tmp_path / "words", table, [(1, "naïve café €")])}
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    marked.target().publish(Metadata(tables=(table,)), data, copy_id="1", keep=1, progress=unheard)
    monkeypatch.delenv("PGCLIENTENCODING")
    assert marked.rows("SELECT said FROM words") == [("naïve café €",)]


def test_generated_columns_of_another_dialect_are_left_out_by_name(marked, tmp_path, caplog):
    twice = GeneratedColumn(name="twice", type="int(11)", position=1, expression="(`id` * 2)", stored=True, comment="x")
    table = Table(
        name="numbers",
        path=("shop", "numbers"),
        columns=(Column(name="id", type="INTEGER"),),
        primary_key=("id",),
        generated=(twice,),
    )
    data = {"numbers": write_table(tmp_path / "numbers", table, [(1,), (2,)])}
    metadata = Metadata(tables=(table,), dialect="mysql")
    marked.target().publish(metadata, data, copy_id="1", keep=1, progress=unheard)
    assert marked.rows("SELECT * FROM numbers ORDER BY id") == [(1,), (2,)]
    assert "not declared: twice" in caplog.text
