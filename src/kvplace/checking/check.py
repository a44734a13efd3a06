"""Check a plan against its problem: nothing that the plan states is taken on trust."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kvplace.checking.claims import check_claims
from kvplace.checking.engines import check_engines
from kvplace.checking.findings import Disagreement, Findings, same
from kvplace.core.certificates.claim import Evidence
from kvplace.core.certificates.standing import Standing
from kvplace.core.evaluation.evaluate import Evaluation, GPUEvaluation, evaluate
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, relative_gap
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.stated import Plan, PlanGPU, PlanNode
from kvplace.formats.plan.table import UNSTATED, PlanTable
from kvplace.units import format_count

__all__ = ["Check", "Disagreement", "check"]

MOST = 50
"""Numbers of rows that are named one by one."""


@dataclass(frozen=True, slots=True, repr=False)
class Check:
    """What came of a check, in three words: wrong, verified, claimed.

    Parameters
    ----------
    disagreements
        What is wrong with the plan; empty where nothing is.
    verified
        What was found to hold, in sentences.
    claimed
        What the plan states and what was not verified here, each with the reason: it takes more
        work than the checker spends.
    open
        What no placement is better than, as far as that is claimed and was not verified.
    evaluation
        What the placement is really worth; None where the plan has none.
    """

    disagreements: tuple[Disagreement, ...]
    verified: tuple[str, ...]
    evaluation: Evaluation | None
    claimed: tuple[str, ...] = ()
    open: tuple[Standing, ...] = ()

    def __repr__(self) -> str:
        wrong, verified = len(self.disagreements), len(self.verified)
        return f"<Check: {wrong} wrong, {verified} verified, {len(self.claimed)} only claimed>"

    @property
    def agrees(self) -> bool:
        """Whether nothing is wrong; what is only claimed may be so still."""
        return not self.disagreements

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong and nothing is only claimed."""
        return not self.disagreements and not self.claimed

    def __iter__(self) -> Iterator[Disagreement]:
        return iter(self.disagreements)

    def __len__(self) -> int:
        return len(self.disagreements)


def check(
    problem: Problem, plan: Plan | PlanTable | Placement | Result, evidence: Evidence | None = None
) -> Check:
    """Recompute everything that a plan states, knowing nothing of the solver that made it.

    Parameters
    ----------
    problem
        What the plan is for. It must be under the plan's objective.
    plan
        What a plan file states; a result, of which as much can be checked; or a bare placement, of
        which less can.
    evidence
        Proves the plan's bound where the plan has nothing that is checked; None for none.

    Returns
    -------
    Check
        Every disagreement, what was verified, and what is only claimed. Whole numbers must be
        equal, others to a relative 1e-12. The name of a method is never evidence.
    """
    checker = _Checker(problem, evidence)
    if isinstance(plan, Placement):
        checker.check_placement(plan)
    else:
        checker.check_plan(plan_of(plan) if isinstance(plan, Result) else plan)
    found, verified = tuple(checker.found), tuple(checker.verified)
    claimed, open_ = tuple(checker.claimed), tuple(checker.open)
    return Check(found, verified, checker.evaluation, claimed, open_)


