"""HiGHS as a rival: a mixed-integer program with one binary per model and GPU.

At a target K the largest relative excess over a GPU's memory is minimised, from the incumbent as
a start. Unlike CP-SAT it reckons in floats: its bounds hold up to its tolerances.
"""

import importlib
import time
from fractions import Fraction
from typing import Any

import numpy as np

from kvplace.bench.rivals.narrow import Answer, Decision, Tell, narrow
from kvplace.bench.rivals.shapes import allowed, relabelled, sizes_at
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance

UNIT = 1000.0
"""The memory of the largest GPU in the program; tolerances are absolute, so this sets them."""
RESOLUTION = 1 << 50
SETTLED_GAP = 0.9999
"""Relative gap below which the signs of excess and bound agree: the target is decided."""
TOLERANCE = 1e-7
"""On a capacity: a part in 1e10 of the largest memory."""


def solve(arrays: Instance, watch: Watch, seed: int, tell: Tell) -> Answer:
    """Minimise the max KVPR with HiGHS until the watch stops."""
    return narrow(arrays, _Decider(arrays, seed), watch, tell)


class _Decider:
    """Decides targets with HiGHS.

    Parameters
    ----------
    arrays
        The problem.
    seed
        Of HiGHS.
    """

    def __init__(self, arrays: Instance, seed: int) -> None:
        self._arrays = arrays
        self._seed = seed
        pairs = [(j, g) for j, gpus in enumerate(allowed(arrays)) for g in gpus]
        self._model = np.array([j for j, _ in pairs])
        self._gpu = np.array([g for _, g in pairs])

    def __call__(self, target: float, start: list[int] | None, seconds: float) -> Decision:
        """Decide one target."""
        highspy: Any = importlib.import_module("highspy")  # here: it is slow to import
        end = time.perf_counter() + seconds
        highs = highspy.Highs()
        for name, option in (
            ("output_flag", False),
            ("random_seed", self._seed % 2**31),
            ("mip_rel_gap", SETTLED_GAP),
            ("mip_abs_gap", 0.0),
            ("mip_feasibility_tolerance", TOLERANCE),
            ("primal_feasibility_tolerance", TOLERANCE),
        ):
            highs.setOptionValue(name, option)
        highs.passModel(self._program(highspy, target))
        if start is not None:
            solution = highspy.HighsSolution()
            solution.col_value = self._columns(start, target)
            highs.setSolution(solution)
        highs.setOptionValue("time_limit", max(0.01, end - time.perf_counter()))
        highs.run()
        if highs.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            return Decision(None, impossible=True)
        info = highs.getInfo()
        if info.primal_solution_status != highspy.kSolutionStatusFeasible:
            return Decision(None)
        values = np.array(highs.getSolution().col_value[:-1])
        gpu_of = [-1] * self._arrays.n
        for at in np.flatnonzero(values > 0.5):
            gpu_of[self._model[at]] = int(self._gpu[at])
        if min(gpu_of) < 0:
            return Decision(None)
        return Decision(gpu_of, info.mip_dual_bound > TOLERANCE)

    def _columns(self, start: list[int], target: float) -> list[float]:
        """Return the values of all columns for a placement."""
        renamed = np.array(relabelled(self._arrays, start))
        chosen = (renamed[self._model] == self._gpu).astype(float)
        load = np.zeros(self._arrays.g)
        np.add.at(load, renamed, self._sizes(target))
        return [*chosen.tolist(), float((load - self._capacity()).max())]

    def _sizes(self, target: float) -> Any:
        """Return the sizes at a target in units of the program."""
        exact = sizes_at(self._arrays, target, Fraction(RESOLUTION, self._arrays.memory[0]))
        return np.array(exact, dtype=float) * (UNIT / RESOLUTION)

    def _capacity(self) -> Any:
        """Return the memories in units of the program."""
        return np.array(self._arrays.memory, dtype=float) * (UNIT / self._arrays.memory[0])

    def _program(self, highspy: Any, target: float) -> Any:
        """Return the program: choose a GPU per model, fill no GPU by more than the excess."""
        arrays, count = self._arrays, len(self._model)
        n, g = arrays.n, arrays.g
        keeps = any(arrays.keep)
        rows = n + g * (3 if keeps else 2)
        unit = UNIT / arrays.memory[0]
        blocks = [self._sizes(target), np.array(arrays.size, dtype=float) * unit]
        if keeps:
            least = [s + k for s, k in zip(arrays.size, arrays.keep, strict=True)]
            blocks.append(np.array(least, dtype=float) * unit)
        capacity = self._capacity()
        # A column holds its model's row, then its GPU's row in every block; the last is the excess.
        index = [self._model] + [n + at * g + self._gpu for at in range(len(blocks))]
        value = [np.ones(count)] + [block[self._model] for block in blocks]
        width = len(index)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = count + 1, rows
        lp.col_cost_ = np.append(np.zeros(count), 1.0)
        lp.col_lower_ = np.append(np.zeros(count), -UNIT)
        lp.col_upper_ = np.append(np.ones(count), UNIT)
        lp.row_lower_ = np.append(np.ones(n), np.full(rows - n, -highspy.kHighsInf))
        # A byte stays free; the blocks after the first do not depend on the target.
        upper = [np.ones(n), capacity, capacity - unit] + ([capacity] if keeps else [])
        lp.row_upper_ = np.concatenate(upper)
        matrix = lp.a_matrix_
        matrix.format_ = highspy.MatrixFormat.kColwise
        starts = np.append(np.arange(count + 1) * width, count * width + g)
        matrix.start_ = starts
        matrix.index_ = np.append(np.stack(index, axis=1).ravel(), np.arange(n, n + g))
        matrix.value_ = np.append(np.stack(value, axis=1).ravel(), np.full(g, -1.0))
        integer, continuous = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
        lp.integrality_ = [*[integer] * count, continuous]
        return lp
