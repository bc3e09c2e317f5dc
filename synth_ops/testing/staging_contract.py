"""What a target must do whose tables many workers may load."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from synth_ops.errors import PublishRefusedError
from synth_ops.ports import Capability, StagingTarget
from synth_ops.testing.contracts import MARKED, TargetPlace, live_mark, marked, publish_marked


class StagingContract:
    """What a target with the capability `staging` must do, beside what `TargetContract` asks. Give it `place`, too."""

    def test_says_so(self, place: TargetPlace) -> None:
        """The capability is what others look at."""
        assert Capability.STAGING in place.target().capabilities

    def test_tables_loaded_apart_are_published_as_if_together(self, place: TargetPlace, tmp_path: Path) -> None:
        """By as many workers as tables, in any order, each as often as it likes; nothing is seen before the swap."""
        publish_marked(place, tmp_path, 1)
        token = begin(place, tmp_path, 2)
        for name in ("second", "first", "second"):
            load(place, tmp_path, 2, name, token)
            assert live_mark(place) == 1
        generation = publish_marked(place, tmp_path, 2)
        assert (generation.number, generation.copy, generation.tables) == (2, "2", {"first": 200, "second": 200})
        assert live_mark(place) == 2
        assert [each.number for each in place.target().generations()] == [1, 2]

    def test_to_begin_again_is_to_go_on(self, place: TargetPlace, tmp_path: Path) -> None:
        """A task that is retried gives its workers the same token."""
        token = begin(place, tmp_path, 1)
        load(place, tmp_path, 1, "first", token)
        assert begin(place, tmp_path, 1) == token
        assert publish_marked(place, tmp_path, 1).number == 1
        assert live_mark(place) == 1

    def test_what_is_missing_is_loaded_at_the_end(self, place: TargetPlace, tmp_path: Path) -> None:
        """A worker that was skipped, or marked as done by hand, costs time and no table."""
        load(place, tmp_path, 1, "second", begin(place, tmp_path, 1))
        assert publish_marked(place, tmp_path, 1).tables == {"first": 200, "second": 200}
        assert live_mark(place) == 1

    def test_who_began_before_is_fenced_off(self, place: TargetPlace, tmp_path: Path) -> None:
        """Another copy, published apart or not: what a late worker brings is refused."""
        stale = begin(place, tmp_path, 1)
        load(place, tmp_path, 1, "first", stale)
        token = begin(place, tmp_path, 2)
        for table in ("first", "second"):
            with pytest.raises(PublishRefusedError, match="another run has begun"):
                load(place, tmp_path, 1, table, stale)
            load(place, tmp_path, 2, table, token)
        assert publish_marked(place, tmp_path, 3).number == 1
        with pytest.raises(PublishRefusedError, match="another run has begun"):
            load(place, tmp_path, 2, "first", token)
        assert live_mark(place) == 3
        assert publish_marked(place, tmp_path, 2).number == 2
        assert live_mark(place) == 2

    def test_a_token_is_no_ones_guess(self, place: TargetPlace, tmp_path: Path) -> None:
        """Nor that of another copy."""
        token = begin(place, tmp_path, 1)
        for number, shown in ((1, "guessed"), (2, token)):
            with pytest.raises(PublishRefusedError, match="another run has begun"):
                load(place, tmp_path, number, "first", shown)
        assert list(place.target().generations()) == []

    def test_what_is_live_needs_no_loading(self, place: TargetPlace, tmp_path: Path) -> None:
        """A worker that comes again after the end finds all done."""
        token = begin(place, tmp_path, 1)
        publish_marked(place, tmp_path, 1)
        load(place, tmp_path, 1, "first", token)
        assert staging(place).begin(MARKED, marked(tmp_path, 1), copy_id="1") is None
        assert [each.number for each in place.target().generations()] == [1]

    def test_a_rollback_ends_what_was_under_way(self, place: TargetPlace, tmp_path: Path) -> None:
        """It is what somebody wants now."""
        for number in (1, 2):
            publish_marked(place, tmp_path, number)
        token = begin(place, tmp_path, 3)
        load(place, tmp_path, 3, "first", token)
        place.target().rollback()
        with pytest.raises(PublishRefusedError, match="another run has begun"):
            load(place, tmp_path, 3, "second", token)
        assert live_mark(place) == 1
        assert publish_marked(place, tmp_path, 3).copy == "3"
        assert live_mark(place) == 3


def staging(place: TargetPlace) -> StagingTarget:
    """The target, anew, as another worker has it."""
    return cast("StagingTarget", place.target())


def begin(place: TargetPlace, folder: Path, number: int) -> str:
    """Begin with copy `number`."""
    token = staging(place).begin(MARKED, marked(folder, number), copy_id=str(number))
    assert token
    return token


def load(place: TargetPlace, folder: Path, number: int, table: str, token: str) -> None:
    """Load one of its tables."""
    data = marked(folder, number)[table]
    staging(place).load(MARKED, table, data, copy_id=str(number), token=token)
