"""A re-plan for people: what to do, why, in which order, and what every budget buys."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from kvplace.replan.budget.prices import Measure
from kvplace.replan.outcome import knee
from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import format_kvpr, worth_text
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json, rows_table
from kvplace.report.text import Paint, clean, fit, gpus_text
from kvplace.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from kvplace.core.evaluation.constraints import Violation
    from kvplace.replan.outcome import FrontierPoint, Replan
    from kvplace.replan.schedule.steps import Step

_MARKS = {"move": ("~", "yellow"), "start": ("+", "green"), "stop": ("-", "red")}
_NAME_WIDTH = 40
_BELOW = "\n" + " " * 8
"""Before a reason that does not fit beside its change."""
_MOST_STEPS = 60
_MOST_NAMES = 8
_MOST_CHANGES = 100
_MOST_WRONG = 3


def replan_lines(found: "Replan", look: Look | None = None) -> list[str]:
    """Return what a re-plan comes to: the changes, their reasons, worth and cost."""
    look = look or Look()
    paint = Paint(look.colour)
    lines: list[str] = []
    width = min(_NAME_WIDTH, max((len(clean(c.model)) for c in found.changes), default=0))
    pairs = list(zip(found.changes, found.reasons, strict=True))
    for change, reason in pairs[:_MOST_CHANGES]:
        mark, colour = _MARKS[change.kind]
        source, target = gpus_text(change.source), gpus_text(change.target)
        where = f"{source} -> {target}" if change.kind == "move" else source or target
        moved = f"{fit(change.model, width)}  {clean(where)}"
        below = cell_len(f"  {mark} {moved}  {reason}") > look.width
        lines.append(f"  {paint(mark, colour)} {moved}{_BELOW if below else '  '}{reason}")
    if len(pairs) > _MOST_CHANGES:
        lines.append(f"  and {len(pairs) - _MOST_CHANGES} more")
    if lines:
        lines.append("")
    lines += worth_lines(found)
    return lines


def worth_lines(found: "Replan") -> list[str]:
    """Return what it is worth and what it costs."""
    if found.after is None:
        lines = [_not_found(found), *(f"now: {clean(v.message)}" for v in _wrong(found))]
        return lines + ([f"set aside: {found.set_aside}"] if found.set_aside else [])
    before, after, schedule = found.before.value, found.after.value, found.schedule
    quantity = f"max {found.problem.goal.quantity}"
    if found.empty:
        lines = [
            f"nothing to do: {quantity} {format_kvpr(after)}, and no change within the budget pays"
        ]
    else:
        change = change_in_words(before, after)
        worth = f"{quantity} {worth_text(before)} -> {format_kvpr(after)}"
        worth += f" ({change})" if change else ""
        cost = f"{format_count(len(found.changes), 'change')}, "
        cost += f"{format_bytes(schedule.loaded_bytes)} of "
        cost += f"weights to load, about {format_seconds(schedule.seconds)}, {_downtime(found)}"
        lines = [f"{worth}; within this budget none is below {format_kvpr(found.bound)}", cost]
        lines += _restarted(found)
    if found.fresh is not None:
        value, moves = found.fresh
        lines.append(
            f"a fresh plan: {format_kvpr(value)} after {format_count(moves, 'change')}"
            f"{_against(before, value)}"
        )
    if schedule.reason:
        lines.append(schedule.reason)
    if found.set_aside:
        lines.append(f"set aside: {found.set_aside}")
    return lines


def _not_found(found: "Replan") -> str:
    """Return a sentence that says whether a valid placement is out of reach, or was not found."""
    if math.isinf(found.needed):
        return "no placement is valid, whatever changes"
    least = f"a valid one takes at least {_price(found, found.needed)}"
    if math.isinf(found.bound):
        return f"no placement within the budget is valid: {least}"
    within = "" if math.isinf(found.budget.price) else " within the budget"
    said = f"no valid placement{within} was found; {least}"
    if found.cheapest is not None:
        said += f", and the cheapest that was found {_price(found, found.cheapest)}"
    return said


def _price(found: "Replan", price: float) -> str:
    """Return a price in words."""
    if found.budget.measure is Measure.BYTES:
        return f"{format_bytes(int(price))} of weights to load"
    return f"{price:g} change{'' if price == 1 else 's'}"


def _wrong(found: "Replan") -> "list[Violation]":
    """Return some of what is wrong with what runs."""
    return list(found.before.violations)[:_MOST_WRONG]


def _downtime(found: "Replan") -> str:
    down = found.schedule.downtime_seconds
    if not down:
        return "no downtime"
    names = sorted(
        {p.model for p in found.schedule.pauses if not p.others} | {*found.schedule.restarts.down}
    )
    return f"{format_seconds(down)} of downtime ({', '.join(map(clean, names))})"


def _restarted(found: "Replan") -> list[str]:
    """Return a sentence about what starts again although it stays."""
    restarts = found.schedule.restarts
    if not restarts.replicas:
        return []
    names = [clean(replica.model) for replica in restarts.replicas[:_MOST_NAMES]]
    more = len(restarts.replicas) - len(names)
    if more > 0:
        names.append(f"{more} more")
    again = format_count(len(restarts.replicas), "engine")
    size = format_bytes(restarts.loaded_bytes)
    return [f"of these {size} for {again} that only start again: {', '.join(names)}"]


def _against(before: float, value: float) -> str:
    change = change_in_words(before, value)
    return f" ({change})" if change else ""


def steps_table(steps: "Sequence[Step]", *, every: bool = False) -> str:
    """Return the steps in order; the first few of many unless all are wanted."""
    if not steps:
        return ""
    shown = steps if every else steps[:_MOST_STEPS]
    told = [clean(_what(step)) for step in shown]
    width = max(map(len, told))
    rows = [
        {
            "step": f"{step.number}",
            "after": " ".join(map(str, step.after)) or "-",
            "begins": format_seconds(step.begins_seconds),
            "takes": format_seconds(step.seconds),
            f"{'what':<{width}}": f"{what:<{width}}",  # to the left, as a text is read
        }
        for step, what in zip(shown, told, strict=True)
    ]
    text = rows_table(rows)
    if len(steps) > len(shown):
        text += f"\nand {len(steps) - len(shown)} more steps; the proposal holds them all"
    return text


def _what(step: "Step") -> str:
    """Return a step in words."""
    names = ", ".join(f"{r.model} on {gpus_text(r.gpus)}" for r in step.replicas)
    if step.kind == "switch" and step.replaced:
        return f"switch to {names}"
    return f"{step.kind.value} {names}"


def frontier_table(found: "Replan", look: Look | None = None) -> str:
    """Return what every budget buys, with a bound for each."""
    points = _shown(found.frontier)
    if not points:
        return "no valid placement was found at any budget"
    best = knee(points)
    start = found.before.value if math.isfinite(found.before.value) else points[0].value
    rows = [
        {
            "changes": f"{p.moves}",
            "weights": format_bytes(p.loaded_bytes),
            f"max {found.problem.goal.quantity}": format_kvpr(p.value),
            "change": change_in_words(start, p.value) or "-",
            "bound": format_kvpr(p.bound),
            "": "knee" if p is best else "",
        }
        for p in points
    ]
    look = look or Look()
    return rows_table(rows, colour=look.colour, width=look.longest)


def _shown(points: "Sequence[FrontierPoint]") -> "list[FrontierPoint]":
    """Return the points at which the highest pressure falls."""
    shown: list[FrontierPoint] = []
    for point in points:
        if not shown or point.value < shown[-1].value * (1 - 1e-9):
            shown.append(point)
    return shown


def _rows(points: "Iterable[FrontierPoint]") -> list[dict[str, Cell]]:
    return [
        {
            "changes": p.moves,
            "loaded_bytes": p.loaded_bytes,
            "price": p.price,
            "value": p.value,
            "next_pressure": p.second,
            "bound": p.bound,
        }
        for p in points
    ]


def frontier_json(found: "Replan") -> str:
    """Return all points, the knee, and what a fresh plan comes to."""
    best = knee(_shown(found.frontier))
    fresh = None
    if found.fresh is not None:
        fresh = {"value": found.fresh[0], "changes": found.fresh[1]}
    return rows_json(
        {
            "value_now": found.before.value,
            "points": _rows(found.frontier),
            "knee": None if best is None else {"changes": best.moves, "value": best.value},
            "fresh_plan": fresh,
        }
    )


def frontier_csv(found: "Replan") -> str:
    """Return one row per point."""
    rows = _rows(found.frontier)
    return rows_csv(rows) if rows else "changes,loaded_bytes,price,value,next_pressure,bound\n"


def moves_csv(found: "Replan") -> str:
    """Return one row per change: ``change,model,replica,from,to,reason``."""
    rows: list[dict[str, Cell]] = [
        {
            "change": change.kind,
            "model": change.model,
            "replica": change.index,
            "from": " ".join(change.source),
            "to": " ".join(change.target),
            "reason": reason,
        }
        for change, reason in zip(found.changes, found.reasons, strict=True)
    ]
    return rows_csv(rows) if rows else "change,model,replica,from,to,reason\n"
