"""Rows in order under their parents: what orders them, what they know of each other, and what holds in the copy."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_ops.artifacts import ArtifactKind, ArtifactRef, Snapshot
from synth_ops.generators.relational_trees import RelationalTrees
from synth_ops.generators.relational_trees.block import Variable
from synth_ops.generators.relational_trees.differences import Difference, Origin, distance_codes, pace_codes
from synth_ops.generators.relational_trees.learning.codecs import fit_number
from synth_ops.generators.relational_trees.sequences import Running, Strands, Summed, order_of, running_codes
from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Relation, Rule, Table
from synth_ops.testing.warehouses import write_table

NEVER = dt.date(9999, 1, 1)


def copy_of(tmp_path, tables: list[tuple[Table, list[tuple[Any, ...]]]]) -> dict[str, list[dict[str, Any]]]:
    """Fit on rows, and sample a copy as large."""
    metadata = Metadata(tables=tuple(table for table, _ in tables))
    data = {table.name: write_table(tmp_path / "source", table, rows) for table, rows in tables}
    snapshot = Snapshot(ref=ArtifactRef(kind=ArtifactKind.SNAPSHOT, id="x"), metadata=metadata, tables=data)
    model, copy = tmp_path / "model", tmp_path / "copy"
    model.mkdir()
    copy.mkdir()
    generator = RelationalTrees()
    generator.fit(snapshot, model, progress=lambda _: None)
    written = generator.load(model, metadata).sample(copy, seed=1, scale=1.0, progress=lambda _: None)
    return {
        name: pa.concat_tables([pq.read_table(file) for file in each.files]).to_pylist()
        for name, each in written.items()
    }


def parents(count: int, *columns: Column) -> Table:
    return Table(
        name="person",
        path=("person",),
        columns=(Column(name="id", type="INTEGER", nullable=False, kind=Kind.ID), *columns),
        primary_key=("id",),
        rows=count,
        subject=True,
    )


def children(rows: int, key: tuple[str, ...], *columns: Column) -> Table:
    return Table(
        name="stay",
        path=("stay",),
        columns=(Column(name="person", type="INTEGER", nullable=False, kind=Kind.ID), *columns),
        primary_key=key,
        foreign_keys=(ForeignKey(columns=("person",), parent="person", parent_columns=("id",)),),
        rows=rows,
    )


def date(name: str, *, nullable: bool = False) -> Column:
    return Column(name=name, type="DATE", nullable=nullable, kind=Kind.DATETIME)


def by_person(rows: list[dict[str, Any]], *order: str) -> list[list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: tuple(row[name] for name in order)):
        found.setdefault(row["person"], []).append(row)
    return list(found.values())


@pytest.mark.parametrize("end", [NEVER, None])
def test_periods_that_touch_touch_in_the_copy_and_the_last_stays_open(tmp_path, end):
    rng = random.Random(0)
    people, stays = [], []
    for person in range(400):
        start = dt.date(1990, 1, 1) + dt.timedelta(days=rng.randint(0, 4000))
        people.append((person, start))
        count = rng.randint(1, 6)
        for number in range(count):
            until = start + dt.timedelta(days=rng.choice([365, 366, rng.randint(30, 900)]))
            last = number == count - 1 and rng.random() < 0.8
            stays.append((person, start, end if last else until, rng.randint(0, 5)))
            start = until
    grade = Column(name="grade", type="INTEGER", nullable=False, kind=Kind.NUMERICAL)
    copied = copy_of(
        tmp_path,
        [
            (parents(len(people), date("hired")), people),
            (
                children(len(stays), ("person", "since"), date("since"), date("until", nullable=end is None), grade),
                stays,
            ),
        ],
    )
    hired = {row["id"]: row["hired"] for row in copied["person"]}
    sequences = by_person(copied["stay"], "since")
    pairs = [(one, other) for rows in sequences for one, other in pairwise(rows)]
    assert len(pairs) > 300
    closed = [(one, other) for one, other in pairs if one["until"] not in (None, NEVER)]
    assert all(one["until"] == other["since"] for one, other in closed)
    assert len(closed) >= 0.99 * len(pairs)
    ends = [rows[-1]["until"] for rows in sequences]
    assert 0.65 < np.mean([each == end for each in ends]) < 0.95
    assert np.mean([hired[rows[0]["person"]] == rows[0]["since"] for rows in sequences]) > 0.95
    assert all(row["since"] <= row["until"] for row in copied["stay"] if row["until"])


def test_years_and_places_in_a_key_go_up_as_they_do_in_the_source(tmp_path):
    rng = random.Random(0)
    people, stays = [], []
    for person in range(500):
        year, team = rng.randint(1950, 2000), rng.choice("abcdefghijklmnop")
        people.append((person, year))
        for _ in range(rng.randint(1, 8)):
            stays += [
                (person, year, place, team) for place in sorted(rng.sample(["x", "y", "z"], rng.choice([1, 1, 2])))
            ]
            year += rng.choice([1, 1, 1, 2])
            team = team if rng.random() < 0.8 else rng.choice("abcdefghijklmnop")
    year = Column(name="year", type="INTEGER", nullable=False, kind=Kind.NUMERICAL)
    columns = [Column(name=name, type="VARCHAR", nullable=False, kind=Kind.CATEGORICAL) for name in ("place", "team")]
    copied = copy_of(
        tmp_path,
        [
            (parents(len(people), Column(name="born", type="INTEGER", nullable=False, kind=Kind.NUMERICAL)), people),
            (children(len(stays), ("person", "year", "place"), year, *columns), stays),
        ],
    )

    def steps(rows: list[dict[str, Any]]) -> tuple[dict[int, float], float]:
        pairs = [pair for group in by_person(rows, "year", "place") for pair in pairwise(group)]
        moved = [other["year"] - one["year"] for one, other in pairs]
        return (
            {step: moved.count(step) / len(moved) for step in (0, 1, 2)},
            float(np.mean([one["team"] == other["team"] for one, other in pairs])),
        )

    real = [dict(zip(("person", "year", "place", "team"), row, strict=True)) for row in stays]
    (wanted, same), (found, still) = steps(real), steps(copied["stay"])
    assert found == pytest.approx(wanted, abs=0.06)
    assert still == pytest.approx(same, abs=0.06)
    keys = [(row["person"], row["year"], row["place"]) for row in copied["stay"]]
    assert len(set(keys)) == len(keys)


def test_a_time_after_all_that_enough_people_share_is_the_one_that_it_may_not_precede(tmp_path):
    """Treatments stop in June but for four people: a visit in autumn has its treatment at once, or none."""
    draw = random.Random(0)
    start, june = (dt.datetime.combine(dt.date(2024, month, 1), dt.time()) for month in (1, 6))
    people = 30
    visits, treatments = [], []
    for person in range(people):
        for _ in range(40):
            at = start + dt.timedelta(minutes=draw.randrange(360 * 24 * 60))
            visits.append((len(visits), person, at))
            if draw.random() < 0.7 and (at < june or person < 4):
                treatments.append((len(treatments), len(visits) - 1, at + dt.timedelta(minutes=draw.randrange(1, 60))))

    def timed(name: str, above: str, rows: int, **more: Any) -> Table:
        return Table(
            name=name,
            path=(name,),
            columns=(
                Column(name="id", type="INTEGER", nullable=False, kind=Kind.ID),
                Column(name=above, type="INTEGER", nullable=False, kind=Kind.ID),
                Column(name="at", type="TIMESTAMP", nullable=False, kind=Kind.DATETIME),
            ),
            primary_key=("id",),
            foreign_keys=(ForeignKey(columns=(above,), parent=above, parent_columns=("id",)),),
            rows=rows,
            **more,
        )

    never_before = Rule(
        relation=Relation.AT_LEAST, column="at", expression='"at"', inputs=("at",), through=("visit",), strict=True
    )
    copy = copy_of(
        tmp_path,
        [
            (parents(people), [(number,) for number in range(people)]),
            (timed("visit", "person", len(visits)), visits),
            (timed("treatment", "visit", len(treatments), rules=(never_before,)), treatments),
        ],
    )
    began = {row["id"]: row["at"] for row in copy["visit"]}
    delays = [row["at"] - began[row["visit"]] for row in copy["treatment"]]
    assert min(delays) == dt.timedelta(0)  # in autumn
    assert max(delays) > dt.timedelta(minutes=30)
    late = [row for row in copy["treatment"] if row["at"] > june + dt.timedelta(days=30)]
    assert all(row["at"] == began[row["visit"]] for row in late)


def test_a_first_time_is_counted_from_its_parents_where_later_ones_are_not_near(tmp_path):
    """Yearly salaries from the day of hiring on, over so many years that they are as far from it as from each other."""
    draw = random.Random(0)
    first, rows, hired = dt.date(1985, 1, 1), [], []
    for person in range(400):
        day = first + dt.timedelta(days=draw.randrange(3_000))
        hired.append((person, day))
        rows += [(person, day + dt.timedelta(days=365 * year)) for year in range((7_000 - (day - first).days) // 365)]
    rule = Rule(relation=Relation.AT_LEAST, column="paid", expression='"hired"', inputs=("hired",), through=("person",))
    stay = dataclasses.replace(children(len(rows), ("person", "paid"), date("paid")), rules=(rule,))
    copy = copy_of(tmp_path, [(parents(400, date("hired")), hired), (stay, rows)])
    began = {row["id"]: row["hired"] for row in copy["person"]}
    firsts = [(paid[0]["paid"] - began[paid[0]["person"]]).days for paid in by_person(copy["stay"], "paid")]
    assert min(firsts) >= 0
    assert sum(days == 0 for days in firsts) > 0.5 * len(firsts)


def test_places_in_a_key_that_another_reference_completes_come_back_as_often_as_they_do(tmp_path):
    """Players and the seasons of clubs: who plays in goal does so year after year, though a year is the club's."""
    draw = random.Random(0)
    seasons = [(year, f"club {club}") for year in range(2000, 2020) for club in range(6)]
    season = Table(
        name="season",
        path=("season",),
        columns=(
            Column(name="year", type="INTEGER", nullable=False, kind=Kind.NUMERICAL),
            Column(name="club", type="VARCHAR", nullable=False, kind=Kind.CATEGORICAL),
        ),
        primary_key=("year", "club"),
        rows=len(seasons),
    )
    places = ["attack", "defence", "goal", "wing"]
    rows = []
    for person in range(300):
        usual, club = draw.choice(places), f"club {draw.randrange(6)}"
        for year in range(2000, 2000 + draw.randrange(3, 12)):
            rows.append((person, year, 1, usual, club))
            if draw.random() < 0.2:
                rows.append((person, year, 2, draw.choice(places), club))
    named = children(
        len(rows),
        ("person", "year", "turn", "place"),
        Column(name="year", type="INTEGER", nullable=False, kind=Kind.NUMERICAL),
        Column(name="turn", type="INTEGER", nullable=False, kind=Kind.NUMERICAL),
        Column(name="place", type="VARCHAR", nullable=False, kind=Kind.CATEGORICAL),
        Column(name="club", type="VARCHAR", nullable=False, kind=Kind.CATEGORICAL),
    )
    club_of = ForeignKey(columns=("year", "club"), parent="season", parent_columns=("year", "club"))
    plays = dataclasses.replace(named, foreign_keys=(*named.foreign_keys, club_of))
    copied = copy_of(
        tmp_path, [(parents(300), [(number,) for number in range(300)]), (season, seasons), (plays, rows)]
    )["stay"]
    for place in places:
        real = sum(row[3] == place for row in rows) / len(rows)
        assert sum(row["place"] == place for row in copied) / len(copied) == pytest.approx(real, abs=0.08)
    careers = [[row["place"] for row in career] for career in by_person(copied, "year") if len(career) > 2]
    usual = [max(map(career.count, career)) / len(career) for career in careers]
    assert sum(usual) / len(usual) > 0.6  # 0.88 in the source; 0.45 were places drawn alone


