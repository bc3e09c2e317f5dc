"""Codecs keep a value only where k subjects share it, and give back values of the column's own type."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.generators.relational_trees.codec import NumberCodec, PresenceCodec, PseudonymCodec, codec_from_json
from synth_ops.generators.relational_trees.learning.codecs import fit_category, fit_number

K = 5
DAY, MOMENT = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 10, 11, 12, 131415)  # noqa: DTZ001


def column(values, kind=None):
    return pa.chunked_array([pa.array(values, kind)])


def there_and_back(codec, values, seed=0):
    """Decode what was encoded."""
    codes = codec.encode(values)
    return codec.decode(codes, np.random.default_rng(seed), values.type)


@given(st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=60), st.integers(1, 10))
@settings(deadline=None)
def test_no_category_of_fewer_than_k_subjects_is_kept(values, people):
    subjects = np.arange(len(values)) % people
    codec = fit_category(column(values, pa.string()), (subjects,), K)
    for kept in codec.values:
        assert len({subject for value, subject in zip(values, subjects, strict=True) if value == kept}) >= K
    decoded = codec.decode(codec.encode(column(values, pa.string())), np.random.default_rng(0))
    assert set(decoded.to_pylist()) <= {*codec.values, None}


@given(st.lists(st.one_of(st.none(), st.just(""), st.just("T"), st.integers(-40, 60).map(str)), max_size=40))
@settings(deadline=None)
def test_texts_that_are_numbers_have_their_order_and_rare_ones_become_their_neighbours(values):
    values = [*map(str, range(0, 24, 2))] * K + values
    texts = column(values, pa.string())
    codec = fit_category(texts, (), K, in_order=True)
    plain = fit_category(texts, (), K)
    assert (sorted(codec.values), sum(codec.weights)) == (sorted(plain.values), sum(plain.weights))
    assert codec_from_json(json.loads(json.dumps(codec.to_json()))) == codec
    kept = [float(value) for value in codec.values if value not in ("", "T")]
    codes = codec.encode(texts)
    assert codec.ordered or sum(value in ("", "T") for value in values) > 0.05 * len(values)
    if not codec.ordered:
        assert codec == plain
        return
    assert kept == sorted(kept)
    for value, code in zip(values, codes, strict=True):
        if value is None or value in codec.values:
            assert code == (0 if value is None else codec.values.index(value) + 1)
        elif value in ("", "T"):
            assert code == codec.size - 1
        else:
            nearest = abs(float(codec.values[code - 1]) - float(value))
            assert nearest == min(abs(each - float(value)) for each in kept)


@pytest.mark.parametrize(
    ("texts", "ordered"),
    [
        ([str(number / 4) for number in range(40)], True),
        ([str(number) for number in range(-20, 20)], True),
        ([str(94_000 + number) for number in range(40)], False),
        ([f"{number:03}" for number in range(40)], False),
        ([str(number) for number in range(9)], False),
        ([f"v{number}" for number in range(40)], False),
    ],
    ids=["quarters", "whole numbers", "postal codes", "padded", "few", "words"],
)
def test_amounts_are_told_from_codes(texts, ordered):
    assert fit_category(column(texts * 10, pa.string()), (), K, in_order=True).ordered == ordered


@given(st.lists(st.one_of(st.none(), st.integers(-1000, 1000)), max_size=200), st.integers(1, 40))
@settings(deadline=None, max_examples=150)
def test_numbers_stay_inside_the_kth_subject_at_both_ends(values, people):
    subjects = np.arange(len(values)) % people
    numbers = column(values, pa.int64())
    codec = fit_number(numbers, (subjects,), K)
    assert len(codec.low) == 0 or len({s for v, s in zip(values, subjects, strict=True) if v is not None}) >= K
    for end, beyond in ((codec.low.min(initial=2000), lambda v, e: v <= e), (codec.high.max(initial=-2000), lambda v, e: v >= e)):  # fmt: skip  # noqa: E501
        if len(codec.low):
            assert len({s for v, s in zip(values, subjects, strict=True) if v is not None and beyond(v, end)}) >= K
    decoded = there_and_back(codec, numbers)
    assert pc.is_null(decoded).to_pylist() == [value is None for value in values]
    if len(codec.low):
        known = [value for value in decoded.to_pylist() if value is not None]
        assert all(codec.low.min() <= value <= codec.high.max() for value in known)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=300))
@settings(deadline=None)
def test_a_codec_comes_back_from_json_as_it_was(values):
    numbers = column(values, pa.int32())
    codec = fit_number(numbers, (), K)
    again = codec_from_json(codec.to_json())
    assert there_and_back(again, numbers).to_pylist() == there_and_back(codec, numbers).to_pylist()
    assert codec_from_json(PresenceCodec().to_json()) == PresenceCodec()


COMMON = {
    "int64 ends": (pa.int64(), [2**63 - 1, -(2**63), 0]),
    "uint64 end": (pa.uint64(), [2**64 - 1, 0]),
    "int8 ends": (pa.int8(), [127, -128]),
    "decimal": (pa.decimal128(10, 2), [Decimal("0.07"), Decimal("-12345678.91")]),
    "decimal of 18 digits": (pa.decimal128(18, 4), [Decimal("12345678901234.5678") // 1, Decimal("1.0001")]),
    "float32": (pa.float32(), [0.5, -1.25]),
    "float64 ends": (pa.float64(), [1.7976931348623157e308, -1.7976931348623157e308, 5e-324]),
    "not finite": (pa.float64(), [float("inf"), float("-inf"), 1.0]),
    "boolean": (pa.bool_(), [True, False]),
    "date": (pa.date32(), [DAY, dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    "timestamp": (pa.timestamp("us"), [MOMENT, dt.datetime(1, 1, 1)]),  # noqa: DTZ001
    "timestamp with zone": (pa.timestamp("us", tz="UTC"), [MOMENT.replace(tzinfo=dt.UTC)]),
    "nanoseconds": (pa.timestamp("ns"), [MOMENT]),
    "time": (pa.time64("us"), [dt.time(23, 59, 59, 999999), dt.time(0)]),
}


@pytest.mark.parametrize("name", COMMON)
def test_a_value_that_many_share_comes_back_exactly(name):
    kind, shared = COMMON[name]
    values = column([*shared * 20, None], kind)
    codec = codec_from_json(fit_number(values, (), K).to_json())
    decoded = there_and_back(codec, values)
    assert decoded.type == kind
    assert decoded.to_pylist() == values.to_pylist()


def test_nan_comes_back():
    decoded = there_and_back(fit_number(column([float("nan")] * 9 + [1.0] * 9), (), K), column([float("nan"), 1.0]))
    assert str(decoded.to_pylist()) == "[nan, 1.0]"


@pytest.mark.parametrize(("kind", "storage", "end"), [(pa.date32(), pa.int32(), 2**31 - 1),
                                                      (pa.timestamp("us"), pa.int64(), 2**63 - 1)])  # fmt: skip
def test_infinite_dates_come_back_and_are_no_end_of_a_range(kind, storage, end):
    raw = pa.array([end, -end, *range(19000, 19400)] * 10, storage)
    values = pa.chunked_array([raw.cast(kind)])
    codec = codec_from_json(fit_number(values, (), K).to_json())
    assert codec.high.max() < 20_000
    decoded = there_and_back(codec, values).cast(storage).to_numpy()
    assert (np.isin(raw.to_numpy(), [end, -end]) == np.isin(decoded, [end, -end])).all()


def test_huge_integers_keep_their_size():
    values = column([Decimal(n) * 10**20 for n in range(100)], pa.decimal128(38, 0))
    decoded = there_and_back(fit_number(values, (), K), values).to_pylist()
    assert float(max(decoded)) == pytest.approx(95e20, rel=0.05)


def test_where_too_few_share_anything_a_neutral_value_stands_in():
    for values in (column([MOMENT] * 4), column([DAY]), column([3.5, 7.25]), column([True])):
        codec = fit_number(values, (), K)
        assert len(codec.low) == 0
        decoded = there_and_back(codec, values).to_pylist()
        assert len(set(decoded)) == 1
        assert decoded[0] not in values.to_pylist() or decoded[0] is True


@pytest.mark.parametrize(
    ("kind", "values", "wanted"),
    [
        (pa.int64(), range(100), 300),
        (pa.int8(), range(100), 256),
        (pa.bool_(), [True] * 3, 2),
        (pa.bool_(), [True, False] * 9, 2),
        (pa.date32(), [dt.date(9999, 12, 31)] * 30, 40),
        (pa.date32(), [DAY] * 2, 40),
        (pa.decimal128(4, 2), [Decimal(n) / 4 for n in range(50)], 80),
        (pa.time64("us"), [dt.time(23, 59, 59)] * 9, 20),
    ],
)
def test_keys_find_room_beyond_what_was_learned(kind, values, wanted):
    codec = fit_number(column(list(values), kind), (), K)
    start, steps = codec.span(wanted, kind)
    assert steps >= wanted - 1
    units = start + np.arange(wanted) * codec.step
    made = codec.from_units(units, np.ones(wanted, np.int32), kind)
    assert len(pc.unique(made)) == wanted
    made.to_pylist()  # Python can hold them, so SQLite and reports can


@given(st.integers(0, 10**9), st.lists(st.integers(0, 50), min_size=10, max_size=100))
@settings(deadline=None)
def test_what_all_values_are_multiples_of_is_kept(offset, numbers):
    """Rounded prices stay rounded: bins give no values in between."""
    values = column([offset + 25 * number for number in numbers], pa.int64())
    codec = fit_number(values, (), K)
    if len(codec.low):
        decoded = there_and_back(codec, values).to_pylist()
        assert all((value - offset) % 25 == 0 for value in decoded)


def test_values_outside_all_ranges_get_the_nearest_code():
    codec = NumberCodec(low=np.array([1, 5]), high=np.array([1, 9]), scale=0, step=1, continuous=False)
    assert codec.encode(column([-7, 1, 2, 7, 99, None])).tolist() == [2, 1, 2, 2, 2, 0]


def test_the_ends_of_bins_and_of_the_column_are_nobodys():
    incomes = np.sort(np.random.default_rng(0).lognormal(10, 1, 3_000)).round(2)
    codec = fit_number(column(incomes.tolist(), pa.float64()), (), K)
    real = set(np.rint(incomes * 100).astype(int).tolist())
    stored = {int(end) for end in (*codec.low, *codec.high)}
    assert len(stored & real) <= len(stored) / 50  # a cent may be anybody's by chance
    assert codec.low.min() > np.rint(incomes[K - 1] * 100)
    assert codec.high.max() < np.rint(incomes[-K] * 100)


def test_no_value_is_drawn_from_a_gap_between_seasons():
    summers = [dt.date(1950 + year, 6, 1) + dt.timedelta(days=day) for year in range(40) for day in range(90)]
    codec = fit_number(column([day for day in summers for _ in range(3)]), (np.arange(3 * len(summers)),), K)
    assert len(codec.low) < 500
    drawn = there_and_back(codec, column(summers))
    assert {day.month for day in drawn.to_pylist()} <= {6, 7, 8}


def test_the_kth_birthday_is_not_kept():
    places = np.sort(np.random.default_rng(0).choice(30_000, 300, replace=False))
    days = [dt.date(1930, 1, 1) + dt.timedelta(days=int(place)) for place in places]
    codec = fit_number(column(days, pa.date32()), (), K)
    drawn = codec.decode(np.ones(5_000, np.int32), np.random.default_rng(0), pa.date32()).to_pylist()
    assert days[K - 1] not in drawn


def test_the_last_days_before_until_further_notice_are_their_owners():
    days = [dt.date(2019, 1, 1) + dt.timedelta(days=3 * number) for number in range(400)]
    codec = fit_number(column([*days, *[dt.date(9999, 12, 31)] * 300]), (), K)
    highest = max(high for low, high in zip(codec.low, codec.high, strict=True) if low < high)
    assert codec.high.max() == (dt.date(9999, 12, 31) - dt.date(1970, 1, 1)).days
    assert highest < (days[-K] - dt.date(1970, 1, 1)).days


def test_pseudonyms_repeat_like_the_ids_and_are_none_of_them():
    codec = PseudonymCodec(common=2, rare=3)
    codes = np.array([0, 1, 1, 2, 3, 3, 3], np.int32)
    made = codec.decode(codes, np.random.default_rng(0), pa.array(["a", "b", "c", "d", "e"])).to_pylist()
    assert made[:4] == [None, "a", "a", "b"]
    assert set(made[4:]) <= {"c", "d", "e"}
    assert codec_from_json(codec.to_json()) == codec
