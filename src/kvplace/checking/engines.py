"""Check what a plan states of engines that run: the KV memory and the names that they keep."""

from collections.abc import Hashable, Iterable, Sequence

from kvplace.checking.findings import Findings
from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.evaluation.static_split import kv_parts
from kvplace.core.problem import Problem
from kvplace.formats.plan.stated import Plan, PlanEngineName, PlanKVPart
from kvplace.units import format_count


def check_engines(findings: Findings, problem: Problem, plan: Plan, evaluation: Evaluation) -> None:
    """Check that engines are placed, that their parts of the KV memory fit, and that names differ.

    Parameters
    ----------
    findings
        What is found is added here.
    problem, plan
        The problem, and what is stated.
    evaluation
        Of the plan's placement, which is valid.
    """
    nodes = {(r.model, r.index): problem.fleet.domain(r.gpus[0], "node") for r in plan.placement}
    before = len(findings.found)
    _check_placed(findings, "kv_parts", plan.kv_parts, nodes)
    if len(findings.found) == before and plan.kv_parts:
        _check_parts(findings, plan.kv_parts, evaluation)
    before = len(findings.found)
    names = plan.engine_names
    _check_placed(findings, "engine_names", names, nodes)
    if len(findings.found) > before:
        return
    _check_apart(findings, "the label {}", [name.label for name in names])
    ports = [(name.port, nodes[name.model, name.replica]) for name in names]
    _check_apart(findings, "the port {0[0]} of {0[1]!r}", ports)
    if names and len(findings.found) == before:
        count = format_count(len(names), "engine")
        findings.verified.append(f"the labels and ports that {count} keep are told apart")


def _check_placed(
    findings: Findings,
    field: str,
    entries: Iterable[PlanKVPart | PlanEngineName],
    placed: Iterable[tuple[str, int]],
) -> None:
    """Note entries of copies that the plan does not place, or that are listed twice."""
    left = set(placed)
    for at, entry in enumerate(entries):
        key = entry.model, entry.replica
        if key not in left:
            name = f"replica {entry.replica} of {entry.model!r}"
            findings.differ(f"{field}[{at}]", f"{name} is not placed, or is listed twice")
        left.discard(key)


def _check_parts(findings: Findings, stated: Sequence[PlanKVPart], evaluation: Evaluation) -> None:
    """Verify parts that exports keep; others say only what engines are said to have."""
    parts = {(part.model, part.replica): part.kv_bytes for part in stated}
    found = kv_parts([gpu for gpu in evaluation.gpus if gpu.shards], parts)
    anew = sum(found[key] != part for key, part in parts.items())
    count = format_count(len(parts), "engine")
    if anew:
        claim = f"the parts of the KV memory that {count} are said to have: exports make {anew}"
        findings.claimed.append(f"{claim} of them anew, as they do not fit, or not well")
    else:
        findings.verified.append(f"the parts of the KV memory that {count} keep fit on their GPUs")


def _check_apart(findings: Findings, what: str, names: Iterable[Hashable]) -> None:
    """Note what two engines are both to keep."""
    first: dict[Hashable, int] = {}
    for at, name in enumerate(names):
        other = first.setdefault(name, at)
        if other != at:
            message = f"engine_names[{other}] keeps {what.format(name)} as well"
            findings.differ(f"engine_names[{at}]", message)
