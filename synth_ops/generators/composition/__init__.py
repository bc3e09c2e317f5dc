"""Generators in one another: a frame makes keys, references, counts and order, others the columns of single tables.

So a model of one table works in a schema of forty, and each table gets the model that serves it best. What the others
learn from has been through the frame's codecs: they never see a value that fewer than k subjects share.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from synth_ops.artifacts import Snapshot
from synth_ops.errors import FitError, RecipeError
from synth_ops.generators.composition.budget import Budget
from synth_ops.metadata import Metadata, did_you_mean
from synth_ops.ports import ChoosyGenerator, Generator, Progress, ProgressListener
from synth_ops.worker import Isolated, open_generator

if TYPE_CHECKING:
    from synth_ops.generators.relational_trees import FittedTrees
    from synth_ops.generators.relational_trees.model import TableModel

_FRAME, _GUESTS, _DOCUMENT, _MAKERS = "frame", "guests", "guests.json", "makers.json"
_PARTS = 100
logger = logging.getLogger(__name__)


class Composed:
    """A frame, and other generators for the columns of some tables or of all.

    Args:
        frame: The name of the generator that makes keys, references, cardinalities, order and all other columns.
        frame_settings: Its settings.
        everywhere: Which generator makes the columns of every table that `tables` does not name, as a name and its
            settings; None for the frame.
        tables: Which generator makes the columns of a table, by its name, in the same form.
        fewest_rows: With fewer a model of its own learns nothing: such tables are the frame's, unless they are named.
        minutes: How long all may learn, together; each of the others gets a share of what the frame leaves, by the
            size of its table, and nobody is ended before all of it is used up. The frame makes the tables that nobody
            has learned by then, if others were. None for any time.

    Raises:
        UnknownPluginError: There is no generator of such a name.
        RecipeError: One does not take its settings.
    """

    def __init__(
        self,
        *,
        frame: str = "relational_trees",
        frame_settings: Mapping[str, Any] | None = None,
        everywhere: Mapping[str, Mapping[str, Any]] | None = None,
        tables: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        fewest_rows: int = 100,
        minutes: float | None = None,
    ) -> None:
        self._frame_name, self._frame = frame, open_generator(frame, dict(frame_settings or {}))
        if not getattr(self._frame, "frame", False):
            raise RecipeError(
                f"generator {frame!r} can't be a frame for others", "use relational_trees, in this process"
            )
        self._fewest_rows, self._minutes = fewest_rows, minutes
        self._everywhere = _one(everywhere) if everywhere else None
        self._tables = {table: _one(named) for table, named in (tables or {}).items()}
        named = {*self._tables.values(), *([self._everywhere] if self._everywhere else [])}
        self._guests = {each: _built(each, minutes) for each in named if each != (frame, "{}")}
        self._as_before: dict[str, _Named] | None = None
        versions = {frame: self._frame.version} | {name: guest.version for (name, _), guest in self._guests.items()}
        self.version = ", ".join(["2", *(f"{name} {version}" for name, version in sorted(versions.items()))])

    def makers(self, snapshot: Snapshot) -> dict[str, str]:
        """Who makes the columns of each table, by name.

        Raises:
            RecipeError: A generator was named for a table that does not exist, or has no column for it to make; every
                such table is told.
        """
        return {name: maker[0] if maker else self._frame_name for name, maker in self._choose(snapshot).items()}

    def made_in(self, model: Path) -> dict[str, str]:
        """Who makes the columns of each table of a model; where that is the frame for another one, it says why."""
        makers: dict[str, str] = json.loads((model / _MAKERS).read_text(encoding="utf-8"))
        return makers

    def as_in(self, model: Path) -> Composed:
        """The same, for the same tables as in a model, and with the frame for no other one."""
        document = json.loads((model / _DOCUMENT).read_text(encoding="utf-8"))
        other = copy.copy(self)
        other._as_before = {table: (each["generator"], each["settings"]) for table, each in document.items()}  # noqa: SLF001
        return other

    def problems(self, snapshot: Snapshot) -> list[str]:
        """What the generators of single tables can't learn there."""
        from synth_ops.generators.composition.guest import as_planned

        made_by = {name: maker for name, maker in self._choose(snapshot).items() if maker}
        return [
            problem
            for name, maker in made_by.items()
            if isinstance(guest := self._guests[maker], ChoosyGenerator)
            for problem in guest.problems(as_planned(snapshot, name, sequences=_learns_sequences(guest)))
        ]

    def fit(self, snapshot: Snapshot, folder: Path, *, progress: ProgressListener) -> None:
        """Learn the frame from the snapshot, and each guest from its own table as the frame's codecs show it."""
        self._fit(snapshot, folder, None, progress)

    def refit(self, snapshot: Snapshot, folder: Path, previous: Path, *, progress: ProgressListener) -> None:
        """The same, with what the frame can take over; guests learn anew."""
        self._fit(snapshot, folder, previous / _FRAME, progress)

    def load(self, folder: Path, metadata: Metadata) -> FittedTrees:
        """Load what `fit` wrote."""
        from synth_ops.generators.composition.guest import PooledGuest

        document = json.loads((folder / _DOCUMENT).read_text(encoding="utf-8"))
        guests = {}
        for table, entry in document.items():
            generator = self._guests[entry["generator"], entry["settings"]]
            guests[table] = PooledGuest.load(generator, folder / _GUESTS / entry["folder"], metadata, table, entry)
        return cast("FittedTrees", self._frame.load(folder / _FRAME, metadata)).with_guests(guests)

    def _fit(self, snapshot: Snapshot, folder: Path, previous: Path | None, progress: ProgressListener) -> None:
        from synth_ops.generators.composition.guest import guest_columns
        from synth_ops.generators.relational_trees.model import load
        from synth_ops.ports import RefittingGenerator

        budget = Budget(self._minutes) if self._minutes else None
        planned = self._choose(snapshot)
        chosen = {name: maker for name, maker in planned.items() if maker}
        parts, told = 1 + len(chosen), _part(progress, 0, 1 + len(chosen))
        (folder / _FRAME).mkdir()
        if previous and isinstance(self._frame, RefittingGenerator):
            self._frame.refit(snapshot, folder / _FRAME, previous, progress=told)
        else:
            self._frame.fit(snapshot, folder / _FRAME, progress=told)
        models = load(folder / _FRAME)
        columns = {name: guest_columns(snapshot.metadata.table(name), models[name]) for name in chosen}
        columns = {name: free for name, free in columns.items() if free}  # in others too few subjects share anything
        if budget:
            budget.deal({name: len(free) * snapshot.tables[name].rows for name, free in columns.items()})
        document: dict[str, dict[str, Any]] = {}
        for number, (name, free) in enumerate(columns.items(), start=1):
            place, told = folder / _GUESTS / str(number), _part(progress, number, parts, name)
            place.mkdir(parents=True)
            try:
                guest = self._guests[chosen[name]]
                learner = budget.within(guest, name) if budget and isinstance(guest, Isolated) else guest
                learned = _learn(learner, snapshot, name, models[name], free, place, told)
            except FitError:
                if not (budget and budget.used_up and document) or self._as_before is not None:
                    raise
                shutil.rmtree(place)
                break
            document[name] = {
                "generator": chosen[name][0],
                "settings": chosen[name][1],
                "folder": place.name,
                **learned,
            }
        late = columns.keys() - document.keys()
        if late:
            logger.warning("no time was left to learn %s: %s makes them", ", ".join(sorted(late)), self._frame_name)
        makers = {
            name: self._told(maker, learned=name in document, late=name in late) for name, maker in planned.items()
        }
        for file, content in ((_DOCUMENT, document), (_MAKERS, makers)):
            (folder / file).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def _told(self, maker: _Named | None, *, learned: bool, late: bool) -> str:
        """Who makes a table's columns; where that is the frame for another generator, why."""
        if maker is None or learned:
            return maker[0] if maker else self._frame_name
        return f"{self._frame_name} ({'no time' if late else 'no column'} was left for {maker[0]})"

    def _choose(self, snapshot: Snapshot) -> dict[str, _Named | None]:
        """The guest of each table; None where the frame makes all."""
        import pyarrow.parquet as pq

        from synth_ops.generators.composition.guest import has_sequences, may_have_guest
        from synth_ops.generators.relational_trees.structure import structure

        metadata = snapshot.metadata
        rows = {name: data.rows for name, data in snapshot.tables.items()}
        schemas = {name: pq.read_schema(data.files[0]) for name, data in snapshot.tables.items()}
        problems = [
            f"table {name!r} is not in the copy{did_you_mean(name, metadata.table_names)}"
            for name in self._tables
            if name not in metadata.table_names
        ]
        if self._as_before is not None:
            return {name: self._as_before.get(name) for name in metadata.table_names}
        chosen: dict[str, _Named | None] = {}
        ordered = self._everywhere in self._guests and _learns_sequences(self._guests[self._everywhere])
        for each in structure(metadata, rows, schemas):
            name, able = each.table.name, may_have_guest(each)
            named = self._tables.get(name)
            if named is None:
                enough = able and not each.table.copied and rows[name] >= self._fewest_rows
                enough = enough and (not ordered or has_sequences(each))
                chosen[name] = self._everywhere if enough else None
            elif named in self._guests and not able:
                problems.append(
                    f"table {name!r} has no column that {named[0]!r} could make: keys, references, texts "
                    "and what follows from other columns are made for it"
                )
            else:
                chosen[name] = named if named in self._guests else None
        if ordered and not any(chosen.values()):
            problems.append("no table has sequences, which are the rows of one parent: use another generator")
        if problems:
            raise RecipeError("; ".join(problems), "correct `generator` under `tables` in the recipe")
        return chosen


