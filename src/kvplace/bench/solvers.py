"""Every solver that ``kvplace bench`` knows, kvplace's own and rivals, behind one call."""

import importlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec

from kvplace.bench.families import Case, build
from kvplace.bench.own import is_own, own_placement
from kvplace.bench.rivals.apart import Apart
from kvplace.bench.rivals.narrow import PROVED_GAP, Answer, Tell
from kvplace.bench.scale import scale_problem
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Status, relative_gap
from kvplace.errors import InputError, InternalError
from kvplace.extras import install_command
from kvplace.solver.baselines.schedulers import SCHEDULERS
from kvplace.solver.clock import Progress, Watch
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.instance import Instance
from kvplace.solver.solve import DEFAULTS, solve
from kvplace.solver.solve import SOLVERS as OWN

__all__ = [
    "ONE_COPY",
    "OWN",
    "POLICIES",
    "RIVALS",
    "RIVAL_SECONDS",
    "WITHOUT",
    "Outcome",
    "absent",
    "call",
    "warm_up",
]

RIVAL_SECONDS = 10.0
"""Time limit of a rival where none is given: most would otherwise not end."""

Rival = Callable[[Instance, Watch, int, Tell], Answer]

RIVALS = {
    "cp-sat": ("ortools", ""),
    "highs": ("highspy", "pip install highspy"),
    "rebalancer": ("rebalancer", "Python 3.12 or later and pip install rebalancer"),
}
"""Rivals by name: the package that each needs, and how to get it; empty for the extra."""

ONE_COPY = "one-copy"
"""``auto`` held to the fewest copies of each model: what choosing copies is worth."""
WITHOUT = "auto without "
"""``auto`` without a stage, by the stage's name: what the stage is worth."""
POLICIES = (*(name for name in SCHEDULERS if name not in OWN), ONE_COPY)
"""What people do today, for problems with tensor parallel, copies and rules too; no bounds."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one solver reached on one problem.

    Parameters
    ----------
    value
        Max KVPR by `kvplace.core.evaluation`; ``inf`` without a valid placement.
    bound
        What it proved or claims.
    proved
        Whether it closed its own gap: kvplace's solvers to 1e-9, rivals to 1e-6.
    evidence
        ``certificate: METHOD`` or ``tree: search`` once the independent checker has accepted it,
        ``search`` for an exhaustive search that is not written down, ``claim`` for a rival's
        word, ``none``, or ``failed: WHY``.
    seconds
        Wall time; checks and evaluation by the bench are not counted.
    trace
        Seconds, value and bound whenever one of the last two changed.
    """

    value: float
    bound: float
    proved: bool
    evidence: str
    seconds: float
    trace: tuple[tuple[float, float, float], ...]


def absent(solver: str) -> str:
    """Return what is missing to run a solver; empty where it can run."""
    if (
        solver in (*OWN, *POLICIES)
        or solver.startswith(WITHOUT)
        or is_own(solver)
        or find_spec(RIVALS[solver][0]) is not None
    ):
        return ""
    package, remedy = RIVALS[solver]
    needs = remedy or f"the extra 'bench': {install_command('bench')}"
    return f"{package} is not installed; it needs {needs}"


def call(solver: str, case: Case, *, seed: int = 0, time_limit: float | None = None) -> Outcome:
    """Run one solver on one case; a failure is an outcome, too."""
    history = _History()
    try:
        run = _runner(solver, case.problem)
        return run(solver, case, seed, time_limit, history)
    except (InputError, InternalError, TimeoutError) as error:
        return Outcome(
            value=math.inf,
            bound=0.0,
            proved=False,
            evidence=f"failed: {error}",
            seconds=history.seconds,
            trace=tuple(history.points),
        )


def warm_up(solver: str, models: int) -> None:
    """Load what a solver needs for fleets of so many models, so that no measurement includes it."""
    if solver == "auto" and models > DEFAULTS.large.models:
        solve(scale_problem("scale-10", 1_000, 1), iterations=1)
    # Two GPUs and five models that no simple bound settles: every stage is entered.
    problem = build([80.0, 80.0], [30, 25, 20, 15, 10], [3, 5, 7, 2, 9], [5, 6, 7, 8, 9])
    call(solver, Case("warm-up", problem), time_limit=2.0)
    copied = tuple(replace(model, replicas=Replicas(1, 2)) for model in problem.models)
    call(solver, Case("warm-up", replace(problem, models=copied)), time_limit=2.0)


_Run = Callable[[str, Case, int, float | None, "_History"], Outcome]


