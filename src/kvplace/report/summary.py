"""One result in one sentence, and why there is none."""

import math
from collections import Counter
from typing import TYPE_CHECKING

from kvplace.core.certificates.standing import never_kept
from kvplace.core.evaluation.constraints import misfits
from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Status, Stop
from kvplace.units import format_bytes, format_count, format_percent, format_seconds

if TYPE_CHECKING:
    from kvplace.forecast.outcome import Forecast

_STOPPED = {
    Stop.TIME_LIMIT: "stopped by the time limit",
    Stop.MEMORY_LIMIT: "stopped for want of memory",
    Stop.ITERATION_LIMIT: "stopped by the iteration limit",
    Stop.INTERRUPTED: "interrupted",
}


def format_kvpr(kvpr: float) -> str:
    """Print a KVPR with four digits that count, such as ``0.0413``; ``inf`` as ``∞``."""
    if math.isinf(kvpr):
        return "∞"
    if kvpr == 0:
        return "0"
    if 1e-4 <= kvpr < 1e4:
        return f"{kvpr:#.4g}".rstrip(".")
    return f"{kvpr:,.0f}" if 1e4 <= kvpr < 1e6 else f"{kvpr:.3g}"


def worth_text(value: float) -> str:
    """Print what a placement is worth: a KVPR, or that it is not valid where that is infinite."""
    return format_kvpr(value) if math.isfinite(value) else "not valid"


def format_share(share: float) -> str:
    """Print how full something is as a percentage without needless digits; ``inf`` as ``∞``."""
    if math.isinf(share):
        return "∞"
    return f"{100 * share:,.0f} %" if share >= 0.1 else format_percent(share)


def summary(result: Result) -> str:
    """Return the closing line: value, what is proved, how much of what, and the time."""
    if result.evaluation is None:
        return _no_placement(result)
    goal = result.problem.goal
    unit = goal.unit
    parts = [f"max {goal.quantity} {format_kvpr(result.value)}{' ' if unit else ''}{unit}"]
    if goal is Objective.OCCUPANCY:
        parts[0] += f" = KV pool {format_share(result.value)} full"
    if goal is Objective.PRESSURE:
        parts[0] += f" = {what_binds(result.problem, result.evaluation)}"
    parts[0] += f" ({_proved(result)})"
    used = result.evaluation.busy
    fleet = len(result.evaluation.gpus)
    assert result.placement is not None
    models, replicas = len(result.problem.models), len(result.placement)
    copies = f" in {replicas:,} replicas" if replicas != models else ""
    idle = f"{used:,} of " if used < fleet else ""
    parts.append(f"{format_count(models, 'model')}{copies} on {idle}{format_count(fleet, 'GPU')}")
    if broken := len(result.evaluation.preferences):
        parts.append(f"{format_count(broken, 'soft rule')} broken")
    if result.balance:
        parts.append(_balanced(result, result.evaluation))
    parts.append(format_seconds(result.seconds))
    if result.stop in _STOPPED:
        # The maximum is settled where it is optimal; what was cut is the balancing of the rest.
        rest = "balancing the other GPUs was " if result.status is Status.OPTIMAL else ""
        parts.append(rest + _STOPPED[result.stop])
    return ", ".join(parts)


def what_binds(problem: Problem, evaluation: Evaluation) -> str:
    """Return what is fullest on the worst GPU, such as ``GPU time 87 % in window day``."""
    pressures = evaluation.pressures
    return what_binds_on(problem, evaluation.gpus[pressures.index(max(pressures))])


def what_binds_on(problem: Problem, gpu: GPUEvaluation) -> str:
    """Return what is fullest on a GPU, under several pressures."""
    kind, at = gpu.binding
    words = f"GPU time {format_share(gpu.pressure)}"
    if kind == "kv":
        words = f"KV pool {format_share(gpu.pressure)} full"
    if problem.quantile is not None:
        words += f" ({100 * problem.quantile:g} % quantile)"
    return words if len(problem.windows) == 1 else f"{words} in window {problem.windows[at].name}"


def where_and_when(problem: Problem, evaluation: Evaluation) -> str:
    """Return on how many GPUs memory is fullest and on how many time, and in which windows.

    Empty where shares of time do not count.
    """
    if evaluation.quantity == "KVPR":
        return ""
    held = evaluation.occupied
    kinds, when = Counter(gpu.binding[0] for gpu in held), Counter(gpu.binding[1] for gpu in held)
    parts = [
        f"{words} is fullest on {format_count(kinds[kind], 'GPU')}"
        for kind, words in (("time", "GPU time"), ("kv", "KV memory"))
        if kinds[kind]
    ]
    text = ", ".join(parts)
    if len(problem.windows) > 1:
        named = [f"{problem.windows[at].name} ({number:,})" for at, number in when.most_common(3)]
        more = f" and {len(when) - 3:,} more windows" if len(when) > 3 else ""
        text += f"; most often in {', '.join(named)}{more}"
    return text


