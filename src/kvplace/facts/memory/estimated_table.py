"""What a large table of models leaves out of memory, row by row, as `Estimates` has it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import replace

from kvplace.core.hardware import Node
from kvplace.core.models.model_table import ModelTable
from kvplace.facts.catalogue.models import known_models
from kvplace.facts.catalogue.shapes import known_names
from kvplace.facts.memory.estimates import Estimates, typical_longest
from kvplace.facts.memory.overhead import overhead_of_unknown

__all__ = ["with_estimates"]


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
    known = {name.casefold() for names in (known_names(), known_models()) for name in names}
    sized: dict[tuple[int, int], int] = {}
    folded = list(map(str.casefold, table.names))
    some = not known.isdisjoint(folded)
    listed = dict.fromkeys(row for row, name in enumerate(folded if some else ()) if name in known)
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


def _rows(rows: Sequence[int]) -> range | frozenset[int]:
    """Return rows as something that tells quickly whether one is among them."""
    return rows if isinstance(rows, range) else frozenset(rows)
