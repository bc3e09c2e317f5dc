"""Values that are made, not learned: the same for every split of the rows, unique where asked, of the right form."""

from __future__ import annotations

import json
import re

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_ops.errors import SampleError
from synth_ops.generators.providers import TextShape, learn_shapes, provider_for
from synth_ops.generators.providers.randomness import Stream
from synth_ops.kinds import PROVIDERS
from synth_ops.kinds.patterns import confirmed
from synth_ops.metadata import Column, Kind, Table

TYPES = {"blob": "BLOB", "integer": "BIGINT", "digits": "BIGINT", "uuid": "UUID"}
KINDS = {"blob": Kind.MEDIA, "integer": Kind.ID, "uuid": Kind.ID, "pattern": Kind.ID, "text": Kind.TEXT}


def column(provider, *, name="value", type_name=None, native_type=""):
    return Column(
        name=name,
        type=type_name or TYPES.get(provider, "VARCHAR"),
        native_type=native_type,
        kind=KINDS.get(provider, Kind.PII),
        provider=provider,
    )


def make(provider, count, *, shape=None, unique=False, seed=1, table="customers", rows=0, **described):
    return provider_for(column(provider, **described), shape, seed=seed, table=table, unique=unique, rows=rows).values(
        0, count
    )


def shapes_of(values, provider="pattern", type_name="VARCHAR"):
    table = Table(name="t", path=("t",), columns=(column(provider, name="v", type_name=type_name),))
    with duckdb.connect() as connection:
        connection.register("rows_", pa.table({"v": values}))
        connection.execute(f"CREATE TABLE t AS SELECT v::{type_name} AS v FROM rows_")
        return learn_shapes(connection, "t", table)["v"]


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_any_split_of_the_rows_gives_the_same_values(provider, unique):
    maker = provider_for(column(provider), None, seed=1, table="customers", unique=unique)
    whole = maker.values(0, 3000)
    split = pa.concat_arrays([maker.values(0, 1), maker.values(1, 1002), maker.values(1003, 1997)])
    again = provider_for(column(provider), None, seed=1, table="customers", unique=unique).values(0, 3000)
    assert whole.equals(split)
    assert whole.equals(again)
    assert whole.null_count == 0
    assert len(maker.values(5, 0)) == 0
    if unique:
        assert pc.count_distinct(whole).as_py() == 3000


@pytest.mark.parametrize("provider", sorted(PROVIDERS - {"integer", "blob", "json", "url"}))
def test_another_seed_gives_other_values(provider):
    assert not make(provider, 50).equals(make(provider, 50, seed=2))


@pytest.mark.parametrize(
    "provider", ["integer", "pattern", "uuid", "email", "username", "name", "national_id", "words", "text", "address"]
)
def test_a_million_values_are_unique(provider):
    values = make(provider, 1_000_000, unique=True)
    assert pc.count_distinct(values).as_py() == 1_000_000


@pytest.mark.parametrize("limit", [4, 6, 10, 14, 20, 30])
@pytest.mark.parametrize("provider", sorted(PROVIDERS - {"integer", "blob", "digits", "json", "uuid"}))
def test_lengths_fit_the_column_and_the_source(provider, limit):
    for unique in (False, True):
        values = make(provider, 500, unique=unique, native_type=f"varchar({limit})", rows=500)
        assert pc.max(pc.utf8_length(values)).as_py() <= limit
        assert pc.min(pc.utf8_length(values)).as_py() >= 1
        assert not unique or pc.count_distinct(values).as_py() == 500
    learned = make(provider, 500, shape=TextShape(lengths=((limit, 1.0),), max_length=limit))
    assert pc.max(pc.utf8_length(learned)).as_py() <= (15 if provider == "ip" else limit)  # that has one form


