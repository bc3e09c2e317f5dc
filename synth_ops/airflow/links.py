"""The link from a task to the report that people read."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperatorLink


class ReportLink(BaseOperatorLink):
    """To the gate's report, in the store or where `SYNTH_OPS_REPORTS_URL` says that its reports are served."""

    name = "Gate report"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """The address, asked for on the worker after the task has run; empty before."""
        return str(getattr(operator, "report_address", ""))
