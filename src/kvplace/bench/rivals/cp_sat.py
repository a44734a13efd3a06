"""CP-SAT of OR-Tools as a rival: one Boolean per model and GPU, a knapsack per GPU and pressure.

At a target K the sizes are integers, rounded down, and the capacities rounded up, so that what it
refutes is refuted for the real numbers. Of several pressures each has a limit on every GPU. The
largest excess over a capacity is minimised rather than forbidden: with an objective CP-SAT runs its
large-neighbourhood searches as well, and takes the incumbent as a complete hint.
"""

import importlib
import time
from fractions import Fraction
from typing import Any

from kvplace.bench.rivals.narrow import Answer, Decision, Tell, narrow
from kvplace.bench.rivals.shapes import allowed, relabelled, takes_at
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

WORKERS = 2
RESOLUTION = 1 << 30
"""Units in the memory of the largest GPU: sizes are exact to a part in 1e9 of it."""
SETTLED_GAP = 0.9999
"""Relative gap below which the signs of excess and bound agree: the target is decided."""


def solve(arrays: Instance, watch: Watch, seed: int, tell: Tell) -> Answer:
    """Minimise the max KVPR with CP-SAT until the watch stops."""
    return narrow(arrays, _Decider(arrays, seed), watch, tell)


class _Decider:
    """Decides targets with CP-SAT.

    Parameters
    ----------
    arrays
        The problem.
    seed
        Of CP-SAT.
    """

    def __init__(self, arrays: Instance, seed: int) -> None:
        self._arrays = arrays
        self._seed = seed
        self._allowed = allowed(arrays)
        self._scale = Fraction(RESOLUTION, arrays.memory[0])

    def __call__(self, target: float, start: list[int] | None, seconds: float) -> Decision:
        """Decide one target."""
        # Here: it is an optional extra, and cannot be loaded beside highspy.
        end = time.perf_counter() + seconds
        cp_model: Any = importlib.import_module("ortools.sat.python.cp_model")
        model = cp_model.CpModel()
        chosen = self._build(model, cp_model.LinearExpr.weighted_sum, target)
        if start is not None:
            for j, g in enumerate(relabelled(self._arrays, start)):
                for h, variable in chosen[j].items():
                    model.add_hint(variable, h == g)
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = WORKERS
        solver.parameters.random_seed = self._seed
        solver.parameters.relative_gap_limit = SETTLED_GAP
        solver.parameters.max_time_in_seconds = max(0.01, end - time.perf_counter())
        status = solver.solve(model)
        if status == cp_model.INFEASIBLE:
            return Decision(None, impossible=True)
        if status not in {cp_model.OPTIMAL, cp_model.FEASIBLE}:
            return Decision(None)
        gpu_of = [
            next(g for g, variable in row.items() if solver.boolean_value(variable))
            for row in chosen
        ]
        return Decision(gpu_of, solver.best_objective_bound > 0.5)

    def _build(self, model: Any, weighted: Any, target: float) -> list[dict[int, Any]]:
        """Write the model; return the Booleans per model and GPU."""
        arrays = self._arrays
        takes: dict[tuple[int, int], list[list[int]]] = {}
        chosen = [{g: model.new_bool_var("") for g in gpus} for gpus in self._allowed]
        for row in chosen:
            model.add_exactly_one(row.values())
        excess = model.new_int_var(-RESOLUTION, RESOLUTION, "")
        for g, memory in enumerate(arrays.memory):
            held = [j for j in range(arrays.n) if g in chosen[j]]
            variables = [chosen[j][g] for j in held]
            capacity = -int(-memory * self._scale // 1)
            kind = (memory, arrays.type_at(g))
            if kind not in takes:
                takes[kind] = takes_at(arrays, target, self._scale, g)
            for sizes in takes[kind]:
                model.add(weighted(variables, [sizes[j] for j in held]) - excess <= capacity)
            # The memory itself binds whatever the target: a byte and every min_kv stay free.
            model.add(weighted(variables, [arrays.size[j] for j in held]) <= memory - 1)
            if any(arrays.keep):
                least = [arrays.size[j] + arrays.keep[j] for j in held]
                model.add(weighted(variables, least) <= memory)
        model.minimize(excess)
        return chosen
