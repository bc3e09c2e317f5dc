"""Nightly refreshes of test databases with synthetic data."""

__version__ = "0.1.0"
