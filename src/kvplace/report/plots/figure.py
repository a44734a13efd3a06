"""The main figure of a plan for slides: every GPU's memory, the worst first."""

from typing import Any

from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.models.objective import Objective
from kvplace.core.result import Result, Status, evaluated
from kvplace.report.heat import is_share, kvpr_text, pressure_class
from kvplace.report.plots.canvas import canvas
from kvplace.report.text import clean, short_names, shorten
from kvplace.units import GIB

_COLOURS = ("#4f8f3c", "#c98a00", "#b3162b")  # calm, tight, full: as on the page
_WEIGHTS = "#7f8c99"
_ROWS = 24
_WIDTH, _HEIGHT = 12.0, 6.75  # inches: a slide of 16 to 9
_BAR_WIDTH = 0.85 * _WIDTH
_LETTER_WIDTH = 0.072


def draw_plan(result: Result, before: Evaluation | None, path: str, note: str = "") -> None:
    """Draw a plan into a file.

    Up to 24 GPUs are bars of weights, KV in use and KV free; more are their pressures in
    descending order. Pressures of before stand beside them.

    Parameters
    ----------
    result
        The plan.
    before
        What the plan before it is worth by the objective of the plan; None without one.
    path
        A ``.svg``, ``.png`` or ``.pdf`` file.
    note
        A line below the headline; empty for none.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none of the three, or the file cannot be written.
    """
    count = len(evaluated(result).gpus)
    tall = min(_HEIGHT, 1.6 + 0.4 * count) if count <= _ROWS else _HEIGHT
    size = (_WIDTH, max(3.0, tall))
    with canvas(path, *size, dpi=200, what="a figure", outlines=True) as figure:
        axes: Any = figure.add_subplot()
        if count <= _ROWS:
            _bars(axes, result, before)
        else:
            _profile(axes, result, before)
        title = f"{_title(result)}\n{note}".rstrip()
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.spines[["top", "right"]].set_visible(False)


def _title(result: Result) -> str:
    """Return the headline: value, and what is proved."""
    occupancy = is_share(result)
    worst = kvpr_text(evaluated(result).value, occupancy=occupancy, exact=True)
    text = f"Worst GPU: {worst} of its KV pool in use" if occupancy else f"Worst GPU: KVPR {worst}"
    if result.problem.goal is Objective.PRESSURE:
        text = f"Worst GPU: at a pressure of {worst}"
    if not result.solver:
        return text
    if result.status is Status.OPTIMAL:
        return f"{text} (proved optimal)"
    bound = kvpr_text(result.bound, occupancy=occupancy, exact=True)
    return f"{text} (no plan is below {bound})" if result.bound > 0 else text


def _bars(axes: Any, result: Result, earlier: Evaluation | None) -> None:
    """Draw a stacked bar per GPU, the worst on top, and what it was before beside it."""
    before = {gpu.id: gpu.pressure for gpu in earlier.gpus} if earlier else {}
    gpus = sorted(evaluated(result).gpus, key=lambda g: (-g.pressure, not g.shards))
    worst, occupancy = evaluated(result).value, is_share(result)
    names = short_names(model.name for model in result.problem.models)
    inches_per_gib = _BAR_WIDTH * GIB / max(gpu.memory_bytes for gpu in gpus)
    for row, gpu in enumerate(gpus):
        colour = _COLOURS[pressure_class(gpu.pressure, worst, occupancy=occupancy)]
        left = 0.0
        for shard in sorted(gpu.shards, key=lambda shard: -shard.weights_bytes):
            width = shard.weights_bytes / GIB
            axes.barh(row, width, left=left, color=_WEIGHTS, edgecolor="white", linewidth=0.6)
            name = clean(names[shard.model])
            if len(name) * _LETTER_WIDTH < width * inches_per_gib:
                axes.text(left + width / 2, row, name, ha="center", va="center", fontsize=8)
            left += width
        free = max(0, gpu.free_bytes) / GIB
        used = min(1.0, gpu.kvpr) * free if occupancy else 0.0
        axes.barh(row, used, left=left, color=colour)
        axes.barh(row, free - used, left=left + used, color=colour, alpha=0.3)
        text = f" {kvpr_text(gpu.pressure, occupancy=occupancy)}"
        if gpu.id in before:
            text += f" (was {kvpr_text(before[gpu.id], occupancy=occupancy)})"
        axes.text(gpu.memory_bytes / GIB, row, text, va="center", fontsize=9)
    axes.set_yticks(range(len(gpus)), [shorten(gpu.id, 24) for gpu in gpus], fontsize=9)
    axes.set_ylim(len(gpus) - 0.4, -0.6)
    kv = "KV in use (full colour), KV free (pale)" if occupancy else "KV pool (pale)"
    axes.set_xlabel(f"GiB: weights and overhead (grey), {kv}")


def _profile(axes: Any, result: Result, earlier: Evaluation | None) -> None:
    """Draw the pressure of every GPU, descending, and the bound."""
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 - an optional extra

    profile = evaluated(result).profile()
    kinds = [pressure_class(kvpr, profile[0], occupancy=is_share(result)) for kvpr in profile]
    for kind in sorted(set(kinds)):
        here = [kvpr if k == kind else 0.0 for kvpr, k in zip(profile, kinds, strict=True)]
        axes.stairs(here, range(len(profile) + 1), fill=True, color=_COLOURS[kind])
    if earlier is not None:
        before = earlier.profile()
        axes.stairs(before, range(len(before) + 1), color="black", label="before")
    if result.solver and 0 < result.bound < float("inf"):
        axes.axhline(result.bound, color="black", ls="--", lw=1, label="proved lower bound")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper right")
    axes.set_xlim(0, len(profile))
    if is_share(result):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("GPUs, the worst first")
    axes.set_ylabel("share of the KV pool in use" if is_share(result) else "KVPR")
