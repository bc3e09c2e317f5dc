"""What people read: one self-contained HTML file on a copy and its verdict, the same as JSON, and a summary."""

from __future__ import annotations

from synth_ops.report.comparison import comparison_table, render_comparison
from synth_ops.report.context import Context
from synth_ops.report.markdown import render_markdown
from synth_ops.report.nights import (
    moved_checks,
    read_document,
    recall_report,
    write_nightly_report,
    write_published_page,
)
from synth_ops.report.page import render_html
from synth_ops.report.profiles import stands_still
from synth_ops.report.scores import night_scores
from synth_ops.report.write import REPORT_JSON, render_json, write_report

__all__ = [
    "REPORT_JSON",
    "Context",
    "comparison_table",
    "moved_checks",
    "night_scores",
    "read_document",
    "recall_report",
    "render_comparison",
    "render_html",
    "render_json",
    "render_markdown",
    "stands_still",
    "write_nightly_report",
    "write_published_page",
    "write_report",
]