class _Checker(Findings):
    """Collects disagreements while it goes through a plan."""

    def __init__(self, problem: Problem, evidence: Evidence | None) -> None:
        super().__init__()
        self.problem, self._evidence = problem, evidence
        self.evaluation: Evaluation | None = None

    def check_placement(self, placement: Placement, path: str = "placements") -> None:
        """Evaluate the placement and note what it violates."""
        self.evaluation = evaluate(self.problem, placement)
        for violation in self.evaluation.violations:
            self.differ(path, violation.message)
        if self.evaluation.valid:
            models = format_count(len(self.problem.models), "model")
            gpus = format_count(len(self.problem.fleet.gpus), "GPU")
            self.verified.append(f"the placement of {models} on {gpus} is valid")

    def check_plan(self, plan: Plan | PlanTable) -> None:
        """Go through the whole plan."""
        before = len(self.found)
        head = plan.head if isinstance(plan, PlanTable) else plan
        if head is not None:
            self._check_identity(head)
            self._check_problem(head)
        if isinstance(plan, PlanTable):
            self.check_placement(plan.placement_for(self.problem))
            self._check_rows(plan)
        elif plan.placement.replicas or plan.gpus:
            self.check_placement(plan.placement)
            self._check_gpus(plan)
        if head is None:
            return
        value = self.evaluation.value if self.evaluation else math.inf
        self.compare("objective.value", head.value, value)
        self.compare("objective.gap", head.gap, relative_gap(value, head.bound))
        if len(self.found) == before and isinstance(plan, Plan) and self.evaluation:
            self.verified.append("every number of every GPU is right")
        check_claims(self, self.problem, head, self.evaluation, self._evidence)
        if isinstance(plan, Plan) and self.evaluation and self.evaluation.valid:
            check_engines(self, self.problem, plan, self.evaluation)

    def _check_identity(self, plan: Plan) -> None:
        """Check that the plan is for this problem."""
        if plan.objective != self.problem.goal:
            self.compare("objective.name", plan.objective, self.problem.goal.value)
        elif plan.problem_digest != self.problem.digest:
            self.differ(
                "problem_digest",
                f"the plan is for another problem: it states {plan.problem_digest}; this "
                f"problem's is {self.problem.digest}",
            )
        else:
            self.verified.append("the plan is for this problem")

    def _check_rows(self, table: PlanTable) -> None:
        """Compare what each row of a table states."""
        assert self.evaluation is not None
        before, differing = len(self.found), 0
        for path, stated, found in _stated_rows(self.problem, table, self.evaluation):
            if not same(stated, found):
                differing += 1
                if differing <= MOST:
                    self.compare(path, stated, found)
        if differing > MOST:
            self.differ("rows", f"{differing - MOST} more numbers are not what the plan states")
        if len(self.found) == before:
            self.verified.append("the weights and loads that the rows state are right")

    def _check_problem(self, plan: Plan) -> None:
        """Compare the models and nodes that the plan carries; launches may differ."""
        real = {model.name: model for model in self.problem.models}
        for index, model in enumerate(plan.models):
            found = real.pop(model.name, None)
            if found is None:
                self.differ(
                    f"models[{index}]", f"{model.name!r} is stated twice, or the problem has none"
                )
            elif model != found and replace(model, launch=found.launch) != found:
                self.differ(f"models[{index}]", f"{model.name!r} differs from the problem's")
        if plan.models and real:
            self.differ("models", f"the plan leaves out {next(iter(real))!r}")
        if not plan.nodes:
            return
        nodes = {node.name: PlanNode.of(node) for node in self.problem.fleet.nodes}
        stated = {node.name: node for node in plan.nodes}
        if len(stated) != len(plan.nodes) or stated.keys() != nodes.keys():
            self.differ("nodes", "the plan states other nodes than the fleet has")
            return
        for index, part in enumerate(plan.nodes):
            if part != nodes[part.name]:
                self.differ(f"nodes[{index}]", f"{part.name!r} differs from the problem's")
        if Counter(plan.rules) != Counter(self.problem.rules):
            self.differ("rules", "the plan states other rules than there are")

    def _check_gpus(self, plan: Plan) -> None:
        """Compare the GPUs, in any order."""
        assert self.evaluation is not None
        stated: dict[str, int] = {}
        for index, gpu in enumerate(plan.gpus):
            if stated.setdefault(gpu.id, index) != index:
                self.differ(f"gpus[{index}].id", f"{gpu.id!r} is already gpus[{stated[gpu.id]}]")
        real = {gpu.id: gpu for gpu in self.evaluation.gpus}
        for name, index in stated.items():
            if name in real:
                self._check_gpu(f"gpus[{index}]", plan.gpus[index], real[name])
            else:
                self.differ(f"gpus[{index}].id", f"{name!r} is no GPU of the fleet")
        missing = [name for name in real if name not in stated]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            self.differ("gpus", f"the plan leaves out {missing[0]!r}{more}")

    def _check_gpu(self, path: str, stated: PlanGPU, real: GPUEvaluation) -> None:
        """Compare one GPU."""
        for name in ("type", "memory_bytes", "weights_bytes", "free_bytes", "load", "kvpr"):
            self.compare(f"{path}.{name}", getattr(stated, name), getattr(real, name))
        self._compare_windows(f"{path}.occupancies", stated.occupancies, real.occupancies)
        self._compare_windows(f"{path}.time_shares", stated.time_shares, real.time_shares)
        found = {(s.model, s.replica, s.index): s for s in real.shards}
        for index, shard in enumerate(stated.shards):
            inner = f"{path}.shards[{index}]"
            match = found.pop((shard.model, shard.replica, shard.shard), None)
            if match is None:
                name = f"shard {shard.shard} of replica {shard.replica} of {shard.model!r}"
                self.differ(inner, f"{name} is not placed here, or is listed twice")
                continue
            self.compare(f"{inner}.weights_bytes", shard.weights_bytes, match.weights_bytes)
            self.compare(f"{inner}.load", shard.load, match.load)
            self._compare_windows(f"{inner}.time_shares", shard.time_shares, match.time_shares)
        for model, replica, rank in found:
            message = f"shard {rank} of replica {replica} of {model!r} is placed here and left out"
            self.differ(f"{path}.shards", message)

    def _compare_windows(
        self, path: str, stated: Mapping[str, float], found: Sequence[float]
    ) -> None:
        """Compare what is stated of each window; what is not stated is not compared."""
        if not stated:
            return
        if not found:
            self.differ(path, "shares of GPU time are not known here, so it cannot be checked")
            return
        real = {w.name: value for w, value in zip(self.problem.windows, found, strict=True)}
        for name in sorted(stated.keys() | real.keys()):
            self.compare(f"{path}.{name}", stated.get(name), real.get(name))


def _stated_rows(
    problem: Problem, table: PlanTable, evaluation: Evaluation
) -> Iterator[tuple[str, float, float]]:
    """Yield path, stated and real number of every number that a row states.

    Rows of models and GPUs that do not exist are passed over: that is noted already.
    """
    undivided = problem.plain and table.undivided
    same_order = undivided and list(table.models) == list(problem.names)
    real = {}
    if not undivided:
        real = {
            (shard.model, shard.replica, shard.index): (shard.weights_bytes, shard.load)
            for gpu in evaluation.gpus
            for shard in gpu.shards
        }
    weights, loads = table.weights_bytes, table.loads
    for row, name in enumerate(table.models):
        if undivided:
            index = row if same_order else problem.index_of.get(name)
            found = None
            if index is not None:
                found = problem.undivided_bytes[index], problem.loads[index]
        else:
            found = real.get((name, table.replicas[row], table.shards[row]))
        if found is None:
            continue
        if weights and weights[row] != UNSTATED:
            yield f"rows[{row}].weights_bytes", weights[row], found[0]
        if loads and _states(loads[row]):
            yield f"rows[{row}].load", loads[row], found[1]


def _states(load: float) -> bool:
    """Whether a cell of the column of loads states one: it is empty where it holds -1 or NaN."""
    return load == load and load != UNSTATED  # noqa: PLR0124 - NaN
