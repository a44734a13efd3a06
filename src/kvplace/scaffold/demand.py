"""Which demand is a model's, and the rate to plan for."""

import math
from collections.abc import Mapping, Sequence

from kvplace.core.fact import Fact
from kvplace.core.models.demand import Demand
from kvplace.demand.series import Array, near_name
from kvplace.demand.summary import ModelDemand
from kvplace.demand.windows import DemandWindows
from kvplace.errors import InputError


def demand_of(
    name: str, asked: Mapping[str, ModelDemand], aliases: Mapping[str, str]
) -> ModelDemand | None:
    """Return the demand of a model: by alias, by its name, or by the last part of it.

    Raises
    ------
    InputError
        The demand has it under several names, which summaries cannot add.
    """
    names = [alias for alias, model in aliases.items() if model == name and alias in asked]
    each = " and ".join(f"--alias {alias}={name}" for alias in names)
    if names and name in asked:
        names.append(name)
    if len(set(names)) > 1:
        message = f"the demand has it as {names[0]!r} and as {names[1]!r}; to add them, pass "
        raise InputError(f"{message}{each} (in Python: DemandSeries.named)", name)
    wanted = names[0] if names else name
    if wanted in asked:
        return asked[wanted]
    tail = wanted.rstrip("/").rpartition("/")[2].casefold()
    near = [own for label, own in asked.items() if label.rpartition("/")[2].casefold() == tail]
    return near[0] if len(near) == 1 else None


def absent_from_demand(name: str, left: Sequence[str]) -> str:
    """Say that a demand does not name a model, and by which of its names it may be meant.

    Parameters
    ----------
    name
        The model.
    left
        Names in the demand that are no other model's.
    """
    absent = "the demand has no model of this name"
    near = near_name(name, left)
    if near is not None:
        return f"{absent}; did you mean {near!r}? Then pass --alias {near}={name}"
    names = ", ".join(left[:8]) + (", ..." if len(left) > 8 else "")
    return f"{absent}; it has {names}; pass --alias NAME={name} if one is it" if left else absent


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
