"""Models of a table that may be split or copied, as columns."""

from collections.abc import Sequence
from itertools import repeat

from kvplace.core.columns import Columns
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.model_table import STATED, ModelTable
from kvplace.formats.tables.arrow import Columns as Table
from kvplace.formats.tables.model_rows import cell_value
from kvplace.formats.validation import values

_SPLIT = ("tensor_parallel", "replicas")
Ways = tuple[tuple[int, ...], Replicas]
"""The degrees of a model, and its numbers of copies."""
UNDIVIDED: Ways = ((1,), Replicas())


def ways_of(columns: Table) -> list[Ways | None] | None:
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
        low, high = values.copies(stated.get("replicas", 1))
        accepted = values.degrees(stated.get("tensor_parallel", 1))
    except ValueError:
        return None
    return (accepted, Replicas(low, high)) if low <= high else None


def split_columns(table: ModelTable, ways: Sequence[Ways]) -> Columns[Model]:
    """Return the columns of models of a table, each with its degrees and copies."""
    degrees, copies = zip(*ways, strict=True)
    told = {name: table.column(name) for name in STATED}
    return Columns(Model, {**told, "tensor_parallel": degrees, "replicas": copies})
