"""Subjects on two sides, and what is found when a copy is nearer to one of them."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pyarrow as pa
import pytest

from synth_ops.artifact_io import write_table
from synth_ops.artifacts import ArtifactKind, ArtifactRef, Evidence, Severity, Snapshot, SyntheticCopy
from synth_ops.checks.efficacy import EfficacyCheck
from synth_ops.checks.engine import judge
from synth_ops.checks.holdout import HOLDOUT_LIMITS, held_out
from synth_ops.checks.memorisation import MEMORISATION_LIMITS, View, membership
from synth_ops.checks.rows import Rows, open_databases
from synth_ops.checks.separation import SEPARATION_LIMITS, separation
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Relation, Rule, Table
from synth_ops.ports import Audit, CheckContext
from synth_ops.sql import connect, relation_sql
from synth_ops.steps.gate import evaluate
from synth_ops.steps.holdout import plan_split, side_metadata, split

PEOPLE = 1_600


def number(name, **more):
    return Column(name=name, type="DOUBLE", kind=Kind.NUMERICAL, **more)


def word(name, **more):
    return Column(name=name, type="VARCHAR", kind=Kind.CATEGORICAL, **more)


def key(name):
    return Column(name=name, type="BIGINT", kind=Kind.ID, nullable=False)


PERSON = Table(
    name="person",
    path=("person",),
    subject=True,
    primary_key=("id",),
    columns=(
        key("id"),
        number("height"),
        number("weight", target=True),
        word("town", quasi_identifier=True),
        number("born", quasi_identifier=True),
        word("illness", sensitive=True),
        word("smokes", target=True),
    ),
)
SHOP = Table(name="shop", path=("shop",), primary_key=("id",), columns=(key("id"), word("kind")))
VISIT = Table(
    name="visit",
    path=("visit",),
    primary_key=("id",),
    columns=(key("id"), key("person"), key("shop"), number("paid"), number("day"), word("how")),
    foreign_keys=(
        ForeignKey(columns=("person",), parent="person", parent_columns=("id",)),
        ForeignKey(columns=("shop",), parent="shop", parent_columns=("id",)),
    ),
)


def made_up(people=PEOPLE, seed=0):
    """Tables of so many people with three visits each, as Arrow."""
    random = np.random.default_rng(seed)
    height, smokes = random.normal(170, 10, people), random.random(people) < 0.3
    town = random.choice(["Oslo", "Lyon", "Gent", "Graz"], people)
    owner = np.repeat(np.arange(people), 3)
    return {
        "person": pa.table(
            {
                "id": np.arange(people),
                "height": height,
                "weight": height - 100 + random.normal(0, 5, people) + 8 * smokes,
                "town": town,
                "born": random.uniform(1930, 2010, people).round(2),
                "illness": random.choice(["flu", "cold", "none"], people),
                "smokes": np.where(smokes, "yes", "no"),
            }
        ),
        "shop": pa.table({"id": np.arange(30), "kind": random.choice(["food", "tools"], 30)}),
        "visit": pa.table(
            {
                "id": np.arange(3 * people),
                "person": owner,
                "shop": random.integers(0, 30, 3 * people),
                "paid": random.gamma(2, 20, 3 * people),
                "day": random.uniform(0, 365, 3 * people),
                "how": random.choice(["cash", "card"], 3 * people),
            }
        ),
    }


def snapshot_of(folder, tables, *described):
    data = {name: write_table(folder, name, table.schema, table.to_batches()) for name, table in tables.items()}
    metadata = Metadata(tables=tuple(dataclasses.replace(each, rows=data[each.name].rows) for each in described))
    return Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="s"), metadata=metadata, tables=data)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return snapshot_of(tmp_path_factory.mktemp("source"), made_up(), PERSON, SHOP, VISIT)


@pytest.fixture(scope="module")
def halves(snapshot, tmp_path_factory):
    plan = plan_split(snapshot.metadata)
    return plan, split(snapshot, plan, tmp_path_factory.mktemp("halves"))


def read(data):
    with connect() as connection:
        return connection.sql(f"SELECT * FROM {relation_sql(data)}").to_arrow_table()


def context_of(snapshot, halves, copied, folder):
    """What a check gets to see when the audit's model made this copy."""
    plan, sides = halves
    data = {name: write_table(folder, name, table.schema, table.to_batches()) for name, table in copied.items()}
    audit = Audit(
        metadata=side_metadata(plan.metadata, sides.train),
        train=sides.train,
        holdout=sides.holdout,
        copy=data,
        split=plan.tables,
        subjects=sides.subjects,
        persons=plan.persons,
    )
    copy = SyntheticCopy(
        ref=ArtifactRef(kind=ArtifactKind.COPY, id="c"),
        model=ArtifactRef(kind=ArtifactKind.MODEL, id="m"),
        snapshot=snapshot.ref,
        metadata=snapshot.metadata,
        tables=data,
        seed=0,
        scale=1.0,
    )
    return CheckContext(snapshot=snapshot, copy=copy, thresholds={}, seed=0, audit=audit)


