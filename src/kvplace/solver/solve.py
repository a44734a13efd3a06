"""The door of the solver: who runs, and the re-evaluation that every result passes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from kvplace.collector import paused_collector
from kvplace.core.certificates.balance import RankBound
from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.standing import least_breaches, never_kept
from kvplace.core.evaluation.constraints import Violation
from kvplace.core.evaluation.evaluate import Evaluation, evaluate
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import (
    OPTIMAL_GAP,
    Result,
    Status,
    Stop,
    placed,
    relative_gap,
    status_of,
    what_runs,
)
from kvplace.errors import InputError, InternalError
from kvplace.solver.clock import Watch
from kvplace.solver.instance.door import load_copies, unload_copies
from kvplace.solver.spare_nodes import on_whole_fleet, without_spare_nodes
from kvplace.solver.strategies.params import Params
from kvplace.solver.strategies.stages import LOADING, Search, Settings

SOLVERS = ("auto", "reference", "prism-greedy")
DEFAULTS = Params()
BALANCED_GPUS = 16
"""GPUs from which the balance is bounded: small fleets are exact to the last rank, or nearly so."""
REPAIRABLE = {"memory", "min_kv"}
"""What may be wrong with a start of undivided models that is repaired."""
REPAIRED = 1, 8
"""Copies placed to repair a start, in multiples of 100 and 2 per model: again where that fails, and
then all is placed anew."""


def solve(
    problem: Problem,
    *,
    objective: Objective | str | None = None,
    time_limit: float | str | None = None,
    gap: float = 0.0,
    seed: int = 0,
    solver: str = "auto",
    start: Placement | Result | None = None,
    iterations: int | None = None,
    watch: Watch | None = None,
    without: Iterable[str] = (),
    params: Params | None = None,
) -> Result:
    """Place every model so that the worst GPU's pressure is as low as it can be.

    Parameters
    ----------
    problem
        What to place on what.
    objective
        The load; None keeps the problem's own.
    time_limit
        Seconds, or text such as ``2min``; None for the solver's own end, which does not depend on
        the clock.
    gap
        Certified relative gap at which to stop.
    seed
        Of random choices.
    solver
        ``auto``: the best there is; ``reference``: bisection, best fit decreasing and local search;
        or ``prism-greedy``, the baseline.
    start
        A placement to start from as well, or the result that has it; the outcome is never worse.
        ``prism-greedy`` takes none.
    iterations
        Steps at most of the search that lowers the maximum; None for the solver's own end. A step
        is an exchange that is made, or a perturbation that is tried: a kick, GPUs that are emptied
        and filled again, a copy that is forced in. Bounds, and balancing what the maximum leaves
        open, count none.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.
    without
        Stages to leave out, by their names in `docs/stages.md`.
    params
        Every knob of the strategies; None for their defaults.

    Returns
    -------
    Result
        Re-evaluated by `kvplace.core.evaluation`.

    Raises
    ------
    InputError
        Unknown solver, stage or objective, a start that does not fit the problem, or a limit that
        is none.
    InternalError
        The result failed its re-evaluation: a bug in kvplace, and no plan is returned.
    """
    if solver not in SOLVERS:
        raise InputError(f"{solver!r} is no solver; choose one of {', '.join(SOLVERS)}")
    if solver == "reference" and iterations is None:
        iterations = DEFAULTS.reference_steps
    start = placed(start) if isinstance(start, Result) else start
    whole = problem.with_objective(objective)
    watch = watch or Watch(time_limit)
    settings = Settings(gap, seed, iterations, watch, frozenset(without), params or DEFAULTS)
    problem = without_spare_nodes(whole, start)
    search = _search(problem, settings, compiled=solver == "auto")
    if solver == "prism-greedy":
        from kvplace.solver.baselines.schedulers import prism  # noqa: PLC0415 - a rival

        return _finish(search, solver, prism(problem), whole)
    if never_kept(whole):
        return _finish(search, solver, None, whole)
    few = len(problem.models) <= settings.params.spread_models
    if start is None and few and not any(problem.loads):
        start = _spread(problem, watch, settings.seed)
    try:
        search.solve(start, textbook=solver == "reference")
    except MemoryError:
        watch.exhaust()
    with paused_collector():  # one look for all that is made from here on
        found = search.placement
        if found is not None and not problem.plain and watch.stop is not Stop.MEMORY_LIMIT:
            found = _at_targets(problem, search, found)
        return _finish(search, solver, found, whole)


def refine(
    problem: Problem | Result,
    placement: Placement | Result | None = None,
    *,
    objective: Objective | str | None = None,
    iterations: int | None = DEFAULTS.reference_steps,
    tolerance: float = 1e-9,
    memory_margin: float = 0.0,
    time_limit: float | str | None = None,
    watch: Watch | None = None,
) -> Result:
    """Improve any placement by moves and swaps; the result is never worse than it.

    One that breaks a rule or exceeds a GPU's memory is repaired first.

    Parameters
    ----------
    problem
        What to place on what; or a result, to improve its own placement.
    placement
        Where every model is now: a placement, or the result that has it.
    objective
        The load; None keeps the problem's own.
    iterations
        Steps at most that lower the maximum, as in `solve`; None goes on to the end. The rest is
        balanced once the maximum cannot be lowered any more.
    tolerance
        Relative gain that a step must exceed.
    memory_margin
        Share of each GPU's memory that a step which takes memory there must leave free, from 0
        to below 1.
    time_limit
        Seconds, or text such as ``2min``; None for no limit.
    watch
        Clock, interrupt and listener; None makes one of `time_limit`.

    Raises
    ------
    InputError
        The placement is of other models or GPUs, or breaks what no way was found to repair;
        every violation is named.
    """
    if not 0 <= memory_margin < 1 or not 0 <= tolerance < 1:
        raise InputError("the memory margin and the tolerance must be at least 0 and below 1")
    problem, placement = what_runs(problem, placement)
    whole = problem.with_objective(objective)
    problem = without_spare_nodes(whole, placement)
    settings = Settings(iterations=iterations, watch=watch or Watch(time_limit), params=DEFAULTS)
    search = _search(problem, settings, compiled=True)
    search.refine(_repaired(search, placement), tolerance, memory_margin)
    return _finish(search, "refine", search.placement, whole)


def _search(problem: Problem, settings: Settings, *, compiled: bool) -> Search:
    """Return the strategy that supports a problem, with the problem loaded."""
    large, models = settings.params.large, len(problem.names)
    several, left = problem.goal is Objective.PRESSURE, settings.watch.left
    few = models <= min(large.sparse_models, large.sparse_density * len(problem.fleet.gpus))
    many = problem.plain and models > large.models
    # Without time for kernels, clusters begin by arrays alone, which take longer of very many.
    short = many and models <= large.dealt and left < large.loading * (1 + few)
    # Few models need not wait for kernels that are not compiled yet.
    waits = not few or left == math.inf
    if compiled and many and not short and (waits or _pairs_ready()):
        # The kernels take half a second to load, and pay from here on.
        settings.watch.tell(LOADING)
        from kvplace.solver.strategies.large.strategy import LargeSearch  # noqa: PLC0415 - numba: only here

        return LargeSearch(problem, settings)
    if (short and not few) or not problem.plain or several:
        from kvplace.solver.strategies.cluster.strategy import ClusterSearch  # noqa: PLC0415 - numpy: only here

        return ClusterSearch(problem, settings)
    from kvplace.solver.strategies.undivided.strategy import UndividedSearch  # noqa: PLC0415 - one strategy of three

    return UndividedSearch(problem, settings)


def _pairs_ready() -> bool:
    """Return whether the kernels that exchange between pairs of GPUs are compiled."""
    from kvplace.solver.large_neighbourhood.warm import PAIRS, kernels_ready  # noqa: PLC0415 - numba: only here

    return kernels_ready(PAIRS)


def _at_targets(problem: Problem, search: Search, found: Placement) -> Placement:
    """Return a placement without the copies that its models' targets make needless."""
    of = list(map(attrgetter("replicas.target"), problem.models))
    if of.count(None) == len(of):
        return found
    targets = {
        j: target
        for j, i in enumerate(search.instance.model_index)
        if (target := of[i]) is not None
    }
    from kvplace.solver.assignment.assignment import Assignment  # noqa: PLC0415 - only with targets
    from kvplace.solver.improve.drop_copies import drop_to_targets  # noqa: PLC0415 - only with targets

    board = Assignment(search.instance, load_copies(problem, search.instance, found))
    if not drop_to_targets(board, targets, search.watch):
        return found
    return unload_copies(problem, search.instance, board.where)


