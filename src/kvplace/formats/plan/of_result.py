"""A `Result` as a plan states it."""

from collections.abc import Sequence
from dataclasses import replace
from operator import sub
from typing import Any

from kvplace._version import __version__
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import spelled_out
from kvplace.core.certificates.claim import Leaf, ProofTree
from kvplace.core.certificates.standing import standing_of, tiers_of
from kvplace.core.columns import Columns, Grouped
from kvplace.core.evaluation.evaluate import Evaluation, kvpr_of
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import ALWAYS
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result
from kvplace.formats.plan.evidence import (
    PlanCertificate,
    PlanRule,
    PlanTree,
    PlanTreeNode,
    weights_by_window,
    worths_of,
)
from kvplace.formats.plan.stated import (
    Plan,
    PlanEngineName,
    PlanGPU,
    PlanKVPart,
    PlanNode,
    PlanRank,
    PlanShard,
    PlanTier,
)

SPELLED_OUT = 2_000
"""Models up to which JSON states the prices that follow from a rule, and not the rule."""

TREE_BYTES = 5_000_000
"""Most bytes of a proof tree in a plan; a larger one is left out, and the bound then claimed."""
_NODE_BYTES, _WORTH_BYTES, _WEIGHT_BYTES = 160, 50, 40
"""Bytes of a node, a worth and a weight besides numbers and names, or somewhat fewer."""


def plan_of(result: Result) -> Plan:
    """Return the plan that states a result."""
    evaluation, problem = result.evaluation, result.problem
    return replace(
        claims_of(result),
        gpus=_gpus(problem, evaluation) if evaluation else (),
        placement=result.placement or Placement(()),
        certificate=_certificate(result),
        tree=tree_of(result),
        nodes=tuple(map(PlanNode.of, problem.fleet.nodes)),
        models=problem.models,
        rules=problem.rules,
        progress=result.progress,
        kv_parts=tuple(
            PlanKVPart(model, index, part)
            for (model, index), part in sorted(result.kv_parts.items())
        ),
        engine_names=tuple(
            PlanEngineName(model, index, name.label, name.port)
            for (model, index), name in sorted(result.engine_names.items())
        ),
    )


def claims_of(result: Result) -> Plan:
    """Return the plan without its lists and its certificate: what is said of the placement."""
    evidence, proof, problem = "none", result.proof.certificate, result.problem
    if isinstance(proof, ProofTree) and written_down(proof):
        evidence = "proof tree"
    elif result.proof.method == "search":
        evidence = "exhaustive search"
    elif proof is not None:
        evidence = "certificate"
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
        bound_method=result.proof.method,
        gpus=(),
        placement=Placement(()),
        certificate=None,
        solver=result.solver,
        seed=result.seed,
        iterations=result.iterations,
        seconds=result.seconds,
        soft_rules=_tiers(result),
        ranks=result.ranks,
        failures=result.failures,
        balance=tuple(PlanRank.of(problem, claim) for claim in result.balance),
        windows=() if problem.windows == (ALWAYS,) else problem.windows,
        quantile=problem.quantile,
    )


def _tiers(result: Result) -> tuple[PlanTier, ...]:
    """Return what is broken and proved of each tier of soft rules."""
    tiers = tiers_of(result.problem)
    if not tiers or result.evaluation is None:
        return ()
    broken = standing_of(result.problem, result.evaluation).breaches
    proved = result.proof.breaches or (0.0,) * len(tiers)
    return tuple(map(PlanTier, tiers, broken, proved))


def _certificate(result: Result) -> PlanCertificate | PlanRule | None:
    """Return the evidence for the bound, free of the order of models and windows."""
    problem, claim = result.problem, result.proof.certificate
    if claim is None or isinstance(claim, ProofTree):
        return None
    if isinstance(claim, RuleCertificate):
        if len(problem.names) > SPELLED_OUT:
            return rule_of(problem, claim)
        claim = spelled_out(problem, claim)
    return PlanCertificate(
        method=result.proof.method,
        threshold=claim.threshold,
        prices=dict(zip(problem.names, claim.prices, strict=True)),
        worths=worths_of(claim.worths, claim.types),
        scope=claim.scope,
        weights=weights_by_window([window.name for window in problem.windows], claim.weights),
    )


