"""What becomes of a plan in each failure, for people."""

from typing import TYPE_CHECKING

from kvplace.core.failure import Recovery
from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import format_kvpr
from kvplace.report.text import clean

if TYPE_CHECKING:
    from kvplace.replan.survive import Survival

_NAMED = 5


def survived_lines(found: "Survival", what: str) -> list[str]:
    """Return whether a plan survives the loss of any one GPU or node, and what that costs.

    Where not every loss was restored, the answer counts those that were, those for which no way
    was found, and those that were not tried to the end, and names the latter two.
    """
    kind = "GPU" if what == "1-gpu" else "node"
    count = f"{len(found.failures):,}"
    if found.holds and found.result.placement is not None:
        worst, value = found.worst, found.result.value
        cost = change_in_words(found.free_value, value) or "nothing"
        holds = (
            f"survives the loss of each of {count} {kind}s, tried one by one: at worst, without "
        )
        quantity = f"max {found.result.problem.goal.quantity}"
        holds += f"{clean(worst.name)}, {quantity} {format_kvpr(worst.value)} after {worst.moves} "
        holds += f"changes (none below {format_kvpr(worst.bound)} is possible there)"
        price = f"room for that costs {cost}: {quantity} {format_kvpr(value)}, "
        return [holds, price + f"{format_kvpr(found.free_value)} without it"]
    lines = []
    proved, missed = found.named(Recovery.IMPOSSIBLE), found.named(Recovery.NOT_FOUND)
    if proved:
        lines.append(
            f"no plan survives the loss of {_few(proved)}: what is left cannot hold everything, "
            "which is proved"
        )
    elif missed:
        lines.append(f"no plan was found that survives the loss of every {kind}")
    elif found.result.placement is not None:
        lines.append(f"whether the plan survives the loss of every {kind} is not known")
    if found.result.placement is None:
        return lines
    restored, open_ = found.named(Recovery.RESTORED), found.named(Recovery.NOT_TRIED)
    parts = [f"{len(restored):,} restored"]
    if proved:
        parts.append(f"{len(proved):,} proved impossible to restore")
    if missed:
        parts.append(f"{len(missed):,} for which no way to restore all was found ({_few(missed)})")
    if open_:
        parts.append(f"{len(open_):,} not tried to the end ({_few(open_)})")
    lines.append(
        f"of {count} {kind}s lost one by one, with the best plan found: {', '.join(parts)}"
    )
    if open_ and not proved:
        lines.append("the search ended before every loss was tried; more --time-limit may try them")
    return lines


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(clean, names[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
