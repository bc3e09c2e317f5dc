"""Keys and references that a source does not declare, guessed from names and values, with the evidence.

Names propose and values decide: a key is unique and without NULLs in the whole snapshot; a reference's values are
nearly all found among a key's. Whole numbers are found in every table's ids, so for them a name must speak as well.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from synth_ops.artifacts import TableData
from synth_ops.metadata import Metadata, Table
from synth_ops.sql import columns_sql, connect, quote, register

if TYPE_CHECKING:
    import duckdb
