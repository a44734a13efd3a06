"""What becomes of a plan in each failure, for people."""

import math
from typing import TYPE_CHECKING

from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import format_kvpr
from kvplace.report.text import clean

if TYPE_CHECKING:
    from kvplace.replan.survive import Survival

__all__ = ["survived_lines"]

_NAMED = 5


def survived_lines(found: "Survival", what: str) -> list[str]:
    """Return whether a plan survives the loss of any one GPU or node, and what that costs."""
    kind = what.partition("-")[2]
    count = len(found.failures)
    if found.holds:
        worst, value = found.worst, found.result.value
        cost = change_in_words(found.free_value, value) or "nothing"
        holds = (
            f"survives the loss of each of {count} {kind}s, tried one by one: at worst, without "
        )
        holds += f"{clean(worst.name)}, max KVPR {format_kvpr(worst.value)} after {worst.moves} "
        holds += f"changes (none below {format_kvpr(worst.bound)} is possible there)"
        price = f"room for that costs {cost}: max KVPR {format_kvpr(value)}, "
        return [holds, price + f"{format_kvpr(found.free_value)} without it"]
    proved = [clean(f.name) for f in found.failures if math.isinf(f.bound)]
    if proved:
        return [f"no plan survives the loss of {_few(proved)}: what is left is too small"]
    lost = [clean(f.name) for f in found.failures if math.isinf(f.value)]
    missed = f"no plan was found that survives the loss of every {kind}; the best one found does "
    return [missed + f"not survive that of {_few(lost)}"]


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
