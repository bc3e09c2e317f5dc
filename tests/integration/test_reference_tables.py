"""Tables that the recipe wants copied as they are, from the plan to the published database."""

from __future__ import annotations

import duckdb
import pytest

from synth_ops.errors import RecipeError
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.recipe import parse_recipe
from synth_ops.run import latest_report, open_store, run_all
from synth_ops.steps.reference_tables import declare, put_in
from synth_ops.testing.warehouses import write_table

CANARY = "c4nary"
SOURCE = f"""
CREATE TABLE countries (code VARCHAR PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, tax DECIMAL(4,2) NOT NULL);
CREATE TABLE country_years (country VARCHAR REFERENCES countries (code), year INTEGER, rate DOUBLE,
                            PRIMARY KEY (country, year));
CREATE TABLE customers (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL, email VARCHAR NOT NULL,
                        country VARCHAR REFERENCES countries (code));
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customers (id), country VARCHAR,
                     year INTEGER, tax DECIMAL(4,2),
                     FOREIGN KEY (country, year) REFERENCES country_years (country, year));
INSERT INTO countries SELECT 'K' || i, 'Land {CANARY} ' || i, i FROM range(20) t(i);
INSERT INTO country_years SELECT 'K' || i, 2000 + y, random() FROM range(20) t(i), range(5) u(y);
INSERT INTO customers SELECT i, 'Ada ' || i, 'ada' || i || '@example.org',
                             CASE WHEN i % 10 > 0 THEN 'K' || CASE WHEN i % 3 > 0 THEN 0 ELSE i % 20 END END
                      FROM range(600) t(i);
INSERT INTO orders SELECT i, (i * 7) % 600, 'K' || i % 20, 2000 + i % 5, i % 20 FROM range(1500) t(i);
"""


@pytest.fixture
def recipe(tmp_path):
    with duckdb.connect(str(tmp_path / "source.duckdb")) as connection:
        connection.execute(SOURCE)

    def make(**tables):
        return parse_recipe({"source": "source.duckdb", "target": "target.duckdb", "tables": tables}).at(tmp_path)

    return make


def test_reference_tables_come_as_they_are_and_references_with_them(recipe, tmp_path):
    made = recipe(countries={"copy": True}, country_years={"copy": True})
    store = open_store(made)
    results = {result.step: result for result in run_all(made, store=store)}
    told = "\n".join(results["snapshot"].facts["warnings"])
    assert "table 'countries' is copied as it is, with 20 real rows" in told
    with duckdb.connect() as connection:
        for name in ("source", "target"):
            connection.execute(f"ATTACH '{tmp_path / name}.duckdb' AS {name} (READ_ONLY)")
        for table in ("countries", "country_years"):
            rows = [
                connection.execute(f"FROM {db}.main.{table} ORDER BY ALL").fetchall() for db in ("source", "target")
            ]
            assert rows[0] == rows[1]
        share = "SELECT avg((country = 'K0')::INT), avg((country IS NULL)::INT) FROM {}.main.customers"
        found, wanted = (connection.execute(share.format(db)).fetchone() for db in ("target", "source"))
        assert found == pytest.approx(wanted, abs=0.06)
        assert connection.execute("SELECT count(DISTINCT country) FROM target.main.orders").fetchone()[0] > 15
        assert connection.execute("SELECT count(*) FROM target.main.customers JOIN source.main.customers "
                                  "USING (email)").fetchone() == (0,)  # fmt: skip
    measures = {each.evidence.subject: each for each in latest_report(made, store=store)[0].outcomes
                if each.evidence.check == "privacy.copied_rows"}  # fmt: skip
    assert {name: each.evidence.value for name, each in measures.items()} == {"countries": 20, "country_years": 100}


def test_the_plan_tells_of_them(recipe, cli, tmp_path):
    recipe()
    (tmp_path / "recipe.yaml").write_text(
        "source: source.duckdb\ntarget: target.duckdb\ntables: {countries: {copy: true}}\n", encoding="utf-8"
    )
    told = cli("plan", tmp_path / "recipe.yaml")
    assert "countries  20 rows  (copied as it is)" in told.out
    assert "'countries' is copied as it is, with 20 real rows" in told.out + told.err


def test_what_is_no_reference_table_is_refused(recipe):
    for tables, words in (
        ({"customers": {"copy": True}}, "'customers' holds persons; table 'customers' refers to 'countries'"),
        ({"orders": {"copy": True}}, "'orders' holds what belongs to persons"),
        ({"country_years": {"copy": True}}, "refers to 'countries', which is made anew"),
    ):
        made = recipe(**tables)
        with pytest.raises(RecipeError, match=words):
            run_all(made, store=open_store(made))
    with pytest.raises(RecipeError, match="one of `exclude`, `keep` and `copy`"):
        recipe(countries={"copy": True, "exclude": True})
    with pytest.raises(RecipeError, match="did you mean 'copy'"):
        recipe(countries={"copi": True})


def test_references_move_in_order_whatever_the_generator_made(tmp_path):
    def table(name, kinds, parent="", **more):
        keys = (ForeignKey(columns=("p",), parent=parent, parent_columns=("id",)),) if parent else ()
        columns = tuple(Column(name=column, type=kind) for column, kind in kinds.items())
        return Table(name=name, path=(name,), columns=columns, foreign_keys=keys, **more)

    tables = (
        table("kinds", {"id": "VARCHAR", "word": "VARCHAR"}, primary_key=("id",)),
        table("things", {"id": "INTEGER", "p": "VARCHAR"}, "kinds", primary_key=("id",)),
    )
    metadata = declare(Metadata(tables=tables), ["kinds"])
    real = {"kinds": write_table(tmp_path / "real", tables[0], [("x", "one"), ("y", "two")])}
    drawn = {
        "kinds": write_table(tmp_path / "made", tables[0], [("a", "q"), ("b", "r"), ("c", "s")]),
        "things": write_table(tmp_path / "made", tables[1], [(3, "c"), (1, None), (2, "b"), (5, "a"), (4, "lost")]),
    }
    tables = put_in(tmp_path / "made", metadata, real, drawn)
    files = tables["things"].files
    assert duckdb.sql(f"FROM '{files[0]}'").fetchall() == [(3, "x"), (1, None), (2, "y"), (5, "x"), (4, "lost")]
    assert duckdb.sql(f"FROM '{tables['kinds'].files[0]}'").fetchall() == [("x", "one"), ("y", "two")]
    assert not any(file.exists() for data in drawn.values() for file in data.files)