def test_name_and_mail_of_a_row_agree():
    parts = {
        name: make(provider, 200, name=name).to_pylist()
        for name, provider in [
            ("name", "name"),
            ("first_name", "first_name"),
            ("last_name", "last_name"),
            ("email", "email"),
            ("username", "username"),
        ]
    }
    for full, first, last, email, username in zip(*parts.values(), strict=True):
        assert full.startswith(first)
        assert full.endswith(last)
        plain = re.sub("[^a-z]", "", last.lower())
        assert email.startswith(f"{first.lower()}.{plain}")
        assert username.startswith(first[0].lower() + plain)
        assert email.partition("@")[2] in ("example.com", "example.org", "example.net")


def test_two_persons_of_a_row_are_two():
    billing = make("name", 100, name="billing_name", table="orders")
    assert billing.equals(make("name", 100, name="billing_full_name", table="orders"))
    assert not billing.equals(make("name", 100, name="shipping_name", table="orders"))


def test_full_names_do_not_repeat():
    assert pc.count_distinct(make("name", 200_000)).as_py() == 200_000


def test_contacts_lead_nowhere():
    assert all(re.fullmatch(r"\+1-[1-9]\d\d-555-01\d\d", phone) for phone in make("phone", 200).to_pylist())
    assert all(phone.startswith("+999") for phone in make("phone", 200, unique=True).to_pylist())
    assert all(ip.startswith("10.") for ip in make("ip", 200).to_pylist())
    assert all(url.startswith("https://www.example.com/") for url in make("url", 200).to_pylist())
    assert all(number.startswith("9") for number in make("national_id", 200).to_pylist())


def test_check_digits_are_right():
    assert all(confirmed("iban", iban) for iban in make("iban", 300).to_pylist())
    cards = make("card", 300).to_pylist()
    assert all(confirmed("card", card) and card.startswith("400000") and len(card) == 16 for card in cards)


def test_uuids_are_of_version_4():
    pattern = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(pattern, value) for value in make("uuid", 500).to_pylist())


def test_masks_are_learned_and_followed():
    shape = shapes_of([f"{chr(65 + i % 26)}{i % 7}-{i:04}/x" for i in range(400)])
    assert shape.masks == (("A9-9999/\\x", 400.0),)
    values = make("pattern", 5000, shape=shape, unique=True).to_pylist()
    assert len(set(values)) == 5000
    assert all(re.fullmatch(r"[A-Z]\d-\d{4}/x", value) for value in values)


def test_several_masks_keep_their_weights():
    shape = shapes_of([f"N{i:05}" for i in range(300)] + [f"N{i:03}AB" for i in range(100)])
    values = make("pattern", 4000, shape=shape, unique=True).to_pylist()
    assert len(set(values)) == 4000
    assert {re.sub(r"\d", "9", re.sub("[A-Z]", "A", value)) for value in values} == {"A99999", "A999AA"}
    assert sum(value[-1].isdigit() for value in values) / 4000 == pytest.approx(0.75, abs=0.01)


def test_rare_masks_become_generic_ones():
    shape = shapes_of(["AB-1", "C2-3", "de?4"])
    assert shape.masks == (("XXXX", 3.0),)
    assert shape.max_length == 4


def test_used_up_masks_are_lengthened():
    shape = TextShape(lengths=((2, 1.0),), masks=(("99", 1.0),), max_length=2)
    maker = provider_for(column("pattern"), shape, seed=1, table="t", unique=True)
    values = pa.concat_arrays([maker.values(0, 70), maker.values(70, 930)])
    assert values.equals(maker.values(0, 1000))
    assert pc.count_distinct(values).as_py() == 1000
    assert all(len(value) == 2 for value in values[:100].to_pylist())


def test_narrow_columns_use_letters_too_or_say_so():
    shape = TextShape(lengths=((2, 1.0),), masks=(("99", 1.0),), max_length=2)
    wide = make("pattern", 1000, shape=shape, unique=True, native_type="char(2)", rows=1000)
    assert pc.count_distinct(wide).as_py() == 1000
    with pytest.raises(SampleError, match="not enough different values"):
        make("pattern", 2000, shape=shape, unique=True, native_type="char(2)", rows=2000)
    with pytest.raises(SampleError, match="not enough different values"):
        make("pattern", 101, shape=shape, unique=True, native_type="char(2)")


