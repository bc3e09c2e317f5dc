"""The one graph that the command line, Airflow and Dagster draw."""

from __future__ import annotations

from dataclasses import dataclass

from synth_ops.artifacts import ArtifactKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One verb.

    Attributes:
        name: The verb.
        makes: The kind of its artifact.
        needs: The step whose artifact it takes; None for the first.
    """

    name: str
    makes: ArtifactKind
    needs: str | None

    @property
    def takes(self) -> ArtifactKind | None:
        """The kind of the artifact that it goes on with; None for the first."""
        return step(self.needs).makes if self.needs else None


STEPS: tuple[Step, ...] = (
    Step(name="snapshot", makes=ArtifactKind.SNAPSHOT, needs=None),
    Step(name="fit", makes=ArtifactKind.MODEL, needs="snapshot"),
    Step(name="sample", makes=ArtifactKind.COPY, needs="fit"),
    Step(name="gate", makes=ArtifactKind.REPORT, needs="sample"),
    Step(name="publish", makes=ArtifactKind.PUBLICATION, needs="gate"),
)
"""The steps of every recipe, in order."""


def step(name: str) -> Step:
    """The step of that name.

    Raises:
        KeyError: There is none.
    """
    return {each.name: each for each in STEPS}[name]
