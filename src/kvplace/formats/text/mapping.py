"""A file that is a mapping: its keys, and a report that knows their lines."""

from typing import Any

from kvplace.formats.diagnostics import Report, kind_of
from kvplace.formats.text.tree import Tree

__all__ = ["mapping_of"]


def mapping_of(tree: Tree, source: str, what: str) -> tuple[dict[str, Any], Report]:
    """Return the mapping that a text is, and the report for what is wrong with it.

    `what` says what such a file is, as ``a plan file is a mapping of keys``.

    Raises
    ------
    InputError
        The text cannot be read, or is no mapping.
    """
    report = Report(source, tree.line_of)
    for fault in tree.faults:
        if fault.message:
            report.add(fault.path, fault.message, fault.line)
        else:
            report.cover(fault.path)
    if not tree.readable:
        report.refuse()
    if not isinstance(tree.data, dict):
        report.stop((), f"{what}, not {kind_of(tree.data)}")
    return tree.data, report
