"""Solvers side by side on the same cases, and what that says."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kvplace.bench.families import Case
from kvplace.bench.solvers import Outcome, call, warm_up
from kvplace.core.result import OPTIMAL_GAP, relative_gap

SAME = 1e-9
"""Relative difference up to which two values count as equal."""
REFUTED = 1e-6
"""A bound that exceeds a value reached by more than this is wrong and counts for nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One solver on one case.

    Parameters
    ----------
    family, case, solver
        Their names; the family of a file is its name.
    models, gpus
        How many.
    optimum
        The exact optimum where it is known.
    outcome
        What the solver reached.
    """

    family: str
    case: str
    solver: str
    models: int
    gpus: int
    optimum: float | None
    outcome: Outcome

    @property
    def value(self) -> float:
        """Max KVPR reached; ``inf`` without a placement."""
        return self.outcome.value

    @property
    def bound(self) -> float:
        """What the solver proved or claims; 0 where that is known to be wrong."""
        return self.outcome.bound

    @property
    def gap(self) -> float:
        """Relative gap between its value and its own bound."""
        return relative_gap(self.value, self.bound)

    @property
    def solved(self) -> bool:
        """Whether there is a valid placement."""
        return math.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class Score:
    """One solver over all cases of a family.

    Parameters
    ----------
    family, solver
        Their names.
    cases, solved, optimal, proved
        Counts; `optimal` against the best bound that anyone has, `proved` by the solver itself.
    mean_value
        Mean max KVPR over the solved cases; NaN where none is.
    score
        The ADRS score: 1 / mean max KVPR + share of cases solved.
    seconds, longest_seconds
        Wall time over all cases, and of the slowest one.
    ratio, seconds_ratio
        Geometric means of its value and its time over the reference's, on cases that both
        solved; NaN without.
    mean_gap, max_gap
        Relative gap to its own bound; ``inf`` where a case has none.
    mean_excess, max_excess
        Relative gap to the best bound that anyone has in the run.
    below_auto, above_auto
        Cases where its value is lower or higher than that of ``auto``.
    """

    family: str
    solver: str
    cases: int
    solved: int
    optimal: int
    proved: int
    mean_value: float
    score: float
    seconds: float
    longest_seconds: float
    ratio: float
    seconds_ratio: float
    mean_gap: float
    max_gap: float
    mean_excess: float
    max_excess: float
    below_auto: int
    above_auto: int


def measure(
    cases: Sequence[tuple[str, Case]],
    solvers: Sequence[str],
    *,
    seed: int = 0,
    time_limit: float | None = None,
    told: Callable[[str, int], None] | None = None,
) -> list[Run]:
    """Run every solver on every case, case by case, so that all meet the same machine.

    Parameters
    ----------
    cases
        What to run, each with its family.
    solvers
        Names of `kvplace.bench.solvers.OWN` or ``RIVALS``; each is warmed up first.
    seed, time_limit
        Given to every solver; the limit holds per case.
    told
        Called before each run with the solver's name and the number of runs done.
    """
    largest = max((len(case.problem.models) for _, case in cases), default=0)
    for solver in solvers:
        warm_up(solver, largest)
    runs: list[Run] = []
    for family, case in cases:
        for solver in solvers:
            if told is not None:
                told(solver, len(runs))
            outcome = call(solver, case, seed=seed, time_limit=time_limit)
            counts = (len(case.problem.models), len(case.problem.fleet.gpus))
            runs.append(Run(family, case.name, solver, *counts, case.optimum, outcome))
    return runs


def best_bounds(runs: Iterable[Run]) -> dict[str, float]:
    """Return per case the best bound of all runs, known optima among them.

    A bound above a value that someone reached is wrong and left out.
    """
    by_case: dict[str, list[Run]] = {}
    for run in runs:
        by_case.setdefault(run.case, []).append(run)
    best = {}
    for case, own in by_case.items():
        value = min(run.value for run in own)
        claims = [run.bound for run in own if not run.outcome.evidence.startswith("failed")]
        claims += [run.optimum for run in own if run.optimum is not None]
        best[case] = min(value, max((c for c in claims if c <= value * (1 + REFUTED)), default=0.0))
    return best


def scores(runs: Sequence[Run]) -> list[Score]:
    """Return one score per family and solver, in the order of their first runs."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.family, run.solver), []).append(run)
    bounds = best_bounds(runs)
    reference = {run.case: run for run in runs if run.solver == "reference"}
    auto = {run.case: run for run in runs if run.solver == "auto"}
    return [_score(own, bounds, reference, auto) for own in groups.values()]


def _score(
    runs: Sequence[Run],
    bounds: dict[str, float],
    reference: dict[str, Run],
    auto: dict[str, Run],
) -> Score:
    """Sum up one solver's runs."""
    solved = [run for run in runs if run.solved]
    mean = statistics.fmean(run.value for run in solved) if solved else math.nan
    gaps = [run.gap for run in runs]
    excesses = [relative_gap(run.value, bounds[run.case]) for run in runs]
    pairs = [(run, reference[run.case]) for run in solved if run.case in reference]
    against = [(run.value, auto[run.case].value) for run in runs if run.case in auto]
    return Score(
        family=runs[0].family,
        solver=runs[0].solver,
        cases=len(runs),
        solved=len(solved),
        optimal=sum(e <= OPTIMAL_GAP for e in excesses),
        proved=sum(run.outcome.proved for run in runs),
        mean_value=mean,
        score=len(solved) / len(runs) + (1 / mean if mean > 0 else 0.0),
        seconds=math.fsum(run.outcome.seconds for run in runs),
        longest_seconds=max(run.outcome.seconds for run in runs),
        ratio=_mean_ratio([(a.value, b.value) for a, b in pairs]),
        seconds_ratio=_mean_ratio([(a.outcome.seconds, b.outcome.seconds) for a, b in pairs]),
        mean_gap=statistics.fmean(gaps),
        max_gap=max(gaps),
        mean_excess=statistics.fmean(excesses),
        max_excess=max(excesses),
        below_auto=sum(a < b * (1 - SAME) for a, b in against),
        above_auto=sum(a * (1 - SAME) > b for a, b in against),
    )


def _mean_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the geometric mean of the ratios that are positive and finite; NaN for none."""
    ratios = [a / b for a, b in pairs if a > 0 and 0 < b < math.inf]
    return statistics.geometric_mean(ratios) if ratios else math.nan
