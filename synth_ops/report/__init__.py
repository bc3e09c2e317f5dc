"""What people read: one self-contained HTML file on a copy and its verdict, the same as JSON, and a summary."""

from __future__ import annotations

from synth_ops.report.context import Context
from synth_ops.report.page import render_html
from synth_ops.report.write import REPORT_JSON, write_report

__all__ = ["REPORT_JSON", "Context", "render_html", "write_report"]
