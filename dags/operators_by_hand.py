"""The operators one by one, for what the task group does not do: here, another gate, and a word to the team.

The workers' environment names the recipe and the store (`SYNTH_OPS_RECIPE`, `SYNTH_OPS_STORE`) as for
`nightly_refresh.py`. The database to publish to is Airflow's connection in `SYNTH_OPS_TARGET_CONN_ID`, if that is set:
no password stands in a recipe.
"""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, task

from synth_ops.airflow import SynthFitOperator, SynthPublishOperator, SynthSampleOperator, SynthSnapshotOperator

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "nycflights" / "recipe.yaml"
given = {
    "recipe": os.environ.get("SYNTH_OPS_RECIPE", str(EXAMPLE)),
    "target_conn_id": os.environ.get("SYNTH_OPS_TARGET_CONN_ID"),
}

with DAG(dag_id="operators_by_hand", schedule=None, tags=["synth_ops"], doc_md=__doc__):
    snapshot = SynthSnapshotOperator(task_id="snapshot", **given)
    model = SynthFitOperator(task_id="fit", needs=snapshot.output, pool="default_pool", **given)
    copy = SynthSampleOperator(task_id="sample", needs=model.output, **given)

    @task.synth_gate(**given)
    def gate(sampled):
        """Judge the copy, unless it is too small to be of use."""
        if sum(sampled["facts"]["tables"].values()) == 0:
            raise ValueError("the copy is empty")
        return sampled

    @task
    def tell(report, publication):
        """One line for the team."""
        scores = ", ".join(f"{name} {value:.3f}" for name, value in report["facts"]["scores"].items())
        print(f"generation {publication['facts']['generation']} is live: {scores}")  # noqa: T201

    report = gate(copy.output)
    publication = SynthPublishOperator(task_id="publish", needs=report, **given)
    tell(report, publication.output)
