"""GPUs by window of demand: how full each is, when, and of what."""

from collections import Counter
from typing import Any

from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.core.models.objective import Objective
from kvplace.core.result import Result, evaluated
from kvplace.report.heat import FULL, pressure_class
from kvplace.report.text import clean

GPUS_SHOWN, WINDOWS_SHOWN = 40, 24
"""GPUs under most pressure, and windows with most, that are shown."""
_NAMED_CELLS = 12
"""Windows up to which each cell names what is fullest."""
_WORDS = {"kv": "KV memory", "time": "GPU time"}


def by_window(result: Result) -> dict[str, Any] | None:
    """Return a heat map of GPUs by window; None where there are not several windows.

    Parameters
    ----------
    result
        A plan, under the objective ``pressure``.
    """
    problem, gpus = result.problem, evaluated(result).gpus
    names = [window.name for window in problem.windows]
    if problem.goal is not Objective.PRESSURE or len(names) < 2:
        return None
    held = sorted((gpu for gpu in gpus if gpu.shards), key=lambda gpu: -gpu.pressure)
    if not held:
        return None
    peaks = [max(_cell(gpu, at)[0] for gpu in held) for at in range(len(names))]
    most = sorted(range(len(names)), key=lambda at: -peaks[at])[:WINDOWS_SHOWN]
    shown = sorted(most)
    binding = Counter(gpu.binding[0] for gpu in held)
    when = Counter(gpu.binding[1] for gpu in held)
    busiest, often = when.most_common(1)[0]
    kinds = [f"{_WORDS[kind]} on {binding[kind]:,}" for kind in ("kv", "time") if binding[kind]]
    loads = [sum(_cell(gpu, at)[0] for gpu in held) for at in range(len(names))]
    quiet = min(range(len(names)), key=lambda at: (peaks[at], loads[at]))
    return {
        "windows": [clean(names[at]) for at in shown],
        "left_out": len(names) - len(shown),
        "lettered": len(shown) <= _NAMED_CELLS,
        "rows": [
            {
                "id": clean(gpu.id),
                "models": ", ".join(dict.fromkeys(clean(shard.model) for shard in gpu.shards)),
                "cells": [_shown(gpu, at) for at in shown],
            }
            for gpu in held[:GPUS_SHOWN]
        ],
        "more": len(held) - GPUS_SHOWN,
        "says": (
            f"What is fullest is {' and '.join(kinds)} of {len(held):,} GPUs in use. "
            f"{often:,} of them are fullest in window {clean(names[busiest])}; the calmest window "
            f"is {clean(names[quiet])}, in which no GPU is above {100 * peaks[quiet]:,.0f} %."
        ),
    }


def _cell(gpu: GPUEvaluation, at: int) -> tuple[float, str]:
    """Return the pressure of a GPU in a window, and of what."""
    kv, time = gpu.occupancies[at], gpu.time_shares[at]
    return (kv, "kv") if kv >= time else (time, "time")


def _shown(gpu: GPUEvaluation, at: int) -> dict[str, Any]:
    """Return a cell: its number, what is fullest, its class of colour and how strong it is."""
    value, kind = _cell(gpu, at)
    kv, time = gpu.occupancies[at], gpu.time_shares[at]
    return {
        "text": f"{100 * value:,.0f}",
        "kind": "KV" if kind == "kv" else "time",
        "class": pressure_class(value, value, occupancy=True),
        "strength": round(45 * min(1.0, value / FULL)),
        "says": f"KV memory {100 * kv:,.0f} %, GPU time {100 * time:,.0f} %",
    }
