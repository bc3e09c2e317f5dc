"""The gate looks at a copy as a PostgreSQL target holds it: users' own suites run there, and queries are planned."""

from __future__ import annotations

import shutil

import psycopg
import pytest
import yaml

from synth_ops.artifact_io import read_report
from synth_ops.errors import GateFailedError
from synth_ops.recipe import parse_recipe
from synth_ops.run import run_all, run_step
from synth_ops.store import Store

SHOP = """
CREATE SCHEMA hr;
CREATE TABLE "Customers" (id integer PRIMARY KEY, "E-mail" text NOT NULL UNIQUE, city text NOT NULL, credit integer);
CREATE TABLE orders (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES "Customers", state text NOT NULL,
    placed date NOT NULL, total numeric(8, 2) NOT NULL);
CREATE TABLE hr.staff (id integer PRIMARY KEY, level text NOT NULL);
CREATE INDEX by_customer ON orders (customer);
CREATE INDEX by_total ON orders (total);
INSERT INTO "Customers" SELECT i, 'ada.' || i || '@example.org', (ARRAY['Oslo', 'Lyon', 'Gent'])[1 + i % 3], i % 90
    FROM generate_series(1, 1500) i;
INSERT INTO orders SELECT i, 1 + i % 1500, (ARRAY['new', 'paid', 'sent'])[1 + i % 3], DATE '2024-01-01' + i % 300,
    (i * 7919) % 10000 / 10.0 FROM generate_series(1, 9000) i;
INSERT INTO hr.staff SELECT i, (ARRAY['low', 'high'])[1 + i % 2] FROM generate_series(1, 60) i;
ANALYZE;
"""
LEVELS = """
import great_expectations as gx
import great_expectations.expectations as gxe

class ExpectColumnValuesToBeLevels(gxe.ExpectColumnValuesToBeInSet):
    value_set: list = ["low", "high"]

def build():
    rules = [ExpectColumnValuesToBeLevels(column="level")]
    yield gx.ExpectationSuite(name="hr.staff", expectations=rules)
"""
"""A suite in Python, with an expectation of its own class."""
QUERY = "SELECT * FROM orders WHERE total BETWEEN 100 AND 101"
OFF = {"policy": "off-for-privacy", "reason": "nobody's data"}


@pytest.fixture(scope="module")
def source(postgres_server):
    """A shop on a server, which is only read."""
    with postgres_server.database() as name:
        postgres_server.execute(SHOP, database=name)
        yield postgres_server.url(name)


def gx_suites(folder, **suites):
    """Suites as Great Expectations itself writes them into a project; the folder that holds them."""
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=str(folder))
    context.enable_analytics(enable=False)
    for name, expectations in suites.items():
        context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
    return folder / "gx" / "expectations"


def gated(recipe, store):
    """The report on a copy of the recipe's source, passed or not."""
    ref = None
    for step in ("snapshot", "fit", "sample"):
        ref = run_step(recipe, step, store=store, needs=ref).ref
    try:
        return read_report(store, run_step(recipe, "gate", store=store, needs=ref).ref)
    except GateFailedError as failure:
        from synth_ops.artifacts import ArtifactKind, ArtifactRef

        return read_report(store, ArtifactRef(kind=ArtifactKind.REPORT, id=failure.report_id))


def found(report, check):
    return {o.evidence.subject: o for o in report.outcomes if o.evidence.check == check}


