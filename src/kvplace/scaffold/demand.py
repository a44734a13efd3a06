"""Which demand is a model's, and the rate to plan for."""

import math
from collections.abc import Iterable, Mapping

from kvplace.core.fact import Fact
from kvplace.core.model import Demand
from kvplace.demand.series import Array
from kvplace.demand.summary import ModelDemand
from kvplace.demand.windows import DemandWindows
from kvplace.formats.diagnostics import closest

__all__ = ["absent_from_log", "demand_of", "in_windows", "rate"]


def demand_of(
    name: str, asked: Mapping[str, ModelDemand], aliases: Mapping[str, str]
) -> ModelDemand | None:
    """Return the demand of a model: by alias, by its name, or by the last part of it."""
    wanted = next((alias for alias, model in aliases.items() if model == name), name)
    if wanted in asked:
        return asked[wanted]
    tail = wanted.rstrip("/").rpartition("/")[2].casefold()
    near = [own for label, own in asked.items() if label.rpartition("/")[2].casefold() == tail]
    return near[0] if len(near) == 1 else None


def absent_from_log(name: str, left: Iterable[str]) -> str:
    """Say that a log does not know a model, and by which of its names it may be meant.

    Parameters
    ----------
    name
        The model.
    left
        Names in the log that are no other model's.
    """
    tails = {label.rpartition("/")[2].casefold(): label for label in left}
    near = closest(name.rstrip("/").rpartition("/")[2].casefold(), tails)
    if near is not None:
        label = tails[near]
        meant = f"did you mean {label!r}? Then pass --alias {label}={name}"
        return f"the log has no model of this name; {meant}"
    known = list(tails.values())
    names = ", ".join(known[:8]) + (", ..." if len(known) > 8 else "")
    it_has = f"; it has {names}; pass --alias NAME={name} if one of them is it" if names else ""
    return f"the log has no model of this name{it_has}"


def rate(own: ModelDemand) -> Fact[float]:
    """Return the rate to plan for: the quantile, but no less than the mean.

    A model that is idle in most windows has a quantile of 0 and still needs room.
    """
    quantile = own.requests_per_second
    if quantile.value >= own.mean_rate:
        spread = f"mean {own.mean_rate:.4g}, peak {own.peak_rate:.4g}"
        return Fact(quantile.value, f"{quantile.origin}; {spread}")
    rest = f"above the {quantile.origin.partition(',')[0]}, {quantile.value:.4g}"
    return Fact(own.mean_rate, f"mean, {rest}; peak {own.peak_rate:.4g}")


def in_windows(model: str, windows: DemandWindows) -> tuple[tuple[str, Demand], ...]:
    """Return the demand of a model in each window, with the window's name."""
    at = windows.models.index(model)

    def known(tokens: Array | None) -> float | None:
        return None if tokens is None or math.isnan(tokens[at]) else float(tokens[at])

    return tuple(
        (
            window.name,
            Demand(
                float(window.requests_per_second[at]),
                known(window.prompt_tokens),
                known(window.output_tokens),
            ),
        )
        for window in windows.windows
    )
