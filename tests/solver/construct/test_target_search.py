"""Some assignment is found soon, and a search that ends then returns it."""

import math
import random

import made
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.clock import Progress, Watch
from kvplace.solver.construct.target_search import some_assignment
from kvplace.solver.instance.door import load_instance, unload_copies
from kvplace.solver.instance.options import Chooser
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import ClusterParams, Params
from splits import random_split_problem


def test_some_assignment_is_whole_and_valid():
    draw, found = random.Random(3), 0
    for _ in range(40):
        problem = random_split_problem(draw, models=4)
        chooser = Chooser(load_instance(problem))
        low = FluidBound(chooser).value
        if not 0 < low < math.inf:
            continue
        board = some_assignment(chooser, low, Watch())
        if board is not None:
            found += 1
            placement = unload_copies(problem, chooser.instance, board.where)
            assert not evaluate(problem, placement).violations
    assert found >= 10
    assert some_assignment(chooser, 1.0, Watch(0.0)) is None


def test_a_search_that_is_interrupted_while_it_configures_has_a_plan():
    models = [made.model(f"m{at}", 10 + at, 1.0 + at, tensor_parallel=(1, 2)) for at in range(12)]
    problem = made.problem(models, made.fleet(80, 80, 80, gpus=4))

    def stop(progress: Progress) -> None:
        if progress.phase == "configure":
            watch.interrupt()

    watch = Watch(60.0, stop)
    result = solve(problem, watch=watch, params=Params(cluster=ClusterParams(large=0)))
    assert result.placement is not None
    assert not result.evaluation.violations