def goods_in_lines(sizes: list[int]) -> list[tuple[Table, list[tuple[Any, ...]]]]:
    """Lines of goods, about nobody, so many of each; nine in ten goods have their line's colour."""
    draw = random.Random(0)
    goods: list[tuple[Any, ...]] = []
    for line, size in enumerate(sizes):
        colour = draw.randrange(8)
        for _ in range(size):
            seen = colour if draw.random() < 0.9 else draw.randrange(8)
            goods.append((len(goods), line, f"colour {seen}", draw.randrange(5)))
    line = Table(
        name="line",
        path=("line",),
        columns=(Column(name="id", type="INTEGER", nullable=False, kind=Kind.ID),),
        primary_key=("id",),
        rows=len(sizes),
    )
    kind = Table(
        name="goods",
        path=("goods",),
        columns=(
            Column(name="id", type="INTEGER", nullable=False, kind=Kind.ID),
            Column(name="line", type="INTEGER", nullable=False, kind=Kind.ID),
            Column(name="colour", type="VARCHAR", nullable=False, kind=Kind.CATEGORICAL),
            Column(name="size", type="INTEGER", nullable=False, kind=Kind.NUMERICAL),
        ),
        primary_key=("id",),
        foreign_keys=(ForeignKey(columns=("line",), parent="line", parent_columns=("id",)),),
        rows=len(goods),
    )
    return [(line, [(number,) for number in range(len(sizes))]), (kind, goods)]


