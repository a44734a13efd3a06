"""What many models leave out of memory, in columns, row by row, as `Estimates` has it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace
from operator import mul
from typing import Any, NamedTuple

from kvplace.core.columns import Columns, column_of, made
from kvplace.core.hardware import Node
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES, Model
from kvplace.core.models.model_table import ModelTable
from kvplace.facts.memory.estimates import Estimates, typical_longest
from kvplace.facts.memory.overhead import overhead_of_unknown


def with_estimates(
    table: ModelTable, nodes: Sequence[Node], *, overhead: Sequence[int], least: Sequence[int]
) -> ModelTable:
    """Return a table with overhead and least KV memory in rows that state none.

    Parameters
    ----------
    table
        All models.
    nodes
        Where they go.
    overhead, least
        Rows whose overhead, and whose least KV memory, is to be estimated; ascending.

    Notes
    -----
    Models that the catalogue knows are filled one by one, and those that state a shape once for
    each shape and size. Of all others the weights and the mean request tell all that
    `Estimates.filled` would use.
    """
    beside, kept = table.overhead_bytes[:], table.min_kv_bytes[:]
    sizes = set(table.weights_bytes if overhead else ())
    unknown = {size: overhead_of_unknown(size) for size in sizes}
    weights = map(table.weights_bytes.__getitem__, overhead)
    for row, size in zip(overhead, map(unknown.__getitem__, weights), strict=True):
        beside[row] = size
    lengths = array("q", [-1]) * len(table) if least else array("q")
    for row in least if table.output_tokens else ():
        mean = table.output_tokens[row]  # NaN where not given, and so is the sum
        if table.prompt_tokens and not math.isnan(table.prompt_tokens[row]):
            mean += table.prompt_tokens[row]
        if mean > 0:
            lengths[row] = typical_longest(mean)
    estimates = Estimates(nodes, len(table))
    unsure, short = _rows(overhead), _rows(least)
    sized: dict[tuple[int, int], int] = {}
    listed = dict.fromkeys(estimates.listed_among(table.names))
    for row in listed:
        name = table.names[row]
        filled = estimates.filled(table[row], name, memory=row in unsure, length=row in short)
        if row in unsure:
            beside[row] = filled.resident_bytes(1) - filled.weights_bytes
        if row in short:
            lengths[row] = filled.max_model_len or -1
    for row, shape in enumerate(table.shape_of):
        if shape >= 0 and row in unsure and row not in listed:
            alike = shape, table.weights_bytes[row]
            if alike not in sized:
                filled = estimates.filled(table[row], table.names[row], memory=True, length=False)
                sized[alike] = filled.resident_bytes(1) - filled.weights_bytes
            beside[row] = sized[alike]
    for row in least if table.kv_bytes_per_token else ():
        if lengths[row] > 0:
            kept[row] = lengths[row] * max(0, table.kv_bytes_per_token[row])
    return replace(table, overhead_bytes=beside, min_kv_bytes=kept, max_model_len=lengths)


class _Asked(NamedTuple):
    """What estimates need of the demand of a model."""

    prompt_tokens: float | None
    output_tokens: float | None


class _Row(NamedTuple):
    """What estimates need of a model, as `kvplace.facts.memory.estimates.Stated` has it."""

    weights_bytes: int
    architecture: Architecture | None
    max_model_len: int | None
    tensor_parallel: tuple[int, ...]
    gpu_types: tuple[str, ...]
    demand: _Asked


def models_with_estimates(
    stated: Columns[Model],
    nodes: Sequence[Node],
    *,
    overhead: Sequence[int],
    least: Sequence[int],
    called: Sequence[str] | None = None,
) -> list[Model]:
    """Return models that may be split or copied, with what their file leaves out.

    Parameters
    ----------
    stated
        Columns of what is stated.
    nodes, overhead, least
        As in `with_estimates`.
    called
        Names of the models in the catalogue; by default their own.
    """
    names, copies = called or stated.column("name"), column_of(stated.column("replicas"), "min")
    shards = map(mul, map(min, stated.column("tensor_parallel")), copies)
    estimates = Estimates(nodes, sum(shards))
    unsure, short = _rows(overhead), _rows(least)
    looked_at = sorted({*overhead, *least, *estimates.listed_among(names)})
    if not looked_at:
        return made(stated)
    left_out: dict[str, list[Any]] = {
        name: list(stated.column(name))
        for name in ("architecture", "max_model_len", "launch", "resident", "overhead_bytes")
    }
    asked = map(_Asked, *(column_of(stated.column("demand"), of) for of in _Asked._fields))
    rows = list(map(_Row, *map(stated.column, _Row._fields[:-1]), asked))
    for row in overhead:
        left_out["overhead_bytes"][row] = DEFAULT_OVERHEAD_BYTES
    for row in looked_at:
        launch, memory, length = left_out["launch"][row], row in unsure, row in short
        found = estimates.left_out(rows[row], launch, names[row], memory=memory, length=length)
        for name, value in found.items():
            left_out[name][row] = value
    return made(Columns(Model, {**stated.columns, **left_out}))


def _rows(rows: Sequence[int]) -> range | frozenset[int]:
    """Return rows as something that tells quickly whether one is among them."""
    return rows if isinstance(rows, range) else frozenset(rows)
