"""The plug-in that Airflow loads by its entry point: it hears when a gate fails."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from synth_ops.airflow import listener


class SynthOpsPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "synth_ops"
    listeners = [listener]  # noqa: RUF012  as its base class has it