def homes(marked):
    return marked.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^synth_ops_[0-9]'")


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")  # Great Expectations' own import
@pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")
def test_a_suite_made_by_great_expectations_runs_on_the_staged_table(source, marked, tmp_path, install):
    import great_expectations.expectations as gxe

    folder = gx_suites(
        tmp_path / "project",
        Customers=[
            gxe.ExpectColumnValuesToMatchRegex(column="E-mail", regex="@"),
            gxe.ExpectColumnMeanToBeBetween(column="credit", min_value=20, max_value=70),
            gxe.UnexpectedRowsExpectation(  # other tables are those beside it
                unexpected_rows_query="SELECT id FROM {batch} WHERE NOT EXISTS (SELECT FROM orders WHERE total > 0)"
            ),
            gxe.UnexpectedRowsExpectation(  # which Great Expectations gives an alias of its own on a server
                unexpected_rows_query="SELECT c.id FROM {batch} c WHERE c.credit < 0"
            ),
        ],
        orders=[gxe.ExpectColumnDistinctValuesToBeInSet(column="state", value_set=["new", "paid", "sent"])],
    )
    as_yaml = tmp_path / "yaml"
    as_yaml.mkdir()
    suite = {
        "name": "staff",
        "expectations": [
            {
                "type": "expect_column_value_lengths_to_be_between",
                "kwargs": {"column": "level", "min_value": 3, "max_value": 4},
            }
        ],
    }
    (as_yaml / "hr.staff.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    install("staff_levels", "build", LEVELS, kind="suites")
    (tmp_path / "queries.sql").write_text(QUERY, encoding="utf-8")
    suites = {"suites": [str(folder), str(as_yaml)], "python_suites": ["staff_levels"]}
    document = {"source": source, "target": marked.url, "gate": {**OFF, **suites, "queries": ["queries.sql"]}}
    recipe, store = parse_recipe(document).at(tmp_path), Store(tmp_path / "store")
    report = gated(recipe, store)
    assert report.verdict == "passed", [o.evidence for o in report.failures]
    suites = [o.evidence for o in report.outcomes if o.evidence.check.startswith("suite.")]
    assert {(each.subject, each.n) for each in suites} == {
        ("Customers.E-mail", 1500),
        ("Customers.credit", 1500),
        ("Customers", 1500),
        ("orders.state", 9000),
        ("hr.staff.level", 60),
    }
    details = [each.detail for each in suites]
    assert details.count("on the staged table, by the target's server") == 6
    assert max(details) == "the target's server could not run it"
    (shapes,) = found(report, "fidelity.plan_shape").values()
    assert shapes.passed
    assert shapes.evidence.n > 8
    assert 0.8 <= shapes.evidence.ci_high <= 1
    (own,) = found(report, "fidelity.own_plan_shape").values()
    assert (own.passed, own.evidence.subject) == (True, "queries.sql #1")
    staged = homes(marked)
    assert staged
    before = marked.server.log.count("FROM STDIN")
    run_all(recipe, store=store)
    assert marked.server.log.count("FROM STDIN") == before  # it is published from where it was loaded
    assert marked.rows("SELECT count(*) FROM orders") == [(9000,)]
    marked.execute("DROP INDEX by_total")  # the next copy's table is made like this one
    own = found(gated(recipe.with_changes(seed=2), store), "fidelity.own_plan_shape")["queries.sql #1"]
    assert not own.passed
    assert own.evidence.severity == "warning"
    assert own.evidence.detail.startswith("from the source: ")
    assert "by_total" not in own.evidence.detail


def test_of_a_copy_that_fails_a_suite_nothing_stays_and_no_value_is_told(source, marked, tmp_path):
    suite = {
        "expectations": [
            {"type": "expect_column_mean_to_be_between", "kwargs": {"column": "credit", "max_value": 1}},
            {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "E-mail", "regex": "^nobody$"}},
        ]
    }
    (tmp_path / "Customers.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    document = {"source": source, "target": marked.url, "gate": {**OFF, "suites": ["Customers.yaml"]}}
    logged = len(marked.server.log)
    report = gated(parse_recipe(document).at(tmp_path), Store(tmp_path / "store"))
    assert {o.evidence.check: o.evidence.value for o in report.failures} == {
        "suite.expect_column_mean_to_be_between": 1.0,
        "suite.expect_column_values_to_match_regex": 1500.0,
    }
    assert homes(marked) == []
    assert marked.rows("SELECT count(*) FROM synth_ops.generation") == [(0,)]
    said = marked.server.log[logged:] + "".join(
        file.read_text(encoding="utf-8") for file in report.html.parent.iterdir() if file.is_file()
    )
    assert "EXPLAIN" in said
    assert "@example." not in said


def test_where_the_copy_can_not_be_loaded_suites_run_on_its_files(source, postgres_server, postgres_database, tmp_path):
    suite = {
        "expectations": [{"type": "expect_column_mean_to_be_between", "kwargs": {"column": "credit", "min_value": 1}}]
    }
    (tmp_path / "Customers.json").write_text(yaml.safe_dump(suite), encoding="utf-8")
    shutil.move(tmp_path / "Customers.json", tmp_path / "Customers.yaml")
    document = {
        "source": source,
        "target": postgres_server.url(postgres_database),
        "gate": {**OFF, "suites": ["Customers.yaml"]},
    }
    report = gated(parse_recipe(document).at(tmp_path), Store(tmp_path / "store"))
    (own,) = found(report, "suite.expect_column_mean_to_be_between").values()
    assert own.passed
    assert own.evidence.detail.startswith("on all rows; not in the target, as it could not be loaded there: ")
    (shapes,) = found(report, "fidelity.plan_shape").values()
    assert (shapes.passed, shapes.evidence.severity) == (False, "warning")


def test_a_recipe_may_keep_copies_out_of_the_target_until_they_pass(source, marked, tmp_path):
    document = {"source": source, "target": marked.url, "gate": {**OFF, "stage": False}}
    report = gated(parse_recipe(document).at(tmp_path), Store(tmp_path / "store"))
    assert report.verdict == "passed"
    assert not found(report, "fidelity.plan_shape")
    assert homes(marked) == []


@pytest.mark.parametrize(
    ("query", "shape"),
    [
        ('SELECT * FROM "Customers" WHERE id = 7', "Index Scan Customers"),
        ("SELECT * FROM orders LIMIT 3", "Limit(Seq Scan orders)"),
        (
            'SELECT * FROM orders JOIN "Customers" c ON c.id = customer WHERE c.id = 4',
            "Nested Loop(Index Scan Customers, Bitmap Heap Scan orders(Bitmap Index Scan))",
        ),
        ("WITH orders AS (SELECT 1 AS one) SELECT * FROM orders", "Result"),
        ('SELECT * FROM "hr.staff" s', "Seq Scan hr.staff"),
        ("SELECT strftime(placed, '%Y') FROM orders", ""),
    ],
)
def test_shapes_name_tables_and_the_ways_to_them_alone(source, query, shape):
    from synth_ops.postgresql_plans import plan_shapes

    tables = {"Customers": ("public", "Customers"), "orders": ("public", "orders"), "hr.staff": ("hr", "staff")}
    with psycopg.connect(source) as connection:
        assert plan_shapes(connection, [query], tables) == [shape]
