"""A generation in the making: its tables beside the live ones, whole, under names of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from synth_ops import sql
from synth_ops.artifacts import TableData
from synth_ops.metadata import Metadata
from synth_ops.mysql_server import Connection, rows
from synth_ops.ports import PublishRules
from synth_ops.targets import staying
from synth_ops.targets.mysql import declarations
from synth_ops.targets.mysql.carry_over import carry_over
from synth_ops.targets.mysql.connection import explained
from synth_ops.targets.mysql.draft import Draft
from synth_ops.targets.mysql.loading import load
from synth_ops.targets.mysql.staying import LiveRows
from synth_ops.targets.publication import Tick


def build(
    connection: Connection,
    metadata: Metadata,
    draft: Draft,
    tables: Mapping[str, TableData],
    rules: PublishRules,
    *,
    label: str,
    tick: Tick,
) -> dict[str, int]:
    """Make every table, with its rows and those that stay; returns the tables' numbers of rows."""
    order = declarations.collation(connection)
    live = LiveRows(connection, draft)
    with explained(label, "rows that stay"):
        stays = staying.gather(live, metadata, [plan.table.name for plan in draft.plans], rules)
    count = {}
    with sql.connect() as reader, tempfile.TemporaryDirectory(prefix="synth-ops-") as scratch:
        shifts = staying.shifts(live, reader, metadata, tables, stays) if stays else {}
        for plan in draft.plans:
            table, home, data = plan.table, plan.home, tables[plan.table.name]
            moved = {column: shift for (name, column), shift in shifts.items() if name == table.name}
            with explained(label, f"table {table.name!r}"):
                native = True
                if plan.alike:
                    rows(connection, f"CREATE TABLE {sql.quote(home)} LIKE {sql.quote(table.name)}")
                else:
                    native = declarations.create(connection, metadata, table, home, order)
                load(connection, reader, table, home, data, Path(scratch), native=native, shifts=moved)
                count[table.name] = data.rows + staying.insert(live, table, stays)
                if not plan.alike:
                    declarations.add_keys(connection, table, home, native=native)
            tick(f"table {table.name}")
    for plan in draft.plans:
        with explained(label, f"table {plan.table.name!r}"):
            declarations.add_foreign_keys(connection, metadata, plan.table, draft.into)
            if plan.follows:
                carry_over(connection, plan.table.name, plan.home, draft.into)
    tick("foreign keys")
    return count
