"""A DuckDB database in which everything that makes a schema hard comes together, small enough to be read in a second.

Each table is described in the words of the data sets' `dataset.json`, with the query that fills it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

TENANTS = 'tenants "é" 1'
SEED = "SELECT setseed(0.5)"


def make(path: Path) -> Path:
    """Make the database file."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")
        connection.execute(SEED)
        for name, table in TABLES.items():
            connection.execute(create_table(name, table))
            for query in table["rows"]:
                connection.execute(f"INSERT INTO {quote(name)} {query}")
    return path


def quote(name: str) -> str:
    """A quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def names(columns: Sequence[str]) -> str:
    """Quoted identifiers, joined by commas."""
    return ", ".join(map(quote, columns))


def create_table(name: str, table: Mapping[str, Any]) -> str:
    """The statement that makes a table with all that it declares."""
    lines = [
        f"{quote(column)} {facts['type']}{' NOT NULL' if facts['not_null'] else ''}"
        for column, facts in table["columns"].items()
    ]
    lines += [f"PRIMARY KEY ({names(table['primary_key'])})"] if table["primary_key"] else []
    lines += [f"UNIQUE ({names(key)})" for key in table["unique"]]
    lines += [f"CHECK ({check})" for check in table["checks"]]
    lines += [
        f"FOREIGN KEY ({names(key['columns'])}) REFERENCES {quote(key['ref_table'])} ({names(key['ref_columns'])})"
        for key in table["foreign_keys"]
        if key["enforced"]
    ]
    return f"CREATE TABLE {quote(name)} ({', '.join(lines)})"


def _reference(columns: str, table: str, to: str, *, enforced: bool = True) -> dict[str, Any]:
    return {"columns": columns.split(), "ref_table": table, "ref_columns": to.split(), "enforced": enforced}


def _table(
    columns: str,
    *rows: str,
    key: str = "",
    unique: Sequence[str] = (),
    checks: Sequence[str] = (),
    references: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """A table; a column is `name TYPE`, with `!` behind the type where it may not be NULL."""
    declared = [column.strip().rsplit(" ", 1) for column in columns.split(";")]
    return {
        "columns": {
            name.strip(): {"type": kind.rstrip("!").replace("_", " "), "not_null": kind.endswith("!")}
            for name, kind in declared
        },
        "primary_key": key.split(),
        "unique": [each.split() for each in unique],
        "checks": list(checks),
        "foreign_keys": list(references),
        "rows": rows,
    }


TABLES: dict[str, dict[str, Any]] = {
    TENANTS: _table(
        "tenant_id INTEGER; select VARCHAR!; Größe DOUBLE; a'b-c\\d INTEGER",
        "SELECT i, 'T' || (100 + i), CASE WHEN i % 3 THEN random() * 10 END, i % 4 FROM range(8) t(i)",
        key="tenant_id",
        unique=["select"],
        checks=['length("select") = 4'],
    ),
    "employee": _table(
        "tenant_id INTEGER!; emp_no INTEGER!; boss_no INTEGER; Full Name VARCHAR!; grade VARCHAR!; pay DECIMAL(9,2)",
        # one statement a level: DuckDB looks for parents among the rows of earlier statements only
        *(
            f"""SELECT i % 8, i // 8, CASE WHEN {level} THEN (i // 8) // 4 END, 'Person ' || i,
                       ['junior', 'senior', 'chief'][1 + i % 3], 1000 + (random() * 100000)::INT / 100
                FROM range(400) t(i) WHERE i // 8 BETWEEN {low} AND {high}"""
            for level, (low, high) in enumerate([(0, 0), (1, 3), (4, 15), (16, 49)])
        ),
        key="tenant_id emp_no",
        checks=["grade IN ('junior', 'senior', 'chief')", "pay > 0"],
        references=[
            _reference("tenant_id", TENANTS, "tenant_id"),
            _reference("tenant_id boss_no", "employee", "tenant_id emp_no"),
        ],
    ),
    "project": _table(
        "tenant_id INTEGER!; project_no SMALLINT!; lead_no INTEGER; Price DECIMAL(8,2)!; starts DATE!; ends DATE",
        """SELECT i % 8, i // 8, CASE WHEN i % 5 THEN (i * 7) % 50 END, 0.01 + (random() * 99998)::INT / 100,
                  DATE '2020-01-01' + i::INT,
                  CASE WHEN i % 4 THEN DATE '2020-01-01' + i::INT + (random() * 300)::INT END
           FROM range(240) t(i)""",
        key="tenant_id project_no",
        checks=['"Price" > 0 AND "Price" < 1000', "starts <= ends"],
        references=[
            _reference("tenant_id", TENANTS, "tenant_id"),
            _reference("tenant_id lead_no", "employee", "tenant_id emp_no"),
        ],
    ),
    # m:n, four of five of all pairs that a tenant can have; both references share the tenant
    "assignment": _table(
        "tenant_id INTEGER!; emp_no INTEGER!; project_no SMALLINT!; hours DOUBLE",
        """SELECT e.tenant_id, e.emp_no, p.project_no, CASE WHEN random() < .9 THEN round(random() * 40, 1) END
           FROM employee e JOIN project p USING (tenant_id)
           WHERE e.emp_no < 25 AND (e.emp_no + p.project_no) % 5 > 0""",
        key="tenant_id emp_no project_no",
        references=[
            _reference("tenant_id emp_no", "employee", "tenant_id emp_no"),
            _reference("tenant_id project_no", "project", "tenant_id project_no"),
        ],
    ),
    "badge": _table(
        "tenant_id INTEGER!; emp_no INTEGER!; code VARCHAR!; level TINYINT",
        "SELECT tenant_id, emp_no, 'B' || (100 + (tenant_id * 50 + emp_no) % 900), 1 + emp_no % 5 FROM employee",
        key="tenant_id emp_no",
        unique=["code"],
        checks=["length(code) = 4", "level BETWEEN 1 AND 5"],
        references=[_reference("tenant_id emp_no", "employee", "tenant_id emp_no")],
    ),
    "team": _table("team VARCHAR!; founded INTEGER", "SELECT 'Team ' || i, 1900 + i FROM range(12) t(i)", key="team"),
    "match": _table(
        "id BIGINT!; home VARCHAR!; away VARCHAR!; referee VARCHAR; home_goals INTEGER; away_goals INTEGER",
        """SELECT i, 'Team ' || (i % 12), 'Team ' || ((i + 1 + i % 11) % 12), 'Team ' || (i % 5),
                  (random() * 5)::INT, (random() * 3)::INT FROM range(600) t(i)""",
        key="id",
        checks=["home <> away", "home_goals >= 0"],
        references=[
            _reference("home", "team", "team"),
            _reference("away", "team", "team"),
            _reference("referee", "team", "team"),
        ],
    ),
    "ticket": _table(
        "order INTEGER!; tenant VARCHAR; group VARCHAR; limit INTEGER",
        """SELECT i, CASE WHEN i % 10 THEN 'T' || (100 + i % 8) END, ['a', 'b', NULL][1 + i % 3], i % 7
           FROM range(500) t(i)""",
        key="order",
        references=[_reference("tenant", TENANTS, "select")],
    ),
    # references that the data breaks; the recipe declares them
    "visit": _table(
        "id INTEGER!; ticket INTEGER; tenant_id INTEGER; emp_no INTEGER; stars TINYINT",
        """SELECT i, CASE WHEN i % 9 THEN (i * 3) % 600 END, i % 8, CASE WHEN i % 6 THEN i % 60 END, i % 5
           FROM range(900) t(i)""",
        key="id",
        references=[
            _reference("ticket", "ticket", "order", enforced=False),
            _reference("tenant_id emp_no", "employee", "tenant_id emp_no", enforced=False),
        ],
    ),
    "day": _table(
        "day DATE!; holiday BOOLEAN!", "SELECT DATE '2024-01-01' + i::INT, i % 7 = 0 FROM range(366) t(i)", key="day"
    ),
    "moment": _table(
        "at TIMESTAMP_WITH_TIME_ZONE!; what VARCHAR",
        "SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_minutes(i * 17), 'x' || i % 3 FROM range(300) t(i)",
        key="at",
    ),
    "thing": _table(
        "id UUID!; name VARCHAR",
        """SELECT ('00000000-0000-4000-8000-' || lpad((i * 7919)::VARCHAR, 12, '0'))::UUID, 'thing ' || i % 20
           FROM range(200) t(i)""",
        key="id",
    ),
    "amount": _table(
        "amount DECIMAL(12,2)!; currency VARCHAR",
        "SELECT i * 1.25, ['EUR', 'USD'][1 + i % 2] FROM range(1, 121) t(i)",
        key="amount",
    ),
    "flag": _table("flag BOOLEAN!; meaning VARCHAR!", "VALUES (true, 'yes'), (false, 'no')", key="flag"),
    "blob": _table(
        "digest BLOB!; size INTEGER", "SELECT encode('digest' || i), i * 3 FROM range(60) t(i)", key="digest"
    ),
    "event": _table(
        "id INTEGER!; day DATE; at TIMESTAMP_WITH_TIME_ZONE; thing UUID; amount DECIMAL(12,2);"
        " flag BOOLEAN!; digest BLOB",
        """SELECT i, DATE '2024-01-01' + (i % 366)::INT,
                  TIMESTAMPTZ '2024-01-01 00:00:00+00' + to_minutes((i % 300) * 17),
                  ('00000000-0000-4000-8000-' || lpad(((i % 200) * 7919)::VARCHAR, 12, '0'))::UUID,
                  (1 + i % 120) * 1.25,
                  i % 3 = 0, CASE WHEN i % 4 THEN encode('digest' || i % 60) END FROM range(1200) t(i)""",
        key="id",
        references=[
            _reference("day", "day", "day"),
            _reference("at", "moment", "at"),
            _reference("thing", "thing", "id"),
            _reference("amount", "amount", "amount"),
            _reference("flag", "flag", "flag"),
            _reference("digest", "blob", "digest"),
        ],
    ),
    "odd": _table(
        "id BIGINT!; nothing VARCHAR; never INTEGER; same INTEGER!; word VARCHAR!; far BIGINT; huge HUGEINT;"
        " positive UBIGINT; float DOUBLE; small FLOAT; tags VARCHAR[]; numbers INTEGER[]; span INTERVAL; noon TIME;"
        " old DATE; raw BLOB; until DATE; ever TIMESTAMP",
        """SELECT i, NULL, NULL, 7, 'same', [9223372036854775807, -9223372036854775808, i][1 + i % 3],
                  i::HUGEINT * 100000000000000000000, i::UBIGINT * 40000000000000000,
                  ['nan'::DOUBLE, 'inf', '-inf', i / 7, 1e308, -1e308][1 + i % 6], i / 3,
                  CASE WHEN i % 5 THEN ['a', 'b'][:1 + i % 2] END,
                  [i, i + 1], to_days(i % 30), TIME '12:00:00' + to_seconds(i),
                  [DATE '0001-01-01', DATE '9999-12-31', DATE '2024-02-29'][1 + i % 3], encode('raw' || i),
                  CASE WHEN i % 3 THEN DATE 'infinity' ELSE DATE '2024-01-01' + i::INT END,
                  [TIMESTAMP 'infinity', TIMESTAMP '-infinity', TIMESTAMP '2024-01-01 10:11:12.131415'][1 + i % 3]
           FROM range(400) t(i)""",
        key="id",
    ),
    "one": _table(
        "id INTEGER!; word VARCHAR!; at TIMESTAMP", "VALUES (1, 'alone', TIMESTAMP '2024-05-06 07:08:09')", key="id"
    ),
    "empty": _table("id INTEGER!; word VARCHAR!; n DOUBLE", key="id", checks=["n > 0"]),
    "of_empty": _table(
        "id INTEGER!; empty INTEGER; n INTEGER",
        "SELECT i, NULL, i % 10 FROM range(50) t(i)",
        key="id",
        references=[_reference("empty", "empty", "id")],
    ),
    "keyless": _table("a INTEGER; b VARCHAR", "SELECT i % 10, 'b' || i % 4 FROM range(300) t(i)"),
    "wide": _table(
        "; ".join(f"c{number} {['INTEGER', 'VARCHAR', 'DOUBLE'][number % 3]}" for number in range(300)),
        "SELECT "
        + ", ".join(
            ["i", *(["(i * {0}) % 11", "'v' || (i + {0}) % 6", "random()"][n % 3].format(n) for n in range(1, 300))]
        )
        + " FROM range(200) t(i)",
        key="c0",
    ),
}
"""In an order in which parents come first."""

RECIPE: dict[str, Any] = {
    "visit": {
        "foreign_keys": [
            {"columns": ["ticket"], "references": "ticket", "orphans": "keep"},
            {"columns": ["tenant_id", "emp_no"], "references": "employee", "orphans": "repair"},
        ]
    }
}
"""What the source can't declare, as its data breaks it."""
