"""What a plan on fewer, cheaper or thriftier GPUs saves, for people."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import format_kvpr
from kvplace.report.text import clean
from kvplace.units import format_count, format_percent

if TYPE_CHECKING:
    from kvplace.size.fewer import Fewer

_NAMED = 16
_UNITS: dict[str, Callable[[float], str]] = {
    "gpus": lambda number: format_count(round(number), "GPU"),
    "cost": "{:,.2f} per hour".format,
    "power": "{:,.0f} W of rated power".format,
}


def fewer_lines(found: "Fewer") -> list[str]:
    """Return what is saved, what proves that no more can be, and which GPUs are idle."""
    if found.result.placement is None:
        return []
    unit = _UNITS[found.saving]
    spent, before = unit(found.spent), unit(found.spent_before)
    saved = change_in_words(found.spent_before, found.spent) or "nothing less"
    value, limit = format_kvpr(found.result.value), format_kvpr(found.limit)
    within = f"within {format_percent(found.within)} of it: {value}, limit {limit}"
    lines = [f"{spent} in use, {before} at the best pressure found ({saved}), {within}"]
    least = unit(found.least)
    by = "the solver proved one less too few" if found.proof == "search" else "by sums"
    if found.proved:
        lines.append(f"no plan within the limit takes less, which is proved ({by})")
    else:
        lines.append(f"no plan within the limit takes less than {least} ({by}); between is open")
    if found.idle:
        more = len(found.idle) - _NAMED
        names = ", ".join(map(clean, found.idle[:_NAMED])) + (
            f" and {more:,} more" if more > 0 else ""
        )
        lines.append(f"idle: {names}")
    return lines
