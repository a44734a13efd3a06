"""The plan file, kvplace.plan/v1: a result that a user keeps, and that nobody has to trust."""

import os
from collections.abc import Sequence
from pathlib import PurePath

from kvplace._version import __version__
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import Certificate, spelled_out
from kvplace.core.evaluation.evaluate import GPUEvaluation
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.core.window import ALWAYS
from kvplace.formats.files import read_text
from kvplace.formats.plan.csv import PlanTable, parse_plan_table, table_text
from kvplace.formats.plan.parquet import PlanColumns, plan_of_columns
from kvplace.formats.plan.read_json import parse_plan
from kvplace.formats.plan.schema import plan_data
from kvplace.formats.plan.stated import (
    PLAN_SCHEMA,
    Plan,
    PlanCertificate,
    PlanGPU,
    PlanNode,
    PlanShard,
    PlanStep,
    PlanWeight,
    PlanWorth,
)
from kvplace.formats.tables.arrow import is_parquet, read_columns
from kvplace.formats.text.json_writer import json_text

__all__ = [
    "PLAN_SCHEMA",
    "Plan",
    "PlanCertificate",
    "PlanGPU",
    "PlanNode",
    "PlanShard",
    "PlanStep",
    "plan_csv",
    "plan_of",
    "read_plan",
    "write_plan",
]


def plan_of(result: Result, progress: Sequence[PlanStep] = ()) -> Plan:
    """Return the plan that states a result.

    Parameters
    ----------
    result
        What was found.
    progress
        How value and bound came together, oldest first, where that was recorded.
    """
    evaluation, problem, proof = result.evaluation, result.problem, result.proof
    certificate = None
    evidence = "exhaustive search" if proof.method == "search" else "none"
    if proof.certificate is not None:
        evidence = "certificate"
        claim = proof.certificate
        if isinstance(claim, RuleCertificate):
            claim = spelled_out(problem, claim)
        certificate = _certificate(problem, claim, proof.method)
    return Plan(
        kvplace_version=__version__,
        problem_digest=problem.digest,
        status=result.status.value,
        stop=result.stop.value,
        proof=evidence,
        objective=problem.goal.value,
        value=result.value,
        bound=result.bound,
        gap=result.gap,
        bound_method=proof.method,
        gpus=tuple(_plan_gpu(gpu, problem) for gpu in evaluation.gpus) if evaluation else (),
        placement=result.placement or Placement(()),
        certificate=certificate,
        solver=result.solver,
        seed=result.seed,
        iterations=result.iterations,
        seconds=result.seconds,
        nodes=tuple(map(PlanNode.of, problem.fleet.nodes)),
        models=tuple(problem.models),
        rules=problem.rules,
        progress=tuple(progress),
        windows=() if problem.windows == (ALWAYS,) else problem.windows,
    )


def _certificate(problem: Problem, claim: Certificate, method: str) -> PlanCertificate:
    """Return a certificate as the plan states it, free of the order of models and windows."""
    types = claim.types or ("",) * len(claim.worths)
    names, n = [window.name for window in problem.windows], len(problem.windows)
    return PlanCertificate(
        method=method,
        threshold=claim.threshold,
        prices=dict(zip(problem.names, claim.prices, strict=True)),
        worths=tuple(
            PlanWorth(memory, worth, type_)
            for (memory, worth), type_ in zip(claim.worths, types, strict=True)
        ),
        scope=claim.scope,
        weights=tuple(tuple(map(PlanWeight, names, row[:n], row[n:])) for row in claim.weights),
    )


def _plan_gpu(gpu: GPUEvaluation, problem: Problem) -> PlanGPU:
    """Return a GPU as the plan states it."""
    names = [window.name for window in problem.windows]
    return PlanGPU(
        id=gpu.id,
        type=gpu.type,
        memory_bytes=gpu.memory_bytes,
        weights_bytes=gpu.weights_bytes,
        free_bytes=gpu.free_bytes,
        load=gpu.load,
        kvpr=gpu.kvpr,
        shards=tuple(
            PlanShard(
                s.model, s.replica, s.index, s.weights_bytes, s.load,
                dict(zip(names, s.time_shares, strict=False)),
            )
            for s in gpu.shards
        ),
        occupancies=dict(zip(names, gpu.occupancies, strict=False)),
        time_shares=dict(zip(names, gpu.time_shares, strict=False)),
    )  # fmt: skip


def write_plan(plan: Plan) -> str:
    """Return the JSON of a plan; infinities are null, floats read back equal."""
    return json_text(plan_data(plan)) + "\n"


def plan_csv(plan: Plan) -> str:
    """Return one row per shard: ``model,replica,shard,node,gpu,weights_bytes,load``."""
    return table_text(
        (shard.model, shard.replica, shard.shard, gpu.id, shard.weights_bytes, shard.load)
        for gpu in plan.gpus
        for shard in gpu.shards
    )


def read_plan(path: str | os.PathLike[str]) -> Plan | PlanTable | PlanColumns:
    """Read a plan: the JSON of kvplace.plan/v1, or a ``.csv`` or ``.parquet`` of its shards.

    Returns
    -------
    Plan, PlanTable or PlanColumns
        All have a `placement`; a table states little else.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    name = os.fspath(path)
    if is_parquet(name):
        return plan_of_columns(read_columns(name), name)
    text = read_text(name)
    if PurePath(name).suffix.lower() == ".csv":
        return parse_plan_table(text, name)
    return parse_plan(text, name)
