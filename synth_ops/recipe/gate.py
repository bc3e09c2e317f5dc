"""What a copy must pass before it may be published."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, FiniteFloat

from synth_ops.recipe.section import Section


class Policy(StrEnum):
    """How strict a gate is."""

    STANDARD = "standard"
    """Every measure's own limits."""
    STRICT = "strict"
    """What the standard only warns of blocks."""
    OFF_FOR_PRIVACY = "off-for-privacy"
    """For data that is nobody's: privacy measures are shown and block nothing. Needs a reason."""


class GateRecipe(Section):
    """What a copy must pass before it may be published."""

    policy: Policy = Policy.STANDARD
    """`standard`; `strict`: what else is only a warning blocks; `off-for-privacy`: for data that is nobody's, with a
    reason."""
    reason: str = ""
    """Why limits may be laxer than the policy's; the report prints it."""
    suites: tuple[str, ...] = ()
    """Great Expectations suites (JSON or YAML files, or folders of them) to run beside the built-in checks; a suite
    exported by `synth-ops suite` replaces the built-in one of its table, or the limits of all measures."""
    python_suites: tuple[str, ...] = ()
    """Installed plug-ins (entry points `synth_ops.suites`, see `ports.SuiteBuilder`) that build Great Expectations
    suites in Python, expectations of one's own class among them; they run like those of `suites`."""
    thresholds: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """Where single measures block (or warn, where they only do that), by the name that the report shows, such as
    `fidelity.column_distance`. Laxer ones than the policy's need a `reason`."""
    warnings: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    """Where single measures begin to warn."""
    queries: tuple[str, ...] = ()
    """Files of SQL (DuckDB's dialect), each a SELECT or several after one another: they run on source and copy, and the
    numbers of their rows are compared."""
    check_timeout_s: float = Field(default=3600.0, gt=0)
    """How long one check may take before it counts as failed, and the audit (a model of half of the subjects) before
    them."""
    alert_at: float = Field(default=0.2, gt=0)
    """Point out a measure that came nearer to its limit since the last good night by more than this share of what the
    limit allows."""
    also: tuple[str, ...] = ()
    """Checks of an extra, which run only where they are named: `sdmetrics` (of `synth-ops[sdv]`) prints SDMetrics'
    scores beside the gate's own numbers."""
    stage: bool = True
    """Whether the copy may be loaded into a PostgreSQL target before the verdict, where nobody looks: there your own
    suites run, and queries are planned as the source's server plans them. A copy that passes is published from there;
    of one that fails nothing stays."""
    labels: bool = False
    """Whether the report names the texts that at least five people share (`shipped`, `returned`); else it numbers them
    by frequency, as reports go further than databases do."""
