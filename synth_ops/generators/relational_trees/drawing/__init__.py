"""Drawing: one table at a time, its parents first."""
