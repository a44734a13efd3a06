"""A plan as tables for a person: models with what was decided for them, and GPUs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.core.models.objective import Objective
from kvplace.core.result import Result
from kvplace.report.heat import heat
from kvplace.report.summary import forecast_sentence, format_kvpr, format_share, summary
from kvplace.report.tables.gpus import gpu_rows, histogram, idle_text
from kvplace.report.tables.models import ModelRow, model_rows
from kvplace.report.text import (
    Paint,
    copies_text,
    fit,
    flow,
    places_text,
    short_names,
    shorten,
    shorten_start,
)
from kvplace.units import format_bytes, format_latency, format_percent

if TYPE_CHECKING:
    from kvplace.forecast.outcome import Forecast

SHOWN_WHOLE = 32
"""Rows up to which a table is shown whole."""
HOTTEST = 12
"""Rows shown of a longer table."""
MOST_MODELS = 20_000
"""Models up to which there is a table of models; a larger fleet has a plan file for that."""
MODEL_LINES = 3
"""Lines of models per GPU, unless all is asked for."""
BINS = 8
"""Steps of the histogram of a large fleet."""
_TIME = "time"
"""Heading of the share of its time that a GPU's models need."""
_BAR, _MEMORY_BAR, _FREE_WIDTH, _HISTOGRAM = 8, 14, 9, 30
_NARROW = 76
"""Columns below which there is no room for the bar of memory."""


class Look(NamedTuple):
    """How the output can look.

    Parameters
    ----------
    width
        Columns, at least 60 of which are used.
    colour
        Whether escape sequences are welcome.
    blocks
        Whether the encoding has block characters; bars are ASCII otherwise.
    longest
        Columns that a line may have, where a terminal would break it; None for any number.
    """

    width: int = 80
    colour: bool = False
    blocks: bool = True
    longest: int | None = None


def plan_table(
    result: Result,
    look: Look | None = None,
    *,
    every_gpu: bool = False,
    expected: "Forecast | None" = None,
) -> str:
    """Return the tables of a result that has a placement, ended by its closing line.

    Parameters
    ----------
    result
        What to show.
    look
        Width, colour and encoding.
    every_gpu
        List all models and GPUs instead of the most loaded ones.
    expected
        What the plan is forecast to serve; adds columns to the table of models.

    Returns
    -------
    str
        Lines without a trailing line end.
    """
    table = _Tables(result, look or Look(), every_gpu=every_gpu)
    told = [] if expected is None else [forecast_sentence(expected)]
    rows = [*table.models(expected), *table.gpus()]
    return "\n".join([*rows, "", *table.legend(), *told, summary(result)])


