"""What a large table of models leaves out of memory, column by column, as `Estimates` has it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kvplace.core.hardware import Node
from kvplace.core.model_table import ModelTable
from kvplace.facts.catalogue.models import known_model
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.facts.memory.overhead import overhead_of_unknown
from kvplace.formats.fleet.estimates import REQUEST_STEP, REQUEST_TIMES_MEAN, Estimates

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        Rows whose overhead, and whose least KV memory, is to be estimated.

    Notes
    -----
    Models that the catalogue knows are filled one by one. Of all others the weights and the mean
    request tell all that `Estimates.filled` would use.
    """
    import numpy as np  # noqa: PLC0415 - small tables do without

    estimates = Estimates(nodes, len(table))
    beside = np.array(table.overhead_bytes, np.int64)
    kept = np.array(table.min_kv_bytes, np.int64)
    sizes, at = np.unique(np.array(table.weights_bytes, np.int64)[overhead], return_inverse=True)
    beside[overhead] = np.array([overhead_of_unknown(int(size)) for size in sizes], np.int64)[at]
    tokens = np.full(len(table), -1, np.int64)
    tokens[least] = _longest_request(table, np.array(least, np.int64))
    unsure, short = set(overhead), set(least)
    for row, name in enumerate(table.names):
        if row not in unsure and row not in short:
            continue
        if known_shape(name) is None and known_model(name) is None:
            continue
        filled = estimates.filled(table[row], memory=row in unsure, length=row in short)
        if row in unsure:
            beside[row] = filled.resident_bytes(1) - filled.weights_bytes
        if row in short:
            tokens[row] = filled.max_model_len or -1
    size = np.array(table.kv_bytes_per_token, np.int64) if table.kv_bytes_per_token else 0
    kept = np.maximum(kept, np.maximum(tokens, 0) * np.maximum(size, 0))
    return replace(
        table,
        overhead_bytes=array("q", beside.tobytes()),
        min_kv_bytes=array("q", kept.tobytes()),
        max_model_len=array("q", tokens.tobytes() if (tokens >= 0).any() else b""),
    )


def _longest_request(table: ModelTable, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens of the longest request of some models; -1 where demand does not tell."""
    import numpy as np  # noqa: PLC0415 - small tables do without

    if not table.output_tokens:
        return np.full(len(rows), -1, np.int64)
    prompt = np.array(table.prompt_tokens)[rows] if table.prompt_tokens else np.zeros(len(rows))
    mean = np.nan_to_num(prompt) + np.array(table.output_tokens)[rows]  # NaN without outputs
    tokens = np.ceil(REQUEST_TIMES_MEAN * mean / REQUEST_STEP) * REQUEST_STEP
    found: NDArray[np.int64] = np.where(tokens > 0, tokens, -1).astype(np.int64)
    return found
