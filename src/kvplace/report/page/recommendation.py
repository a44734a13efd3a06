"""What to do about a plan: the first thing that a page says."""

from kvplace.core.models.objective import Objective
from kvplace.core.result import Result, Status, evaluated
from kvplace.explain.bottleneck import bottleneck_of
from kvplace.report.heat import FULL, TIGHT
from kvplace.report.notes import ASSUMED, notes
from kvplace.report.summary import format_kvpr, format_share
from kvplace.report.text import clean, short_names

CLEARLY = 0.05
"""Part of the load of a GPU from which a model is named as one that makes it."""


def recommendation(result: Result) -> tuple[str, list[str]]:
    """Return what a plan comes to in one sentence, and what to do, a sentence each.

    Nothing is searched: the sentences follow from the plan, its bound and what holds its worst
    GPU. ``kvplace explain`` measures what each change would give.
    """
    problem, evaluation = result.problem, evaluated(result)
    share = problem.goal.is_share
    at = bottleneck_of(problem, evaluation)
    gpu, worst = clean(at.gpu.id), evaluation.value
    value = format_share(worst) if share else format_kvpr(worst)
    names = short_names(problem.names)
    hot = sorted(at.gpu.shards, key=lambda shard: -shard.load)
    model = clean(names.get(hot[0].model, hot[0].model)) if hot else ""
    at_most, room = "on average", "bursts"
    load = f"{value} full" if problem.goal is Objective.OCCUPANCY else f"at {value} of its limit"
    if problem.quantile is not None:
        at_most, room = f"or less in {100 * problem.quantile:g} % of the time", "more"
    if not share:
        head = f"The most loaded GPU is {gpu}, at a KVPR of {value}."
    elif worst >= FULL:
        head = f"Overloaded: {gpu} is asked for {value} of what it has. Requests will queue."
    elif worst >= TIGHT:
        head = f"Tight: {gpu} is {load} {at_most}, which leaves little room for {room}."
    else:
        head = f"The demand fits: the most loaded GPU, {gpu}, is {load} {at_most}."
    told = [n for n in notes(problem, evaluation) if n.kind not in ("overload", ASSUMED)]
    late = next((note for note in told if note.level == "warning" and note.kind == "time"), None)
    if late is not None and not (share and worst >= FULL):
        head = f"Too slow: {clean(late.text)}."
        told.remove(late)
    rest = [as_sentence(note.text) for note in told]
    return head, [
        *_cause(at.cause.kind, model, gpu, share=share, worst=worst),
        *_gap(result),
        *rest,
    ]


def sources(result: Result) -> list[str]:
    """Return where figures were taken from that the fleet file leaves out, a sentence each."""
    return list(map(as_sentence, result.problem.assumed))


def as_sentence(text: str) -> str:
    """Return words as a sentence; a name that they begin with stays as it is."""
    text = clean(text)
    first = text.partition(" ")[0]
    plain = first.rstrip(",;:").isalpha() and first.islower()
    return f"{text[:1].upper() if plain else text[:1]}{text[1:]}."


def _cause(kind: str, model: str, gpu: str, *, share: bool, worst: float) -> list[str]:
    """Return what holds the worst GPU and which kinds of change lower it."""
    calm = share and worst < TIGHT
    if kind == "single-model":
        why = f"{model} alone puts {gpu} there: no placement lowers it."
        changes = "a higher tensor parallel degree, a larger or faster GPU type, or less demand"
        return [why] if calm else [why, f"What lowers it: more replicas of {model}, {changes}."]
    if kind == "fluid":
        why = "All GPUs are about equally loaded: total demand is what limits the plan."
        changes = "What lowers it: more GPUs, smaller weights, or less demand."
        return [why] if calm else [why, changes]
    return ["How the models combine on GPUs is what limits the plan."]


def _gap(result: Result) -> list[str]:
    """Return what more time for the search could bring, where that is worth saying."""
    if result.status is Status.OPTIMAL or not result.solver or result.gap < CLEARLY:
        return []
    least = f"{100 / (1 + result.gap):.0f} %"
    best = f"A better plan may exist: the best is proved to have at least {least} of this pressure."
    return [best, "Plan again with a longer --time-limit."]
