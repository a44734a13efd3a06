"""GPUs in columns: one row per GPU, or one per kind of GPU and node with its count."""

from __future__ import annotations

from typing import Any

from kvplace.core.hardware import Node
from kvplace.formats.diagnostics import Path, Report, path_text
from kvplace.formats.fleet.nodes import build_nodes
from kvplace.formats.fleet.schema import NodePart
from kvplace.formats.tables.arrow import Columns
from kvplace.formats.validation.csv_rows import Header, check_header
from kvplace.formats.validation.models import validate

__all__ = ["nodes_of_columns"]

HEADER = Header(("node",), ("type", "memory_gib", "reserve_gib", "zone"))


def nodes_of_columns(columns: Columns, source: str) -> tuple[Node, ...]:
    """Return the nodes of a table with a row per GPU; rows of one node make up that node.

    Parameters
    ----------
    columns
        ``node`` and ``type`` or ``memory_gib``; optionally ``reserve_gib``, and ``zone``, which
        becomes a label of the node.
    source
        Name of the file, for messages.

    Raises
    ------
    InputError
        With every fault, each with its row, counted from 0, and its column.
    """
    names: list[Any] = [None]
    rows: list[list[int]] = [[]]

    def text_of(path: Path) -> str:
        if len(path) > 3 and path[0] == "nodes":
            at, gpu = path[1], path[3]
            assert isinstance(at, int)
            assert isinstance(gpu, int)
            column = {"memory": "memory_gib", "reserve": "reserve_gib"}
            keys = [column.get(str(key), str(key)) for key in path[4:]]
            return path_text(("gpus", rows[at][gpu], *keys))
        if len(path) > 1 and path[0] == "nodes" and isinstance(path[1], int):
            return path_text(("gpus", rows[path[1]][0], "node"))
        return path_text(path)

    report = Report(source, text_of=text_of)
    check_header(columns.column_names, HEADER, report)
    if not columns.num_rows:
        report.stop((), "the table has no rows")
    names.clear()
    rows.clear()
    position: dict[Any, int] = {}
    kinds: list[list[dict[str, Any]]] = []
    zones: list[Any] = []
    for row, entry in enumerate(columns.to_pylist()):
        at = position.setdefault(entry["node"], len(names))
        if at == len(names):
            names.append(entry["node"])
            rows.append([])
            kinds.append([])
            zones.append(entry.get("zone"))
        elif entry.get("zone") != zones[at]:
            report.add((f"gpus[{row}].zone",), f"differs from that of gpus[{rows[at][0]}]")
        rows[at].append(row)
        kinds[at].append(_gpu(entry))
    parts = []
    for at, name in enumerate(names):
        gpus = kinds[at]
        alike = all(gpu == gpus[0] for gpu in gpus)
        node: dict[str, Any] = {"name": name, "gpus": len(gpus) if alike else gpus}
        if alike:
            node["gpu"] = gpus[0]
        if zones[at] is not None:
            node["labels"] = {"zone": zones[at]}
        parts.append(validate(NodePart, node, ("nodes", at), report))
    nodes = build_nodes(parts, report)
    report.refuse()
    return nodes


def _gpu(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a GPU of a fleet file."""
    gpu: dict[str, Any] = {}
    if entry.get("type") is not None:
        gpu["type"] = entry["type"]
    for column, key in (("memory_gib", "memory"), ("reserve_gib", "reserve")):
        amount = entry.get(column)
        if amount is not None:
            numeric = isinstance(amount, int | float) and not isinstance(amount, bool)
            gpu[key] = f"{amount}GiB" if numeric or isinstance(amount, str) else amount
    return gpu
