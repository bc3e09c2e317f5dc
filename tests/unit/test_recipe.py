"""Recipes: what is accepted, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from synth_ops.errors import RecipeError
from synth_ops.metadata import Kind, Orphans
from synth_ops.recipe import load_recipe, parse_recipe, recipe_schema

SMALLEST = {"source": "warehouse.duckdb", "target": "copy.duckdb"}


def written(folder: Path, text: str) -> Path:
    path = folder / "nightly.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(document: object) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(document)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_smallest_recipe_has_defaults_for_the_rest():
    recipe = parse_recipe(SMALLEST)
    assert recipe.generator == "relational_trees"
    assert (recipe.seed, recipe.scale, recipe.publish.keep_generations) == (0, 1.0, 3)
    assert recipe.tables == {}


def test_everything_that_can_be_said():
    recipe = parse_recipe(
        {
            **SMALLEST,
            "tables": {
                "flights": {
                    "primary_key": "id",
                    "unique": ["code", ["a", "b"]],
                    "foreign_keys": [{"columns": "dest", "references": "airports", "orphans": "keep"}],
                    "checks": ["distance > 0"],
                    "columns": {"email": {"kind": "pii", "provider": "email"}},
                }
            },
            "gate": {"thresholds": {"fidelity.column_distance": 0.1}},
        }
    )
    table = recipe.tables["flights"]
    assert table.primary_key == ("id",)
    assert table.unique == (("code",), ("a", "b"))
    assert table.foreign_keys[0].orphans is Orphans.KEEP
    assert table.columns["email"].kind is Kind.PII
    with pytest.raises(Exception, match="frozen"):
        recipe.seed = 3


def test_sections_with_nothing_below_them_are_as_good_as_absent():
    recipe = parse_recipe(
        yaml.safe_load("{source: a.db, target: b.db, gate: , tables: {flights: , planes: {unique: }}}")
    )
    assert set(recipe.tables) == {"flights", "planes"}
    assert recipe == parse_recipe({"source": "a.db", "target": "b.db", "tables": {"flights": {}, "planes": {}}})
    assert "'source' is missing" in refusal({"source": None, "target": "b"})
    assert "'tabels'" in refusal({**SMALLEST, "tabels": None})


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"sorce": 1}, "unknown key 'sorce'; did you mean 'source'?"),
        ({"zzz": 1}, "known here: drift, fit, gate, generator"),
        ({"tables": {"t": {"primary_keys": ["a"]}}}, "'tables.t.primary_keys'; did you mean 'primary_key'?"),
        ({"tables": {"columns": {"exclud": True}}}, "did you mean 'exclude'?"),
        ({"tables": {"gate": {"columns": {"fixtures": {"exclud": True}}}}}, "did you mean 'exclude'?"),
        ({"tables": {"t": {"fixtures": {"were": "a"}}}}, "did you mean 'where'?"),
        ({"tables": {"t": {"columns": {"c": {"knd": "id"}}}}}, "did you mean 'kind'?"),
        ({"tables": {"t": {"foreign_keys": [{"columns": "a", "reference": "p"}]}}}, "did you mean 'references'?"),
        ({"gate": {"suite": []}}, "did you mean 'suites'?"),
        ({"publish": {"keep": 3}}, "known here: deny, dependents, keep_generations"),
        ({"tables": {"t": {"columns": {"c": {"kind": "secret"}}}}}, "'tables.t.columns.c.kind'"),
        ({"tables": {"t": {"columns": {"c": {"kind": "pi"}}}}}, "did you mean 'pii'?"),
        ({"tables": {"t": {"foreign_keys": [{"columns": "a", "references": "p", "orphans": "kep"}]}}}, "'keep'?"),
        ({"tables": {"t": {"primary_key": []}}}, "at least one column"),
        ({"tables": {"t": {"unique": [["a", "a"]]}}}, "names a column twice"),
        ({"scale": 0}, "'scale'"),
        ({"scale": float("nan")}, "'scale'"),
        ({"seed": -1}, "'seed'"),
        ({"gate": {"thresholds": {"x": float("inf")}}}, "'gate.thresholds.x'"),
        ({"generator_settings": {"when": yaml.safe_load("2024-01-01")}}, "'generator_settings'"),
        ({"publish": {"keep_generations": 0}}, "'publish.keep_generations'"),
        ({"tables": []}, "'tables'"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(extra, message):
    assert message in refusal({**SMALLEST, **extra})


def test_every_problem_at_once():
    text = refusal({"target": "x", "sorce": 1, "seed": "many"})
    assert all(part in text for part in ("'source' is missing", "'sorce'", "'seed'"))


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_not_a_mapping(document):
    assert "not a mapping" in refusal(document)


def test_messages_hold_no_value():
    assert "hunter2" not in refusal({**SMALLEST, "tables": {"t": {"columns": {"c": {"kind": "hunter2"}}}}})
    assert "hunter2" not in refusal({**SMALLEST, "seed": "hunter2", "gate": {"thresholds": {"x": "hunter2"}}})


def test_files(tmp_path, monkeypatch):
    path = written(tmp_path, "source: data/${NAME}.duckdb\ntarget: sqlite:///out.db\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.folder) == ("nightly", tmp_path)
    with pytest.raises(RecipeError, match="not set: NAME"):
        recipe.source_location()
    monkeypatch.setenv("NAME", "real")
    assert recipe.source_location().path == tmp_path / "data" / "real.duckdb"
    assert recipe.target_location().path == tmp_path / "out.db"
    assert "real" not in repr(recipe)
    path.rename(tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").name == tmp_path.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: a\ntarget: [b\n", "is not YAML at line 3"),
        ("source: a\ntarget: b\nsource: c\n", "line 3, column 1: key 'source' stands here twice"),
        ("source: a\ntarget: b\ntables:\n  t: {}\n  t: {}\n", "key 't' stands here twice"),
        ("source: !!python/object:os.system a\n", "is not YAML"),
        ("source: 2024-13-45\n", "put dates and codes in quotes"),
        ("source: 2024-01-01\ntarget: b\n", "'source'"),
        ("", "not a mapping"),
    ],
)
def test_files_that_are_no_recipe(text, message, tmp_path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(tmp_path, text))
    assert message in str(caught.value)


def test_merge_keys_of_yaml_still_work(tmp_path):
    text = "source: a.db\ntarget: b.db\ntables:\n  a: &a {exclude: true}\n  b:\n    <<: *a\n    subject: true\n"
    assert load_recipe(written(tmp_path, text)).tables["b"].exclude


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(RecipeError, match="can't read recipe"):
            load_recipe(path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("source: é".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(path)


def test_the_schema_accepts_recipes_and_refuses_unknown_keys():
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({**SMALLEST, "tables": {"t": {"primary_key": ["a"]}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**SMALLEST, "sorce": 1}, schema)
    assert all("description" in field for field in schema["properties"].values() if "$ref" not in field)


def test_connections_take_the_place_of_urls_and_stay_out_of_sight(tmp_path):
    file = written(tmp_path, "target: copy.duckdb\nseed: 3\n")
    recipe = load_recipe(file, source="sqlite:///hunter2.db").with_changes(seed="7", scale=None)
    assert (recipe.seed, recipe.scale, recipe.name) == (7, 1.0, "nightly")
    assert recipe.source_location().path == tmp_path / "hunter2.db"
    assert recipe.target_location().path == tmp_path / "copy.duckdb"
    moved = recipe.with_locations(target="sqlite:///hunter3.db")
    assert (moved.source_location().path.name, moved.target_location().path.name) == ("hunter2.db", "hunter3.db")
    for shown in (repr(moved), str(moved), moved.model_dump_json()):
        assert "hunter" not in shown


def test_a_recipe_without_a_source_needs_one_from_elsewhere(tmp_path):
    file = written(tmp_path, "target: copy.duckdb\n")
    with pytest.raises(RecipeError, match="'source' is missing"):
        load_recipe(file)
    with pytest.raises(RecipeError, match="'target' is missing"):
        load_recipe(written(tmp_path, "seed: 1\n"), source="a.duckdb")


def test_a_change_is_held_to_the_same_rules():
    with pytest.raises(RecipeError, match=r"'seed': .*unknown key 'sede'"):
        parse_recipe(SMALLEST).with_changes(seed=-1, sede=2)