def _spread(problem: Problem, watch: Watch, seed: int) -> Placement | None:
    """Return where models that nobody asks for yet find most memory: as if all had one demand."""
    models = [
        replace(
            model,
            demand=Demand(1.0),
            slo=SLO(latency_seconds=1.0),
            replicas=replace(model.replicas, max=model.replicas.min),
        )
        for model in problem.models
    ]
    even = replace(problem, models=models, objective=Objective.REQUESTS, windows=(), timing=None)
    return solve(even, watch=watch, seed=seed).placement


def _repaired(search: Search, placement: Placement) -> Placement:
    """Return a placement that breaks nothing as it is, and else one near it that breaks nothing."""
    problem, instance, watch = search.problem, search.instance, search.watch
    violations = evaluate(problem, placement).violations
    if problem.plain and any(v.kind not in REPAIRABLE for v in violations):
        raise InputError([v.message for v in violations], "placement")
    if not violations:
        return placement
    from kvplace.solver.large_neighbourhood.ejection import repaired  # noqa: PLC0415 - often unneeded
    from kvplace.solver.strategies.assigned import board_of  # noqa: PLC0415 - often unneeded

    board = board_of(problem, instance, placement)
    for seed, times in enumerate(REPAIRED if search.low < math.inf else ()):
        found = repaired(board, times * (100 + 2 * instance.n), seed, watch)
        if found is not None:
            return unload_copies(problem, instance, found.where)
    anew = solve(problem, watch=watch)
    if anew.placement is None:
        raise _beyond_repair(violations, anew.stop)
    return anew.placement


