"""A target: an objective and the most that the worst GPU may have of it."""

import math
import re
from dataclasses import dataclass

from kvplace.core.models.objective import Objective
from kvplace.errors import InputError
from kvplace.units import parse_number

_TARGET = re.compile(r"\s*(?:([a-z]+)\s*(?:<=|=|:)\s*)?([0-9.eE+-]+)\s*(%?)\s*", re.ASCII)


_NO_SHARE = 5
"""From here on a bare number is no share that anybody aims at."""


@dataclass(frozen=True, slots=True)
class Target:
    """The most that the max KVPR may be.

    Parameters
    ----------
    objective
        Which load; None for the problem's own.
    value
        Most KVPR of any GPU, above 0.
    percent
        Whether it was written as a percentage.
    """

    objective: Objective | None
    value: float
    percent: bool = False


def refuse_share(target: Target, objective: Objective, text: str) -> None:
    """Refuse a percentage of a quantity that has a unit, and a share that was meant as one.

    Raises
    ------
    InputError
        The target is a percentage and the objective's value is no share, or the other way round.
    """
    if objective.is_share and not target.percent and target.value >= _NO_SHARE:
        raise InputError(
            f"{text[:60]!r} is {100 * target.value:,.0f} % of a GPU; write {target.value:g}% if "
            "that is meant"
        )
    if target.percent and not objective.is_share:
        raise InputError(
            f"{text[:60]!r} is a percentage, but the objective {objective.value} is in "
            f"{objective.unit}; name one that is a share, such as 'occupancy<=0.8', which needs "
            "kv_bytes_per_token, token counts, ttft and tpot of every model"
        )


def parse_target(text: str) -> Target:
    """Read a target such as ``occupancy<=0.8``, ``requests<=0.05``, ``80%`` or ``0.8``.

    Raises
    ------
    InputError
        No such objective, or a value that is not above 0.
    """
    match = _TARGET.fullmatch(text[:200])
    if match is None:
        raise InputError(f"{text[:60]!r} is no target; write it like 'occupancy<=0.8'")
    name, digits, percent = match.groups()
    objective = None if name is None else Objective(name)
    number = parse_number(digits)
    value = math.nan if number is None else number / (100 if percent else 1)
    if not 0 < value < math.inf:
        raise InputError(f"{text[:60]!r} has no value above 0; write it like 'occupancy<=0.8'")
    return Target(objective, value, percent=bool(percent))
