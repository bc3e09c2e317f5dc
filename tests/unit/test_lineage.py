"""What tables are called in others' catalogues."""

from __future__ import annotations

import pytest

from synth_ops.lineage import table_dataset
from synth_ops.location import parse_location


@pytest.mark.parametrize(
    ("url", "table", "dataset"),
    [
        ("postgresql://u:hunter2@DB/shop", "orders", ("postgres://db:5432", "shop.public.orders")),
        ("postgresql://db:6000/shop", "sales.orders", ("postgres://db:6000", "shop.sales.orders")),
        ("mysql://u:hunter2@db/shop?x=1", "orders", ("mysql://db:3306", "shop.orders")),
        ("postgresql:///shop", "orders", ("postgres://localhost:5432", "shop.public.orders")),
    ],
)
def test_tables_of_servers(url, table, dataset, tmp_path):
    found = table_dataset(parse_location(url, tmp_path), table)
    assert (found.namespace, found.name) == dataset
    assert found.uri == f"{found.namespace}/{found.name.replace('.', '/')}"
    assert "hunter2" not in repr(found)


def test_tables_in_files(tmp_path):
    found = table_dataset(parse_location("sqlite:///shop.db", tmp_path), "odd/na me")
    assert (found.namespace, found.name) == ("file", f"{tmp_path}/shop.db/odd%2Fna%20me")
    assert found.uri == f"file://{tmp_path}/shop.db/odd%2Fna%20me"
