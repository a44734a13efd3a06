"""The problem that a plan carries, so that it can be evaluated again without its fleet file."""

from dataclasses import replace

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.scenarios import imagined
from kvplace.errors import InputError
from kvplace.forecast.share_timing import ShareTiming
from kvplace.formats.plan.stated import Plan, PlanGPU, PlanNode
from kvplace.formats.plan.table import PlanTable


def problem_of(plan: Plan, source: str = "") -> Problem:
    """Return the problem that a plan was made for, from the plan alone.

    Parameters
    ----------
    plan
        What a plan file states.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        The plan does not carry its problem, or what it carries is not what was solved.
    """
    if not plan.models or not plan.nodes:
        raise InputError(
            "this plan does not carry its models and nodes; name its fleet file with --fleet",
            source,
        )
    if not plan.gpus:
        raise InputError(
            "this plan places nothing, so it does not state its GPUs; name its fleet file with "
            "--fleet",
            source,
        )
    gpus = {gpu.id: gpu for gpu in plan.gpus}
    stated = [gpu for node in plan.nodes for gpu in node.gpus]
    if sorted(stated) != sorted(gpu.id for gpu in plan.gpus):
        raise InputError("the nodes of this plan do not name each of its GPUs once", source)
    try:
        fleet = Fleet(tuple(_node(node, gpus) for node in plan.nodes))
        objective = Objective(plan.objective)
        timing = ShareTiming(guess=objective is Objective.PRESSURE)
        problem = Problem(
            plan.models, fleet, objective, plan.rules, plan.windows, timing, quantile=plan.quantile
        )
    except InputError as error:
        raise InputError(error.faults, source) from None
    if problem.digest != plan.problem_digest:
        raise InputError(
            "the models and nodes in this plan are not those that it was made for "
            "(problem_digest differs); make it again, or name its fleet file with --fleet",
            source,
        )
    return problem


def under_scenarios(problem: Problem, plan: Plan | PlanTable | Placement) -> Problem:
    """Return a problem with the quantile and the what-if windows that a plan of it was made for."""
    head = plan.head if isinstance(plan, PlanTable) else plan
    if not isinstance(head, Plan):
        return problem
    if head.quantile is not None and problem.goal is Objective.PRESSURE:
        problem = replace(problem, quantile=head.quantile)
    known = {window.name for window in problem.windows}
    new = tuple(w for w in head.windows if w.like and w.name not in known)
    windows = (*problem.windows, *new)
    try:
        return replace(problem, models=imagined(problem.models, windows), windows=windows)
    except InputError:
        return problem  # scenarios of other models: the plan is for another problem


def _node(node: PlanNode, gpus: dict[str, PlanGPU]) -> Node:
    """Return a node as it was planned for; memory is what was usable."""
    links = node.links or [""] * len(node.gpus)
    amounts = node.gpu_resources or tuple({} for _ in node.gpus)
    if not len(links) == len(amounts) == len(node.gpus):
        raise InputError(f"node {node.name!r} does not state one link and resource for each GPU")
    devices = tuple(
        GPU(id_, gpus[id_].type, gpus[id_].memory_bytes, 0, link, resources)
        for id_, link, resources in zip(node.gpus, links, amounts, strict=True)
    )
    return Node(node.name, devices, node.labels, node.resources)
