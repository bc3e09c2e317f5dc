"""Benchmarks are run by hand, each as a script: there is nothing for pytest to collect here."""

from __future__ import annotations

collect_ignore_glob = ["*.py"]
