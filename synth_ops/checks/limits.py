"""From a measured number and its threshold to evidence that can be judged: one piece for each level."""

from __future__ import annotations

import math
from dataclasses import replace

from synth_ops.artifacts import Evidence, Severity
from synth_ops.ports import Threshold

SIGMAS = 3.5
"""What blocks is so many standard errors off: one false alarm in four thousand comparisons."""
_WARNING_SIGMAS = 2


def judged(
    evidence: Evidence,
    threshold: Threshold,
    *,
    allowance: float = 0.0,
    noise: float = 0.0,
    usual: float = -math.inf,
    laxest: float = math.inf,
) -> list[Evidence]:
    """The evidence with its limits: a warning, a blocking one, or both.

    Args:
        evidence: Without limits.
        threshold: Where to warn and where to block, for data without end.
        allowance: What is added to both limits for sampling noise.
        noise: The standard error of what is measured, where it is known: then two of them warn, and what blocks is
            beyond the blocking limit *and* `SIGMAS` of them beyond the warning one: material, and no accident.
        usual: What honest copies of so little data reach: neither warns nor blocks within two standard errors of it.
        laxest: A limit goes no further, whatever the noise.
    """
    sign = 1.0 if threshold.at_most else -1.0
    warn, block = (None if each is None else sign * each + allowance for each in (threshold.warn, threshold.block))
    tolerated = usual + _WARNING_SIGMAS * noise
    if block is not None and noise:
        block = max(block, (block if warn is None else warn) + SIGMAS * noise, tolerated)
    if warn is not None:
        warn = max(warn + _WARNING_SIGMAS * noise, tolerated)
    side = "maximum" if threshold.at_most else "minimum"
    worst = math.inf if math.isinf(laxest) else sign * laxest
    return [
        replace(evidence, severity=severity, **{side: sign * min(limit, worst)})  # type: ignore[arg-type]
        for severity, limit in ((Severity.WARNING, warn), (Severity.CRITICAL, block))
        if limit is not None
    ]
