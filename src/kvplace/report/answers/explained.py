"""An explanation for people, as JSON and as CSV."""

from kvplace.core.evaluation.evaluate import part_of
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.explain.bottleneck import Bottleneck
from kvplace.explain.clash import Clash
from kvplace.explain.explain import Explanation
from kvplace.explain.levers import Lever
from kvplace.explain.repairs import Repair
from kvplace.explain.words import clash_in_words, demand_in_words, names_in_words, room_of
from kvplace.forecast.fixed_parts import overflowing
from kvplace.report.answers.differences import change_in_words
from kvplace.report.summary import (
    format_kvpr,
    over_windows,
    reasons,
    summary,
    what_binds_on,
    where_and_when,
)
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json
from kvplace.report.text import Paint, clean, fit
from kvplace.units import format_bytes

SHOWN = 12
"""Members of a clash, and models of a GPU, that the table lists; the rest are counted."""


def explained_table(found: Explanation, look: Look | None = None) -> str:
    """Return what holds the plan and what would help, or what clashes and the ways out."""
    look = look or Look()
    paint = Paint(look.colour)
    if found.bottleneck is not None:
        lines = [*_bottleneck(found, found.bottleneck, paint), "", *_levers(found, paint)]
        lines += _fixed_parts(found)
    elif found.clash is not None:
        lines = [*_clash(found.result.problem, found.clash, look), "", *_repairs(found, look)]
    else:
        lines = [f"cannot be placed: {clean(reason)}" for reason in reasons(found.result)]
    if not found.complete:
        lines += ["", _cut(found)]
    return "\n".join([*lines, "", clean(summary(found.result))])


def _cut(found: Explanation) -> str:
    """Say what the time limit or an interrupt left out, so that what is proved stays so."""
    if found.result.status is Status.INFEASIBLE:
        return (
            "the time limit or an interrupt ended the search for ways out; that nothing fits is "
            "proved all the same"
        )
    if found.bottleneck is not None:
        return "the time limit or an interrupt ended the search for changes that would help"
    return "the time limit or an interrupt ended the search; more time may find a placement"


def _bottleneck(found: Explanation, at: Bottleneck, paint: Paint) -> list[str]:
    """Return the worst GPU, its models, and what holds it."""
    goal, gpu = found.result.problem.goal, at.gpu
    full = ""
    if goal is Objective.OCCUPANCY:
        full = f" = KV pool {100 * gpu.kvpr:,.0f} % full"
    if goal is Objective.PRESSURE:
        full = f" = {what_binds_on(found.result.problem, gpu)}"
    worth = f"{goal.quantity} {format_kvpr(gpu.pressure)}"
    among = f" ({at.alike:,} GPUs are equally loaded)" if at.alike > 1 else ""
    lines = [
        paint(
            f"worst GPU: {clean(gpu.id)} at {worth}{full}{among}",
            "bold",
        )
    ]
    shards = sorted(gpu.shards, key=lambda shard: -part_of(shard, gpu))
    kind = {"kv": "KV in use", "time": "time used"}[gpu.binding[0]] if gpu.timed else "load"
    width = max((len(clean(shard.model)) for shard in shards[:SHOWN]), default=0)
    for shard in shards[:SHOWN]:
        share = part_of(shard, gpu)
        weights = format_bytes(shard.weights_bytes)
        lines.append(
            f"  {fit(shard.model, min(width, 44))}  {weights:>9} of weights and overhead, "
            f"{100 * share:.0f} % of the {kind}"
        )
    if len(shards) > SHOWN:
        lines.append(f"  and {len(shards) - SHOWN} more")
    lines.append(_cause(at, goal))
    problem = found.result.problem
    by_window = over_windows(problem, gpu)
    if by_window:
        lines.append(clean(f"its fullest and its calmest window: {by_window}"))
    evaluation = found.given or found.result.evaluation
    spread = where_and_when(problem, evaluation) if evaluation is not None else ""
    return [*lines, clean(f"over the fleet, {spread}")] if spread else lines


def _fixed_parts(found: Explanation) -> list[str]:
    """Say for which models a fixed part of the KV memory is too little."""
    problem, evaluation = found.result.problem, found.given or found.result.evaluation
    burst = [] if evaluation is None else overflowing(problem, evaluation)
    if not burst:
        return []
    told = (
        f"in a runtime that gives each engine a fixed part of the KV memory, bursts of "
        f"{clean(names_in_words(burst))} overflow theirs: kvplace simulate PLAN --pool static "
        "tells what is served, and kvplace refine PLAN --objective forecast or a shared pool "
        "(kvcached, AIBrix, Prism) may serve more"
    )
    return ["", told]


def _cause(at: Bottleneck, goal: Objective) -> str:
    """Say what holds the worst GPU."""
    value = format_kvpr(at.cause.value)
    if at.cause.kind == "single-model":
        model = clean(at.cause.model)
        return f"limited by one model: {model} is at {value} even alone on the best GPUs"
    if at.cause.kind == "fluid":
        if goal is Objective.PRESSURE:
            return f"limited by total demand: spread evenly over all GPUs, all of it is at {value}"
        return f"limited by total demand: all load over all memory that weights leave is {value}"
    return f"limited by packing: neither a single model nor total demand forces more than {value}"


def _levers(found: Explanation, paint: Paint) -> list[str]:
    """Return a line per lever, the best first."""
    worst = f"max {found.result.problem.goal.quantity}"
    if not found.levers:
        return [f"no single change that was tried lowers the {worst}"]
    lines = [paint(f"{worst:>9} {'change':>9} {'bound':>9}  what would help", "bold")]
    for lever in found.levers:
        change = change_in_words(lever.before, lever.value)
        value, bound = format_kvpr(lever.value), format_kvpr(lever.result.bound)
        width = max(9, len(worst))
        lines.append(f"{value:>{width}} {change:>9} {bound:>9}  {clean(lever.change.text)}")
    return lines