def colours_by_line(copy: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    families: dict[int, list[str]] = {}
    for row in copy["goods"]:
        families.setdefault(row["line"], []).append(row["colour"])
    return sorted(families.values(), key=len)


def test_small_families_of_reference_data_stay_alike(tmp_path):
    """Goods in lines of two or three, too few to say what the goods of a line are like, but for the others."""
    families = colours_by_line(copy_of(tmp_path, goods_in_lines([2, 3] * 150)))
    assert set(map(len, families)) == {2, 3}
    neighbours = [pair for family in families for pair in pairwise(family)]
    alike = sum(one == other for one, other in neighbours) / len(neighbours)
    assert alike > 0.7  # 0.83 in the source, 0.13 where lines are dealt out by lot


def test_large_families_of_reference_data_keep_their_share(tmp_path):
    """Two lines hold most goods: each is known by what its goods are like, and how many they are."""
    families = colours_by_line(copy_of(tmp_path, goods_in_lines([1, 2] * 50 + [200, 300])))
    assert [len(family) for family in families[-2:]] == [pytest.approx(200, rel=0.1), pytest.approx(300, rel=0.1)]
    for family in families[-2:]:
        assert max(map(family.count, family)) > 0.8 * len(family)


def test_reference_data_that_nobody_refers_to_stay_so(tmp_path):
    """Goods of sixty lines of three hundred: the other lines have none in the copy, either."""
    families = colours_by_line(copy_of(tmp_path, goods_in_lines([20] * 60 + [0] * 240)))
    assert len(families) == pytest.approx(60, abs=6)


@given(st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 5)), max_size=40))
def test_an_order_holds_every_row_once_and_goes_up_under_each_parent(rows):
    owners, keys = (np.array(each, np.int64) for each in zip(*rows, strict=True)) if rows else (np.zeros(0, int),) * 2
    order = order_of(owners, [keys])
    assert sorted(np.concatenate(order.steps()).tolist()) == list(range(len(rows)))
    followers = np.flatnonzero(order.before >= 0)
    before = order.before[followers]
    assert (owners[before] == owners[followers]).all()
    assert (keys[before] <= keys[followers]).all()
    assert (order.position[before] + 1 == order.position[followers]).all()
    assert (order.position < order.siblings).all()
    assert all((order.position[owners < 0] == 0).tolist())


