"""Plans side by side for people, as Markdown, JSON, CSV and a plot."""

from collections.abc import Sequence
from typing import Any

from kvplace.report.plots.canvas import canvas, legend_text
from kvplace.report.summary import format_kvpr
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json, rows_table
from kvplace.report.text import clean, shorten
from kvplace.simulate.compare import Compared
from kvplace.units import format_percent

_NAME = 40


def compared_table(found: Sequence[Compared], level: float, look: Look | None = None) -> str:
    """Return a row per plan and what the columns mean."""
    look = look or Look()
    lines = [
        rows_table(_rows(found), colour=look.colour, width=look.longest),
        "",
        _legend(found, level),
    ]
    lines += [
        f"note: {clean(note)}" for note in dict.fromkeys(n for one in found for n in one.notes)
    ]
    if not all(one.complete for one in found):
        lines.append("interrupted: seeds and plans that were not simulated are missing")
    return "\n".join(lines)


def compared_markdown(found: Sequence[Compared], level: float) -> str:
    """Return the table in Markdown."""
    rows = _rows(found)

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    head = list(rows[0])
    body = [line(list(row.values())) for row in rows]
    return "\n".join([line(head), line(["---"] * len(head)), *body, "", _legend(found, level)])


def _rows(found: Sequence[Compared]) -> list[dict[str, str]]:
    best = max(one.load for one in found) if all(one.loads for one in found) else None
    rows = []
    for one in found:
        spread = "" if one.spread is None else f" ±{one.spread:.2f}"
        at_least = "" if one.limited else "at least "
        row = {
            "plan": clean(shorten(one.name, _NAME)),
            "worst GPU": f"{format_kvpr(one.value)} {one.objective}",
            "bound": format_kvpr(one.bound),
            "forecast": format_percent(one.attainment),
            "serves": f"{at_least}{one.load:.2f}x{spread}" if one.loads else "-",
            "to the best": f"{one.load / best:.2f}" if best else "-",
            "GPUs": f"{one.gpus:,}",
        }
        if one.cost_per_hour is not None:
            row["per hour"] = f"{one.cost_per_hour:,.2f}"
            row["per hour and x"] = (
                f"{one.cost_per_hour / one.load:,.2f}" if one.loads and one.load else "-"
            )
        rows.append(row)
    return rows


def _legend(found: Sequence[Compared], level: float) -> str:
    """Return what the columns mean."""
    seeds = len(found[0].loads)
    over = f", mean over {seeds} seeds with its 90 % interval" if seeds > 1 else ""
    return (
        f"serves: times the stated demand with {format_percent(level)} of the requests in time, "
        f"simulated{over}; forecast: requests in time at the stated demand"
    )


def compared_json(found: Sequence[Compared], level: float) -> str:
    """Return an object with `plans`."""
    return rows_json({"level": level, "plans": [_data(one) for one in found]})


def compared_csv(found: Sequence[Compared]) -> str:
    """Return one row per plan and seed."""
    rows: list[dict[str, Cell]] = []
    for one in found:
        for at, load in enumerate(one.loads):
            rows.append({"plan": one.name, "seed": at, "served_load": load})
    return rows_csv(rows) if rows else "plan,seed,served_load\n"


def _data(one: Compared) -> dict[str, object]:
    return {
        "plan": one.name,
        "objective": one.objective,
        "value": one.value,
        "bound": one.bound,
        "forecast_attainment": one.attainment,
        "served_loads": list(one.loads),
        "served_load": one.load,
        "served_load_half_width": one.spread,
        "limited": one.limited,
        "gpus": one.gpus,
        "cost_per_hour": one.cost_per_hour,
        "complete": one.complete,
        "notes": list(one.notes),
    }


def draw_compared(found: Sequence[Compared], level: float, path: str) -> None:
    """Draw what each plan serves, a bar each with its interval.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none that can be drawn, or the file cannot be written.
    """
    shown = [one for one in found if one.loads]
    with canvas(path, 8, 1 + 0.5 * max(1, len(shown))) as figure:
        axes: Any = figure.add_subplot()
        names = [legend_text(one.name) for one in shown]
        places = range(len(shown))
        axes.barh(
            list(places), [one.load for one in shown], xerr=[one.spread or 0.0 for one in shown]
        )
        axes.set_yticks(list(places), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"times the stated demand, {format_percent(level)} of the requests in time")
