"""Airflow (3.1 or newer): one operator a step, and the task group `synthetic_copy` that wires all five.

>>> from synth_ops.airflow import synthetic_copy  # doctest: +SKIP

Nothing of Airflow is imported before one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from synth_ops import __version__

if TYPE_CHECKING:
    from synth_ops.airflow.operators import (
        SynthFitOperator,
        SynthGateOperator,
        SynthPublishOperator,
        SynthSampleOperator,
        SynthSnapshotOperator,
        SynthStepOperator,
    )
    from synth_ops.airflow.task_group import synthetic_copy

__all__ = [
    "SynthFitOperator",
    "SynthGateOperator",
    "SynthPublishOperator",
    "SynthSampleOperator",
    "SynthSnapshotOperator",
    "SynthStepOperator",
    "get_provider_info",
    "synthetic_copy",
]

_OPERATORS = "synth_ops.airflow.operators"
_TASK_GROUP = "synth_ops.airflow.task_group"


def get_provider_info() -> dict[str, Any]:
    """What Airflow lists under its providers."""
    return {
        "package-name": "synth-ops",
        "name": "Synth Ops",
        "description": "Nightly refreshes of test databases with gated synthetic data.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "Synth Ops",
                "external-doc-url": "https://github.com/synth-ops/synth-ops#readme",
                "tags": ["software"],
            }
        ],
        "operators": [{"integration-name": "Synth Ops", "python-modules": [_OPERATORS]}],
    }


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_TASK_GROUP if name == "synthetic_copy" else _OPERATORS), name)