def _beyond_repair(violations: Sequence[Violation], stop: Stop) -> InputError:
    """Return what is wrong with a start, and why it stays so."""
    reason = {
        Stop.INFEASIBLE: "this cannot be repaired: no placement is valid, as kvplace explain shows",
        Stop.TIME_LIMIT: "no way was found to repair this within the time limit",
        Stop.INTERRUPTED: "no way was found to repair this before the interrupt",
    }.get(stop, "no way was found to repair this, which is no proof that there is none")
    return InputError([*(violation.message for violation in violations), reason], "placement")


def stop_of(
    problem: Problem,
    evaluation: Evaluation | None,
    bound: Bound,
    gap: float,
    watch: Watch,
    *,
    limited: bool = False,
) -> Stop:
    """Return why a search ended.

    Parameters
    ----------
    problem
        What was solved.
    evaluation
        Of the placement found; None where there is none.
    bound
        What is proved.
    gap
        Certified relative gap that was asked for.
    watch
        Knows whether time or an interrupt ended it.
    limited
        Whether the steps allowed were used up.
    """
    spent = watch.stop or (Stop.ITERATION_LIMIT if limited else None)
    if evaluation is None:
        return Stop.INFEASIBLE if bound.value == math.inf else spent or Stop.LOCAL_OPTIMUM
    if status_of(problem, evaluation, bound) is Status.OPTIMAL:
        return spent or Stop.OPTIMAL
    if not evaluation.preferences and relative_gap(evaluation.value, bound.value) <= gap:
        return Stop.GAP
    return spent or Stop.LOCAL_OPTIMUM


def _balance(search: Search, evaluation: Evaluation | None, ranks: int) -> tuple[RankBound, ...]:
    """Return what is proved of GPUs after the worst, where not all are proved the best."""
    gpus = len(search.problem.fleet.gpus)
    if evaluation is None or gpus < BALANCED_GPUS or ranks == gpus or search.watch.stop:
        return ()
    from kvplace.solver.bounds.balance import rank_bounds  # noqa: PLC0415 - numpy: larger fleets only

    return rank_bounds(search.problem, search.instance, evaluation.profile(), search.watch)


@paused_collector()
def _finish(search: Search, solver: str, placement: Placement | None, whole: Problem) -> Result:
    """Re-evaluate a placement by core and wrap it up; the only door one leaves by.

    What was searched may lack nodes of the whole problem that cannot matter.
    """
    problem, watch, settings, evaluation = search.problem, search.watch, search.settings, None
    if placement is not None:
        evaluation = evaluate(problem, placement)
        if evaluation.violations and watch.stop is Stop.MEMORY_LIMIT:  # a change half made
            placement = evaluation = None
    # A bound that is no answer by itself is not certified where that breaks the time limit.
    over, certifying = watch.seconds - watch.limit, search.certifying
    late = over > 0 if placement is None else over + certifying > watch.late < certifying
    bound = Bound(0.0, "trivial") if late and search.low < math.inf else search.proof
    if placement is None and never_kept(whole):
        bound = Bound(math.inf, "counting")
    if not bound.breaches and any(least := least_breaches(whole)):
        bound = replace(bound, breaches=least)
    if placement is not None and evaluation is not None:
        if evaluation.violations or evaluation.value < bound.value * (1 - OPTIMAL_GAP):
            found = "; ".join(v.message for v in evaluation.violations) or (
                "the bound exceeds the value"
            )
            raise InternalError(f"the plan of solver {solver} failed its re-evaluation: {found}")
        watch.tell("done", evaluation.value, bound.value)
    stop = stop_of(problem, evaluation, bound, settings.gap, watch, limited=search.limited)
    ranks = 0
    if evaluation is not None and status_of(problem, evaluation, bound) is Status.OPTIMAL:
        ranks = max(1, search.ranks)
    result = Result(
        problem, placement, evaluation, bound, stop, solver, settings.seed, search.steps,
        watch.seconds, watch.steps, tuple(search.gains.values()), ranks=ranks,
        balance=_balance(search, evaluation, ranks) if whole is problem else (),
    )  # fmt: skip
    return result if whole is problem else on_whole_fleet(whole, result)