def test_whole_numbers_are_dense_and_fit_their_type():
    assert make("integer", 3).to_pylist() == [1, 2, 3]
    learned = shapes_of(list(range(10_001, 10_500)), "integer", "INTEGER")
    assert make("integer", 3, shape=learned).to_pylist() == [10_000, 10_001, 10_002]
    assert make("integer", 40_000, shape=learned, type_name="USMALLINT", rows=60_000)[0].as_py() == 1
    with pytest.raises(SampleError):
        make("integer", 40_000, type_name="SMALLINT")


def test_digits_have_as_many_as_the_source():
    learned = shapes_of([4915100000000 + i for i in range(50)], "digits", "BIGINT")
    values = make("digits", 1000, shape=learned, unique=True).to_pylist()
    assert len(set(values)) == 1000
    assert {len(str(value)) for value in values} == {13}


def test_texts_are_as_long_as_the_source():
    shape = shapes_of(["x" * (20 + i % 60) for i in range(600)] + [f"{'y' * 40}{i}" for i in range(900)], "text")
    lengths = np.array([len(text) for text in make("text", 5000, shape=shape).to_pylist()])
    wanted = np.average([n for n, _ in shape.lengths], weights=[w for _, w in shape.lengths])
    assert lengths.mean() == pytest.approx(wanted, rel=0.1)
    assert lengths.max() <= shape.max_length


def test_lengths_are_clipped_to_those_that_several_share():
    shape = shapes_of([f"{i:010}" for i in range(100)] + ["z" * 500], "text")
    assert shape.max_length == 10
    assert sum(weight for _, weight in shape.lengths) == 101


def test_no_value_gets_into_a_shape():
    canaries = [f"CANARY{i}@secret.example" for i in range(200)]
    learned = [
        shapes_of(canaries, "email"),
        shapes_of([f"Canary {chr(65 + i % 26)}. Secret" for i in range(200)], "name"),
        shapes_of(["canary"] * 500, "pattern"),
        shapes_of([f"canary-{i}" for i in range(49)], "pattern"),
        shapes_of([f"канарейка {i}" for i in range(200)], "text"),
        shapes_of([f"{'canary ' * 20}{i}" for i in range(200)], "text"),
    ]
    text = json.dumps([shape.to_json() for shape in learned], ensure_ascii=False).lower()
    plain = text.replace("\\", "")
    assert "canary" not in plain
    assert "secret" not in plain
    assert "канарейка" not in plain


def test_common_beginnings_of_many_codes_are_part_of_the_format():
    assert shapes_of([f"INV-{i:04}" for i in range(0, 9999, 7)]).masks == (("\\I\\N\\V-9999", 1429.0),)
    assert shapes_of([f"INV-{i:04}" for i in range(0, 9999, 700)]).masks == (("AAA-9999", 15.0),)


def test_empty_columns_have_an_empty_shape():
    shape = shapes_of(pa.nulls(5, pa.string()))
    assert shape == TextShape()
    assert make("pattern", 5, shape=shape).null_count == 0


@given(
    st.lists(st.tuples(st.integers(1, 99), st.floats(0.5, 1e6)), max_size=4),
    st.lists(st.tuples(st.text("Aa9X1-\\ ./"), st.floats(0.5, 1e6)), max_size=4),
    st.none() | st.integers(1, 99),
)
def test_shapes_survive_json(lengths, masks, longest):
    shape = TextShape(lengths=tuple(lengths), masks=tuple(masks), max_length=longest)
    assert TextShape.from_json(json.loads(json.dumps(shape.to_json()))) == shape


