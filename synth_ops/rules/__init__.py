"""Rules that the data obeys though nothing declares them: found with their support, shown, kept by generators, gated.

`rows` looks for what ties the columns of one row (`total = net + tax`, `end >= start`, `hour = hour of time`),
`references` for what ties a row to its parent (a price carried over, an order after its customer's sign-up) and to its
children (a total that is their sum). `queries` says each rule in SQL. Every rule holds in all rows of the source, in so
many of them, and so unlikely by chance, that chance is no explanation.
"""

from __future__ import annotations

from synth_ops.rules.find import find_rules
from synth_ops.rules.queries import at_bound_sql, describe, violations_sql

__all__ = ["at_bound_sql", "describe", "find_rules", "violations_sql"]
