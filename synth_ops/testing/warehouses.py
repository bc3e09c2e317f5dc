"""A small shop with every kind of key, whose sensitive values are canaries: seen again anywhere, they prove a leak."""

from __future__ import annotations

import datetime as dt
import functools
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.metadata import Check, Column, ForeignKey, Kind, Metadata, Table

if TYPE_CHECKING:
    import pyarrow as pa

CANARY_TEXT = "c4nary"
"""Part of every name, e-mail address and note in the small warehouse."""
CANARY_NUMBER = 867_530_901
"""The credit limit of one customer, and of nobody else."""
CANARIES = (CANARY_TEXT, str(CANARY_NUMBER))
"""What may be found in no message, log, report, model or copy."""

_FIRST_DAY = dt.date(2024, 1, 1)
_CITIES = ("Oslo", "Lyon", "Gent", "Porto")
_TAGS = ("gift", "fragile", "express", "bulky")

CUSTOMERS = Table(
    name="customers",
    path=("customers",),
    columns=(
        Column(name="customer_id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="name", type="VARCHAR", nullable=False, kind=Kind.PII, provider="name"),
        Column(name="email", type="VARCHAR", nullable=False, kind=Kind.PII, provider="email"),
        Column(name="city", type="VARCHAR"),
        Column(name="born", type="DATE", kind=Kind.DATETIME),
        Column(name="credit_limit", type="BIGINT", kind=Kind.NUMERICAL),
    ),
    primary_key=("customer_id",),
    uniques=(("email",),),
    subject=True,
)
EMPLOYEES = Table(
    name="employees",
    path=("employees",),
    columns=(
        Column(name="employee_id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="name", type="VARCHAR", nullable=False, kind=Kind.PII, provider="name"),
        Column(name="manager_id", type="INTEGER", kind=Kind.ID),
    ),
    primary_key=("employee_id",),
    foreign_keys=(ForeignKey(columns=("manager_id",), parent="employees", parent_columns=("employee_id",)),),
    subject=True,
)
ORDERS = Table(
    name="orders",
    path=("orders",),
    columns=(
        Column(name="order_id", type="BIGINT", nullable=False, kind=Kind.ID),
        Column(name="customer_id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="employee_id", type="INTEGER", kind=Kind.ID),
        Column(name="ordered_at", type="TIMESTAMP", nullable=False, kind=Kind.DATETIME),
        Column(name="paid", type="BOOLEAN", nullable=False),
        Column(name="note", type="VARCHAR", kind=Kind.TEXT),
    ),
    primary_key=("order_id",),
    foreign_keys=(
        ForeignKey(columns=("customer_id",), parent="customers", parent_columns=("customer_id",)),
        ForeignKey(columns=("employee_id",), parent="employees", parent_columns=("employee_id",)),
    ),
)
ORDER_LINES = Table(
    name="order_lines",
    path=("order_lines",),
    columns=(
        Column(name="order_id", type="BIGINT", nullable=False, kind=Kind.ID),
        Column(name="line", type="SMALLINT", nullable=False, kind=Kind.ID),
        Column(name="quantity", type="INTEGER", nullable=False, kind=Kind.NUMERICAL),
        Column(name="price", type="DECIMAL(10,2)", nullable=False, kind=Kind.NUMERICAL),
        Column(name="weight_kg", type="DOUBLE", kind=Kind.NUMERICAL),
    ),
    primary_key=("order_id", "line"),
    foreign_keys=(ForeignKey(columns=("order_id",), parent="orders", parent_columns=("order_id",)),),
    checks=(
        Check(expression="quantity > 0", columns=("quantity",)),
        Check(expression="price >= 0", columns=("price",)),
    ),
)
RETURNS = Table(
    name="returns",
    path=("returns",),
    columns=(
        Column(name="return_id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="order_id", type="BIGINT", kind=Kind.ID),
        Column(name="line", type="SMALLINT", kind=Kind.ID),
        Column(name="reason", type="VARCHAR"),
    ),
    primary_key=("return_id",),
    foreign_keys=(ForeignKey(columns=("order_id", "line"), parent="order_lines", parent_columns=("order_id", "line")),),
)
TAGS = Table(
    name="tags",
    path=("tags",),
    columns=(
        Column(name="tag_id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="label", type="VARCHAR", nullable=False),
    ),
    primary_key=("tag_id",),
    uniques=(("label",),),
)
ORDER_TAGS = Table(
    name="order_tags",
    path=("order_tags",),
    columns=(
        Column(name="order_id", type="BIGINT", nullable=False, kind=Kind.ID),
        Column(name="tag_id", type="INTEGER", nullable=False, kind=Kind.ID),
    ),
    primary_key=("order_id", "tag_id"),
    foreign_keys=(
        ForeignKey(columns=("order_id",), parent="orders", parent_columns=("order_id",)),
        ForeignKey(columns=("tag_id",), parent="tags", parent_columns=("tag_id",)),
    ),
)
SMALL_WAREHOUSE = Metadata(tables=(CUSTOMERS, EMPLOYEES, ORDERS, ORDER_LINES, RETURNS, TAGS, ORDER_TAGS))
"""A self-reference, a composite foreign key to a composite primary key, an m:n table, CHECKs, nullable references."""


def small_warehouse(folder: Path, *, customers: int = 40, seed: int = 0) -> tuple[Metadata, dict[str, TableData]]:
    """Write the small warehouse as Parquet files; every declared constraint holds.

    Args:
        folder: Where the files go; made if need be.
        customers: How many; about two orders each, two lines an order.
        seed: The same seed gives the same rows.

    Returns:
        Its metadata, kinds decided, and its tables.
    """
    rows = small_warehouse_rows(customers=customers, seed=seed)
    return SMALL_WAREHOUSE, {
        table.name: write_table(folder, table, rows[table.name]) for table in SMALL_WAREHOUSE.tables
    }


def small_warehouse_rows(*, customers: int = 40, seed: int = 0) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every table, in the order of its columns."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    orders = range(1, 2 * customers + 1)
    lines = [(order, line) for order in orders for line in range(1, rng.randint(1, 3) + 1)]
    staff = max(2, customers // 8)
    return {
        "customers": [_customer(number, rng) for number in range(1, customers + 1)],
        "employees": [
            (number, f"Chief {CANARY_TEXT}{number}", None if number == 1 else rng.randint(1, number - 1))
            for number in range(1, staff + 1)
        ],
        "orders": [_order(number, customers, staff, rng) for number in orders],
        "order_lines": [
            (*key, rng.randint(1, 9), Decimal(rng.randint(100, 9999)) / 100, rng.choice([None, rng.random() * 20]))
            for key in lines
        ],
        "returns": [
            (number, *(key if number % 5 else (None, None)), rng.choice(["broken", "late", None]))
            for number, key in enumerate(rng.sample(lines, len(lines) // 6), start=1)
        ],
        "tags": list(enumerate(_TAGS, start=1)),
        "order_tags": [
            (order, tag) for order in orders for tag in sorted(rng.sample(range(1, len(_TAGS) + 1), rng.randint(0, 2)))
        ],
    }


def write_table(
    folder: Path, table: Table, rows: Sequence[Sequence[Any]], *, rows_per_file: int | None = None
) -> TableData:
    """Write a table's rows as Parquet, with the Arrow types that its DuckDB types mean.

    Args:
        folder: Where the files go; made if need be.
        rows: In the order of the table's columns.
        rows_per_file: Start a new file after so many; one file when None.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(table.columns)
    schema = arrow_schema(table)
    data = pa.Table.from_arrays(
        [pa.array(values, type=field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
    size = rows_per_file or max(len(rows), 1)
    files = []
    for number, start in enumerate(range(0, max(len(rows), 1), size)):
        files.append((folder / f"{quote(table.name, safe='')}-{number:05}.parquet").absolute())
        pq.write_table(data.slice(start, size), files[-1], compression="zstd")
    return TableData(rows=len(rows), files=tuple(files))


@functools.cache
def arrow_schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table's Parquet files."""
    columns = ", ".join(f"NULL::{column.type} AS {sql.quote(column.name)}" for column in table.columns)
    with sql.connect() as connection:
        return connection.sql(f"SELECT {columns}").to_arrow_reader().schema


def leaked_canaries(text: str, canaries: Sequence[str] = CANARIES) -> list[str]:
    """The canaries that a text holds."""
    return [canary for canary in canaries if canary in text]


def rows_by_name(metadata: Metadata, tables: Mapping[str, TableData]) -> dict[str, list[tuple[Any, ...]]]:
    """Read all rows back, in file order, as Python values."""
    import pyarrow.parquet as pq

    return {
        name: [
            tuple(row[column] for column in metadata.table(name).column_names)
            for file in data.files
            for row in pq.read_table(file).to_pylist()
        ]
        for name, data in tables.items()
    }


def _customer(number: int, rng: random.Random) -> tuple[Any, ...]:
    return (
        number,
        f"Ada {CANARY_TEXT}{number}",
        f"ada.{CANARY_TEXT}{number}@example.org",
        rng.choice([*_CITIES, None]),
        _FIRST_DAY - dt.timedelta(days=rng.randint(7000, 25000)),
        CANARY_NUMBER if number == 1 else rng.choice([None, rng.randint(1, 50) * 100]),
    )


def _order(number: int, customers: int, staff: int, rng: random.Random) -> tuple[Any, ...]:
    return (
        number,
        rng.randint(1, customers),
        rng.choice([None, rng.randint(1, staff)]),
        dt.datetime.combine(_FIRST_DAY, dt.time()) + dt.timedelta(minutes=rng.randint(0, 500_000)),
        rng.random() < 0.8,  # noqa: PLR2004 - four in five
        f"leave it with {CANARY_TEXT}{number}" if rng.random() < 0.5 else None,  # noqa: PLR2004 - every second
    )