class _Tables:
    """Both tables of one result.

    Parameters
    ----------
    result, look, every_gpu
        As in `plan_table`.
    """

    def __init__(self, result: Result, look: Look, *, every_gpu: bool) -> None:
        assert result.evaluation is not None
        assert result.placement is not None
        self._result, self._evaluation, self._all = result, result.evaluation, every_gpu
        self._placement = result.placement
        self._names = short_names(result.problem.names)
        self._paint = Paint(look.colour)
        self._full, self._used, self._free = "█▒░" if look.blocks else "#=."
        self._more = "⋮" if look.blocks else ":"
        self._shares = result.problem.goal.is_share
        self._timed = bool(self._evaluation.gpus[0].time_shares)
        self._width = max(look.width, 60)
        finite = (value for value in self._evaluation.pressures if math.isfinite(value))
        self._top = max(finite, default=0.0)
        self._heading = "KV used" if self._shares else "KVPR"
        several = result.problem.goal is Objective.PRESSURE
        self._pressure = "pressure" if several else self._heading

    def models(self, expected: "Forecast | None") -> list[str]:
        """Return the table of models, ended by an empty line; nothing of a huge fleet."""
        if len(self._result.problem.models) > MOST_MODELS:
            return []
        count = len(set(self._placement.column("model")))
        few = self._all or count <= SHOWN_WHOLE
        shown = model_rows(self._result, None if few else HOTTEST)
        names = [shorten(self._names.get(row.model, row.model), 60) for row in shown]
        copies = [_copies(row) for row in shown]
        values = [self._value(row.pressure) for row in shown]
        most = self._width * 2 // 5 if expected is None else self._width * 3 // 10
        name_width = min(max(map(len, [*names, "model"])), max(20, most))
        copies_width = max(map(len, [*copies, "replicas"]))
        value_width = max(map(len, [*values, self._pressure]))
        serves = _serves(expected, [row.model for row in shown])
        serves_width = len(serves[0])
        where_width = self._width - name_width - copies_width - value_width - serves_width - 6
        head = (
            f"{fit('model', name_width)}  {fit('replicas', copies_width)}  "
            f"{fit(self._pressure, value_width, right=True)}  {serves[0]}on"
        )
        lines = [self._paint(head, "bold")]
        for row, name, copy, value, serve in zip(
            shown, names, copies, values, serves[1:], strict=True
        ):
            where = _flow_ids(copies_text(row.gpus), where_width, None if self._all else 1)
            start = (
                f"{fit(name, name_width)}  {fit(copy, copies_width)}  "
                f"{self._paint(fit(value, value_width, right=True), self._heat(row.pressure))}  "
                f"{serve}"
            )
            indent = " " * (self._width - where_width)
            lines += [start + where[0], *(indent + line for line in where[1:])]
        if len(shown) < count:
            lines.append(self._note(f"{count - len(shown):,} more models, --all lists them"))
        return [*lines, ""]

    def gpus(self) -> list[str]:
        """Return the table of GPUs."""
        fleet = self._result.problem.fleet
        rows, idle, left = gpu_rows(self._evaluation, fleet, None if self._all else SHOWN_WHOLE)
        if left:
            rows, idle, left = gpu_rows(self._evaluation, fleet, HOTTEST)
        labels = [self._label(row.ids) for row in rows]
        gpu_width = min(max([3, *map(len, labels)]), 14 if self._width < 100 else 30)
        values = [self._value(row.gpu.kvpr) for row in rows]
        value_width = max(map(len, [*values, self._heading]))
        memory = self._width >= _NARROW
        times = [format_share(max(row.gpu.time_shares, default=0.0)) for row in rows]
        time_width = max(map(len, [*times, _TIME])) if self._timed else -1
        indent = gpu_width + value_width + time_width + _BAR + _FREE_WIDTH + 8
        indent += memory and _MEMORY_BAR + 2
        head = (
            f"{fit('GPU', gpu_width)}  {fit(self._heading, value_width, right=True)} "
            f"{fit(_TIME, time_width, right=True) + ' ' if self._timed else ''}"
            f"{' ' * _BAR}  {fit('memory', _MEMORY_BAR) + '  ' if memory else ''}"
            f"{fit('for KV', _FREE_WIDTH, right=True)}  models"
        )
        lines = [self._paint(head, "bold")]
        for row, label, value, time in zip(rows, labels, values, times, strict=True):
            gpu = row.gpu
            filled = self._full * self._filled(gpu.pressure)
            bar = self._paint(fit(filled, _BAR), self._heat(gpu.pressure))
            start = (
                f"{fit(shorten_start(label, gpu_width), gpu_width)}  "
                f"{fit(value, value_width, right=True)} "
                f"{fit(time, time_width, right=True) + ' ' if self._timed else ''}{bar}  "
                f"{self._paint(self._memory(gpu), 'cyan') + '  ' if memory else ''}"
                f"{fit(format_bytes(gpu.free_bytes), _FREE_WIDTH, right=True)}  "
            )
            held = dict.fromkeys(self._names.get(s.model, s.model) for s in gpu.shards)
            models = flow(list(held), self._width - indent, None if self._all else MODEL_LINES)
            lines += [start + models[0], *(" " * indent + line for line in models[1:])]
        if left:
            lines.append(self._note(f"{left:,} more GPUs, --all lists them"))
            lines += self._histogram()
        elif idle:
            text = idle_text(idle, self._result.problem.fleet.nodes)
            lines.append(self._paint(shorten(text, self._width), "dim"))
        return lines

    def legend(self) -> list[str]:
        """Return what the memory bar is made of."""
        if self._width < _NARROW:
            return []
        parts = [f"{self._full} weights and overhead"]
        if self._shares:
            average = " on average" if self._result.problem.quantile is None else ""
            parts.append(f"{self._used} KV in use{average}")
        parts.append(f"{self._free} KV {'free' if self._shares else 'pool'}")
        return [self._paint(f"memory: {', '.join(parts)}", "dim")]

    def _histogram(self) -> list[str]:
        """Return how many GPUs of a large fleet are under how much pressure."""
        top = max(self._top, 1.0) if self._shares else self._top
        counts = histogram(self._evaluation.pressures, top, BINS)
        lines = ["", self._paint(f"{self._pressure} of all {sum(counts):,} GPUs", "bold")]
        edges = [self._value(top * at / BINS) for at in range(BINS + 1)]
        width = max(map(len, edges))
        for at, count in enumerate(counts):
            filled = math.ceil(count / max(counts) * _HISTOGRAM)
            bar = self._paint(self._full * filled, self._heat(top * at / BINS))
            lines.append(
                f"{fit(edges[at], width, right=True)} to {fit(edges[at + 1], width, right=True)}"
                f"  {count:>9,}  {bar}".rstrip()
            )
        return lines

    def _label(self, ids: Sequence[str]) -> str:
        """Return the GPUs of a row: those of the first node, and how many more there are."""
        first = places_text(ids)[0]
        here = sum(id_.rpartition("/")[0] == ids[0].rpartition("/")[0] for id_ in ids)
        return first if here == len(ids) else f"{first} +{len(ids) - here}"

    def _note(self, text: str) -> str:
        """Return a line that stands for rows left out."""
        return self._paint(f"{self._more} {text}", "dim")

    def _value(self, kvpr: float) -> str:
        """Print a pressure: as a percentage where 1 means full."""
        return format_share(kvpr) if self._shares else format_kvpr(kvpr)

    def _filled(self, kvpr: float) -> int:
        """Return the filled cells of a pressure's bar: of a full pool, or of the worst GPU."""
        top = 1.0 if self._shares else self._top
        return math.ceil(min(1.0, kvpr / top) * _BAR - 1e-9) if top else 0

    def _memory(self, gpu: GPUEvaluation) -> str:
        """Return the bar of one GPU's memory: weights, KV in use where known, the rest of KV."""
        share = min(1.0, gpu.weights_bytes / gpu.memory_bytes)
        most = _MEMORY_BAR - (gpu.free_bytes > 0)  # what is left is seen, however little
        weights = min(round(share * _MEMORY_BAR), most)
        used = 0
        if self._shares and math.isfinite(gpu.kvpr):
            used = round(min(1.0, gpu.kvpr) * (_MEMORY_BAR - weights))
        rest = _MEMORY_BAR - weights - used
        return self._full * weights + self._used * used + self._free * rest

    def _heat(self, kvpr: float) -> str:
        """Return the colour of a pressure: by level of a share, by rank otherwise."""
        if self._shares:
            return heat(kvpr)
        return "yellow" if kvpr >= self._top else "green"


