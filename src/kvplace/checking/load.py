"""A plan file read back: checked, evaluated again, and a `Result` as a solver returns it."""

import os
from dataclasses import replace

from kvplace.checking.check import check
from kvplace.collector import paused_collector
from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.launch import EngineName
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.errors import Fault, InputError
from kvplace.formats.plan.io import read_plan
from kvplace.formats.plan.problem import problem_of, under_scenarios
from kvplace.formats.plan.stated import Plan
from kvplace.formats.plan.table import PlanTable
from kvplace.formats.read import read


@paused_collector()
def load_plan(
    path: str | os.PathLike[str],
    fleet: Problem | str | os.PathLike[str] | None = None,
    *,
    gpus: str | None = None,
) -> Result:
    """Read a plan, check everything it states, and return it as a result.

    Parameters
    ----------
    path
        JSON, CSV or Parquet.
    fleet
        What the plan is for: a problem, or a file as `kvplace.read` reads it. None where the plan
        carries its models and nodes, as JSON does.
    gpus
        The GPUs, where `fleet` is a table of models.

    Returns
    -------
    Result
        Placement and evaluation are computed again, the bound is proved again. Of rows alone
        nothing is known but the placement: the bound is 0, the solver has no name, and `stop` is
        ``given``.

    Raises
    ------
    InputError
        The file cannot be read, its problem is not known, or what it states is not so: every
        disagreement.
    """
    return load_stated(read_plan(path), os.fspath(path), fleet, gpus=gpus)


def load_stated(
    stated: Plan | PlanTable,
    name: str,
    fleet: Problem | str | os.PathLike[str] | None = None,
    *,
    gpus: str | None = None,
) -> Result:
    """Check everything that a plan states, and return it as a result.

    Parameters
    ----------
    stated
        The plan.
    name
        Where it was read from, for messages.
    fleet, gpus
        As in `load_plan`.

    Raises
    ------
    InputError
        As in `load_plan`.
    """
    claims = stated.head if isinstance(stated, PlanTable) else stated
    if isinstance(fleet, Problem):
        problem = fleet
    elif fleet is not None:
        problem = under_scenarios(read(fleet, objective=stated.objective, gpus=gpus), stated)
    elif isinstance(stated, Plan):
        problem = problem_of(stated, name)
    else:
        raise InputError(
            "a table does not carry its models; name its fleet file with --fleet, or give it as "
            "the second argument of load_plan in Python",
            name,
        )
    found = check(problem, stated)
    if not found.agrees:
        raise InputError([Fault(one.message, one.path) for one in found], name)
    if claims is None:
        placement = stated.placement
        evaluation = evaluate(problem, placement)
        bound = Bound(0.0, "trivial")
        return Result(problem, placement, evaluation, bound, Stop.GIVEN, "", 0, 0, 0.0)
    proof = claims.bound_for(problem)
    assert isinstance(proof, Bound)  # else the check would have said why it is none
    placed = stated.placement if found.evaluation else None
    result = unchecked(claims, problem)
    return replace(result, placement=placed, evaluation=found.evaluation, proof=proof)


def unchecked(claims: Plan, problem: Problem) -> Result:
    """Return what a plan states as a result, with nothing evaluated or proved."""
    return Result(
        problem,
        claims.placement,
        None,
        Bound(0.0, "trivial"),
        Stop(claims.stop),
        claims.solver,
        claims.seed,
        claims.iterations,
        claims.seconds,
        claims.progress,
        kv_parts={(part.model, part.replica): part.kv_bytes for part in claims.kv_parts},
        ranks=claims.ranks,
        balance=tuple(entry.for_problem(problem) for entry in claims.balance),
        engine_names={
            (name.model, name.replica): EngineName(name.label, name.port)
            for name in claims.engine_names
        },
    )
