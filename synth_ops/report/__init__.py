"""What people read: one self-contained HTML file on a copy and its verdict."""

from __future__ import annotations

from synth_ops.report.page import write_report

__all__ = ["write_report"]