def rule_of(problem: Problem, claim: RuleCertificate) -> PlanRule:
    """Return a certificate by rule as a plan states it."""
    several = problem.goal is Objective.PRESSURE
    window = problem.windows[claim.window].name if several else ""
    return PlanRule(claim.rule, claim.threshold, claim.model, claim.resource, window, claim.scope)


def written_down(tree: ProofTree) -> bool:
    """Whether a tree is small enough to be written into a plan."""
    size = 0
    for node in tree.nodes:
        size += _NODE_BYTES
        if isinstance(node, Leaf):
            size += sum(len(str(price)) + 2 for price in node.prices)
            size += sum(len(str(worth)) + _WORTH_BYTES for worth in node.worths)
            size += sum(len(str(row)) + _WEIGHT_BYTES * len(row) for row in node.weights)
        else:
            size += len(str(node.options)) + len(str(node.domains))
    return size <= TREE_BYTES


def tree_of(result: Result) -> PlanTree | None:
    """Return the proof tree of a result as a plan states it; None where there is none to write."""
    tree, names = result.proof.certificate, result.problem.names
    windows = [window.name for window in result.problem.windows]
    if not isinstance(tree, ProofTree) or not written_down(tree):
        return None
    nodes = []
    for node in tree.nodes:
        if isinstance(node, Leaf):
            worths = worths_of(node.worths, node.types)
            weights = weights_by_window(windows, node.weights)
            nodes.append(PlanTreeNode(prices=node.prices, worths=worths, weights=weights))
        else:
            nodes.append(PlanTreeNode(names[node.model], node.options, node.domains))
    return PlanTree(tree.threshold, tuple(names), tuple(nodes))


def _gpus(problem: Problem, evaluation: Evaluation) -> Sequence[PlanGPU]:
    """Return the GPUs as the plan states them, column by column."""
    sums, fleet, usable = evaluation.sums, problem.fleet, problem.fleet.usable_bytes
    windows = [window.name for window in problem.windows]
    held, ends = sums.every_held

    def of_shards(column: Sequence[Any]) -> list[Any]:
        return list(map(column.__getitem__, held))

    rows = sums.rows
    shards = Columns(PlanShard, {
        "model": of_shards(rows.models),
        "replica": of_shards(rows.replicas),
        "shard": of_shards(rows.ranks),
        "weights_bytes": of_shards(rows.weights_bytes),
        "load": of_shards(rows.loads),
        "time_shares": _named(windows, [of_shards(shares) for _, shares in rows.windows], held),
    })  # fmt: skip
    free = list(map(sub, usable, sums.weights_bytes))
    full = [list(map(kvpr_of, loads, free)) for loads in sums.window_loads]
    return Columns(PlanGPU, {
        "id": list(fleet.position),
        "type": [gpu.type for gpu in fleet.gpus],
        "memory_bytes": usable,
        "weights_bytes": sums.weights_bytes,
        "free_bytes": free,
        "load": sums.loads,
        "kvpr": evaluation.kvprs,
        "shards": Grouped(shards, ends),
        "occupancies": _named(windows, full, free),
        "time_shares": _named(windows, sums.time_shares, free),
    })  # fmt: skip


def _named(
    windows: Sequence[str], columns: Sequence[Sequence[float]], rows: Sequence[object]
) -> list[dict[str, float]]:
    """Return what is known of each window by its name, for each of some rows."""
    if not columns:
        return [{}] * len(rows)
    return [dict(zip(windows, row, strict=True)) for row in zip(*columns, strict=True)]
