"""Airflow (3.1 or newer): one operator a step, and the task group `synthetic_copy` that wires all five.

>>> from synth_ops.airflow import synthetic_copy  # doctest: +SKIP

Nothing of Airflow is imported before one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from synth_ops import __version__

if TYPE_CHECKING:
    from synth_ops.airflow.assets import published_tables, synthetic_asset
    from synth_ops.airflow.fan_out import (
        SynthPlanShardsOperator,
        SynthPlanTablesOperator,
        SynthShardsOperator,
        SynthTablesOperator,
    )
    from synth_ops.airflow.operators import (
        SynthFitOperator,
        SynthGateFailed,
        SynthGateOperator,
        SynthPreflightOperator,
        SynthPublishOperator,
        SynthSampleOperator,
        SynthSnapshotOperator,
        SynthStepOperator,
        SynthTidyOperator,
    )
    from synth_ops.airflow.task_group import synthetic_copy

__all__ = [
    "SynthFitOperator",
    "SynthGateFailed",
    "SynthGateOperator",
    "SynthPlanShardsOperator",
    "SynthPlanTablesOperator",
    "SynthPreflightOperator",
    "SynthPublishOperator",
    "SynthSampleOperator",
    "SynthShardsOperator",
    "SynthSnapshotOperator",
    "SynthStepOperator",
    "SynthTablesOperator",
    "SynthTidyOperator",
    "get_provider_info",
    "published_tables",
    "synthetic_asset",
    "synthetic_copy",
]

_OPERATORS = "synth_ops.airflow.operators"
_FAN_OUT = "synth_ops.airflow.fan_out"
_HOMES = {
    "SynthPlanShardsOperator": _FAN_OUT,
    "SynthPlanTablesOperator": _FAN_OUT,
    "SynthShardsOperator": _FAN_OUT,
    "SynthTablesOperator": _FAN_OUT,
    "published_tables": "synth_ops.airflow.assets",
    "synthetic_asset": "synth_ops.airflow.assets",
    "synthetic_copy": "synth_ops.airflow.task_group",
}


def get_provider_info() -> dict[str, Any]:
    """What Airflow lists under its providers."""
    on_gate_failed = {
        "description": "Import path of a function to call with `task_instance` and `facts` when a gate has failed.",
        "type": "string",
        "default": "",
        "example": "company.alerts.on_gate_failed",
        "version_added": "0.1.0",
    }
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
        "operators": [{"integration-name": "Synth Ops", "python-modules": [_OPERATORS, _FAN_OUT]}],
        "extra-links": ["synth_ops.airflow.links.ReportLink"],
        "task-decorators": [{"name": "synth_gate", "class-name": "synth_ops.airflow.decorators.synth_gate_task"}],
        "config": {
            "synth_ops": {
                "description": "Settings of Synth Ops.",
                "options": {"on_gate_failed": on_gate_failed},
            }
        },
    }


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, _OPERATORS)), name)