def blocked(evidence):
    failures = [o.evidence for o in judge(evidence) if not o.passed and o.evidence.severity is Severity.CRITICAL]
    return {each.check for each in failures}


def flipped(tables, share):
    """Some of the cells taken from other rows; keys stay."""
    random = np.random.default_rng(1)

    def mixed(column):
        values = column.to_numpy(zero_copy_only=False)
        return np.where(random.random(len(values)) < share, random.permutation(values), values)

    keys = {"id", "person", "shop"}
    return {
        name: pa.table({each: table[each] if each in keys else mixed(table[each]) for each in table.column_names})
        for name, table in tables.items()
    }


def test_no_subject_is_on_both_sides_and_no_row_is_lost(snapshot, halves):
    plan, sides = halves
    assert (plan.roots, plan.tables, plan.persons) == (("person",), ("person", "visit"), True)
    assert sides.subjects == {"person": PEOPLE // 2}
    people = [set(read(side["person"])["id"].to_pylist()) for side in (sides.train, sides.holdout)]
    assert not people[0] & people[1]
    assert len(people[0] | people[1]) == PEOPLE
    for side, mine in zip((sides.train, sides.holdout), people, strict=True):
        visits = read(side["visit"])["person"].to_pylist()
        assert set(visits) == mine
        assert len(visits) == 3 * len(mine)
        assert side["shop"] == snapshot.tables["shop"]


def test_the_same_subjects_are_dealt_out_again(snapshot, halves, tmp_path):
    plan, sides = halves
    again = split(snapshot, plan, tmp_path)
    assert read(again.train["visit"]).equals(read(sides.train["visit"]))


def test_of_tables_that_share_rows_one_is_split(tmp_path):
    """An encounter is its patient's; the doctors stay whole."""
    encounter = dataclasses.replace(
        VISIT, foreign_keys=(*VISIT.foreign_keys[:1], dataclasses.replace(VISIT.foreign_keys[1], parent="doctor"))
    )
    bill = Table(
        name="bill",
        path=("bill",),
        columns=(key("person"),),
        foreign_keys=(ForeignKey(columns=("person",), parent="person", parent_columns=("id",)),),
        rows=9,
    )
    doctor = dataclasses.replace(SHOP, name="doctor", subject=True, rows=900)
    tables = (dataclasses.replace(PERSON, rows=50), doctor, dataclasses.replace(encounter, rows=99), bill)
    tables = (*tables, dataclasses.replace(bill, name="letter"))
    plan = plan_split(Metadata(tables=tables))
    assert plan.roots == ("person",)
    assert "doctor" not in plan.tables


def test_without_persons_rows_are_dealt_out(tmp_path):
    nobody = dataclasses.replace(PERSON, subject=False)
    source = snapshot_of(tmp_path / "s", made_up(200), nobody, SHOP, VISIT)
    plan = plan_split(source.metadata)
    assert (plan.roots, plan.persons) == (("visit",), False)
    sides = split(source, plan, tmp_path / "h")
    assert sides.train["visit"].rows == sides.holdout["visit"].rows == 300
    assert sides.train["person"] == source.tables["person"]


def test_a_handful_of_persons_is_not_split(tmp_path):
    source = snapshot_of(tmp_path, made_up(12), PERSON, SHOP, VISIT)
    assert plan_split(source.metadata).roots == ()
    context = CheckContext(snapshot=source, copy=None, thresholds={}, seed=0, audit=Audit(persons=True))
    evidence, sensitive = held_out(context, HOLDOUT_LIMITS)
    assert blocked([evidence]) == {"privacy.holdout_subjects"}
    assert blocked([sensitive]) == {"privacy.attribute_inference"}
    assert "12 persons are too few" in evidence.detail


def test_fresh_people_pass(snapshot, halves, tmp_path):
    context = context_of(snapshot, halves, made_up(PEOPLE // 2, seed=7), tmp_path)
    evidence = held_out(context, HOLDOUT_LIMITS)
    assert blocked(evidence) == set()
    named = {each.check for each in evidence}
    assert named == {"privacy.holdout_subjects", *HOLDOUT_LIMITS}
    assert evidence == [dataclasses.replace(each, seconds=was.seconds) for each, was in
                        zip(held_out(context, HOLDOUT_LIMITS), evidence, strict=True)]  # fmt: skip


def test_a_copy_of_the_people_learned_from_is_blocked_by_every_measure(snapshot, halves, tmp_path):
    train = {name: read(data) for name, data in halves[1].train.items()}
    found = blocked(held_out(context_of(snapshot, halves, train, tmp_path), HOLDOUT_LIMITS))
    assert found == set(HOLDOUT_LIMITS)


def test_people_with_a_third_of_their_cells_exchanged_are_known_again(snapshot, halves, tmp_path):
    train = flipped({name: read(data) for name, data in halves[1].train.items()}, 0.3)
    found = blocked(held_out(context_of(snapshot, halves, train, tmp_path), HOLDOUT_LIMITS))
    assert {"privacy.dcr_share", "privacy.membership_auc"} <= found


def test_a_sensitive_column_that_nobody_can_be_held_out_for_blocks(snapshot, halves, tmp_path):
    shop = dataclasses.replace(SHOP, columns=(key("id"), word("kind", sensitive=True)), rows=30)
    context = context_of(snapshot, halves, made_up(PEOPLE // 2, seed=7), tmp_path)
    tables = tuple(shop if table.name == "shop" else table for table in snapshot.metadata.tables)
    odd = dataclasses.replace(snapshot, metadata=Metadata(tables=tables))
    assert "privacy.attribute_inference" in blocked(
        held_out(dataclasses.replace(context, snapshot=odd), HOLDOUT_LIMITS)
    )


def test_the_order_of_rows_changes_nothing(snapshot, tmp_path):
    tables = {name: read(data) for name, data in snapshot.tables.items()}
    backwards = {name: table.take(np.arange(len(table))[::-1]) for name, table in tables.items()}
    other = snapshot_of(tmp_path, backwards, PERSON, SHOP, VISIT)
    with open_databases(snapshot.metadata, one=snapshot.tables, other=other.tables) as databases:
        rows = databases.rows("visit", "person", most=1_000)
    assert 500 < len(rows.values["one"]) < 1_500
    assert np.array_equal(rows.values["one"], rows.values["other"])
    assert np.array_equal(rows.subjects["one"], rows.subjects["other"])


def test_without_an_audit_nothing_passes_unless_the_policy_asks_for_none(snapshot):
    context = CheckContext(snapshot=snapshot, copy=None, thresholds={}, seed=0)
    assert held_out(context, HOLDOUT_LIMITS) == []
    failed = held_out(dataclasses.replace(context, no_audit="FitError"), HOLDOUT_LIMITS)
    assert blocked(failed) == {"privacy.holdout_subjects"}
    assert blocked(EfficacyCheck().evaluate(context)) == set()
    assert {each.severity for each in EfficacyCheck().evaluate(context)} == {Severity.WARNING}
    unaudited = EfficacyCheck().evaluate(dataclasses.replace(context, no_audit="FitError"))
    assert blocked(unaudited) == {"efficacy.score_ratio"}


def test_a_copy_teaches_what_real_rows_teach(snapshot, halves, tmp_path):
    evidence = EfficacyCheck().evaluate(context_of(snapshot, halves, made_up(PEOPLE // 2, seed=7), tmp_path))
    assert {each.subject for each in evidence} == {
        f"person.{column}, {model}" for column in ("weight", "smokes") for model in ("LightGBM", "linear")
    }
    assert blocked(evidence) == set()


def test_a_copy_that_teaches_nothing_is_blocked(snapshot, halves, tmp_path):
    shuffled = flipped(made_up(PEOPLE // 2, seed=7), 1.0)
    evidence = EfficacyCheck().evaluate(context_of(snapshot, halves, shuffled, tmp_path))
    assert blocked(evidence) == {"efficacy.score_ratio"}


def test_a_target_of_one_class_blocks_with_the_reason(snapshot, halves, tmp_path):
    plan, sides = halves
    people = read(sides.train["person"])
    constant = people.set_column(6, "smokes", pa.array(["no"] * len(people)))
    train = {**sides.train, "person": write_table(tmp_path / "t", "person", constant.schema, constant.to_batches())}
    context = context_of(snapshot, (plan, dataclasses.replace(sides, train=train)), made_up(800, seed=7), tmp_path)
    reasons = [each.detail for each in EfficacyCheck().evaluate(context) if each.subject == "person.smokes"]
    assert reasons == ["could not be measured: it has one value only"]


class Plugin:
    name, version, thresholds = "odd", "1", {}

    def __init__(self, answer):
        self._answer = answer

    def evaluate(self, _):
        return self._answer()


def raises():
    raise ValueError("c4nary")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (raises, "ValueError"),
        (lambda: time.sleep(5), "it took longer than 0.2 s"),
        (made_up(3)["person"].to_pandas, "it returned DataFrame, not evidence"),
        (lambda: [1.0], "it returned list, not evidence"),
        (lambda: None, "it returned NoneType, not evidence"),
    ],
)
def test_a_plug_in_that_misbehaves_blocks(answer, said):
    context = CheckContext(snapshot=None, copy=None, thresholds={}, seed=0)
    (evidence,) = evaluate("odd", Plugin(answer), context, timeout_s=0.2)
    assert evidence.detail == said
    assert blocked([evidence]) == {"odd.error"}


def test_a_plug_in_that_measures_nothing_a_number_blocks():
    nan = Evidence(check="odd.x", subject="t", value=float("nan"), n=0, maximum=1.0)
    context = CheckContext(snapshot=None, copy=None, thresholds={}, seed=0)
    assert blocked(evaluate("odd", Plugin(lambda: [nan]), context, timeout_s=5)) == {"odd.x"}


def with_person(snapshot, halves, change, table):
    """Snapshot and halves whose persons are described as `change` says, in the metadata alone."""
    plan, sides = halves

    def changed(metadata):
        return Metadata(tables=tuple(change(each) if each.name == table else each for each in metadata.tables))

    snapshot = dataclasses.replace(snapshot, metadata=changed(snapshot.metadata))
    return snapshot, (dataclasses.replace(plan, metadata=changed(plan.metadata)), sides)


def described(evidence, check):
    return {(each.subject, each.severity, each.detail) for each in evidence if each.check == check}


@pytest.mark.parametrize("empty", [("train",), ("holdout",), ("train", "holdout")])
def test_a_sensitive_column_without_values_in_a_half_costs_no_other_measure(snapshot, halves, tmp_path, empty):
    plan, sides = halves
    emptied = {}
    for side in empty:
        people = read(getattr(sides, side)["person"])
        nulls = people.set_column(5, "illness", pa.nulls(len(people), pa.string()))
        person = write_table(tmp_path / side, "person", nulls.schema, nulls.to_batches())
        emptied[side] = {**getattr(sides, side), "person": person}
    halves = (plan, dataclasses.replace(sides, **emptied))
    evidence = held_out(context_of(snapshot, halves, made_up(PEOPLE // 2, seed=7), tmp_path / "c"), HOLDOUT_LIMITS)
    assert {each.check for each in evidence} == {"privacy.holdout_subjects", *HOLDOUT_LIMITS}
    one = len(empty) == 1
    reason = "one half of the subjects has no value of it" if one else "nobody has a value of it"
    severity = Severity.CRITICAL if one else Severity.WARNING
    told = ("person.illness", severity, f"could not be measured: {reason}")
    assert told in described(evidence, "privacy.attribute_inference")
    assert ("privacy.attribute_inference" in blocked(evidence)) == one


def test_what_nobody_can_be_known_by_is_told_of_and_blocks_nothing(snapshot, halves, tmp_path):
    hidden = {"height", "weight", "town", "smokes"}

    def few(table):
        columns = (
            dataclasses.replace(each, kind=Kind.ID if each.name in hidden else each.kind, sensitive=each.name == "town")
            for each in table.columns
        )
        return dataclasses.replace(table, columns=tuple(columns))

    snapshot, (plan, sides) = with_person(snapshot, halves, few, "person")
    doctors = dataclasses.replace(SHOP, name="doctor", subject=True, rows=900)
    context = context_of(snapshot, (plan, sides), made_up(PEOPLE // 2, seed=7), tmp_path)
    people = tuple(each for each in plan.metadata.tables if each.name != "visit")
    audit = dataclasses.replace(context.audit, split=("person",), metadata=Metadata(tables=people))
    source = dataclasses.replace(snapshot, metadata=Metadata(tables=(*snapshot.metadata.tables, doctors)))
    evidence = held_out(dataclasses.replace(context, audit=audit, snapshot=source), HOLDOUT_LIMITS)
    few_columns = "too few learned columns, or rows on a side, to know anybody by"
    assert described(evidence, "privacy.membership_auc") == {
        ("person", Severity.WARNING, f"could not be measured: {few_columns}"),
        ("doctor", Severity.WARNING, "could not be measured: its rows are not held out, those of person are"),
    }
    told = ("person.town", Severity.WARNING, "could not be measured: it is not a learned column")
    assert told in described(evidence, "privacy.attribute_inference")
    assert blocked(evidence) == set()


def test_rows_of_one_subject_alone_are_no_perfect_copy(snapshot, tmp_path):
    visits = made_up(seed=7)["visit"]
    visits = visits.set_column(1, "person", pa.array(np.full(len(visits), 4)))
    copy = {**snapshot.tables, "visit": write_table(tmp_path, "visit", visits.schema, visits.to_batches())}
    with open_databases(snapshot.metadata, source=snapshot.tables, copy=copy) as databases:
        evidence = separation(databases, "visit", SEPARATION_LIMITS)
    assert blocked(evidence) == {"fidelity.c2st_auc"}
    assert [each.detail for each in evidence] == ["could not be measured: no fold holds rows of both sides"]


def test_rows_that_are_nobodys_stand_for_themselves(snapshot, tmp_path):
    visits = made_up(seed=7)["visit"]
    nobody = visits.set_column(1, "person", pa.nulls(len(visits), pa.int64()))
    copy = {**snapshot.tables, "visit": write_table(tmp_path, "visit", nobody.schema, nobody.to_batches())}
    with open_databases(snapshot.metadata, source=snapshot.tables, copy=copy) as databases:
        assert len(set(databases.rows("visit").subjects["copy"])) == len(visits)
        assert 500 < len(databases.rows("visit", most=1_000).values["copy"]) < 1_500
        assert blocked(separation(databases, "visit", SEPARATION_LIMITS)) == set()


@pytest.mark.parametrize("obeyed", [True, False])
def test_what_a_table_takes_over_is_judged_where_it_comes_from(tmp_path, obeyed):
    rule = Rule(
        relation=Relation.EQUALS, column="height", expression='"height"', inputs=("height",), through=("person",)
    )
    visit = dataclasses.replace(VISIT, columns=(*VISIT.columns, number("height")), rules=(rule,))

    def database(seed, taller):
        tables = made_up(seed=seed)
        heights = tables["person"].column("height").to_numpy() + taller
        tables["person"] = tables["person"].set_column(1, "height", pa.array(heights))
        own = np.repeat(heights, 3) + (taller and not obeyed)
        return snapshot_of(tmp_path / str(seed), {**tables, "visit": tables["visit"].append_column("height", [own])},
                           PERSON, SHOP, visit)  # fmt: skip

    source, copy = database(seed=1, taller=0), database(seed=2, taller=40)
    with open_databases(source.metadata, source=source.tables, copy=copy.tables) as databases:
        assert databases.carried("visit") == ({"height"} if obeyed else set())
        assert blocked(separation(databases, "person", SEPARATION_LIMITS)) == {"fidelity.c2st_auc"}
        assert (blocked(separation(databases, "visit", SEPARATION_LIMITS)) == set()) == obeyed


HARD_NAMES = ("side", "h", "r", "place", "s", "k", "v", "n")


def renamed(table, names):
    """The table with other names for its columns, wherever they stand."""
    keys = tuple(
        dataclasses.replace(
            key,
            columns=tuple(names.get(each, each) for each in key.columns),
            parent_columns=tuple(names.get(each, each) for each in key.parent_columns),
        )
        for key in table.foreign_keys
    )
    columns = tuple(dataclasses.replace(each, name=names.get(each.name, each.name)) for each in table.columns)
    primary = tuple(names.get(each, each) for each in table.primary_key)
    return dataclasses.replace(table, columns=columns, foreign_keys=keys, primary_key=primary)


@pytest.mark.parametrize("name", HARD_NAMES)
def test_key_columns_may_be_named_like_anything(snapshot, halves, tmp_path, name):
    names = {"id": name, "person": f"{name}_of", "shop": HARD_NAMES[HARD_NAMES.index(name) - 1]}
    tables = {
        each: table.rename_columns([names.get(column, column) for column in table.column_names])
        for each, table in made_up().items()
    }
    source = snapshot_of(tmp_path / "s", tables, *(renamed(each, names) for each in (PERSON, SHOP, VISIT)))
    sides = split(source, plan_split(source.metadata), tmp_path / "h")
    assert sides.subjects == halves[1].subjects
    for side, plain in ((sides.train, halves[1].train), (sides.holdout, halves[1].holdout)):
        for table in ("person", "visit"):
            assert read(side[table])[name].equals(read(plain[table])["id"])


@pytest.mark.parametrize("seed", range(4))
def test_subjects_without_rows_are_alike_on_both_sides(seed):
    """Most of them have no row in a table: what stands there instead must not say on which side they are."""
    random = np.random.default_rng(seed)

    def view(table, share):
        sides = ("train", "holdout", "audit")
        everybody = {side: np.arange(PEOPLE * number, PEOPLE * (number + 1)) for number, side in enumerate(sides)}
        kept = {side: each[random.random(PEOPLE) < share].astype(np.uint64) for side, each in everybody.items()}
        values = {side: random.normal(size=(len(each), 3)) for side, each in kept.items()}
        rows = Rows(names=("a", "b", "c"), categories=np.zeros(3, dtype=bool), values=values, subjects=kept)
        return View(name="profile" if share == 1 else "row", table=table, rows=rows)

    found = membership([view("person", 1), view("visit", 0.4)], "person", MEMORISATION_LIMITS)
    assert next(each for each in found if each.check == "privacy.membership_auc").value < 0.6
