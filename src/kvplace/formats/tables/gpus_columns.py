"""GPUs in columns: one row per GPU, or one per kind of GPU and node with its count."""

from __future__ import annotations

from typing import Any

from kvplace.core.hardware import Node
from kvplace.formats.diagnostics import Path, Report, path_text
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.schema import NodePart
from kvplace.formats.tables.arrow import read_table
from kvplace.formats.tables.model_rows import cell_value
from kvplace.formats.validation.csv_rows import Header, uneven_row
from kvplace.formats.validation.models import validate

_HEADER = Header(
    ("node",), ("type", "memory_gib", "reserve_gib", "zone"), texts=("node", "type", "zone")
)
_AMOUNTS = {"memory": "memory_gib", "reserve": "reserve_gib"}
"""Columns of GiB by the key of a fleet file that they stand for."""


def read_gpus(source: str) -> tuple[Node, ...]:
    """Read nodes from a table, CSV or Parquet, with a row per GPU; rows of one node make it up.

    Parameters
    ----------
    source
        The file. Its columns are ``node`` and ``type`` or ``memory_gib``; optionally
        ``reserve_gib``, and ``zone``, which becomes a label of the node.

    Raises
    ------
    InputError
        With every fault, each with its row, counted from 0, its column, and its line in CSV.
    """
    report = Report(source)
    columns = read_table(source, _HEADER, report)
    rows: dict[str, list[int]] = {}  # of each node

    def text_of(path: Path) -> str:
        return path_text(_place_of(path, list(rows.values())))

    def line_of(path: Path) -> int | None:
        place = _place_of(path, list(rows.values()))
        return columns.line_of(place[1]) if place[0] == "gpus" else None  # type: ignore[arg-type]  # a row

    report.text_of, report.line_of = text_of, line_of
    entries = list(columns.cells(range(columns.rows)))
    for row, width in columns.uneven.items():
        report.add(("gpus", row), uneven_row(width, len(columns.names)))
    for row, entry in enumerate(entries):
        if "node" not in entry:
            report.add(("gpus", row, "node"), "is empty")
            continue
        held = rows.setdefault(entry["node"], [])
        held.append(row)
        if entry.get("zone") != entries[held[0]].get("zone"):
            report.add(("gpus", row, "zone"), f"differs from that of gpus[{held[0]}]")
    gpus = [_gpu(entry, row, report) for row, entry in enumerate(entries)]
    parts = []
    for at, (name, held) in enumerate(rows.items()):
        own = [gpus[row] for row in held]
        node: dict[str, Any] = {"name": name, "gpus": own}
        if all(gpu == own[0] for gpu in own):
            node |= {"gpus": len(own), "gpu": own[0]}
        if "zone" in entries[held[0]]:
            node["labels"] = {"zone": entries[held[0]]["zone"]}
        parts.append(validate(NodePart, node, ("nodes", at), report))
    nodes = build_nodes(parts, report)
    report.refuse()
    return nodes


def _place_of(path: Path, rows: list[list[int]]) -> Path:
    """Return where in the table a path of a fleet file leads to.

    Parameters
    ----------
    path
        Such as ``nodes[0].gpu.memory``.
    rows
        Those of each node; of GPUs alike, the first stands for all.
    """
    match path:
        case ("nodes", int(at), "gpus", int(gpu), *keys):
            row = rows[at][gpu]
        case ("nodes", int(at), "gpu", *keys):
            row = rows[at][0]
        case ("nodes", int(at), *_):
            row, keys = rows[at][0], ["node"]
        case _:
            return path
    return ("gpus", row, *(_AMOUNTS.get(str(key), key) for key in keys))


def _gpu(entry: dict[str, str], row: int, report: Report) -> dict[str, Any]:
    """Return a row as a GPU of a fleet file."""
    gpu: dict[str, Any] = {"type": entry["type"]} if "type" in entry else {}
    for key, column in _AMOUNTS.items():
        try:
            if column in entry:
                gpu[key] = cell_value(column, entry[column])
        except ValueError as error:
            report.add(("gpus", row, column), str(error))
    return gpu
