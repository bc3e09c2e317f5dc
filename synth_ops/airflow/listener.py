"""Tells whom the configuration names (`[synth_ops] on_gate_failed`) of every copy that fails its gate."""

from __future__ import annotations

import importlib
from typing import Any

from airflow.listeners import hookimpl

from synth_ops.errors import ConfigError

OPTION = ("synth_ops", "on_gate_failed")


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG001
    """Call the configured function with the task instance and the verdict's facts, where a gate has failed."""
    facts = getattr(error, "facts", None)
    if facts is None or type(error).__name__ != "SynthGateFailed":  # compared by name: most errors are not ours,
        return  # and their processes have not loaded us
    from airflow.sdk import conf

    named = conf.get(*OPTION, fallback="")
    if named:
        module, _, function = named.rpartition(".")
        if not module:
            raise ConfigError(f"[{OPTION[0]}] {OPTION[1]} is no import path", "write package.module.function")
        getattr(importlib.import_module(module), function)(task_instance=task_instance, facts=facts)
