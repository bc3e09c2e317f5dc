"""The publication row: what stands inside every generation, written with its data and never beside it."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from synth_ops.artifacts import Generation
from synth_ops.errors import PublishRefusedError, SynthOpsError
from synth_ops.fingerprint import fingerprint
from synth_ops.ports import Progress, ProgressListener, PublishRules

logger = logging.getLogger(__name__)

_PRODUCTION = frozenset({"live", "prd", "prod", "production"})

Tick = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One generation, as it describes itself.

    Attributes:
        number: Counts up from 1.
        copy: Id of the copy.
        published_at: ISO 8601, UTC.
        previous: The generation that was live before: where a rollback leads to; 0 when there was none.
        tables: Row counts by table name.
    """

    number: int
    copy: str
    published_at: str
    previous: int
    tables: Mapping[str, int]

    @classmethod
    def found(cls, number: int, tables: Mapping[str, int]) -> Published:
        """What stands in a target that nobody published there with this tool: it is remembered, to go back to."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(number=number, copy="", published_at=at, previous=0, tables=tables)

    def generation(self, *, live: bool) -> Generation:
        """The same for the users of a target."""
        return Generation(
            number=self.number, copy=self.copy, published_at=self.published_at, live=live, tables=dict(self.tables)
        )

    def to_json(self) -> dict[str, Any]:
        """Numbers, strings and one object."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Published:
        """Read what `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            number=int(document["number"]),
            copy=str(document["copy"]),
            published_at=str(document["published_at"]),
            previous=int(document["previous"]),
            tables={str(name): int(rows) for name, rows in document["tables"].items()},
        )

    def to_row(self) -> tuple[int, str, str, int, str]:
        """A row for a table with the columns `COLUMNS`."""
        return (self.number, self.copy, self.published_at, self.previous, json.dumps(dict(self.tables)))

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Published:
        """Read what `to_row` wrote; raises as `from_json` does."""
        names = (name for name, _ in COLUMNS)
        document = dict(zip(names, row, strict=True))
        return cls.from_json({**document, "tables": json.loads(document["tables"])})


COLUMNS = (
    ("number", "INTEGER"),
    ("copy", "VARCHAR"),
    ("published_at", "VARCHAR"),
    ("previous", "INTEGER"),
    ("tables", "VARCHAR"),
)
"""Name and type of the columns of a publication table."""


def law_of(rules: PublishRules) -> str:
    """A fingerprint of the rules that a copy is published by: by others it is another generation."""
    return fingerprint(asdict(rules) | {"kept": sorted(rules.kept)})


def not_ours(label: str) -> PublishRefusedError:
    """The refusal to replace what somebody else put at the target."""
    return PublishRefusedError(
        f"{label} exists and was not published by synth_ops", "move it away or choose another target"
    )


def worth_keeping(keep: int, live: Published, known: Mapping[int, Published]) -> set[int]:
    """Which generations stay: the way back (each one's predecessor), then the newest others.

    Args:
        keep: How many, the live one included.
        known: All others, by number.
    """
    way_back: list[int] = []
    step: Published | None = live
    while step and step.number not in way_back:
        way_back.append(step.number)
        step = known.get(step.previous)
    others = sorted(known.keys() - set(way_back), reverse=True)
    return set([*way_back, *others][:keep])


@contextlib.contextmanager
def tidying(label: str, *errors: type[Exception]) -> Iterator[None]:
    """Clean up after what counts, which a failure to do so neither undoes nor hides: the next run tries again.

    Args:
        errors: What else but our own may be raised within.
    """
    known: tuple[type[Exception], ...] = (SynthOpsError, *errors)
    try:
        yield
    except known as error:
        logger.warning("%s: what is left over stays until the next run (%s)", label, type(error).__name__)


def ticks(progress: ProgressListener, total: int) -> Tick:
    """Tell a listener of one item after the other, of so many."""
    done = 0

    def tick(item: str) -> None:
        nonlocal done
        done += 1
        progress(Progress(step="publish", item=item, done=done, total=total))

    return tick


def refuse_production(environment: str) -> None:
    """Refuse to mark a database as one of an environment that may not be replaced.

    Raises:
        PublishRefusedError: Its name is empty, or sounds like production.
    """
    words = set(re.split(r"[^a-z0-9]+", environment.lower())) - {""}
    if not words or words & _PRODUCTION:
        raise PublishRefusedError(
            f"{environment!r} is no name for an environment that may be replaced", "name it staging, test, dev, ..."
        )


def refuse_denied(names: Iterable[str], label: str, deny: Iterable[str]) -> None:
    """Refuse a target that has a name which the recipe denies.

    Args:
        names: Of its database and its host.
        deny: Patterns, in any case.

    Raises:
        PublishRefusedError: It has.
    """
    known = {name.lower() for name in names if name}
    for pattern in deny:
        if any(fnmatch.fnmatchcase(name, pattern.lower()) for name in known):
            raise PublishRefusedError(f"{label} is denied by the recipe: {pattern!r}", "choose another target")
