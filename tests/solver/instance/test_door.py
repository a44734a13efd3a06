"""Problems become numbers and come back as placements, names and all."""

import random
from dataclasses import replace

import numpy as np
import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.solver.instance import door, order
from kvplace.solver.instance.door import (
    load_copies,
    load_instance,
    load_placement,
    unload_assignment,
    unload_copies,
)
from splits import random_split_problem, random_where
from tiny import byte_model, byte_problem, fleet, random_problem

OBJECTIVES = Objective.REQUESTS, Objective.TOKENS, Objective.PRESSURE


def shuffled(problem, draw):
    """The same problem with its models and nodes in another order."""
    models, nodes = list(problem.models), list(problem.fleet.nodes)
    draw.shuffle(models)
    draw.shuffle(nodes)
    return replace(problem, models=tuple(models), fleet=replace(problem.fleet, nodes=tuple(nodes)))


def numbers(instance):
    """What an instance says, without the positions in its input."""
    return (
        list(instance.starts),
        *(list(getattr(instance, name)) for name in ("degree", "copies", "size", "keep", "loads")),
        list(instance.memory),
        instance.pressures,
        [tuple(instance.masks[at]) for at in instance.mask_of],
    )


@pytest.mark.parametrize("seed", range(2))
def test_the_order_of_the_input_does_not_change_the_numbers(seed):
    draw = random.Random(seed)
    for _ in range(40):
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        other = shuffled(problem, draw)
        one, two = load_instance(problem), load_instance(other)
        assert numbers(one) == numbers(two)
        names = [
            [p.names[i] for i in instance.model_index]
            for p, instance in ((problem, one), (other, two))
        ]
        assert names[0] == names[1]


def test_models_come_by_falling_load_and_gpus_by_falling_memory():
    problem = byte_problem([10, 30, 20, 30], [(1, 2.0), (5, 9.0), (7, 2.0), (7, 2.0)])
    instance = load_instance(problem)
    assert list(instance.model_index) == [1, 2, 3, 0]
    assert list(instance.gpu_index) == [1, 3, 2, 0]
    assert list(instance.memory) == [30, 30, 20, 10]
    assert (instance.n, instance.g, instance.pressures, instance.types) == (4, 4, 1, 1)


@pytest.mark.parametrize("seed", range(2))
def test_undivided_models_have_the_needs_that_core_states(seed):
    draw = random.Random(seed)
    for _ in range(40):
        try:
            problem = random_problem(draw)
        except InputError:
            continue
        instance = load_instance(problem)
        for j, i in enumerate(instance.model_index):
            need = problem.need(i)
            assert instance.size[j] == need.weights_bytes
            assert instance.keep[j] == need.min_kv_bytes
            assert instance.load[j] == need.load * problem.goal.memory_unit_bytes


@pytest.mark.parametrize("seed", range(2))
def test_options_have_the_needs_that_core_states(seed):
    draw = random.Random(seed)
    for _ in range(40):
        problem = random_split_problem(draw)
        instance = load_instance(problem)
        for j, i in enumerate(instance.model_index):
            assert {(o.degree, o.copies) for o in instance.options[j]} == set(problem.options(i))
            for option in instance.options[j]:
                need = problem.need(i, option.degree, option.copies)
                assert (option.size, option.keep) == (need.weights_bytes, need.min_kv_bytes)
                if not instance.is_uneven(j):
                    expected = need.load * problem.goal.memory_unit_bytes
                    assert option.load == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_placements_come_back_as_they_were(seed):
    draw, compared = random.Random(seed), 0
    while compared < 50:
        problem = random_split_problem(draw, objectives=OBJECTIVES)
        instance = load_instance(problem)
        where = random_where(draw, problem, instance)
        if where is None:
            continue
        compared += 1
        placement = unload_copies(problem, instance, where)
        found = load_copies(problem, instance, placement)
        assert [sorted(map(sorted, c)) for c in found] == [sorted(map(sorted, c)) for c in where]
        assert unload_copies(problem, instance, found) == placement
        structural = {"replicas", "degree", "distinct_gpus", "one_node", "numbering"}
        assert not structural & {v.kind for v in evaluate(problem, placement).violations}


def test_undivided_placements_come_back_by_any_way():
    draw = random.Random(3)
    problem = byte_problem([30, 20, 10], [(1, float(j)) for j in range(8)])
    instance = load_instance(problem)
    gpu_of = [draw.randrange(3) for _ in range(8)]
    placement = unload_copies(problem, instance, [((g,),) for g in gpu_of])
    assert load_placement(problem, instance, placement) == gpu_of
    many = unload_assignment(problem, instance, np.array(gpu_of))
    assert load_placement(problem, instance, many) == gpu_of


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ([], ["'m0' has no GPU"]),
        ([("m0", ("g0",)), ("b", ("g0",))], ["'b', which is no model"]),
        ([("m0", ("g7",))], ["g7", "GPU of the fleet"]),
        ([("b", ("g0",))], ["'b'", "'m0' has no GPU"]),
    ],
)
def test_what_a_placement_lacks_is_named_all_at_once(replicas, words):
    problem = byte_problem([10], [(1, 1.0)])
    instance = load_instance(problem)
    placement = Placement(tuple(Replica(name, 0, gpus) for name, gpus in replicas))
    for load in (load_placement, load_copies):
        with pytest.raises(InputError) as error:
            load(problem, instance, placement)
        assert all(word in str(error.value) for word in words)


def test_copies_that_are_no_option_are_nowhere():
    model = replace(byte_model("m", 8, 1.0), tensor_parallel=(2,), replicas=Replicas(1, 2))
    problem = Problem((model,), fleet([10, 10, 10, 10], nodes=2), Objective.REQUESTS)
    instance = load_instance(problem)
    near, far = ([gpu.id for gpu in node.gpus] for node in problem.fleet.nodes)

    def loaded(*copies):
        held = tuple(Replica("m", number, gpus) for number, gpus in enumerate(copies))
        return load_copies(problem, instance, Placement(held))[0]

    assert len(loaded(tuple(near))) == 1
    assert len(loaded(tuple(near), tuple(far))) == 2
    for wrong in [(near[0],)], [(near[0], near[0])], [(near[0], far[0])], [near, near]:
        assert loaded(*map(tuple, wrong)) == ()


def test_many_models_are_loaded_as_few_are(monkeypatch):
    rows = [(j % 5, float(j % 3)) for j in range(40)]
    few = load_instance(byte_problem([30, 20], rows))
    for module in (order, door):
        monkeypatch.setattr(module, "MANY", 10)
    many = load_instance(byte_problem([30, 20], rows))
    assert numbers(few) == numbers(many)
    assert list(few.model_index) == list(many.model_index)


def test_windows_that_another_is_never_below_are_left_out():
    draw, several = random.Random(1), 0
    for _ in range(60):
        problem = random_split_problem(draw, objectives=(Objective.PRESSURE,))
        instance = load_instance(problem)
        windows = problem.pressures.table.windows
        assert 1 <= instance.kv <= windows
        assert 1 <= instance.time <= windows
        assert set(instance.kv_windows) <= set(range(windows))
        several += instance.kv > 1
    assert several > 0
