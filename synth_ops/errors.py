"""One tree of errors. A message says what was wrong, with which name, and the way out; never a source value."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any


class SynthOpsError(Exception):
    """Anything that synth_ops refuses or fails to do.

    Args:
        message: One line: what was wrong, with which name, what was allowed.
        hint: The way out, one line; empty when there is none to give.
    """

    exit_code = 1
    """What the command line exits with."""
    retryable = False
    """Whether the same call may succeed later, unchanged: orchestrators retry only these."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(SynthOpsError):
    """What the user wrote can't be run as it stands."""

    exit_code = 2


class RecipeError(ConfigError):
    """The recipe does not parse, or asks for something that does not exist."""


class MetadataError(ConfigError):
    """The metadata contradicts itself or the data. Reports every problem at once.

    Args:
        problems: One line each.
        hint: The way out.
    """

    def __init__(self, problems: Sequence[str], hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems), hint)

    def __reduce__(self) -> tuple[type[MetadataError], tuple[tuple[str, ...], str]]:
        return type(self), (self.problems, self.hint)


class UnknownPluginError(ConfigError):
    """No plug-in of that name is installed."""


class MissingExtraError(ConfigError):
    """The plug-in is known, but what it needs is not installed."""


class ArtifactError(SynthOpsError):
    """The store does not hold what was asked for, or can't be used."""


class ArtifactNotFoundError(ArtifactError):
    """No artifact has that id."""


class ArtifactTamperedError(ArtifactError):
    """An artifact's bytes are not those that were written."""


class ArtifactVersionError(ArtifactError):
    """An artifact was made by another version of this package, or of a plug-in, than the one that is to go on."""


class SourceError(SynthOpsError):
    """The source can't be read."""

    exit_code = 5


class SourceUnavailableError(SourceError):
    """The source can't be reached now; it may be later."""

    retryable = True


class FitError(SynthOpsError):
    """A generator could not learn from the snapshot."""


class SampleError(SynthOpsError):
    """A fitted model could not make the copy."""


class GateFailedError(SynthOpsError):
    """The copy did not pass its gate.

    Args:
        message: The failed checks in one line.
        hint: Where the report is.
        report_id: Id of the gate report in the store.
        facts: The verdict's counts and scores, as a passed gate returns them.
    """

    exit_code = 3

    def __init__(
        self, message: str, hint: str = "", report_id: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint)
        self.report_id = report_id
        self.facts = dict(facts or {})

    def __reduce__(self) -> tuple[type[GateFailedError], tuple[str, str, str, dict[str, Any]]]:
        return type(self), (self.message, self.hint, self.report_id, self.facts)


class PublishError(SynthOpsError):
    """The copy could not be published; what was live is live still."""

    exit_code = 4


class PublishRefusedError(PublishError):
    """Publishing is not allowed: no passed gate for this copy, the target is the source, or it is not ours."""


class TargetUnavailableError(PublishError):
    """The target can't be reached or written now; it may be later."""

    exit_code = 5
    retryable = True


def refuse_interruption(error: Exception) -> None:
    """Raise KeyboardInterrupt for what a database driver makes of Ctrl-C; do nothing for anything else."""
    if "Interrupt" in type(error).__name__ or str(error).startswith(("INTERRUPT", "Query interrupted")):
        raise KeyboardInterrupt from None


def unforeseen(error: Exception) -> SynthOpsError:
    """What may be told of an error that nobody foresaw: its type and its place, as its text may hold source values.

    >>> str(unforeseen(ValueError("ada@example.org")))
    'unexpected ValueError (please report it)'
    """
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return SynthOpsError(f"unexpected {type(error).__name__}{place}", "please report it")
