"""SQL that several parts share."""

from __future__ import annotations

import dataclasses

import pytest

from synth_ops.metadata import Column, ForeignKey, Kind, Metadata, Table
from synth_ops.sql import connect, subjects_in_order_sql


@pytest.mark.parametrize("visits", [15, 400, 30_000])
def test_subjects_come_in_the_order_of_the_rows(visits):
    bookings, people = 2_000, 50
    number = Column(name="id", type="BIGINT", kind=Kind.ID, nullable=False)
    person = Table(name="person", path=("person",), columns=(number,), primary_key=("id",), subject=True, rows=people)
    to_person = ForeignKey(columns=("person",), parent="person", parent_columns=("id",))
    booking = Table(
        name="booking",
        path=("booking",),
        columns=(number, dataclasses.replace(number, name="person")),
        primary_key=("id",),
        foreign_keys=(to_person,),
    )
    to_booking = ForeignKey(columns=("booking",), parent="booking", parent_columns=("id",))
    visit = Table(
        name="visit",
        path=("visit",),
        columns=(number, dataclasses.replace(number, name="booking", nullable=True)),
        foreign_keys=(to_booking,),
    )
    metadata = Metadata(tables=(person, booking, visit))
    with connect() as connection:
        connection.execute("CREATE SCHEMA source")
        connection.execute(
            f"CREATE TABLE source.booking AS SELECT i AS id, i % {people} AS person FROM range({bookings}) r(i)"
        )
        connection.execute(
            "CREATE TABLE source.visit AS SELECT i AS id, CASE WHEN i % 7 > 0 THEN hash(i) % "
            f"{bookings} END AS booking FROM range({visits}) r(i)"
        )
        owner = f"CASE WHEN booking IS NOT NULL THEN hash(CAST(booking % {people} AS BIGINT)) END"
        expected = connection.sql(f"SELECT {owner} FROM source.visit ORDER BY id").fetchall()
        query = subjects_in_order_sql(metadata, "visit", "source", (to_booking, to_person))
        assert connection.sql(query).fetchall() == expected
