"""Split models that share their GPUs, taken as one."""

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.clock import Watch
from kvplace.solver.construct.stacked import stacked
from kvplace.solver.instance.door import load_instance

COLD = 1e15
"""A target at which loads take no byte."""


def instance_of(*models):
    """Models of a degree and bytes of a shard each, on two nodes of four GPUs of 100 bytes."""
    nodes = tuple(
        Node(f"n{k}", tuple(GPU(f"n{k}/{i}", "t", 100) for i in range(4))) for k in range(2)
    )
    made = tuple(
        Model(
            f"m{j}", degree * size, Demand(1.0), SLO(latency_seconds=1.0),
            tensor_parallel=(degree,), overhead_bytes=0,
        )
        for j, (degree, size) in enumerate(models)
    )  # fmt: skip
    return load_instance(Problem(made, Fleet(nodes), Objective.REQUESTS))


def sizes(instance, pile):
    """Return degree and bytes of a shard of each model of a pile."""
    return [(instance.options[j][0].degree, instance.options[j][0].size) for j in pile]


def test_models_of_one_degree_are_on_one_another_as_they_fit_best():
    instance = instance_of((2, 60), (2, 35), (2, 20), (1, 30))
    found = stacked(instance, COLD, Watch())
    assert [sizes(instance, pile) for pile in found.piles] == [[(2, 60), (2, 35)]]
    option = found.instance.options[-1][0]
    assert (option.degree, option.size) == (2, 95)
    assert option.load == sum(instance.options[j][0].load for j in found.piles[0])


def test_two_narrow_models_share_the_gpus_of_a_wide_one():
    instance = instance_of((4, 60), (2, 35), (2, 30))
    found = stacked(instance, COLD, Watch())
    assert [sizes(instance, pile) for pile in found.piles] == [[(4, 60), (2, 35), (2, 30)]]
    assert found.instance.options[-1][0].size == 95  # of the larger one beside it
    board = found.board(instance, Assignment(found.instance, [((0, 1, 2, 3),)]))
    assert board.valid
    assert sorted(map(sorted, board.where)) == [[(0, 1)], [(0, 1, 2, 3)], [(2, 3)]]
    empty = found.board(instance, Assignment(found.instance))
    assert empty.missing == sum(instance.least_bytes)


def test_there_are_no_piles_where_nothing_fits_on_another():
    assert stacked(instance_of((2, 60), (2, 55), (1, 10)), COLD, Watch()) is None


def test_no_pile_is_begun_once_time_is_over():
    """Where piles came too late, a start of the models alone was taken for one of the piles."""
    assert stacked(instance_of((2, 60), (2, 35), (2, 20), (1, 30)), COLD, Watch(0)) is None
