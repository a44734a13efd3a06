"""Rebalancer as a rival: its local search, balancing the sizes at a target.

PyPI package rebalancer, Python 3.12 and later. KVPR is a ratio, which none of its
specs is; at a target K the largest filling with sizes ``s_j + l_j / K`` is what they can say. It
claims no bounds, and its time limits are whole seconds.
"""

import importlib
from fractions import Fraction
from typing import Any

from kvplace.bench.rivals.narrow import Answer, Decision, Tell, narrow
from kvplace.bench.rivals.shapes import sizes_at
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

RESOLUTION = 1 << 40
LARGEST_FILLING = 2
"""``MAX`` of its ``BalanceSpecFormula``: release 1.0.4 takes enumerations by their number."""


def solve(arrays: Instance, watch: Watch, seed: int, tell: Tell) -> Answer:
    """Minimise the max KVPR with Rebalancer until the watch stops."""
    return narrow(arrays, _Decider(arrays, seed), watch, tell)


class _Decider:
    """Lowers the largest filling at a target with Rebalancer's local search.

    Parameters
    ----------
    arrays
        The problem.
    seed
        Of the local search.
    """

    def __init__(self, arrays: Instance, seed: int) -> None:
        self._arrays = arrays
        self._seed = seed

    def __call__(self, target: float, start: list[int] | None, seconds: float) -> Decision:
        """Improve a placement at one target; nothing is ever refuted."""
        if start is None:
            return Decision(None)
        library: Any = importlib.import_module("rebalancer")
        arrays = self._arrays
        scale = Fraction(RESOLUTION, arrays.memory[0])
        sizes = sizes_at(arrays, target, scale)
        gpus = {str(g): float(memory * scale) for g, memory in enumerate(arrays.memory)}
        held: dict[str, list[str]] = {g: [] for g in gpus}
        for j, g in enumerate(start):
            held[str(g)].append(str(j))
        solver = library.ProblemSolver(service_name="kvplace", service_scope="bench")
        solver.set_log_level("ERROR")
        solver.disable_solution_summary()
        solver.set_object_name("model")
        solver.set_container_name("gpu")
        solver.set_assignment(held)
        columns = {"size": sizes, "memory": [int(size * scale) for size in arrays.size]}
        for name, column in columns.items():
            solver.add_object_dimension(name, {str(j): float(x) for j, x in enumerate(column)})
            solver.add_container_dimension(name, gpus)
        memory = {"name": "memory", "scope": "gpu", "dimension": "memory"}
        solver.add_constraint({"capacitySpec": memory})
        balance = {
            "name": "filling",
            "scope": "gpu",
            "dimension": "size",
            "formula": LARGEST_FILLING,
        }
        solver.add_goal({"balanceSpec": balance})
        solver.add_solver({"localSearchSolverSpec": self._search(seconds)})
        assignment = solver.solve()["assignment"]
        return Decision([int(assignment[str(j)]) for j in range(arrays.n)])

    def _search(self, seconds: float) -> dict[str, Any]:
        """Return the settings of the local search: its widest neighbourhoods after its fastest."""
        kinds = (
            "singleMoveTypeSpec", "swapMoveTypeSpec", "tripleLoopMoveTypeSpec",
            "klSearchMoveTypeSpec",
        )  # fmt: skip
        return {
            "solveTime": max(1, round(seconds)),
            "randomSeed": self._seed % 2**31,
            "moveTypeList": [{kind: {}} for kind in kinds],
        }
