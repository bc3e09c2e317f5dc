"""Contract suites: what every plug-in of a kind must do. Subclass one in your tests and override its fixture."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from synth_ops.artifacts import TableData
from synth_ops.errors import PublishError, PublishRefusedError
from synth_ops.metadata import Check, Column, ForeignKey, Kind, Metadata, Table
from synth_ops.ports import Progress, Target
from synth_ops.testing.generator_contract import GeneratorContract
from synth_ops.testing.warehouses import CANARIES, leaked_canaries, small_warehouse, small_warehouse_rows, write_table

__all__ = ["GeneratorContract", "TargetContract", "TargetPlace"]

Rows = Sequence[tuple[Any, ...]]

MARKED = Metadata(
    tables=(
        Table(
            name="first",
            path=("first",),
            columns=(Column(name="id", type="INTEGER"), Column(name="publication", type="INTEGER")),
            primary_key=("id",),
        ),
        Table(
            name="second",
            path=("second",),
            columns=(Column(name="id", type="INTEGER"), Column(name="publication", type="INTEGER")),
            foreign_keys=(ForeignKey(columns=("id",), parent="first", parent_columns=("id",)),),
        ),
    )
)
_FRAIL = Table(
    name="frail",
    path=("frail",),
    columns=(
        Column(name="id", type="INTEGER", nullable=False, kind=Kind.ID),
        Column(name="above", type="INTEGER", kind=Kind.ID),
        Column(name="secret", type="VARCHAR", nullable=False, kind=Kind.PII),
    ),
    primary_key=("id",),
    uniques=(("secret",),),
    foreign_keys=(ForeignKey(columns=("above",), parent="frail", parent_columns=("id",)),),
    checks=(Check(expression="length(secret) > 3", columns=("secret",)),),
)
_SECRET, _NUMBER = CANARIES
_BROKEN: Mapping[str, Rows] = {
    "key": [(int(_NUMBER), None, f"{_SECRET}1"), (int(_NUMBER), None, f"{_SECRET}2")],
    "unique": [(1, None, _SECRET), (2, None, _SECRET)],
    "reference": [(1, int(_NUMBER), _SECRET)],
    "null": [(int(_NUMBER), None, None)],
    "check": [(int(_NUMBER), None, "c4")],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlace:
    """One empty place, and what the suite must know of it.

    Attributes:
        target: Makes the target, anew on every call, always at that place.
        read: The rows of some live tables, each in its order, in one look that a swap can't fall into; numbers and
            text come back as they were published.
        occupy: Puts something there that synth_ops did not make.
        occupied: What `occupy` put there, to compare.
    """

    target: Callable[[], Target]
    read: Callable[[Sequence[str]], Mapping[str, Rows]]
    occupy: Callable[[], None]
    occupied: Callable[[], object]


class TargetContract:
    """What every target must do. Override the fixture `place`."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> TargetPlace:
        """An empty place to publish to."""
        raise NotImplementedError("give the contract your own fixture `place`")

    def test_an_untouched_place_remembers_nothing(self, place: TargetPlace) -> None:
        """No generation, and nothing to go back to."""
        assert list(place.target().generations()) == []
        with pytest.raises(PublishRefusedError):
            place.target().rollback()

    def test_publishes_whole_tables_in_order(self, place: TargetPlace, tmp_path: Path) -> None:
        """Every row of every table, and the receipt that says so."""
        metadata, tables = small_warehouse(tmp_path / "copy")
        generation = place.target().publish(metadata, tables, copy_id="copy", keep=2, progress=unheard)
        assert (generation.number, generation.copy, generation.live) == (1, "copy", True)
        assert generation.tables == {name: data.rows for name, data in tables.items()}
        assert list(place.target().generations()) == [generation]
        plain = ("customers", "employees", "order_tags")
        rows = small_warehouse_rows()
        found = place.read(plain)
        assert {name: len(found[name]) for name in plain} == {name: len(rows[name]) for name in plain}
        assert [row[0] for row in found["customers"]] == [row[0] for row in rows["customers"]]
        assert [tuple(row) for row in found["order_tags"]] == rows["order_tags"]

    def test_joins_the_parts_of_a_table(self, place: TargetPlace, tmp_path: Path) -> None:
        """A table may come in several files, or with no row."""
        first, second = MARKED.tables
        rows = [(number, 7) for number in range(10)]
        tables = {
            "first": write_table(tmp_path / "copy", first, rows, rows_per_file=3),
            "second": write_table(tmp_path / "copy", second, []),
        }
        place.target().publish(MARKED, tables, copy_id="copy", keep=1, progress=unheard)
        found = place.read(["first", "second"])
        assert [tuple(row) for row in found["first"]] == rows
        assert list(found["second"]) == []

    def test_the_live_copy_is_not_published_again(self, place: TargetPlace, tmp_path: Path) -> None:
        """The same copy twice is one generation."""
        one = publish_marked(place, tmp_path, 1)
        assert publish_marked(place, tmp_path, 1) == one
        assert list(place.target().generations()) == [one]

    @pytest.mark.parametrize("keep", [1, 2, 3])
    def test_keeps_so_many_generations(self, place: TargetPlace, tmp_path: Path, keep: int) -> None:
        """The live one included; numbers go on."""
        for number in range(1, 6):
            publish_marked(place, tmp_path, number, keep=keep)
        generations = place.target().generations()
        assert [each.number for each in generations] == list(range(6 - keep, 6))
        assert [each.number for each in generations if each.live] == [5]

    def test_rolls_back_step_by_step(self, place: TargetPlace, tmp_path: Path) -> None:
        """Back to what was live before, again and again; what was rolled back is not lost, nor its number used."""
        rows = {}
        for number in (1, 2, 3):
            publish_marked(place, tmp_path, number, keep=3)
            rows[number] = place.read(MARKED.table_names)
        for number in (2, 1):
            assert place.target().rollback().number == number
            assert place.read(MARKED.table_names) == rows[number]
            assert live_mark(place) == number
            assert [(g.number, g.live) for g in place.target().generations()] == [
                (each, each == number) for each in (1, 2, 3)
            ]
        with pytest.raises(PublishRefusedError):
            place.target().rollback()
        assert live_mark(place) == 1
        assert publish_marked(place, tmp_path, 4, keep=3).number == 4
        assert place.target().rollback().number == 1, "4 followed 1, which was live when it came"
        assert live_mark(place) == 1

    def test_a_copy_that_was_rolled_back_may_come_again(self, place: TargetPlace, tmp_path: Path) -> None:
        """It is not live, so it is a new generation."""
        publish_marked(place, tmp_path, 1)
        publish_marked(place, tmp_path, 2)
        place.target().rollback()
        assert publish_marked(place, tmp_path, 2).number == 3
        assert live_mark(place) == 2

    @pytest.mark.parametrize("what", sorted(_BROKEN))
    def test_refuses_data_that_breaks_a_constraint(self, place: TargetPlace, tmp_path: Path, what: str) -> None:
        """It names the table, shows no value, and leaves what is live."""
        publish_marked(place, tmp_path, 1)
        metadata = Metadata(tables=(_FRAIL,))
        tables = {"frail": write_table(tmp_path / "broken", _FRAIL, _BROKEN[what])}
        with pytest.raises(PublishError, match="frail") as failure:
            place.target().publish(metadata, tables, copy_id="broken", keep=2, progress=unheard)
        assert leaked_canaries("".join(traceback.format_exception(failure.value))) == []
        assert live_mark(place) == 1
        assert [each.number for each in place.target().generations()] == [1]

    def test_leaves_alone_what_it_did_not_make(self, place: TargetPlace, tmp_path: Path) -> None:
        """Somebody else's data is refused and stays as it was."""
        place.occupy()
        before = place.occupied()
        for call in (
            lambda: publish_marked(place, tmp_path, 1),
            lambda: place.target().rollback(),
            lambda: place.target().generations(),
        ):
            with pytest.raises(PublishRefusedError):
                call()
        assert place.occupied() == before

    def test_a_failure_anywhere_leaves_old_or_new(self, place: TargetPlace, tmp_path: Path) -> None:
        """The next call finishes the work."""
        ticks: list[Progress] = []
        place.target().publish(MARKED, marked(tmp_path, 1), copy_id="1", keep=2, progress=ticks.append)
        assert [tick.done for tick in ticks] == list(range(1, len(ticks) + 1))
        assert {tick.total for tick in ticks} == {len(ticks)}
        for number in range(2, len(ticks) + 2):
            with pytest.raises(_StoppedError):
                place.target().publish(
                    MARKED, marked(tmp_path, number), copy_id=str(number), keep=2, progress=_StopAt(number - 1)
                )
            live = live_mark(place)
            assert live in {number - 1, number}
            assert [each.copy for each in place.target().generations() if each.live] == [str(live)]
            publish_marked(place, tmp_path, number)
            assert live_mark(place) == number

    def test_readers_see_whole_generations(self, place: TargetPlace, tmp_path: Path) -> None:
        """Never a mix of two, never nothing, through ten swaps."""
        publish_marked(place, tmp_path, 1)
        seen: list[set[int]] = []
        failures: list[Exception] = []
        done = threading.Event()

        def read() -> None:
            while not done.wait(0.01):
                try:
                    seen.append(_marks(place))
                except Exception as failure:  # noqa: BLE001 - whatever a reader meets is the finding
                    failures.append(failure)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for number in range(2, 11):
                publish_marked(place, tmp_path, number)
            place.target().rollback()
        finally:
            done.set()
            for reader in readers:
                reader.join()
        assert failures == []
        assert len(seen) > 0
        assert {len(marks) for marks in seen} == {1}


def unheard(progress: Progress) -> None:
    """A listener that does nothing."""


def marked(folder: Path, number: int) -> dict[str, TableData]:
    """Two tables whose every row says which publication it belongs to."""
    rows = [(each, number) for each in range(200)]
    return {table.name: write_table(folder / f"marked-{number}", table, rows) for table in MARKED.tables}


def publish_marked(place: TargetPlace, folder: Path, number: int, *, keep: int = 3) -> Any:
    """Publish the two marked tables as copy `number`."""
    tables = marked(folder, number)
    return place.target().publish(MARKED, tables, copy_id=str(number), keep=keep, progress=unheard)


def live_mark(place: TargetPlace) -> int:
    """Which publication readers see, in all rows of both tables."""
    (mark,) = _marks(place)
    return mark


def _marks(place: TargetPlace) -> set[int]:
    return {int(row[1]) for rows in place.read(["first", "second"]).values() for row in rows}


class _StoppedError(Exception):
    """The listener stopped the publisher."""


class _StopAt:
    def __init__(self, tick: int) -> None:
        self._tick = tick

    def __call__(self, progress: Progress) -> None:
        if progress.done == self._tick:
            raise _StoppedError
