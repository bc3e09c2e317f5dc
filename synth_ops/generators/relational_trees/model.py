"""What was learned, as arrays and JSON: no pickle, nothing that runs when it is loaded."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from synth_ops.generators.providers import TextShape
from synth_ops.generators.relational_trees.bases import Base
from synth_ops.generators.relational_trees.block import Block
from synth_ops.generators.relational_trees.codec import Codec, NumberCodec, codec_from_json
from synth_ops.generators.relational_trees.conditional import ConditionalTable
from synth_ops.generators.relational_trees.dependencies import Dependency
from synth_ops.generators.relational_trees.differences import Difference, Origin, difference_from_json
from synth_ops.generators.relational_trees.sequences import SequenceModel, sequence_from_json
from synth_ops.generators.relational_trees.structure import Maker
from synth_ops.generators.relational_trees.tree import Tree

_MODEL_FILE = "model.json"
_ARRAYS_FILE = "arrays.npz"
_TREE_FIELDS = ("feature", "threshold", "left", "parent")
_TABLE_FIELDS = ("bins", "starts", "keep", "codes", "aliases")
_BLOCK_FIELDS = ("bins", "bin_starts", "histogram_of", "next_histogram", "backoff", "starts", "codes", "cumulative")

AnyBlock = Block | ConditionalTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One variable to draw.

    Attributes:
        inputs: The variables that it depends on, drawn before.
        block: How it depends on them.
        rule: What determines it exactly, where something does.
        guards: Variables drawn before that this one determines exactly, and how.
        made_of: A digest of all that the block was learned from: the same again makes the same block.
    """

    name: str
    inputs: tuple[str, ...]
    block: AnyBlock
    rule: Dependency | None = None
    guards: Mapping[str, Dependency] = field(default_factory=dict)
    made_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How many children a parent has by one foreign key.

    Attributes:
        codec: Of the number of children; no ranges where too few parents were seen.
        mean: Children per parent, for that case.
        target: Draws the code from the parent's variables; None where it is one of them itself.
    """

    codec: NumberCodec
    mean: float
    target: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceModel:
    """One foreign key.

    Attributes:
        group_of: For a lookup parent: the group of each of its rows; empty otherwise (then a variable of the parent).
        quota: Children per parent.
        null_share, broken_share: Of all child rows.
        broken_values: How many distinct values the broken references have.
    """

    group_of: tuple[int, ...]
    quota: Quota
    null_share: float
    broken_share: float
    broken_values: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableModel:
    """One table.

    Attributes:
        rows: In the snapshot.
        schema: Of its Parquet files.
        makers: Who makes each column.
        codecs: Of learned columns; of provided columns that may be NULL, too.
        shapes: What providers may know of a text column.
        targets: The variables in the order in which they are drawn.
        references: By the foreign key's position in the metadata.
        public_keys: Values of a lookup's key column that k distinct subjects refer to, by row.
        ranks: Key columns that number the rows of a parent, and the number they start at.
        deepest: The longest chain of each self-reference, by position; -1 where the data has loops.
        sequence: How the rows of a parent follow each other, where they are drawn one after the other.
        differences: The columns that are counted from others; of those of one column the first that has a base.
        bases: What times are counted from; their codecs hold distances.
        families: The columns of references to reference data under whose rows its own may be laid.
    """

    rows: int
    schema: pa.Schema
    makers: Mapping[str, Maker]
    codecs: Mapping[str, Codec]
    shapes: Mapping[str, TextShape]
    targets: tuple[Target, ...]
    references: Mapping[int, ReferenceModel]
    public_keys: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)
    deepest: Mapping[int, int] = field(default_factory=dict)
    sequence: SequenceModel | None = None
    differences: tuple[Difference, ...] = ()
    bases: Mapping[str, Base] = field(default_factory=dict)
    families: frozenset[tuple[str, ...]] = frozenset()

    def parent_times(self) -> set[str]:
        """The columns of the primary parent that times are counted from or compared with."""
        found = {each.base_column for each in self.differences if each.base is Origin.PARENT}
        return found | set(self.sequence.anchors if self.sequence else ())


def save(models: Mapping[str, TableModel], folder: Path) -> None:
    """Write every table's model into a folder."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    document = {name: _table_to_json(model, arrays) for name, model in models.items()}
    (folder / _MODEL_FILE).write_text(json.dumps({"tables": document}, ensure_ascii=False), encoding="utf-8")
    np.savez(folder / _ARRAYS_FILE, **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> dict[str, TableModel]:
    """Read what `save` wrote; the caller has checked the files' digests."""
    document = json.loads((folder / _MODEL_FILE).read_text(encoding="utf-8"))
    with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as arrays:
        return {name: _table_from_json(entry, arrays) for name, entry in document["tables"].items()}


def lean(model: TableModel) -> TableModel:
    """The same model to draw from, without the inputs that no block uses."""
    references = {
        number: dataclasses.replace(each, quota=_lean_quota(each.quota)) for number, each in model.references.items()
    }
    targets = tuple(_without_idle_inputs(target) for target in model.targets)
    return dataclasses.replace(model, targets=targets, references=references)


def _lean_quota(quota: Quota) -> Quota:
    return dataclasses.replace(quota, target=_without_idle_inputs(quota.target)) if quota.target else quota


def _without_idle_inputs(target: Target) -> Target:
    if not isinstance(target.block, Block):
        return target
    places = target.block.used_inputs()
    inputs = tuple(target.inputs[place] for place in places)
    return dataclasses.replace(target, inputs=inputs, block=target.block.of_inputs(places))


def blocks_of(models: Mapping[str, TableModel]) -> dict[str, AnyBlock]:
    """Every block of a model, by what it was made of."""
    targets = [target for model in models.values() for target in model.targets]
    quotas = [each.quota for model in models.values() for each in model.references.values()]
    targets += [each.target for each in quotas if each.target]
    return {target.made_of: target.block for target in targets}


def _table_to_json(model: TableModel, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    return {
        "rows": model.rows,
        "schema": model.schema.serialize().to_pybytes().hex(),
        "makers": {name: maker.value for name, maker in model.makers.items()},
        "codecs": {name: codec.to_json() for name, codec in model.codecs.items()},
        "shapes": {name: shape.to_json() for name, shape in model.shapes.items()},
        "targets": [_target_to_json(target, arrays) for target in model.targets],
        "references": {number: _reference_to_json(entry, arrays) for number, entry in model.references.items()},
        "public_keys": {
            name: {"rows": list(values), "values": list(values.values())} for name, values in model.public_keys.items()
        },
        "ranks": dict(model.ranks),
        "deepest": dict(model.deepest),
        "sequence": model.sequence.to_json() if model.sequence else None,
        "differences": [each.to_json() for each in model.differences],
        "bases": {name: base.to_json() for name, base in model.bases.items()},
        "families": sorted(model.families),
    }


def _table_from_json(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> TableModel:
    return TableModel(
        rows=entry["rows"],
        schema=pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(entry["schema"]))),
        makers={name: Maker(maker) for name, maker in entry["makers"].items()},
        codecs={name: codec_from_json(codec) for name, codec in entry["codecs"].items()},
        shapes={name: TextShape.from_json(shape) for name, shape in entry["shapes"].items()},
        targets=tuple(_target_from_json(target, arrays) for target in entry["targets"]),
        references={int(number): _reference_from_json(each, arrays) for number, each in entry["references"].items()},
        public_keys={
            name: dict(zip(each["rows"], each["values"], strict=True)) for name, each in entry["public_keys"].items()
        },
        ranks=entry["ranks"],
        deepest={int(number): depth for number, depth in entry["deepest"].items()},
        sequence=sequence_from_json(entry["sequence"]) if entry["sequence"] else None,
        differences=tuple(difference_from_json(each) for each in entry["differences"]),
        bases={name: Base.from_json(base) for name, base in entry["bases"].items()},
        families=frozenset(tuple(columns) for columns in entry["families"]),
    )


def _target_to_json(target: Target, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    number = str(len(arrays))
    if isinstance(target.block, Block):
        arrays |= {f"{number}.{name}": getattr(target.block.tree, name) for name in _TREE_FIELDS}
    fields = _BLOCK_FIELDS if isinstance(target.block, Block) else _TABLE_FIELDS
    arrays |= {f"{number}.{name}": getattr(target.block, name) for name in fields}
    return {
        "name": target.name,
        "inputs": list(target.inputs),
        "block": number,
        "kind": "tree" if isinstance(target.block, Block) else "table",
        "between": isinstance(target.block, Block) and target.block.between,
        "rule": _rule_to_json(target.rule, arrays) if target.rule else None,
        "guards": {name: _rule_to_json(rule, arrays) for name, rule in target.guards.items()},
        "made_of": target.made_of,
    }


def _target_from_json(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> Target:
    number = entry["block"]
    if entry["kind"] == "tree":
        tree = Tree(**{name: arrays[f"{number}.{name}"] for name in _TREE_FIELDS})
        fields = {name: arrays[f"{number}.{name}"] for name in _BLOCK_FIELDS}
        block: AnyBlock = Block(tree=tree, between=entry["between"], **fields)
    else:
        block = ConditionalTable(**{name: arrays[f"{number}.{name}"] for name in _TABLE_FIELDS})
    return Target(
        name=entry["name"],
        inputs=tuple(entry["inputs"]),
        block=block,
        rule=_rule_from_json(entry["rule"], arrays) if entry["rule"] else None,
        guards={name: _rule_from_json(rule, arrays) for name, rule in entry["guards"].items()},
        made_of=entry["made_of"],
    )


def _rule_to_json(rule: Dependency, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    number = str(len(arrays))
    arrays[f"{number}.keys"], arrays[f"{number}.values"] = rule.keys, rule.values
    return {"inputs": list(rule.inputs), "sizes": list(rule.sizes), "table": number}


def _rule_from_json(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> Dependency:
    number = entry["table"]
    return Dependency(
        inputs=tuple(entry["inputs"]),
        sizes=tuple(entry["sizes"]),
        keys=arrays[f"{number}.keys"],
        values=arrays[f"{number}.values"],
    )


def _reference_to_json(model: ReferenceModel, arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    return {
        "group_of": list(model.group_of),
        "quota": {
            "codec": model.quota.codec.to_json(),
            "mean": model.quota.mean,
            "target": _target_to_json(model.quota.target, arrays) if model.quota.target else None,
        },
        "null_share": model.null_share,
        "broken_share": model.broken_share,
        "broken_values": model.broken_values,
    }


def _reference_from_json(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray[Any, Any]]) -> ReferenceModel:
    codec = codec_from_json(entry["quota"]["codec"])
    if not isinstance(codec, NumberCodec):
        raise TypeError("a quota counts children")
    target = entry["quota"]["target"]
    return ReferenceModel(
        group_of=tuple(entry["group_of"]),
        quota=Quota(
            codec=codec,
            mean=entry["quota"]["mean"],
            target=_target_from_json(target, arrays) if target else None,
        ),
        null_share=entry["null_share"],
        broken_share=entry["broken_share"],
        broken_values=entry["broken_values"],
    )
