"""Models of a table that may be split or copied, made from whole columns."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from kvplace.core.hardware import Node
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import Demand
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES, Model, Replicas
from kvplace.core.models.model_table import ModelTable
from kvplace.facts.memory.estimates import Estimates
from kvplace.formats.tables.arrow import ArrowColumns
from kvplace.formats.tables.csv_columns import CSVColumns
from kvplace.formats.tables.model_rows import cell_value
from kvplace.formats.validation import values

__all__ = ["UNDIVIDED", "Ways", "split_models", "ways_of"]

_SPLIT = ("tensor_parallel", "replicas")
_TOLD = (
    "name", "weights_bytes", "demand", "slo", "kv_bytes_per_token", "overhead_bytes",
    "min_kv_bytes", "windows", "architecture",
)  # fmt: skip
"""Fields of a model that a table states besides those."""
_PLAIN = Launch()

Ways = tuple[tuple[int, ...], Replicas]
"""The degrees of a model, and its numbers of copies."""
UNDIVIDED: Ways = ((1,), Replicas())


class _Row(NamedTuple):
    """What estimates need of a model, as `kvplace.facts.memory.estimates.Stated` has it."""

    weights_bytes: int
    architecture: Architecture | None
    demand: Demand
    tensor_parallel: tuple[int, ...]
    max_model_len: None = None
    gpu_types: tuple[str, ...] = ()


def ways_of(columns: ArrowColumns | CSVColumns) -> list[Ways | None] | None:
    """Return degrees and copies of each row; None where a cell states none that is sound.

    None for all where each model is one undivided copy. Each pair of cells is read once.
    """
    cells: list[Sequence[str]] = []
    for name in _SPLIT:
        texts, at = columns.coded(name) if name in columns.names else ((), repeat(-1, columns.rows))
        known = (*texts, "")  # -1 is the last
        cells.append([known[i] for i in at])
    pairs = list(zip(*cells, strict=True))
    found = {pair: _ways(pair) for pair in set(pairs)}
    if set(found.values()) == {UNDIVIDED}:
        return None
    return list(map(found.__getitem__, pairs))


def _ways(pair: Sequence[str]) -> Ways | None:
    """Return the degrees and copies that two cells state; None where one is not sound."""
    given = zip(_SPLIT, pair, strict=True)
    try:
        stated = {name: cell_value(name, cell) for name, cell in given if cell}
        copies = stated.get("replicas", 1)
        span = copies.values() if isinstance(copies, dict) else (copies, copies)
        low, high = map(values.count, span)
        accepted = values.degrees(stated.get("tensor_parallel", 1))
    except ValueError:
        return None
    return (accepted, Replicas(low, high)) if low <= high else None


def split_models(
    table: ModelTable,
    ways: Sequence[Ways],
    nodes: Sequence[Node],
    *,
    overhead: Sequence[int],
    least: Sequence[int],
) -> Iterator[Model]:
    """Yield the models of a table.

    Parameters
    ----------
    table
        All that is stated besides degrees and copies.
    ways
        Degrees and copies of each row.
    nodes
        Where the models go.
    overhead, least
        Rows whose overhead, and whose least KV memory, is to be estimated.
    """
    estimates = Estimates(nodes, sum(min(degrees) * copies.min for degrees, copies in ways))
    unsure, short = set(overhead), set(least)
    rows = zip(*map(table.column, _TOLD), strict=True)
    for row, (told, (degrees, copies)) in enumerate(zip(rows, ways, strict=True)):
        given = dict(zip(_TOLD, told, strict=True))
        if row in unsure:
            given["overhead_bytes"] = DEFAULT_OVERHEAD_BYTES
        stated = _Row(given["weights_bytes"], given["architecture"], given["demand"], degrees)
        given |= estimates.left_out(
            stated, _PLAIN, given["name"], memory=row in unsure, length=row in short
        )
        yield Model(**given, tensor_parallel=degrees, replicas=copies)
