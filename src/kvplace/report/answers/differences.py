"""What turns one plan into another, for people, as JSON, CSV and Markdown."""

import math
from dataclasses import dataclass

from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.placement import Migration
from kvplace.core.problem import Problem
from kvplace.core.result import Result, evaluated, placed
from kvplace.errors import InputError
from kvplace.report.summary import format_kvpr, format_share
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json
from kvplace.report.text import Paint, clean, fit, gpus_text, short_names
from kvplace.units import format_bytes, format_count

_MARKS = {"move": ("~", "yellow"), "start": ("+", "green"), "stop": ("-", "red")}
_ORDER = ("move", "start", "stop")
_NAME_WIDTH, _LEAST_NAME_WIDTH = 44, 12


@dataclass(frozen=True, slots=True, repr=False)
class Differences:
    """What turns one plan into another.

    Parameters
    ----------
    changes
        Moves, starts and stops.
    weights_bytes
        Weights of each model, before any split.
    before, after
        Evaluations of the two.
    before_now
        What the earlier placement is worth for the later problem; None where that is the same
        problem, or where the earlier placement is not valid for it.
    same_problem
        Whether both are for the same problem.
    apart
        In what the problems differ, in words; empty where they do not.
    comparable
        Whether `before` and `after` are values of one objective.
    """

    changes: tuple[Migration, ...]
    weights_bytes: dict[str, int]
    before: Evaluation
    after: Evaluation
    before_now: Evaluation | None
    same_problem: bool
    apart: str = ""
    comparable: bool = True

    def __repr__(self) -> str:
        count = format_count(len(self.changes), "change")
        values = f"{self.before.value:.4g} -> {self.after.value:.4g}"
        return f"<Differences: {count}, max {self.after.quantity} {values}>"

    @property
    def change(self) -> str:
        """By how much the value changes, such as ``-12.3 %``; empty where that says nothing."""
        return change_in_words(self.before.value, self.after.value) if self.comparable else ""

    @property
    def before_compared(self) -> Evaluation | None:
        """The earlier placement by the later plan's objective; None where it has no such value."""
        return self.before if self.comparable else self.before_now

    def count(self, kind: str) -> int:
        """Return how many replicas move, start or stop."""
        return sum(change.kind == kind for change in self.changes)

    @property
    def loaded_bytes(self) -> int:
        """Weights that GPUs must load: of every replica that moves or starts."""
        return sum(
            self.weights_bytes.get(change.model, 0)
            for change in self.changes
            if change.kind != "stop"
        )


def diff(before: Result, after: Result) -> Differences:
    """Return what turns the placement of one result into that of another.

    Copies of a model are alike: only the GPUs that they run on count.

    Raises
    ------
    InputError
        One of the results has no placement.
    """
    old, new = placed(before), placed(after)
    same = before.problem.digest == after.problem.digest
    found = sorted(
        old.difference(new), key=lambda change: (_ORDER.index(change.kind), change.model)
    )
    models = {m.name: m.weights_bytes for r in (before, after) for m in r.problem.models}
    now = None if same else evaluate(after.problem, old)
    return Differences(
        tuple(found),
        models,
        evaluated(before),
        evaluated(after),
        now if now is not None and now.valid else None,
        same,
        _apart(before.problem, after.problem),
        before.problem.goal is after.problem.goal,
    )


def _apart(before: Problem, after: Problem) -> str:
    """Return in what two problems differ, in words."""
    others = "for different models, demand or GPUs"
    if before.goal is after.goal:
        return "" if before.digest == after.digest else others
    told = f"under different objectives, {before.goal.value} and {after.goal.value}"
    try:
        same = before.with_objective(after.goal).digest == after.digest
    except InputError:  # the models of the earlier plan lack what the later objective needs
        same = False
    return told if same else f"{told}, and {others}"


def change_in_words(before: float, after: float) -> str:
    """Return by how much a value changes, such as ``-12.3 %``; empty where that says nothing."""
    if not (before > 0 and math.isfinite(before) and math.isfinite(after)) or before == after:
        return ""
    return f"{100 * (after - before) / before:+.1f} %"


def differences_table(found: Differences, look: Look | None = None) -> str:
    """Return a line per change, how many there are, and the value before and after."""
    look = look or Look()
    paint = Paint(look.colour)
    rests = []
    for change in found.changes:
        source, target = (gpus_text(gpus) for gpus in (change.source, change.target))
        where = f"{source} -> {target}" if change.kind == "move" else source or target
        weights = format_bytes(found.weights_bytes.get(change.model, 0))
        rests.append(f"{clean(where)}  {weights}")
    names = [clean(change.model) for change in found.changes]
    room = look.width - 6 - max(map(len, rests), default=0)  # the mark, and blanks around names
    if room < max(map(len, names), default=0):
        short = short_names(dict.fromkeys(names))
        names = [short[name] for name in names]
    width = min(_NAME_WIDTH, max(map(len, names), default=0), max(room, _LEAST_NAME_WIDTH))
    lines = []
    for change, name, rest in zip(found.changes, names, rests, strict=True):
        mark, colour = _MARKS[change.kind]
        lines.append(f"  {paint(mark, colour)} {fit(name, width)}  {rest}")
    if lines:
        lines.append("")
    lines.append(counts(found))
    return "\n".join([*lines, *_values(found)])


