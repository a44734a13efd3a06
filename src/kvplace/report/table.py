"""The plan as a table for a person: GPUs from the hottest to the coldest, with their models."""

import math
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.core.objective import Objective
from kvplace.core.result import Result
from kvplace.report.summary import format_kvpr, summary
from kvplace.report.text import Paint, fit, flow, short_names
from kvplace.units import format_bytes

__all__ = ["Look", "plan_table"]

SHOWN_WHOLE = 32
"""GPUs up to which a fleet is listed whole."""
HOTTEST, COLDEST = 12, 4
"""Rows shown of a larger fleet."""
MODEL_LINES = 3
"""Lines of models per GPU, unless all is asked for."""
_KVPR_BAR, _MEMORY_BAR, _FREE_WIDTH = 8, 14, 9
_SPACES = 9
"""Between the columns, together."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the output can look.

    Parameters
    ----------
    width
        Columns, at least 60 of which are used.
    colour
        Whether escape sequences are welcome.
    blocks
        Whether the encoding has block characters; bars are ASCII otherwise.
    """

    width: int = 80
    colour: bool = False
    blocks: bool = True


def plan_table(result: Result, look: Look | None = None, *, every_gpu: bool = False) -> str:
    """Return the table of a result that has a placement, ended by its closing line.

    Parameters
    ----------
    result
        What to show.
    look
        Width, colour and encoding.
    every_gpu
        List all GPUs and all their models instead of the hottest and the coldest.

    Returns
    -------
    str
        Lines without a trailing line end.
    """
    assert result.evaluation is not None
    table = _Table(result, look or Look())
    kvprs, gpus = result.evaluation.kvprs, result.evaluation.gpus

    def rank(at: int) -> tuple[float, bool]:
        return -kvprs[at], kvprs[at] == 0 and not gpus[at].shards

    order = sorted(range(len(gpus)), key=rank)
    lines = table.head()
    if every_gpu or len(order) <= SHOWN_WHOLE:
        for at in order:
            lines += table.row(gpus[at], None if every_gpu else MODEL_LINES)
    else:
        for at in order[:HOTTEST]:
            lines += table.row(gpus[at], MODEL_LINES)
        left = len(order) - HOTTEST - COLDEST
        lines.append(table.note(f"{left:,} more GPUs between, --all lists them"))
        for at in order[-COLDEST:]:
            lines += table.row(gpus[at], MODEL_LINES)
    return "\n".join([*lines, "", *table.legend(), summary(result)])


class _Table:
    """Columns of one table: their widths, and how a GPU becomes lines.

    Parameters
    ----------
    result, look
        As in `plan_table`.
    """

    def __init__(self, result: Result, look: Look) -> None:
        assert result.evaluation is not None
        self._names = short_names(result.problem.names)
        self._paint = Paint(look.colour)
        self._full, self._used, self._free = "█▒░" if look.blocks else "#=."
        self._more = "⋮" if look.blocks else ":"
        self._occupancy = result.problem.goal is Objective.OCCUPANCY
        self._top = max(
            (kvpr for kvpr in result.evaluation.kvprs if math.isfinite(kvpr)), default=0.0
        )
        longest = max(len(gpu.id) for gpu in result.problem.fleet.gpus)
        self._gpu_width = min(max(longest, 3), 14 if look.width < 100 else 30)
        self._kvpr_width = max(7, *(len(format_kvpr(kvpr)) for kvpr in result.evaluation.kvprs))
        self._before_models = (
            self._gpu_width + self._kvpr_width + _KVPR_BAR + _MEMORY_BAR + _FREE_WIDTH + _SPACES
        )
        self._models_width = max(12, max(look.width, 60) - self._before_models)

    def head(self) -> list[str]:
        """Return the line of headings."""
        gpu, bar = fit("GPU", self._gpu_width), " " * _KVPR_BAR
        kvpr = fit("KVPR", self._kvpr_width, right=True)
        memory, free = fit("memory", _MEMORY_BAR), fit("for KV", _FREE_WIDTH, right=True)
        return [self._paint(f"{gpu}  {kvpr} {bar}  {memory}  {free}  models", "bold")]

    def row(self, gpu: GPUEvaluation, lines: int | None) -> list[str]:
        """Return the lines of one GPU."""
        kvpr = fit(format_kvpr(gpu.kvpr), self._kvpr_width, right=True)
        share = min(1.0, gpu.kvpr / self._top) if self._top else 0.0
        pressure = fit(self._full * round(share * _KVPR_BAR), _KVPR_BAR)
        free = fit(format_bytes(gpu.free_bytes), _FREE_WIDTH, right=True)
        copies: dict[str, int] = {}
        for shard in gpu.shards:
            name = self._names.get(shard.model, shard.model)
            copies[name] = copies.get(name, 0) + 1
        models = flow(list(copies), self._models_width, lines) if copies else ["idle"]
        first = (
            f"{fit(gpu.id, self._gpu_width)}  {kvpr} {self._paint(pressure, self._heat(gpu))}  "
            f"{self._paint(self._memory(gpu), 'cyan')}  {free}  "
        )
        indent = " " * self._before_models
        return [(first + models[0]).rstrip(), *(indent + line for line in models[1:])]

    def note(self, text: str) -> str:
        """Return a line that stands for rows left out."""
        return self._paint(f"{self._more} {text}", "dim")

    def legend(self) -> list[str]:
        """Return what the memory bar is made of."""
        parts = [f"{self._full} weights and overhead"]
        if self._occupancy:
            parts.append(f"{self._used} KV in use on average")
        parts.append(f"{self._free} KV {'free' if self._occupancy else 'pool'}")
        return [self._paint(f"memory: {', '.join(parts)}", "dim")]

    def _memory(self, gpu: GPUEvaluation) -> str:
        """Return the bar of one GPU's memory: weights, KV in use where known, the rest of KV."""
        share = min(1.0, gpu.weights_bytes / gpu.memory_bytes)
        most = _MEMORY_BAR - (gpu.free_bytes > 0)  # what is left is seen, however little
        weights = min(round(share * _MEMORY_BAR), most)
        used = 0
        if self._occupancy and math.isfinite(gpu.kvpr):
            used = round(min(1.0, gpu.kvpr) * (_MEMORY_BAR - weights))
        rest = _MEMORY_BAR - weights - used
        return self._full * weights + self._used * used + self._free * rest

    def _heat(self, gpu: GPUEvaluation) -> str:
        """Return the colour of a KVPR: absolute for occupancy, by rank otherwise."""
        if self._occupancy:
            return "red" if gpu.kvpr >= 1 else "yellow" if gpu.kvpr >= 0.8 else "green"
        return "yellow" if gpu.kvpr >= self._top else "green"