def test_a_running_mean_leaves_out_what_is_missing_and_a_vote_finds_the_commonest():
    order = order_of(np.zeros(5, np.int64))
    codes = Variable(codes=np.array([4, 0, 2, 2, 2], np.int32), size=5, ordered=True)
    summed = {"x": Summed(size=5, ordered=True)}
    assert running_codes(order, {"x": codes}, summed)["x"].codes.tolist() == [0, 4, 4, 3, 3]
    votes = running_codes(order, {"x": codes}, {"x": Summed(size=5, ordered=False)})["x"]
    assert votes.size == Running.size(Summed(size=5, ordered=False))
    assert votes.codes[[0, 1]].tolist() == [0, 5]
    assert votes.codes[4] == 3


def test_strands_know_their_own_last_row_and_share():
    strands, owners = Strands(2, 3), np.array([0, 1])
    strands.add(owners, np.array([1, 2], np.int32), np.array([10, 11]))
    strands.add(owners, np.array([2, 2], np.int32), np.array([12, 13]))
    assert strands.last(owners, np.array([1, 1], np.int32)).tolist() == [10, -1]
    assert strands.last(owners, np.array([2, 2], np.int32)).tolist() == [12, 13]
    assert strands.share(owners, 2, 2).tolist() == [4, 8]


@given(st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=50))
def test_distances_keep_their_order_and_small_ones_their_value(distances):
    values = np.array(distances, np.int64)
    codes = distance_codes(values, 1, np.ones(len(values), bool))
    assert (np.diff(codes[np.argsort(values)]) >= 0).all()
    small = np.abs(values) < 16
    zero = distance_codes(np.zeros(1, np.int64), 1, np.ones(1, bool))[0]
    assert (codes[small] - zero == values[small]).all()
    assert (pace_codes(values, 1, np.zeros(len(values), bool), np.zeros(len(values), np.int64)) == 0).all()


def test_a_difference_gives_back_what_it_encoded():
    units, bases = np.arange(200) % 20 + 1000, np.full(200, 1000)
    units[::10] = 10**6
    codec = fit_number(pa.chunked_array([pa.array(units - bases, mask=units == 10**6)]), (), 5)
    difference = Difference(
        column="end", base=Origin.ROW, base_column="start", codec=codec, constants=(10**6,), base_constants=()
    )
    null, based = np.zeros(200, bool), np.ones(200, bool)
    null[0], based[1] = True, False
    codes = difference.encode(units, null, bases, based)
    assert codes[:2].tolist() == [0, -1]
    decoded = difference.decode(codes, bases, np.random.default_rng(0))
    assert (decoded[2:] == units[2:]).all()
    assert difference.is_constant(codes[10:11]).all()
