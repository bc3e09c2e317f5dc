"""What every column means, decided from keys, types, names and patterns; when in doubt, the more sensitive kind.

`decision` puts it together: `profile` measures the columns, `names` knows what they are called in several languages,
`patterns` what values look like, `rules` choose a kind for one column, `subjects` finds the tables of persons.
"""

from __future__ import annotations

from synth_ops.kinds.decision import detect
from synth_ops.kinds.names import PROVIDERS, role_of

__all__ = ["PROVIDERS", "detect", "role_of"]
