"""Who makes the values that are never learned: persons, texts, ids, codes and blobs.

A value depends on the seed, the table, the column and the row's number alone, so any split of the rows into shards
gives the same column. `choose` picks a provider for a column; `shape` learns what may be known of a text's form.
"""

from __future__ import annotations

from synth_ops.generators.providers.choose import provider_for
from synth_ops.generators.providers.request import Provider
from synth_ops.generators.providers.shape import TextShape, learn_shapes

__all__ = ["Provider", "TextShape", "learn_shapes", "provider_for"]