@given(st.integers(1, 5000), st.integers(0, 2**32))
@settings(deadline=None, max_examples=50)
def test_permutations_are_bijections(size, seed):
    permuted = Stream.named(seed, "x").permuted(np.arange(size), size)
    assert sorted(permuted) == list(range(size))


@pytest.mark.parametrize(
    "type_name",
    ["VARCHAR[]", "INTEGER[]", "STRUCT(a INTEGER, b VARCHAR[])", "MAP(VARCHAR, DOUBLE)", "JSON", "BLOB", "UUID"],
)
def test_values_can_be_cast_to_the_columns_type(type_name):
    made = column("json" if type_name not in ("BLOB", "UUID") else "", type_name=type_name)
    values = provider_for(made, None, seed=1, table="t", unique=False).values(0, 300)
    with duckdb.connect() as connection:
        connection.register("made", pa.table({"v": values}))
        counted = connection.execute(f"SELECT count(CAST(v AS {type_name})) FROM made").fetchall()
    assert counted == [(300,)]


def test_locales_are_followed_and_unknown_ones_named():
    german = provider_for(column("last_name"), None, seed=1, table="t", unique=False, locale="de_DE").values(0, 500)
    assert pc.any(pc.match_substring_regex(german, "[äöüß]")).as_py()
    with pytest.raises(SampleError, match="no locale 'xx_XX'"):
        provider_for(column("name"), None, seed=1, table="t", unique=False, locale="xx_XX")


def test_what_is_learned_or_unknown_is_refused():
    learned = Column(name="v", type="INTEGER", kind=Kind.NUMERICAL)
    with pytest.raises(SampleError, match="are learned, not provided"):
        provider_for(learned, None, seed=1, table="t", unique=False)
    with pytest.raises(SampleError, match="no provider makes values of type DATE"):
        provider_for(column("pattern", type_name="DATE"), None, seed=1, table="t", unique=False)


@pytest.mark.parametrize(
    ("native", "form"),
    [
        ("bit(6)", "[01]{6}"),
        ("bit varying", "[01]+"),
        ("inet", r"10(\.[0-9]{1,3}){3}"),
        ("macaddr", "02(:[0-9a-f]{2}){5}"),
        ("interval", "[0-9]{2}:[0-5][0-9]:[0-5][0-9]"),
        ("time with time zone", "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9][+]00"),
        ("point", r"\([0-9]+,[0-9]+\)"),
        ("box", r"\(\([0-9]+,[0-9]+\),\([0-9]+,[0-9]+\)\)"),
        ("circle", r"<\([0-9]+,[0-9]+\),[0-9]+>"),
        ("int4range", r"\[[0-9]+,[0-9]+\)"),
        ("daterange", r"\[20[0-9]{2}-[01][0-9]-[0-3][0-9],20[0-9]{2}-[01][0-9]-[0-3][0-9]\)"),
    ],
)
def test_what_is_carried_as_text_has_the_form_of_its_own_type(native, form):
    column = Column(name="c", type="VARCHAR", native_type=native, kind=Kind.ID, provider="pattern")
    made = provider_for(column, None, seed=0, table="t", unique="range" in native or native == "macaddr")
    values = made.values(0, 3_000).to_pylist()
    assert all(re.fullmatch(form, value) for value in values)
    assert len(set(values)) > (2_900 if "bit" not in native else 60)
    assert made.values(1_000, 5).to_pylist() == values[1_000:1_005]
    if native == "int4range":
        assert all(int(low) < int(high) for low, high in (value[1:-1].split(",") for value in values))


def test_short_network_addresses_are_addresses_all_the_same():
    values = make("ip", 500, shape=shapes_of([f"10.{i}.2{i % 10}.3" for i in range(60)], "ip")).to_pylist()
    assert all(max(map(int, value.split("."))) < 256 for value in values)


def test_texts_in_lists_fit_their_declared_length():
    short = make("json", 100, type_name="VARCHAR[]", native_type="character varying(2)[]").to_pylist()
    assert {len(text) for texts in short for text in texts} == {2}