def _runner(solver: str, problem: Problem) -> _Run:
    """Return what runs a solver on a problem."""
    if solver in POLICIES or is_own(solver):
        return _policy
    if solver in OWN or solver.startswith(WITHOUT):
        return _own
    if not problem.plain:
        raise InputError(f"{solver} is asked only for one undivided replica of each model")
    if problem.goal is Objective.PRESSURE and solver != "cp-sat":
        raise InputError(f"{solver} is asked only for one pressure on a GPU")
    return _rival


class _History:
    """Collects how value and bound move."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self.points: list[tuple[float, float, float]] = []

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.perf_counter() - self._start

    def add(self, value: float | None, bound: float | None, seconds: float | None = None) -> None:
        """Note a new value, a new bound, or both, now or at a time; None leaves one as it was."""
        _, best, proved = self.points[-1] if self.points else (0.0, math.inf, 0.0)
        value = best if value is None else min(value, best)
        bound = proved if bound is None else max(bound, proved)
        if not self.points or (value, bound) != (best, proved):
            self.points.append((self.seconds if seconds is None else seconds, value, bound))

    def hear(self, progress: Progress) -> None:
        """Note the progress of one of kvplace's own solvers."""
        self.add(progress.value, progress.bound)


def _own(
    solver: str, case: Case, seed: int, time_limit: float | None, history: _History
) -> Outcome:
    """Run one of kvplace's solvers; its placement and certificate are checked again."""
    watch = Watch(time_limit, history.hear)
    name, *stages = solver.split(WITHOUT)
    # Whom it is compared with knows the worst GPU alone: the order of the others is left open.
    without = {*stages, "leximax"}
    result = solve(case.problem, solver=name or "auto", seed=seed, watch=watch, without=without)
    seconds = history.seconds
    value = math.inf
    if result.placement is not None:
        value = evaluate(case.problem, result.placement).value
    history.add(value, result.bound, seconds)
    proved = result.status in {Status.OPTIMAL, Status.INFEASIBLE}
    return Outcome(value, result.bound, proved, _evidence(result), seconds, tuple(history.points))


def _policy(
    solver: str, case: Case, seed: int, time_limit: float | None, history: _History
) -> Outcome:
    """Run a policy; it proves nothing, and its placement is evaluated by core."""
    if solver == ONE_COPY:
        models = tuple(
            replace(model, replicas=replace(model.replicas, max=model.replicas.min))
            for model in case.problem.models
        )
        fewest = replace(case.problem, models=models)
        placement = solve(fewest, seed=seed, time_limit=time_limit).placement
    elif is_own(solver):
        placement = own_placement(solver, case.problem)
    else:
        placement = SCHEDULERS[solver](case.problem)
    seconds = history.seconds
    value, evidence = math.inf, "none"
    if placement is not None:
        evaluation = evaluate(case.problem, placement)
        value = evaluation.value
        if evaluation.violations:
            evidence = f"failed: {evaluation.violations[0].message}"
    history.add(value, 0.0, seconds)
    return Outcome(
        value, 0.0, proved=False, evidence=evidence, seconds=seconds, trace=tuple(history.points)
    )


def _evidence(result: Result) -> str:
    """Say what the bound of a result rests on, once it is checked."""
    proof = result.proof
    if proof.certificate is None:
        return "search" if proof.method == "search" else "none"
    failure = check_certificate(result.problem, proof.certificate)
    if failure:
        return f"failed: {failure}"
    claimed = proof.certificate.threshold
    if claimed < proof.value * (1 - 1e-9):
        return "search" if proof.method == "search" else f"failed: it proves {claimed!r} only"
    if proof.method == "search":
        return "tree: search"
    return f"certificate: {proof.method}"


def _rival(
    solver: str, case: Case, seed: int, time_limit: float | None, history: _History
) -> Outcome:
    """Run a rival; its placement is evaluated by core."""
    run = _load(solver)
    watch = Watch(RIVAL_SECONDS if time_limit is None else time_limit)
    arrays = load_instance(case.problem)
    answer = run(arrays, watch, seed, history.add)
    seconds = history.seconds
    value, evidence = math.inf, "claim" if answer.bound > 0 else "none"
    if answer.gpu_of is not None:
        where = [((g,),) for g in answer.gpu_of]
        evaluation = evaluate(case.problem, unload_copies(case.problem, arrays, where))
        value = evaluation.value
        if evaluation.violations:
            evidence = f"failed: {evaluation.violations[0].message}"
    history.add(value, answer.bound, seconds)
    proved = relative_gap(value, answer.bound) <= PROVED_GAP and not evidence.startswith("failed")
    return Outcome(value, answer.bound, proved, evidence, seconds, tuple(history.points))


@cache
def _load(solver: str) -> Rival:
    """Return the function behind a rival."""
    name = f"kvplace.bench.rivals.{solver.replace('-', '_')}"
    if solver == "cp-sat":
        return Apart(name)
    rival: Rival = importlib.import_module(name).solve
    return rival
