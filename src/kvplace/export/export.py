"""A plan as the files of a runtime, all of them or those that differ from another plan's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.core.result import Result, evaluated, placed
from kvplace.errors import Fault, InputError
from kvplace.export.advice import advice
from kvplace.export.commands import STATIC
from kvplace.export.files import EXPORTS, Options, files_for
from kvplace.export.layout import kept_names, kept_parts, lay_out
from kvplace.export.naming import BASE_PORT
from kvplace.export.runtimes.kvcached import DEFAULT_VENV
from kvplace.export.write import write_files
from kvplace.forecast.fixed_parts import overflowing


@dataclass(frozen=True, slots=True, repr=False)
class Export:
    """Files that put a plan into effect.

    Parameters
    ----------
    files
        Texts by file name; where there is a plan that runs now, only what differs from its files.
    total
        How many files the plan has in all.
    removed
        Names of files that the plan that runs now has and this one has not.
    notes
        What may go wrong with the files, in sentences.
    """

    files: Mapping[str, str]
    total: int
    removed: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Export: {len(self.files)} of {self.total} files, {len(self.notes)} notes>"

    def write(self, directory: str | os.PathLike[str]) -> list[str]:
        """Write the files, each whole or not at all, into a directory, which may be new.

        Returns
        -------
        list of str
            Names of other files there, which may belong to an earlier export.

        Raises
        ------
        InputError
            The directory cannot be made, or a file cannot be written.
        """
        return write_files(directory, self.files)


def export(
    result: Result,
    to: str,
    *,
    before: Result | None = None,
    base_port: int = BASE_PORT,
    pool: str = STATIC,
    addresses: Mapping[str, str] | None = None,
    venv: str = DEFAULT_VENV,
) -> Export:
    """Return the files that put a plan into effect.

    Parameters
    ----------
    result
        The plan. It is evaluated again, and one that is not valid is not exported.
    to
        The runtime: ``kvcached``, ``aibrix``, ``compose``, ``shell``, ``kubernetes``,
        ``ray-serve``, ``llama-swap``, ``prism``, or ``prometheus`` for rules that watch the plan.
    before
        The plan that runs now: its engines keep their parts of the KV memory where that holds,
        and only files that differ from its files are returned.
    base_port
        First port of the engines of each host.
    pool
        ``static`` or ``kvcached``: how engines that share a GPU share its KV memory, for compose,
        shell and kubernetes.
    addresses
        Address of a node by its name, for kvcached.
    venv
        Virtual environment of models that name none, for kvcached.

    Raises
    ------
    InputError
        There is no such runtime, no placement or no valid one, the runtime cannot do what the plan
        asks, or an address is that of no node.
    """
    plans = (result,) if before is None else (result, before)
    nodes = {node.name for plan in plans for node in plan.problem.fleet.nodes}
    strange = [name for name in addresses or () if name not in nodes]
    if strange:
        known = f"nodes are named like {min(nodes)!r}"
        raise InputError([Fault(f"no node is named {name!r}; {known}") for name in strange])
    placement, kept, names, ran = placed(result), result.kv_parts, result.engine_names, None
    if before is not None:
        ran = lay_out(
            before.problem, placed(before), base_port, before.kv_parts, before.engine_names
        )
        kept = {**kept_parts(ran, placement), **kept}
        names = {**kept_names(ran, placement), **names}
    options = Options(base_port, pool, addresses or {}, venv, kept, names)
    files = files_for(result.problem, placement, to, options)
    laid_out = lay_out(result.problem, placement, base_port, kept, names)
    parts = {(e.model.name, e.replica.index): e.kv_bytes for e in laid_out.engines}
    bursting = overflowing(result.problem, evaluated(result), parts)
    notes = tuple(advice(laid_out, to, pool, bursting))
    if ran is None:
        return Export(files, len(files), (), notes)
    running = EXPORTS[to](ran, options)
    differing = {name: text for name, text in files.items() if running.get(name) != text}
    removed = tuple(sorted(running.keys() - files.keys()))
    return Export(differing, len(files), removed, notes)
