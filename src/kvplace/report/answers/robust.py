"""What a robust plan is worth in each scenario, for people."""

from typing import TYPE_CHECKING

from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import format_kvpr
from kvplace.report.text import clean

if TYPE_CHECKING:
    from kvplace.solver.robust import Robust

_NAMED = 10


def robust_lines(found: "Robust") -> list[str]:
    """Return what a plan is worth in the scenarios, and what that costs at the stated demand."""
    if not found.scenarios:
        return []
    ranked = sorted(found.scenarios, key=lambda scenario: -scenario.value)
    lines = [
        f"in scenario {clean(one.window.name)}: max pressure {format_kvpr(one.value)}, "
        f"{format_kvpr(one.free_value)} under the plan without robustness"
        for one in ranked[:_NAMED]
    ]
    if len(ranked) > _NAMED:
        lines.append(f"{len(ranked) - _NAMED} more scenarios are below these")
    cost = change_in_words(found.free.value, found.stated_value) or "nothing"
    lines.append(
        f"robustness costs {cost} at the stated demand: max pressure "
        f"{format_kvpr(found.stated_value)}, {format_kvpr(found.free.value)} without it "
        f"(none below {format_kvpr(found.free.bound)} is possible)"
    )
    return lines
