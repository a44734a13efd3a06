"""Sets of shards get GPUs of their kind so that every copy is inside one link domain."""

import random
from collections import Counter
from dataclasses import replace
from itertools import permutations

import pytest

import made
from boards import drawn_boards
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.exact import seats
from kvplace.solver.exact.seats import seated
from kvplace.solver.instance.door import load_instance
from tiny import GIB


def groups_of(program, board):
    """Return kind and options of the set on each GPU that holds something."""
    return [
        (program.kind_of[g], tuple(sorted(board.option[j].row for j in held)))
        for g, held in enumerate(board.members)
        if held
    ]


def on_gpus(program, board):
    """Count the sets of an assignment."""
    return Counter(groups_of(program, board))


@pytest.mark.parametrize("seed", range(2))
def test_the_sets_of_a_placement_are_seated(seed):
    found, ruled = 0, 0
    for draw, problem, board in drawn_boards(seed, 60, valid=True):
        program = OptionSets(board.instance)
        groups = groups_of(program, board)
        draw.shuffle(groups)
        again = seated(program, groups)
        if again is None:
            ruled += bool(problem.rules) or bool(problem.resource_scopes)
            continue
        found += 1
        assert again.valid
        assert on_gpus(program, again) == Counter(groups)
        allowed, domain_of = board.instance.columns.allowed, board.instance.columns.domain_of
        for j, copies in enumerate(again.where):
            assert all(allowed[j][g] for copy in copies for g in copy)
            assert all(len({int(domain_of[g]) for g in copy}) == 1 for copy in copies)
    assert found + ruled == 60  # nothing but a rule about several models stands in the way
    assert found > 45


def ways(program, groups):
    """Yield every way to give the sets GPUs of their kind, by brute force."""
    g = program.instance.g
    for chosen in permutations(range(g), len(groups)):
        if all(program.kind_of[at] == kind for at, (kind, _) in zip(chosen, groups, strict=True)):
            yield chosen


def seatable(program, groups):
    """Whether some way to give the sets GPUs completes every copy in one link domain."""
    instance, columns = program.instance, program.instance.columns
    for chosen in ways(program, groups):
        held = Counter()
        may = True
        for g, (_, rows) in zip(chosen, groups, strict=True):
            for row in rows:
                held[row, int(columns.domain_of[g])] += 1
                may = may and columns.allowed[int(program.model[row])][g]
        if may and all(count % instance.degree[row] == 0 for (row, _), count in held.items()):
            return True
    return False


def drawn_sets(draw):
    """Random sets of shards of models of one to four shards, on nodes of different widths."""
    widths = draw.choice([(2, 2), (3, 2), (1, 4), (2, 2, 1), (4, 1), (1, 1, 2)])
    nodes = tuple(
        Node(f"n{k}", tuple(GPU(f"n{k}/{i}", "t", 80 * GIB) for i in range(width)))
        for k, width in enumerate(widths)
    )
    models, pins = [], []
    for k in range(draw.randint(1, 4)):
        degree = draw.choice([1, 2, 2, 3, max(widths)])
        degree = min(degree, max(widths))
        copies = draw.choice([1, 1, 2]) if degree * 2 <= sum(widths) else 1
        fields = {"tensor_parallel": (degree,), "replicas": Replicas(copies, copies)}
        models.append(made.model(f"m{k}", degree, 1.0, **fields))
        if draw.random() < 0.25:
            pins.append(Pin((f"m{k}",), None, Places(nodes=(draw.choice(nodes).name,))))
    problem = made.problem(models, Fleet(nodes))
    instance = load_instance(replace(problem, rules=tuple(pins)))
    if instance.n < len(models) or len(instance.size) < len(models):  # too wide for its node
        return None
    program = OptionSets(instance)
    on = [set() for _ in range(instance.g)]
    for row, shards in enumerate(program.shards.tolist()):
        for g in draw.sample(range(instance.g), min(shards, instance.g)):
            on[g].add(row)
    if sum(map(len, on)) != program.shards.sum():
        return None
    return program, [(0, tuple(sorted(rows))) for rows in on if rows]


@pytest.mark.parametrize("seed", range(2))
def test_seats_are_found_where_there_are_any_and_only_there(seed):
    draw, answers = random.Random(seed), Counter()
    while sum(answers.values()) < 100:
        drawn = drawn_sets(draw)
        if drawn is None:
            continue
        program, groups = drawn
        found = seated(program, groups)
        truth = seatable(program, groups)
        assert (found is not None) == truth
        answers[truth] += 1
        if found is not None:
            assert found.valid
            assert on_gpus(program, found) == Counter(groups)
    assert answers[True] > 20
    assert answers[False] > 20


def test_a_set_kept_to_one_gpu_gets_it_though_another_set_comes_first():
    """Both sets are of one kind; the second model may run on the first GPU alone."""
    models = [made.model("a", 20), made.model("b", 10)]
    for first in range(2):
        pin = Pin(("b",), None, Places(gpus=(f"h0/{first}",)))
        instance = load_instance(made.problem(models, made.fleet(80, gpus=2), pin))
        program = OptionSets(instance)
        for groups in ([(0, (0,)), (0, (1,))], [(0, (1,)), (0, (0,))]):
            found = seated(program, groups)
            assert found is not None
            assert on_gpus(program, found) == Counter(groups)


def test_a_domain_that_a_model_may_not_use_does_not_rule_out_one_that_looks_alike():
    """Found by the draw above: one mask for all models, and the first of two nodes outside it."""
    models = [made.model("a", 20, tensor_parallel=(2,))]
    pin = Pin(("a",), None, Places(nodes=("h1",)))
    instance = load_instance(made.problem(models, made.fleet(80, 80, gpus=2), pin))
    assert len(instance.masks) == 1
    found = seated(OptionSets(instance), [(0, (0,)), (0, (0,))])
    assert found.where == [((2, 3),)]


def test_no_set_at_all_places_nobody():
    instance = load_instance(made.problem([made.model("a", 20)], made.fleet(80)))
    assert seated(OptionSets(instance), []) is None


def test_more_sets_of_a_kind_than_gpus_have_no_seats():
    models = [made.model(name, 20) for name in "abc"]
    program = OptionSets(load_instance(made.problem(models, made.fleet(80, gpus=2))))
    assert seated(program, [(0, (0,)), (0, (1,)), (0, (2,))]) is None
    assert seated(program, [(0, (0,)), (0, (1, 2))]).valid


def test_seats_tried_are_limited(monkeypatch):
    models = [made.model(name, 20, tensor_parallel=(2,)) for name in "ab"]
    program = OptionSets(load_instance(made.problem(models, made.fleet(80, 80, gpus=2))))
    groups = [(0, (0,)), (0, (1,)), (0, (0,)), (0, (1,))]
    assert seated(program, groups).valid
    monkeypatch.setattr(seats, "NODES", 3)
    assert seated(program, groups) is None