def over_windows(problem: Problem, gpu: GPUEvaluation) -> str:
    """Return how full a GPU is in its fullest and its calmest window; empty where all are alike."""
    pressures = list(map(max, gpu.occupancies, gpu.time_shares)) if gpu.timed else []
    if len(set(pressures)) < 2:
        return ""
    ranked = sorted(range(len(pressures)), key=lambda at: -pressures[at])

    def told(at: int) -> str:
        kv, time = format_share(gpu.occupancies[at]), format_share(gpu.time_shares[at])
        return f"KV {kv} and time {time} in {problem.windows[at].name}"

    return "; ".join(told(at) for at in (ranked[0], ranked[-1]))


def reasons(result: Result) -> list[str]:
    """Return why there is no placement: one sentence per cause, models that fit nowhere first."""
    alone = misfits(result.problem)
    if alone:
        return [f"{name!r} {reason}" for name, reason in alone.items()]
    problem = result.problem
    if wrong := never_kept(problem):
        from kvplace.explain.words import rule_in_words  # noqa: PLC0415 - only where a rule is wrong

        rules = ((at, rule_in_words(problem, problem.rules[at])) for at in wrong)
        return [f"rules[{at}] can never be kept, as counting shows: {rule}" for at, rule in rules]
    taken = sum(problem.undivided_bytes)
    there = sum(gpu.usable_bytes for gpu in problem.fleet.gpus)
    if taken >= there:
        room = f"all GPUs together have {format_bytes(there)} usable"
        return [f"all models need {format_bytes(taken)} with overhead; {room}"]
    share = f"{format_bytes(taken)} of weights and overhead in {format_bytes(there)} usable"
    if result.status is Status.INFEASIBLE:
        return [f"no packing fits: {share} is too much for GPUs of these sizes (proved)"]
    return [f"{result.solver} found no packing of {share}, and none was proved impossible"]


def _no_placement(result: Result) -> str:
    """Return the closing line of a result without a placement."""
    models = format_count(len(result.problem.models), "model")
    gpus = format_count(len(result.problem.fleet.gpus), "GPU")
    seconds = format_seconds(result.seconds)
    if result.status is Status.INFEASIBLE:
        return f"infeasible: no placement of {models} on {gpus} fits, which is proved, {seconds}"
    stopped = f", {_STOPPED[result.stop]}" if result.stop in _STOPPED else ""
    return f"no placement of {models} on {gpus} found{stopped}, {seconds}"


def _proved(result: Result) -> str:
    """Say what is proved: optimality with its evidence, or bound and gap."""
    if result.status is Status.OPTIMAL:
        method, gpus = result.proof.method, len(result.problem.fleet.gpus)
        reach = ""
        if result.ranks > 1:
            reach = " to the last GPU" if result.ranks == gpus else f" to rank {result.ranks}"
        if method == "search":
            written = "proof tree" if result.proof.certificate else "exhaustive search"
            return f"optimal{reach}, proved by {written}"
        evidence = "certificate" if result.proof.certificate else "bound"
        return f"optimal{reach}, proved by {method} {evidence}"
    if math.isinf(result.gap):
        return "no bound above 0 is proved"
    return f"bound {format_kvpr(result.bound)}, gap {format_percent(result.gap)}"


def _balanced(result: Result, evaluation: Evaluation) -> str:
    """Say how good the balance of the GPUs after the worst is, by two of those bounded."""
    profile, told = evaluation.profile(), result.balance
    texts = []
    for claim in dict.fromkeys((told[0], told[len(told) // 2])):
        there = format_kvpr(profile[claim.rank - 1])
        texts.append(f"number {claim.rank} at {there} (at least {format_kvpr(claim.bound)})")
    return f"next worst GPUs: {', '.join(texts)}"


def forecast_sentence(found: "Forecast") -> str:
    """Return what a forecast comes to, in one sentence."""
    at = "" if found.load == 1 else f" at {found.load:g} times the stated demand"
    settled = "" if found.settled else "; the fixed point was not reached"
    return (
        f"forecast: {format_percent(found.attainment)} of the requests keep their objectives{at}, "
        f"{format_percent(found.mean_attainment)} by the mean over models (an expectation, no "
        f"proof{settled})"
    )
