"""Proof trees: what proves a bound by cases, and what does not."""

import dataclasses
import math
import random

import pytest

from kvplace.core.certificates import cover
from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.certificates.claim import Choice, Leaf, ProofTree
from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.sizes import scaled_sizes
from kvplace.core.certificates.tree import check_tree
from kvplace.core.models.objective import Objective
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import OBJECTIVES, random_split_problem
from tiny import byte_problem, random_problem

GIB = 2**30


def sized(problem, threshold):
    """Return the leaf that prices every model at its size, and every GPU at its memory."""
    memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    return Leaf(
        tuple(scaled_sizes(problem, threshold)),
        tuple((memory, memory << 64) for memory in memories),
    )


def three():
    """Return three models of 4, 4 and 4 bytes without load on two GPUs of 7: one too many."""
    return byte_problem([7, 7], [(4, 0.0)] * 3)


def test_a_packing_that_no_price_alone_refutes_is_refuted_by_a_search():
    # 12 bytes in 14: by size there is room. Only sets of one fit, so a third GPU would be needed.
    problem = three()
    leaf = Leaf((4, 4, 4), ((7, 7),))
    assert check_tree(problem, ProofTree(math.inf, (leaf,))) == ""
    assert check_tree(byte_problem([7, 8], [(4, 0.0)] * 3), ProofTree(math.inf, (leaf,)))
    enough = byte_problem([9, 7], [(4, 0.0)] * 3)
    refused = check_tree(enough, ProofTree(math.inf, (Leaf((4, 4, 4), ((7, 7), (9, 9))),)))
    assert "all models can be held" in refused


def test_both_cases_of_a_choice_must_be_proved():
    problem = three()
    choice, inside = Choice(0, (0,)), Leaf((4, 4, 4), ((7, 7),))
    outside = Leaf((0, 0, 0), ((7, 0),))  # the model has no other option
    assert check_tree(problem, ProofTree(math.inf, (choice, inside, outside))) == ""
    assert "left open" in check_tree(problem, ProofTree(math.inf, (choice, inside)))
    assert "no case" in check_tree(problem, ProofTree(math.inf, (inside, inside)))
    assert "left open" in check_tree(problem, ProofTree(math.inf, ()))
    assert check_tree(problem, ProofTree(math.inf, (choice, outside, outside)))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Choice(0, ()), "options of a model"),
        (Choice(3, (0,)), "options of a model"),
        (Choice(-1, (0,)), "options of a model"),
        (Choice(0, (1,)), "no such options"),
        (Choice(0, (-1,)), "no such options"),
        (Choice(0, (0,), ("nowhere",)), "that the fleet does not have"),
        (Leaf((4, 4), ((7, 7),)), "2 prices for 3 models"),
        (Leaf((4, 4, 4), ((8, 7),)), "each kind of GPU"),
        (Leaf((4, 4, 4), ((7, 7), (7, 7))), "each kind of GPU"),
        (Leaf((4, 4, -4), ((7, 7),)), "non-negative integer"),
        (Leaf((4, 4, 4.0), ((7, 7),)), "non-negative integer"),
        (Leaf((4, 4, 1 << 300), ((7, 7),)), "more than 256 bits"),
    ],
)
def test_what_is_no_tree_is_told(node, words):
    assert words in check_tree(three(), ProofTree(math.inf, (node,)))


def test_what_the_tree_does_not_speak_of_is_told():
    assert "not above 0" in check_tree(three(), ProofTree(0.0, ()))
    assert "not above 0" in check_tree(three(), ProofTree(math.nan, ()))
    many = ProofTree(math.inf, (Choice(0, (0,)),) * 20_001)
    assert isinstance(check_tree(three(), many), TooLarge)


def test_work_is_bounded():
    draw = random.Random(1)
    problem = byte_problem([100] * 20, [(draw.randint(10, 40), 0.0) for _ in range(70)])
    tree = ProofTree(math.inf, (sized(problem, math.inf),))
    assert isinstance(check_tree(problem, tree, steps=100_000), TooLarge)


def test_work_can_be_halted_from_outside(monkeypatch):
    monkeypatch.setattr(cover, "LOOK", 10)
    tree, asked = ProofTree(math.inf, (Leaf((4, 4, 4), ((7, 7),)),)), []
    assert check_tree(three(), tree, halt=lambda: asked.append(1)) == ""
    assert asked
    assert isinstance(check_tree(three(), tree, halt=lambda: True), TooLarge)


def test_no_tree_proves_what_brute_force_denies():
    draw, seen = random.Random(5), {True: 0, False: 0}
    for _ in range(150):
        problem = random_problem(draw, 3, 5)
        truth = solve_exactly(problem)
        optimum = float(truth.optimum) if truth.feasible else math.inf
        if not 0 < optimum < math.inf:
            continue
        for threshold in (optimum * 0.999, optimum * 1.001):
            leaf = sized(problem, threshold)
            low = tuple(price * draw.randint(0, 3) for price in leaf.prices)
            other = draw.choice([leaf, leaf._replace(prices=low)])
            nodes = (leaf,) if draw.random() < 0.3 else (Choice(0, (0,)), other, leaf)
            proved = check_certificate(problem, ProofTree(threshold, nodes)) == ""
            seen[proved] += 1
            assert not proved or threshold <= optimum
    assert min(seen.values()) > 20


def test_options_and_pressures_are_searched_as_brute_force_does():
    seen = {True: 0, False: 0}
    for number in range(80):
        draw = random.Random(f"tree/{number}")
        problem = random_split_problem(draw, 4, (Objective.PRESSURE, *OBJECTIVES))
        bare = dataclasses.replace(problem, rules=())
        best = solve_by_force(bare).value
        if not 0 < best < math.inf:
            continue
        for threshold in (best * 0.9, best * 0.999, best * 1.001):
            leaf = counting(bare, threshold)
            proved = check_tree(bare, ProofTree(threshold, (leaf,))) == ""
            seen[proved] += 1
            assert not proved or threshold <= best
    assert min(seen.values()) > 20


def counting(problem, threshold):
    """Return the leaf that prices every shard at 1 and a GPU at the most that it could hold."""
    table = problem.option_table
    models = range(len(problem.names))
    prices = tuple((1,) * table.count(j) for j in models)
    if problem.plain:
        prices = (1,) * len(models)
    if problem.goal is not Objective.PRESSURE:
        memories = sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
        return Leaf(prices, tuple((memory, len(models)) for memory in memories))
    kinds = sorted({(gpu.type, gpu.usable_bytes) for gpu in problem.fleet.gpus})
    rows = 2 * len(problem.windows)
    weights = tuple(tuple(int(at == row) for at in range(rows)) for row in range(rows))
    worths = tuple((memory, len(models)) for _, memory in kinds)
    return Leaf(prices, worths, weights, tuple(kind for kind, _ in kinds))