def _clash(problem: Problem, clash: Clash, look: Look) -> list[str]:
    """Return what clashes."""
    paint = Paint(look.colour)
    known = "smallest clash" if clash.smallest else "clash"
    count = len(clash.members)
    lines = [paint(f"{known}, {count:,} {'demand' if count == 1 else 'demands'}:", "bold")]
    lines += [f"  {clean(demand_in_words(problem, m))}" for m in clash.members[:SHOWN]]
    if count > SHOWN:
        lines.append(f"  and {count - SHOWN:,} more, which --format json lists")
    lines.append(clean(clash_in_words(clash)))
    if not clash.irreducible:
        lines.append("a part of these demands may clash already: not all of it was settled")
    return lines


def _repairs(found: Explanation, look: Look) -> list[str]:
    """Return the ways out, the least effort first."""
    if not found.repairs:
        return ["no way out was found among the changes that were tried"]
    lines = [
        Paint(look.colour)("ways out, each verified by a placement, the cheapest first:", "bold")
    ]
    shown = found.repairs[:SHOWN]
    lines += [f"  {clean(repair.text)}" for repair in shown]
    if len(found.repairs) > SHOWN:
        lines.append(f"  and {len(found.repairs) - SHOWN:,} more, which --format json lists")
    return lines


def explained_json(found: Explanation) -> str:
    """Return the explanation as an object; what does not apply is null or empty."""
    result, at = found.result, found.bottleneck
    return rows_json(
        {
            "status": result.status.value,
            "objective": result.problem.goal.value,
            "value": result.value,
            "bound": result.bound,
            "value_given": found.given.value if found.given else None,
            "complete": found.complete,
            "bottleneck": None if at is None else _bottleneck_data(at),
            "levers": [_lever_data(lever) for lever in found.levers],
            "clash": None if found.clash is None else _clash_data(result.problem, found.clash),
            "repairs": [_repair_data(repair) for repair in found.repairs],
            "reasons": reasons(result)
            if result.status is not Status.OPTIMAL and at is None
            else [],
        }
    )


def _bottleneck_data(at: Bottleneck) -> dict[str, object]:
    return {
        "gpu": at.gpu.id,
        "type": at.gpu.type,
        "kvpr": at.gpu.kvpr,
        "pressure": at.gpu.pressure,
        "occupancies": list(at.gpu.occupancies),
        "time_shares": list(at.gpu.time_shares),
        "free_bytes": at.gpu.free_bytes,
        "alike": at.alike,
        "cause": {"kind": at.cause.kind, "model": at.cause.model, "value": at.cause.value},
        "shards": [
            {
                "model": shard.model,
                "replica": shard.replica,
                "weights_bytes": shard.weights_bytes,
                "load": shard.load,
            }
            for shard in at.gpu.shards
        ],
    }


def _lever_data(lever: Lever) -> dict[str, object]:
    return {
        "kind": lever.change.kind,
        "subject": lever.change.subject,
        "effort": lever.change.effort.name.lower(),
        "text": lever.change.text,
        "value": lever.value,
        "bound": lever.result.bound,
        "gain": lever.gain,
    }


def _clash_data(problem: Problem, clash: Clash) -> dict[str, object]:
    room = room_of(clash.problem)
    return {
        "text": clash_in_words(clash),
        "irreducible": clash.irreducible,
        "smallest": clash.smallest,
        "needed_bytes": room.needed_bytes,
        "usable_bytes": room.usable_bytes,
        "gpus": sorted(room.gpus),
        "members": [
            {
                "kind": member.kind.value,
                "subject": member.subject,
                "text": demand_in_words(problem, member),
            }
            for member in clash.members
        ],
    }


def _repair_data(repair: Repair) -> dict[str, object]:
    return {
        "effort": repair.effort.name.lower(),
        "text": repair.text,
        "changes": [
            {"kind": change.kind, "subject": change.subject, "text": change.text}
            for change in repair.changes
        ],
    }


def explained_csv(found: Explanation) -> str:
    """Return one row per lever, or per demand that clashes and per repair.

    ``part,kind,subject,effort,value,bound,gain,text``.
    """
    problem = found.result.problem
    rows: list[dict[str, Cell]] = [
        _row(
            "lever", lever.change.kind, lever.change.subject, lever.change.text,
            lever.change.effort.name.lower(), (lever.value, lever.result.bound, lever.gain),
        )
        for lever in found.levers
    ]  # fmt: skip
    if found.clash is not None:
        rows += [
            _row("clash", m.kind.value, m.subject, demand_in_words(problem, m))
            for m in found.clash.members
        ]
    for repair in found.repairs:
        kinds = " ".join(change.kind for change in repair.changes)
        subjects = " ".join(change.subject for change in repair.changes)
        rows.append(_row("repair", kinds, subjects, repair.text, repair.effort.name.lower()))
    names = list(_row("", "", "", ""))
    return rows_csv(rows) if rows else ",".join(names) + "\n"


def _row(
    part: str,
    kind: str,
    subject: str,
    text: str,
    effort: str = "",
    numbers: tuple[float | None, float | None, float | None] = (None, None, None),
) -> dict[str, Cell]:
    value, bound, gain = numbers
    return {
        "part": part, "kind": kind, "subject": subject, "effort": effort,
        "value": value, "bound": bound, "gain": gain, "text": text,
    }  # fmt: skip