def differences_json(found: Differences) -> str:
    """Return an object with `changes`, `before` and `after`."""
    changes = [
        {
            "change": change.kind,
            "model": change.model,
            "from": list(change.source),
            "to": list(change.target),
            "weights_bytes": found.weights_bytes.get(change.model, 0),
        }
        for change in found.changes
    ]
    now = found.before_now.value if found.before_now else None
    return rows_json(
        {
            "changes": changes,
            "same_problem": found.same_problem,
            "apart": found.apart,
            "value_before": found.before.value,
            "value_before_for_new_problem": now,
            "value_after": found.after.value,
            "loaded_bytes": found.loaded_bytes,
            **_peaks_json(found),
        }
    )


def differences_csv(found: Differences) -> str:
    """Return one row per change: ``change,model,from,to,weights_bytes``."""
    rows: list[dict[str, Cell]] = [
        {
            "change": change.kind,
            "model": change.model,
            "from": " ".join(change.source),
            "to": " ".join(change.target),
            "weights_bytes": found.weights_bytes.get(change.model, 0),
        }
        for change in found.changes
    ]
    if not rows:
        return "change,model,from,to,weights_bytes\n"
    return rows_csv(rows)


def counts(found: Differences) -> str:
    """Return how many changes there are, as a sentence."""
    if not found.changes:
        return "no changes: both plans run the same replicas on the same GPUs"
    parts = [
        f"{found.count(kind):,} {words}"
        for kind, words in (("move", "to move"), ("start", "to start"), ("stop", "to stop"))
    ]
    return f"{', '.join(parts)}; {format_bytes(found.loaded_bytes)} of weights to load"


def next_difference(before: Evaluation, after: Evaluation) -> str:
    """Return what the first GPU is worth, from the worst down, at which two profiles differ."""
    pairs = zip(before.profile(), after.profile(), strict=True)
    for place, (first, second) in enumerate(pairs, 1):
        if format_kvpr(first) != format_kvpr(second):
            return f"number {place} from the worst: {format_kvpr(first)} -> {format_kvpr(second)}"
    return ""


def _peaks(evaluation: Evaluation) -> tuple[float, float] | None:
    """Return the fullest KV pool and the busiest GPU in any window; None without times."""
    held = [gpu for gpu in evaluation.gpus if gpu.time_shares]
    if not held:
        return None
    return max(max(gpu.occupancies) for gpu in held), max(max(gpu.time_shares) for gpu in held)


def _both_pressures(found: Differences) -> list[str]:
    """Return what becomes of the fullest KV pool and of the busiest GPU."""
    before, after = _peaks(found.before), _peaks(found.after)
    if before is None or after is None:
        return []
    pairs = zip(("fullest KV pool", "busiest GPU"), before, after, strict=True)
    told = (f"{what} {format_share(old)} -> {format_share(new)}" for what, old, new in pairs)
    return [", ".join(told)]


def _peaks_json(found: Differences) -> dict[str, float]:
    """Return the fullest KV pool and the busiest GPU of both plans, where times are known."""
    peaks: dict[str, float] = {}
    for name, evaluation in (("before", found.before), ("after", found.after)):
        known = _peaks(evaluation)
        if known is not None:
            peaks |= {f"occupancy_{name}": known[0], f"time_share_{name}": known[1]}
    return peaks


def _values(found: Differences) -> list[str]:
    """Return the lines that say what the plans are worth."""
    before, after = found.before.value, found.after.value
    to = "" if found.comparable else f"max {found.after.quantity} "
    worth = f"max {found.before.quantity} {format_kvpr(before)} -> {to}{format_kvpr(after)}"
    lines = [worth + (f" ({found.change})" if found.change else "")]
    next_worst = (
        next_difference(found.before, found.after) if before == after and found.same_problem else ""
    )
    if next_worst:
        lines.append(next_worst)
    lines += _both_pressures(found)
    if not found.same_problem:
        now = found.before_now
        lines[0] += f", {found.apart}"
        worth = f"max {now.quantity} {format_kvpr(now.value)}" if now else "not valid"
        lines.append(f"for what the second plan serves, the first is {worth}")
    return lines
