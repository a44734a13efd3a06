"""What a person is told besides the numbers: the one place that decides it.

Every verb that shows a plan asks here, and so does the page. A warning says that the plan will not
work as its numbers read; a note says what they leave out.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, part_of
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.facts.catalogue.gpus import find_gpu_type, types_meant
from kvplace.forecast.share_timing import ShareTiming
from kvplace.forecast.time_share import Idle
from kvplace.report.alike import look_alikes
from kvplace.report.heat import TIGHT

ASSUMED = "catalogue"
"""Kind of the notes that say where left-out figures were taken from."""

SHARED_TIME, OWN_TIME = 0.55, 0.8
"""Shares of GPU time from which plans are told to be tight: on a GPU that several models share and
on one of a single model. Simulated fleets miss objectives of 5 % of the requests from there on."""
_MOST_GPUS = 16
"""More GPUs than any usual host has."""
_NAMED = 3
_MOST_MODELS = 5000
"""Models up to which each is looked at."""


class Note(NamedTuple):
    """One thing to be told.

    Parameters
    ----------
    level
        ``warning`` where the plan will not work as it reads, else ``note``.
    kind
        A word for programs, such as ``overload``.
    text
        A sentence or two, without a full stop at the end.
    """

    level: Literal["warning", "note"]
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


def overloaded(problem: Problem, evaluation: Evaluation) -> bool:
    """Whether the worst GPU is under more pressure than it can bear."""
    return problem.goal.is_share and evaluation.valid and evaluation.value > 1


def notes(
    problem: Problem, evaluation: Evaluation | None = None, *, every: bool = False
) -> tuple[Note, ...]:
    """Return what is to be told about a problem, and about a placement of it.

    Parameters
    ----------
    problem
        What is asked.
    evaluation
        What a placement is worth; None where there is none.
    every
        Whether all is told that is assumed where the file leaves something open; else how much.
    """
    found = [*_of_problem(problem), *_assumed(problem, every=every)]
    if evaluation is not None and evaluation.valid:
        found += _of_placement(problem, evaluation)
    return tuple(sorted(found, key=lambda note: (note.level == "note", note.kind == ASSUMED)))


def _of_problem(problem: Problem) -> Iterator[Note]:
    """Yield what is to be told whatever the placement."""
    sizes = [(node.name, node.gpus) for node in problem.fleet.nodes if len(node.gpus) > _MOST_GPUS]
    if sizes:
        name, gpus = sizes[0]
        yield Note(
            "note",
            "large host",
            f"{name!r} is one host of {len(gpus)} GPUs, so that copies may be split over any of "
            "them; give the real hosts as nodes, such as {count: 5, gpus: 8}",
        )
    if not any(problem.loads):
        yield Note(
            "note",
            "no demand",
            "no model has demand, so that every placement is equally good and models are spread by "
            "free memory; give demand.requests_per_second, or take it from a log or Prometheus "
            "(kvplace demand)",
        )
    for first, other in islice(look_alikes(problem.names), _NAMED):
        one, two = (f"models[{at}] {problem.names[at]!a}" for at in (first, other))
        yield Note("warning", "look-alike", f"{one} and {two} look alike and count as two models")
    if len(problem.models) <= _MOST_MODELS:
        yield from _taken_for(problem)
        yield from _untimed(problem)
        yield from _fallen_back(problem)
        yield from _guessed(problem)
        yield from _out_of_reach(problem)


def _assumed(problem: Problem, *, every: bool) -> list[Note]:
    """Return what the file left out and where it was taken from, or how much it is.

    It is alike in every answer about one file, so one of them tells all.
    """
    told, many = problem.assumed, len(problem.assumed)
    if many > 1 and not every:
        said = f"{many:,} assumptions fill in what the file leaves open, such as figures of the"
        told = (f"{said} catalogue; kvplace check lists them",)
    return [Note("note", ASSUMED, sentence) for sentence in told]


def _taken_for(problem: Problem) -> Iterator[Note]:
    """Yield GPU types whose name fits several of different speed."""
    if problem.goal not in (Objective.OCCUPANCY, Objective.PRESSURE):
        return
    for name in problem.gpu_types:
        found = find_gpu_type(name)
        if found is None or len(near := types_meant(name)) < 2:
            continue
        others = " or ".join(kind.name for kind in near if kind is not found)
        yield Note(
            "note",
            "GPU type",
            f"{name!r} is taken to be as fast as {found.name}; write {others} if it is that",
        )


def _untimed(problem: Problem) -> Iterator[Note]:
    """Yield why GPU time is left out of the plan, where it might have been planned for."""
    if problem.goal is not Objective.OCCUPANCY or not isinstance(problem.timing, ShareTiming):
        return
    lacking = problem.lacking(Objective.PRESSURE)
    if lacking:
        what = list(dict.fromkeys(words for _, words in lacking))
        yield Note(
            "note",
            "objective",
            f"GPU time is left out, because {_listed(what)} {'is' if len(what) == 1 else 'are'} "
            "not known; the plan is for KV memory alone",
        )


def _fallen_back(problem: Problem) -> Iterator[Note]:
    """Yield why the load is not the KV pool in use, where only some models keep it from being."""
    if problem.goal is not Objective.REQUESTS:
        return
    lacking = list(problem.columns.missing(Objective.OCCUPANCY))
    missing = {index for index, _ in lacking}
    if not missing or len(missing) == len(problem.names):
        return
    if len(missing) >= sum(1 for model in problem.models if model.demand.requests_per_second):
        return
    fields = Counter(name for _, name in lacking)
    names = [problem.names[index] for index in sorted(missing)]
    yield Note(
        "note",
        "objective",
        f"pressure is requests/s over latency and memory, which tells nothing of how full a pool "
        f"is, because {_listed(names)} {'lack' if len(names) > 1 else 'lacks'} "
        f"{', '.join(fields)}; give {'it' if len(fields) == 1 else 'them'}, or "
        "kv_bytes_per_token: 0 for a model without a KV cache",
    )


def _guessed(problem: Problem) -> Iterator[Note]:
    """Yield that shares of time rest on guesses."""
    timing = problem.timing
    if problem.goal is not Objective.PRESSURE or not isinstance(timing, ShareTiming):
        return
    if not timing.guess:
        return
    names = [model.name for model in problem.models if timing.guessed(model)]
    if names:
        yield Note(
            "note",
            "estimated time",
            f"the GPU time of {_listed(names)} is estimated from the size of the weights, as of a "
            "dense model in 16 bits; give the architecture to have it computed",
        )


def _out_of_reach(problem: Problem) -> Iterator[Note]:
    """Yield models whose objectives no GPU of the fleet keeps, even with nothing else to do."""
    timing = problem.timing
    if not isinstance(timing, ShareTiming):
        return
    types = timing_types(problem, timing)
    for model in problem.models:
        if not model.demand.requests_per_second or not (model.slo.tpot_seconds or 0):
            continue
        allowed = [name for name in types if not model.gpu_types or name in model.gpu_types]
        tried = [
            (idle, degree, name)
            for name in allowed
            for degree in model.tensor_parallel
            if (idle := timing.idle(model, degree, name)) is not None
        ]
        if tried and all(idle.misses(model.slo) for idle, _, _ in tried):
            yield _missed(model, tried)


def timing_types(problem: Problem, timing: ShareTiming) -> list[str]:
    """Return the GPU types of the fleet whose speed is known; none where one is not."""
    types = list(problem.gpu_types)
    return [] if timing.unknown(types) else types


def _missed(model: Model, tried: Sequence[tuple[Idle, int, str]]) -> Note:
    """Say which objective is out of reach, and what the fastest GPU does."""
    idle, degree, name = min(tried, key=lambda way: (way[0].tpot_seconds, way[0].ttft_seconds))
    missed = idle.misses(model.slo)
    seconds = {"ttft": idle.ttft_seconds, "tpot": idle.tpot_seconds}
    asked = {"ttft": model.slo.ttft_seconds, "tpot": model.slo.tpot_seconds}
    parts = [
        f"{key} {_milliseconds(asked[key] or 0.0)} (the best takes {_milliseconds(seconds[key])})"
        for key in missed
    ]
    split = f" at TP {degree}" if degree > 1 else ""
    return Note(
        "warning",
        "out of reach",
        f"no GPU of the fleet serves one request of {model.name!r} alone within "
        f"{' and '.join(parts)}: computed for {name}{split}; relax the objective or allow a "
        "higher tensor_parallel",
    )


def _of_placement(problem: Problem, evaluation: Evaluation) -> Iterator[Note]:
    """Yield what is to be told about a placement."""
    if len(evaluation.gpus) and overloaded(problem, evaluation):
        pressures = evaluation.pressures
        worst = evaluation.gpus[pressures.index(max(pressures))]
        yield Note("warning", "overload", _overload(problem, worst))
    broken = evaluation.preferences
    for violation in broken[:_NAMED]:
        text = f"a soft rule of tier {violation.tier} is broken: {violation.message}"
        yield Note("note", "soft rule", text)
    if len(broken) > _NAMED:
        yield Note("note", "soft rule", f"{len(broken) - _NAMED} more soft rules are broken")
    told = evaluation.sums.time_shares or not problem.plain
    if told and len(problem.models) <= _MOST_MODELS:
        occupied = evaluation.occupied
        yield from _slow(problem, occupied)
        yield from _degrees(problem, occupied)
        yield from _targets(problem, occupied)


def _targets(problem: Problem, occupied: Sequence[GPUEvaluation]) -> Iterator[Note]:
    """Yield which models do without copies, for which the gap is not to blame."""
    listed = () if problem.plain else problem.models
    aimed = {m.name for m in listed if m.replicas.target is not None}
    copies: dict[str, set[int]] = {}
    for shard in (held for gpu in occupied if aimed for held in gpu.shards):
        if shard.model in aimed:
            copies.setdefault(shard.model, set()).add(shard.replica)
    for name in sorted(copies):
        most, target = _most_and_target(problem, name)
        if len(copies[name]) < most:
            yield Note(
                "note",
                "copies",
                f"{name!r} has {len(copies[name])} of up to {most} copies: more would lower the "
                f"pressure, and its target {target:g} does not ask for it",
            )


def _most_and_target(problem: Problem, name: str) -> tuple[int, float]:
    replicas = problem.models[problem.index_of[name]].replicas
    return replicas.max, replicas.target or 0.0


def _overload(problem: Problem, worst: GPUEvaluation) -> str:
    """Say which GPU is overloaded, by which model, and a way out."""
    shard = max(worst.shards, key=lambda held: part_of(held, worst))
    model = problem.models[problem.index_of[shard.model]]
    ways = []
    if model.replicas.max < len(problem.fleet.gpus):
        enough = math.ceil(worst.pressure * model.replicas.max / TIGHT)
        copies = min(max(2 * model.replicas.max, enough), len(problem.fleet.gpus))
        ways.append(f"more copies (replicas: {{min: 1, max: {copies}}})")
    if max(model.tensor_parallel) < max(len(node.gpus) for node in problem.fleet.nodes):
        ways.append(f"a higher degree (tensor_parallel: [1, {2 * max(model.tensor_parallel)}])")
    ways.append("more GPUs")
    return (
        f"overloaded: {worst.id} is at {100 * worst.pressure:,.0f} % of what it can bear, most of "
        f"it {model.name!r}; allow it {' or '.join(ways)}, and see kvplace explain"
    )


def _slow(problem: Problem, occupied: Sequence[GPUEvaluation]) -> Iterator[Note]:
    """Yield where the time of GPUs is short."""
    timed = [(max(gpu.time_shares), gpu) for gpu in occupied if gpu.time_shares]
    over = sorted(((share, gpu) for share, gpu in timed if share > 1), key=lambda at: -at[0])
    if over:
        share, gpu = over[0]
        shard = max(gpu.shards, key=lambda held: max(held.time_shares, default=0.0))
        kv = f"KV pool {100 * gpu.kvpr:,.0f} % full, " if problem.goal.is_share else ""
        more = f", and {len(over) - 1} more GPUs are short of time" if len(over) > 1 else ""
        yield Note(
            "warning",
            "time",
            f"{gpu.id}: {kv}GPU time {100 * share:,.0f} %: {shard.model!r} asks for more "
            f"computation than the GPU has{more}; latency objectives will be missed"
            + (
                "" if problem.goal is Objective.PRESSURE else " (--objective pressure plans for it)"
            ),
        )
    tight = [
        (share, gpu)
        for share, gpu in timed
        if share <= 1 and share > (SHARED_TIME if len(_models(gpu)) > 1 else OWN_TIME)
    ]
    if tight and problem.quantile is None:  # those limits are of means
        share, gpu = max(tight, key=lambda at: at[0])
        count = "1 GPU is" if len(tight) == 1 else f"{len(tight)} GPUs are"
        yield Note(
            "note",
            "tight time",
            f"{count} short of time to spare (the worst is {gpu.id} at {100 * share:.0f} %); from "
            f"about {100 * SHARED_TIME:.0f} % on a shared GPU and {100 * OWN_TIME:.0f} % on one of "
            "a single model, some requests miss their objectives",
        )


def _models(gpu: GPUEvaluation) -> set[str]:
    return {shard.model for shard in gpu.shards}


def _degrees(problem: Problem, occupied: Sequence[GPUEvaluation]) -> Iterator[Note]:
    """Yield degrees that engines refuse."""
    held = Counter((shard.model, shard.replica) for gpu in occupied for shard in gpu.shards)
    degrees: dict[str, set[int]] = {}
    for (name, _), degree in held.items():
        degrees.setdefault(name, set()).add(degree)
    split = sorted(name for name, used in degrees.items() if used != {1})
    for name in split:
        model, used = problem.models[problem.index_of[name]], degrees[name]
        for degree in sorted(used):
            reason = model.refused(degree)
            if reason:
                yield Note(
                    "warning",
                    "degree",
                    f"engines refuse {name!r} at a tensor parallel degree of {degree}: {reason}; "
                    "allow a degree that divides them",
                )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _listed(names: Sequence[str]) -> str:
    """Return the first few names and how many more there are."""
    shown = ", ".join(names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
