"""A simulation for people, as JSON, as CSV and as a plot."""

from collections.abc import Iterable
from typing import Any

from kvplace.core.problem import Problem
from kvplace.report.plots.canvas import canvas, legend_text
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json, rows_table
from kvplace.report.text import clean, shorten
from kvplace.simulate.outcome import ModelOutcome, Outcome, Simulation
from kvplace.simulate.served import Served, crossing
from kvplace.units import format_percent, format_seconds

_SHOWN = 32
_NAME = 44
_LINES = 12


def simulation_table(
    found: Simulation, level: float, look: Look | None = None, *, every: bool = False
) -> str:
    """Return attainment by load, the models at the load nearest to 1, and a closing sentence."""
    look = look or Look()
    loads = found.loads()
    seeds = len(found.at(loads[0]))
    by_load = [
        {
            "load": f"{load:.3g}x",
            "in time": format_percent(found.attainment(load)),
            "mean of models": format_percent(_mean(o.mean_attainment for o in found.at(load))),
            "worst GPU": format_percent(min(o.worst_gpu.attainment for o in found.at(load))),
            "pool peak": format_percent(max(map(_pool_peak, found.at(load)))),
            "preemptions": f"{sum(g.preemptions for o in found.at(load) for g in o.gpus):,}",
        }
        for load in loads
    ]
    near = min(loads, key=lambda load: abs(load - 1))
    outcome = found.at(near)[0]
    models = sorted(outcome.models, key=lambda one: (one.attainment, one.name))
    shown = len(models) if every else _SHOWN
    rows = [
        {
            "model": clean(shorten(one.name, _NAME)),
            "requests": f"{one.requests:,}",
            "in time": format_percent(one.attainment) if one.requests else "-",
            "TTFT": _time(one.ttft_seconds),
            "p99": _time(one.ttft_p99_seconds),
            "per token": _time(one.tpot_seconds),
            "p99 ": _time(one.tpot_p99_seconds),
            "preempted": f"{one.preemptions:,}",
        }
        for one in models[:shown]
    ]
    lines = [rows_table(by_load, colour=look.colour, width=look.longest), ""]
    title = f"models at {near:.3g} times the stated demand"
    lines += [f"{title}, seed {outcome.seed}:" if seeds > 1 else f"{title}:"]
    lines.append(rows_table(rows, colour=look.colour, width=look.longest))
    if len(models) > shown:
        lines.append(f"and {len(models) - shown:,} more models (--all)")
    too_long = sum(one.too_long for one in outcome.models)
    if too_long:
        lines.append(f"{too_long:,} requests are longer than any pool of their model can hold")
    lines += ["", served_sentence(found, level)]
    lines += [f"note: {clean(note)}" for note in found.notes]
    if not found.complete:
        lines.append("interrupted: what was simulated until then")
    return "\n".join(lines)


def served_sentence(found: Simulation, level: float) -> str:
    """Return how much of the stated demand is served within its objectives."""
    if not any(outcome.requests for outcome in found.outcomes):
        return f"no request came in {found.seconds:g} s: nothing is known; simulate a longer time"
    loads = found.loads()
    points = [(load, found.attainment(load)) for load in loads]
    load, limited = crossing(points, level)
    at = f"at {format_percent(level)}"
    if not limited:
        return (
            f"serves at least {load:.3g} times the stated demand within its objectives {at}, "
            "the largest load that was tried"
        )
    if load == 0:
        return (
            f"serves less than {loads[0]:.3g} times the stated demand within its objectives {at}: "
            f"{format_percent(points[0][1])} of the requests are in time there"
        )
    return f"serves {load:.3g} times the stated demand within its objectives {at}"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _pool_peak(outcome: Outcome) -> float:
    """Return how full the fullest pool was."""
    return max((g.peak_bytes / g.pool_bytes for g in outcome.gpus if g.pool_bytes), default=0.0)


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else format_seconds(seconds)


def simulation_json(found: Simulation | Served, level: float) -> str:
    """Return everything that was counted, by load and seed."""
    simulation = found.simulation if isinstance(found, Served) else found
    points = [(load, simulation.attainment(load)) for load in simulation.loads()]
    load, limited = crossing(points, level)
    return rows_json(
        {
            "level": level,
            "served_load": load,
            "limited": limited,
            "seconds": simulation.seconds,
            "complete": simulation.complete,
            "notes": list(simulation.notes),
            "loads": [{"load": at, "attainment": share} for at, share in points],
            "outcomes": [
                {
                    "load": outcome.load,
                    "seed": outcome.seed,
                    "attainment": outcome.attainment,
                    "mean_attainment": outcome.mean_attainment,
                    "models": [_model_row(one) for one in outcome.models],
                    "gpus": [
                        {
                            "id": gpu.id,
                            "requests": gpu.requests,
                            "attainment": gpu.attainment,
                            "pool_bytes": gpu.pool_bytes,
                            "pool_peak_bytes": gpu.peak_bytes,
                            "pool_mean_bytes": gpu.mean_bytes,
                            "busy": gpu.busy,
                            "preemptions": gpu.preemptions,
                        }
                        for gpu in outcome.gpus
                    ],
                }
                for outcome in simulation.outcomes
            ],
        }
    )


def simulation_csv(found: Simulation) -> str:
    """Return one row per load, seed and model."""
    return rows_csv(
        [
            {"load": outcome.load, "seed": outcome.seed, **_model_row(one)}
            for outcome in found.outcomes
            for one in outcome.models
        ]
    )


def _model_row(one: ModelOutcome) -> dict[str, Cell]:
    return {
        "model": one.name,
        "requests": one.requests,
        "kept": one.kept,
        "unfinished": one.unfinished,
        "too_long": one.too_long,
        "ttft_seconds": one.ttft_seconds,
        "ttft_p99_seconds": one.ttft_p99_seconds,
        "tpot_seconds": one.tpot_seconds,
        "tpot_p99_seconds": one.tpot_p99_seconds,
        "preemptions": one.preemptions,
    }


def draw_simulation(found: Simulation, problem: Problem, level: float, path: str) -> None:
    """Draw attainment over load: all requests, the worst GPU, and the models that fall first.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    InputError
        The suffix is none that can be drawn, or the file cannot be written.
    """
    loads = found.loads()
    by_model: dict[str, list[float]] = {model.name: [] for model in problem.models}
    for load in loads:
        outcomes = found.at(load)
        for at, model in enumerate(problem.models):
            asked = sum(outcome.models[at].requests for outcome in outcomes)
            kept = sum(outcome.models[at].kept for outcome in outcomes)
            by_model[model.name].append(kept / asked if asked else 1.0)
    with canvas(path, 9, 5) as figure:
        axes: Any = figure.add_subplot()
        first = sorted(by_model, key=lambda name: (sum(by_model[name]), name))[:_LINES]
        for name in first:
            axes.plot(loads, by_model[name], lw=0.8, alpha=0.7, label=legend_text(name))
        worst = [min(o.worst_gpu.attainment for o in found.at(load)) for load in loads]
        axes.plot(loads, worst, "k--", lw=1.5, label="worst GPU")
        everyone = [found.attainment(load) for load in loads]
        axes.plot(loads, everyone, "k", lw=2.5, marker="o", ms=4, label="all requests")
        axes.axhline(level, color="#888888", lw=0.8)
        axes.set_xscale("log")
        axes.set_xlabel("times the stated demand")
        axes.set_ylabel("requests within their objectives")
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
