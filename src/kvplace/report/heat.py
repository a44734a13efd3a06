"""How full is too full: the one set of levels, words and colours of tables and pages."""

import math

from kvplace.core.result import Result
from kvplace.report.summary import format_kvpr
from kvplace.units import format_percent

TIGHT = 0.8
"""Share from which little room is left for what is not average: bursts, long prompts."""
FULL = 1.0
"""Share from which there is not enough for the stated demand."""
CLASSES = (TIGHT, FULL)
"""Where the classes of pressure begin: shares of what is full, or of the worst GPU."""


def heat(share: float) -> str:
    """Return the colour of a share: green, yellow from `TIGHT` on, red from `FULL` on."""
    return "red" if share >= FULL else "yellow" if share >= TIGHT else "green"


def is_share(result: Result) -> bool:
    """Whether the pressure of a result is a share: 1.0 means that something is full."""
    return result.problem.goal.is_share


def kvpr_text(kvpr: float, *, occupancy: bool, exact: bool = False) -> str:
    """Print a KVPR: a share of the pool as a percentage, another as a number.

    Parameters
    ----------
    kvpr
        The ratio.
    occupancy
        Whether it is a share.
    exact
        Print a percentage to four digits, for figures that are compared.
    """
    if not occupancy or math.isinf(kvpr):
        return format_kvpr(kvpr)
    if exact and 0.001 <= kvpr < 10:
        return f"{100 * kvpr:#.4g} %"
    return f"{100 * kvpr:,.0f} %" if kvpr >= 0.1 or not kvpr else format_percent(kvpr)


def pressure_class(kvpr: float, worst: float, *, occupancy: bool) -> int:
    """Return the class of a pressure: 0 calm, 1 tight, 2 full; or 0 and 1 against the worst."""
    share = kvpr if occupancy else kvpr / worst if worst else 0.0
    if not occupancy and share >= 1:
        return 1  # the worst GPU is not full for being the worst
    return sum(share >= limit for limit in CLASSES)
