"""Metadata: what is wrong is said all at once, and every parent comes before its children."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.errors import MetadataError
from synth_ops.metadata import (
    Check,
    Column,
    ForeignKey,
    Kind,
    Metadata,
    Orphans,
    Table,
    did_you_mean,
    generation_order,
    subject_path,
)
from synth_ops.native import GeneratedColumn, Index, NativeType, Numbering
from synth_ops.testing.warehouses import SMALL_WAREHOUSE


def table(name, *references, required=(), key=("id",), **more):
    """A table with an `id`, and a column for each table that it refers to."""
    columns = [Column(name="id", type="INTEGER", nullable=False)]
    columns += [Column(name=f"{to}_id", type="INTEGER", nullable=to not in required) for to in references]
    keys = [ForeignKey(columns=(f"{to}_id",), parent=to, parent_columns=("id",)) for to in references]
    return Table(name=name, path=(name,), columns=tuple(columns), primary_key=key, foreign_keys=tuple(keys), **more)


def database(*tables):
    return Metadata(tables=tables)


def test_what_only_the_source_can_say_comes_back_from_json():
    native = Metadata(
        tables=(
            Table(
                name="t",
                path=("public", "t"),
                columns=(
                    Column(name="id", type="INTEGER", numbering=Numbering.ALWAYS, comment="the key"),
                    Column(name="mood", type="VARCHAR", native_type="public.mood", default="'ok'::public.mood"),
                ),
                foreign_keys=(
                    ForeignKey(columns=("id",), parent="t", parent_columns=("id",), clauses="ON DELETE CASCADE"),
                ),
                checks=(Check(expression="id > 0", columns=("id",), native="(id > 0)"),),
                comment="all of it",
                generated=(GeneratedColumn(name="g", type="integer", position=1, expression="(id + 1)", stored=True),),
                indexes=(Index(name="i", unique=False, definition="USING btree (id)"),),
            ),
        ),
        dialect="postgresql",
        types=(
            NativeType(path=("public", "mood"), definition="ENUM ('ok')"),
            NativeType(path=("public", "positive"), definition="integer CHECK ((VALUE > 0))", domain=True),
        ),
    )
    assert Metadata.from_json(json.loads(json.dumps(native.to_json()))) == native


def test_it_comes_back_from_json_as_it_was():
    assert Metadata.from_json(json.loads(json.dumps(SMALL_WAREHOUSE.to_json()))) == SMALL_WAREHOUSE
    odd = Table(
        name='s."x"',
        path=("s", '"x"'),
        columns=(Column(name="Ü", type="VARCHAR[]", kind=Kind.MEDIA, provider="blob", evidence="its type"),),
        uniques=(("Ü",),),
        checks=(Check(expression="length(Ü) > 1", columns=("Ü",)),),
        foreign_keys=(ForeignKey(columns=("Ü",), parent='s."x"', parent_columns=("Ü",), orphans=Orphans.KEEP),),
        subject=True,
        unsupported_checks=2,
        rows=7,
    )
    assert Metadata.from_json(json.loads(json.dumps(database(odd).to_json()))) == database(odd)


def test_the_primary_key_comes_first_and_is_required():
    one = table("a", uniques=(("b", "c"), ("id",)))
    assert one.keys == (("id",), ("b", "c"))
    assert one.required == {"id"}
    assert Table(name="a", path=("a",), columns=(), uniques=(("b",),)).keys == (("b",),)


def test_every_problem_is_named_at_once():
    broken = Table(
        name="orders",
        path=("orders",),
        columns=(Column(name="id", type="INTEGER"), Column(name="id", type="INTEGER")),
        primary_key=("idd",),
        foreign_keys=(
            ForeignKey(columns=("custmer",), parent="custmers", parent_columns=("id",)),
            ForeignKey(columns=("id",), parent="customers", parent_columns=("id", "nme")),
        ),
    )
    customers = Table(name="customers", path=("customers",), columns=(Column(name="id", type="INTEGER"),))
    empty = Table(name="nothing", path=("nothing",), columns=())
    with pytest.raises(MetadataError) as caught:
        database(broken, customers, empty, empty).validate()
    said = caught.value.problems
    assert len(said) == len(set(said)) + said.count("table 'nothing' has no columns") - 1
    for part in (
        "table 'nothing' is listed twice",
        "table 'orders' lists column 'id' twice",
        "names column 'idd', which it does not have; did you mean 'id'?",
        "no column 'custmer' in 'orders'",
        "there is no such table; did you mean 'customers'?",
        "no column 'nme' in 'customers'",
        "1 columns refer to 2",
        "table 'nothing' has no columns",
    ):
        assert any(part in problem for problem in said), part
    assert caught.value.hint


def test_what_is_not_there_is_asked_for_in_vain():
    with pytest.raises(MetadataError, match="no table 'order'; did you mean 'orders'"):
        SMALL_WAREHOUSE.table("order")
    with pytest.raises(MetadataError, match="'orders' has no column 'paied'; did you mean 'paid'"):
        SMALL_WAREHOUSE.table("orders").column("paied")
    assert did_you_mean("x", ["completely different"]) == ""


def test_children_are_all_that_refer_to_a_table():
    found = [(child.name, key.columns) for child, key in SMALL_WAREHOUSE.children("orders")]
    assert found == [("order_lines", ("order_id",)), ("order_tags", ("order_id",))]


def position_of(metadata):
    order, deferred = generation_order(metadata)
    assert sorted(order) == sorted(metadata.table_names)
    return {name: place for place, name in enumerate(order)}, deferred


def test_parents_come_first_and_self_references_are_no_obstacle():
    place, deferred = position_of(database(table("c", "b"), table("b", "a", "b"), table("a")))
    assert place == {"a": 0, "b": 1, "c": 2}
    assert deferred == frozenset()


def test_a_cycle_is_opened_at_the_key_that_may_be_null():
    shop, boss = table("shop", "staff", required=("staff",)), table("staff", "shop")
    place, deferred = position_of(database(shop, boss))
    assert place == {"staff": 0, "shop": 1}
    assert [(name, key.columns) for name, key in deferred] == [("staff", ("shop_id",))]


def test_a_cycle_is_opened_outside_a_key_rather_than_inside():
    pair = table("pair", "other", key=("id", "other_id"))
    other = table("other", "pair", required=("pair",))
    _, deferred = position_of(database(pair, other))
    assert [name for name, _ in deferred] == ["other"]


def test_tables_that_hang_on_a_cycle_keep_their_keys():
    tables = [table("a", "b"), table("b", "a"), table("leaf", "a", "b"), table("root"), table("middle", "root", "leaf")]
    _, deferred = position_of(database(*tables))
    assert {name for name, _ in deferred} <= {"a", "b"}


@given(st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8), st.randoms())
@settings(deadline=None)
def test_every_key_that_is_not_put_off_finds_its_parent_made(edges, random):
    tables = []
    for number, parents in enumerate(edges):
        to = [f"t{parent}" for parent in dict.fromkeys(parents) if parent < len(edges)]
        tables.append(table(f"t{number}", *to, required=[name for name in to if random.random() < 0.5]))
    metadata = database(*tables)
    place, deferred = position_of(metadata)
    for each in tables:
        for key in each.foreign_keys:
            later = place[key.parent] > place[each.name]
            assert not later or (each.name, key) in deferred
            assert key.parent != each.name or (each.name, key) not in deferred
    acyclic = database(*(table(t.name, *[k.parent for k in t.foreign_keys if k.parent < t.name]) for t in tables))
    assert generation_order(acyclic)[1] == frozenset()


def test_the_path_to_a_person_is_the_shortest():
    person, visit = table("person", subject=True), table("visit", "person")
    note, word = table("note", "visit"), table("word")
    metadata = database(person, visit, note, word)
    assert subject_path(metadata, "person") == ()
    assert [key.parent for key in subject_path(metadata, "note")] == ["visit", "person"]
    assert subject_path(metadata, "word") is None


def test_of_two_people_as_near_the_more_numerous_counts():
    patient, doctor = table("patient", subject=True, rows=500), table("doctor", subject=True, rows=20)
    visit = table("visit", "doctor", "patient")
    assert [key.parent for key in subject_path(database(patient, doctor, visit), "visit")] == ["patient"]


def test_a_shop_is_not_its_managers():
    shop, staff = table("shop", "staff"), table("staff", "shop", required=("shop",), subject=True)
    assert subject_path(database(shop, staff), "shop") is None
