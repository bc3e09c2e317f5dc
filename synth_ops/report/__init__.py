"""What people read: one self-contained HTML file on a copy and its verdict, the same as JSON, and a summary."""

from __future__ import annotations

from synth_ops.report.context import Context
from synth_ops.report.markdown import render_markdown
from synth_ops.report.nights import recall_report, write_nightly_report
from synth_ops.report.page import render_html
from synth_ops.report.write import REPORT_JSON, render_json, write_report

__all__ = [
    "REPORT_JSON",
    "Context",
    "recall_report",
    "render_html",
    "render_json",
    "render_markdown",
    "write_nightly_report",
    "write_report",
]