def _serves(expected: "Forecast | None", models: Sequence[str]) -> list[str]:
    """Return the heading and a cell per model of what it is forecast to serve; all of one width."""
    if expected is None:
        return [""] * (len(models) + 1)
    of = {one.name: one for one in expected.models}
    rows = [("in time", "TTFT", "/token")]
    for name in models:
        one = of[name]
        times = (format_latency(one.ttft_seconds), format_latency(one.tpot_seconds))
        rows.append((format_percent(one.attainment), *(times if one.requests else ("", ""))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "".join(
            f"{fit(cell, width, right=True)}  " for cell, width in zip(row, widths, strict=True)
        )
        for row in rows
    ]


def _copies(row: ModelRow) -> str:
    """Return ``3``, ``3 x TP 8`` or ``TP 8``: the copies of a model and their degree."""
    degree = f"TP {row.degree}" if row.degree > 1 else ""
    if row.replicas == 1:
        return degree or "1"
    return f"{row.replicas:,} x {degree}" if degree else f"{row.replicas:,}"


def _flow_ids(items: Sequence[str], width: int, lines: int | None) -> list[str]:
    """Set GPU ids in lines; an id that is too long loses its start, not its number."""
    more = f", +{len(items) - 1} more"
    if lines == 1 and len(items) > 1 and cell_len(items[0] + more) > width:
        return [shorten_start(items[0], max(width - len(more), 4)) + more]
    return flow([shorten_start(item, width - 1) for item in items], width, lines)