_Named = tuple[str, str]
"""A generator's name, and its settings as JSON."""


def _learns_sequences(guest: Generator) -> bool:
    return bool(getattr(guest, "sequences", False))


def _learn(
    learner: Generator,
    snapshot: Snapshot,
    name: str,
    model: TableModel,
    columns: Sequence[str],
    folder: Path,
    progress: ProgressListener,
) -> dict[str, Any]:
    """Let a guest learn a table's columns as the frame's model shows them.

    Returns:
        What is to be known of it when it draws.
    """
    from synth_ops.generators.composition.guest import structure_of, training_snapshot
    from synth_ops.scratch import scratch_folder

    table = snapshot.metadata.table(name)
    key = structure_of(snapshot, name).primary if _learns_sequences(learner) else None
    with scratch_folder(folder.parent) as scratch:
        training, groups, learned = training_snapshot(snapshot, table, columns, model, scratch, key=key)
        learner.fit(training, folder, progress=progress)
    return {"columns": list(columns), "rows": learned, "exclusive": groups, "in_sequence": key is not None}


def _one(named: Mapping[str, Mapping[str, Any]]) -> _Named:
    ((name, settings),) = named.items()
    return name, json.dumps(settings, sort_keys=True)


def _built(named: _Named, minutes: float | None) -> Generator:
    """A generator; in a process of its own, which can be ended, where there is a budget."""
    settings = json.loads(named[1])
    return open_generator(named[0], {**({"max_minutes": minutes} if minutes else {}), **settings})


def _part(progress: ProgressListener, number: int, parts: int, table: str = "") -> ProgressListener:
    """Ticks of one of several generators, as those of the whole; of a guest, with its table's name."""

    def told(tick: Progress) -> None:
        item = tick.item if table in ("", tick.item) else f"{table}: {tick.item}"
        done = _PARTS * number + _PARTS * tick.done // max(tick.total, 1)
        progress(replace(tick, item=item, done=done, total=_PARTS * parts))

    return told
