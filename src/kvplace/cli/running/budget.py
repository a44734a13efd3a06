"""What a re-plan may cost, from the options that state it."""

import math
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kvplace.cli.running.current import Current
    from kvplace.core.problem import Problem
    from kvplace.replan.outcome import Budget


def parse_budget(names: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Return budget and pricing from the options that state them.

    Raises
    ------
    InputError
        Models are named that there are not, or costs are no numbers.
    BadParameter
        A rate is none.
    """
    from kvplace.core.rules.rule import chosen
    from kvplace.errors import Fault, InputError
    from kvplace.replan.outcome import Budget
    from kvplace.replan.schedule.steps import Pricing

    prices: dict[str, float] = {}
    faults: list[Fault] = []

    def state(pattern: str, factor: float, option: str) -> None:
        found = chosen((pattern,), names)
        if not found:
            faults.append(Fault(f"no model is named {pattern!r}", option))
        prices.update(dict.fromkeys(found, factor))

    for text in options["costs"]:
        pattern, _, number = text.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = math.nan
        if not pattern or not 0 < factor < math.inf:
            faults.append(Fault(f"{text!r} is no MODEL=N with N above 0", "--cost"))
        else:
            state(pattern, factor, "--cost")
    for pattern in options["keep"]:
        state(pattern, math.inf, "--keep")
    if faults:
        raise InputError(faults)
    most_moves, most_bytes = options["max_moves"], options["max_bytes"]
    budget = Budget(
        moves=math.inf if most_moves is None else most_moves,
        loaded_bytes=math.inf if most_bytes is None else most_bytes,
        downtime_seconds=options["max_downtime"],
        prices=prices,
        gain=options["min_gain"],
    )
    if not options["load_rate"] > 0:
        raise click.BadParameter("must be above 0", param_hint="--load-rate")
    pricing = Pricing(
        load_bytes_per_second=options["load_rate"],
        start_seconds=options["start_time"],
        drain_seconds=options["drain_time"],
        loads_per_node=options["loads_per_node"],
        graph_seconds=options.get("graph_time", 0.0),
        **_runtime(options),
    )
    return budget, pricing


def _runtime(options: dict[str, Any]) -> dict[str, Any]:
    """Return what of the pricing a runtime and a disk decide."""
    from kvplace.replan.schedule.steps import POOLED, RUNTIMES, SLEEPERS

    found: dict[str, Any] = {}
    if options.get("read_rate") is not None:
        if not options["read_rate"] > 0:
            raise click.BadParameter("must be above 0", param_hint="--read-rate")
        found["read_bytes_per_second"] = options["read_rate"]
    runtime = options.get("runtime")
    if runtime is not None:
        unit, in_place = RUNTIMES[runtime]
        fixed = options["pool"] == "static" and runtime not in POOLED
        found |= {"unit": unit, "in_place": in_place, "fixed_parts": fixed}
    level = options.get("sleep")
    if level is not None:
        levels = SLEEPERS.get(runtime or "", ())
        if level not in levels or found["fixed_parts"]:
            can = "; ".join(f"{name}: {', '.join(map(str, of))}" for name, of in SLEEPERS.items())
            raise click.BadParameter(
                f"needs a --runtime whose engines sleep one by one ({can}), and engines that share "
                "the KV memory (--kv kvcached)",
                param_hint="--sleep",
            )
        found["sleep"] = level
    return found


def with_stays(
    budget: "Budget", problem: "Problem", running: "Current", least: float
) -> "tuple[Budget, list[str]]":
    """Return a budget in which models that serve for too short a time stay, and which those are.

    Parameters
    ----------
    budget, problem, running
        What may be done to what.
    least
        Seconds that a copy serves at least, of models that state no time of their own.
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from kvplace.replan.stay import too_young

    young, unknown = too_young(problem, running.placement, running.since, datetime.now(UTC), least)
    notes = [f"{name!r} stays: it has not served for its least time yet" for name in sorted(young)]
    if unknown:
        notes.append(
            f"since when {len(unknown)} models serve is not known, so their least time is not "
            "kept; an observation says it where the runtime does"
        )
    if not young:
        return budget, notes
    prices = {**(budget.prices or {}), **dict.fromkeys(young, math.inf)}
    return replace(budget, prices=prices), notes
