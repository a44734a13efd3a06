"""GPUs in columns: one row per GPU, or one per kind of GPU and node with its count."""

from __future__ import annotations

from typing import Any

from kvplace.core.hardware import Node
from kvplace.formats.diagnostics import Path, Report, path_text
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.schema import NodePart
from kvplace.formats.tables.arrow import read_columns
from kvplace.formats.validation.csv_rows import Header
from kvplace.formats.validation.models import validate

__all__ = ["read_gpus"]

_HEADER = Header(("node",), ("type", "memory_gib", "reserve_gib", "zone"))
_AMOUNTS = {"memory": "memory_gib", "reserve": "reserve_gib"}
"""Columns of GiB by the key of a fleet file that they stand for."""


def read_gpus(source: str) -> tuple[Node, ...]:
    """Read the nodes of a Parquet file with a row per GPU; rows of one node make up that node.

    Parameters
    ----------
    source
        The file. Its columns are ``node`` and ``type`` or ``memory_gib``; optionally
        ``reserve_gib``, and ``zone``, which becomes a label of the node.

    Raises
    ------
    InputError
        With every fault, each with its row, counted from 0, and its column.
    """
    rows: dict[Any, list[int]] = {}  # of each node

    def text_of(path: Path) -> str:
        match path:
            case ("nodes", int(at), "gpus", int(gpu), *keys):
                row = list(rows.values())[at][gpu]
            case ("nodes", int(at), "gpu", key, *_):  # of GPUs alike, the first stands for all
                row, keys = list(rows.values())[at][0], [key]
            case ("nodes", int(at), *_):
                row, keys = list(rows.values())[at][0], ["node"]
            case _:
                return path_text(path)
        return path_text(("gpus", row, *(_AMOUNTS.get(str(key), str(key)) for key in keys)))

    report = Report(source, text_of=text_of)
    entries = read_columns(source, _HEADER).to_pylist()
    for row, entry in enumerate(entries):
        first = rows.setdefault(entry["node"], [row])[0]
        if first != row:
            rows[entry["node"]].append(row)
        if entry.get("zone") != entries[first].get("zone"):
            report.add((f"gpus[{row}].zone",), f"differs from that of gpus[{first}]")
    parts = []
    for at, (name, held) in enumerate(rows.items()):
        gpus = [_gpu(entries[row]) for row in held]
        node: dict[str, Any] = {"name": name, "gpus": gpus}
        if all(gpu == gpus[0] for gpu in gpus):
            node |= {"gpus": len(gpus), "gpu": gpus[0]}
        zone = entries[held[0]].get("zone")
        if zone is not None:
            node["labels"] = {"zone": zone}
        parts.append(validate(NodePart, node, ("nodes", at), report))
    nodes = build_nodes(parts, report)
    report.refuse()
    return nodes


def _gpu(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a GPU of a fleet file."""
    gpu: dict[str, Any] = {}
    if entry.get("type") is not None:
        gpu["type"] = entry["type"]
    for key, column in _AMOUNTS.items():
        if entry.get(column) is not None:
            gpu[key] = f"{entry[column]}GiB"
    return gpu
