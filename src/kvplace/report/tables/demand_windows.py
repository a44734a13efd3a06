"""Demand in windows, for people, as JSON and as CSV."""

import math
from collections.abc import Iterator

from kvplace.demand.windows import DemandWindow, DemandWindows
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json, rows_table


def windows_table(found: DemandWindows, look: Look) -> str:
    """Return requests per second of each model, a column per window, and what is overlooked."""
    order = sorted(
        range(len(found.models)),
        key=lambda at: -max(window.requests_per_second[at] for window in found.windows),
    )
    rows = [
        {"model": found.models[at]}
        | {w.name: f"{w.requests_per_second[at]:.4g}" for w in found.windows}
        for at in order
    ]
    weights = {"model": "share of time"}
    weights |= {window.name: f"{100 * window.weight:.1f} %" for window in found.windows}
    loss = found.loss
    count = len(found.windows)
    closing = (
        f"{count} window{'s' * (count != 1)} of {found.of:,}; the peaks of random groups of models "
        f"are {100 * loss.mean:.1f} % lower in them on average, more than "
        f"{100 * loss.exceeded:.1f} % in 1 of 20, {100 * loss.most:.1f} % at most; {found.origin}"
    )
    table = rows_table([*rows, weights], colour=look.colour, width=look.longest)
    return f"{table}\n\n{closing}"


def windows_csv(found: DemandWindows) -> str:
    """Return one row per model and window."""
    rows: list[dict[str, Cell]] = []
    for window in found.windows:
        head: dict[str, Cell] = {"window": window.name, "weight": window.weight}
        rows += [head | row for row in _rows(found, window)]
    return rows_csv(rows)


def windows_json(found: DemandWindows) -> str:
    """Return windows with the demand of every model, and the loss measured."""
    return rows_json(
        {
            "source": found.origin,
            "of_windows": found.of,
            "windows": [
                {"name": window.name, "weight": window.weight, "models": list(_rows(found, window))}
                for window in found.windows
            ],
            "peak_loss": {
                "mean": found.loss.mean,
                "exceeded_by_5_percent": found.loss.exceeded,
                "most": found.loss.most,
            },
        }
    )


def _rows(found: DemandWindows, window: DemandWindow) -> Iterator[dict[str, Cell]]:
    """Yield the demand of each model in one window."""
    for at, name in enumerate(found.models):
        prompt = None if window.prompt_tokens is None else float(window.prompt_tokens[at])
        output = None if window.output_tokens is None else float(window.output_tokens[at])
        yield {
            "name": name,
            "requests_per_second": float(window.requests_per_second[at]),
            "prompt_tokens": None if prompt is None or math.isnan(prompt) else prompt,
            "output_tokens": None if output is None or math.isnan(output) else output,
        }
