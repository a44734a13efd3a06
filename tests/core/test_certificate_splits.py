"""Certificates where degrees, copies and places are to be chosen: by hand and by brute force."""

import math
import random
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from kvplace.core.certificates import knapsack
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import (
    SCALE_BITS,
    Certificate,
    check_certificate,
    possible_options,
)
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from oracle_splits import solve_by_force
from seeds import seeds
from splits import random_split_problem
from tiny import GIB, byte_model, fleet


def problem_of(memories, *models, rules=()):
    """A problem whose KVPR is load / free bytes."""
    scaled = tuple(
        replace(m, demand=replace(m.demand, requests_per_second=m.demand.requests_per_second / GIB))
        for m in models
    )
    return Problem(scaled, fleet(memories), Objective.REQUESTS, rules)


# One model of 4 bytes and load 8 on two GPUs of 10. One copy: 8 / 6 on one GPU. Two copies:
# 4 / 6 on both, which is the optimum. Below K = 2/3 a single copy takes more than 4 + 12 bytes,
# which no GPU has, and each of two copies more than 4 + 6.
HOT = replace(byte_model("hot", 4, 8.0), replicas=Replicas(1, 2))


def test_one_copy_too_large_for_any_gpu_proves_it_by_hand():
    problem = problem_of([10, 10], HOT)
    assert solve_by_force(problem).value == pytest.approx(2 / 3)
    third = Certificate(2 / 3, ((0, 0),), ((10, 0),))
    assert check_certificate(problem, third) == ""
    above = replace(third, threshold=0.67)
    assert "not above all GPUs" in check_certificate(problem, above)
    # Split in two as well, each of two ranks carries half: 4 / (10 - 2) is better.
    both = replace(HOT, tensor_parallel=(1, 2))
    assert check_certificate(problem_of([10, 10], both), third)
    split = problem_of([10, 10], both)
    assert solve_by_force(split).value == pytest.approx(4 / 8)
    assert check_certificate(split, Certificate(4 / 8, ((0,) * 3,), ((10, 0),))) == ""


# Two models like that: in two copies each, 8 bytes of weights and a load of 8 on both GPUs, 8 / 2;
# in one copy each, 8 / 6. At K = 8/6 one copy takes 4 + 6 bytes, and each of two 4 + 3.
PAIR = problem_of([10, 10], HOT, replace(HOT, name="warm"))


def test_prices_per_option_by_hand():
    assert solve_by_force(PAIR).value == pytest.approx(8 / 6)
    near = math.nextafter(8 / 6, 0.0)
    proof = Certificate(near, ((10, 7), (10, 7)), ((10, 7),))
    # One copy no longer fits. Two of each model need 2 x 2 x 7 > 2 x 7: no GPU holds 7 + 7 bytes.
    assert check_certificate(PAIR, proof) == ""
    assert "not above" in check_certificate(PAIR, replace(proof, prices=((0, 3), (0, 3))))
    assert "priced above" in check_certificate(PAIR, replace(proof, worths=((10, 6),)))
    assert "priced above" in check_certificate(PAIR, replace(proof, threshold=2.7))
    for prices in [(7, 7), ((10, 7), 7), ((10, 7), (7,)), ((10, 7), [10, 7]), ((10, 7),) * 3]:
        assert check_certificate(PAIR, replace(proof, prices=prices))
    for wrong in [-1, 1.0, True]:
        assert "non-negative" in check_certificate(
            PAIR, replace(proof, prices=((10, wrong), (10, 7)))
        )


def test_a_scope_by_hand():
    # Two pinned to g0 of 10 bytes; nothing else is priced, so that g1 is worth nothing.
    alone = byte_model("a", 4, 1.0), byte_model("b", 4, 1.0), byte_model("c", 1, 1.0)
    rules = (Pin(("a", "b"), places=Places(gpus=("g0",))),)
    problem = problem_of([10, 30], *alone, rules=rules)
    assert solve_by_force(problem).value == pytest.approx(1.0)
    proof = Certificate(1.0, ((1,), (1,), (0,)), ((10, 1),), ("g0",))
    assert check_certificate(problem, proof) == ""
    assert "not above" in check_certificate(problem, replace(proof, worths=((10, 2),)))
    priced = replace(proof, prices=((1,), (1,), (1,)))
    assert "'c' is priced and may be outside the scope" in check_certificate(problem, priced)
    assert "a GPU that the fleet does not have" in check_certificate(
        problem, replace(proof, scope=("g9",))
    )
    # Of whole fleets the checker sees as well that neither may run on the 30 bytes of g1.
    everywhere = replace(proof, scope=(), worths=((10, 1), (30, 0)))
    assert check_certificate(problem, everywhere) == ""
    free = problem_of([10, 30], *alone, rules=(Pin(("c",), places=Places(gpus=("g0",))),))
    assert "30 bytes" in check_certificate(free, everywhere)


def test_uneven_copies_are_not_trusted_with_their_load():
    uneven = replace(HOT, replicas=Replicas(2, 2, Split.CAPACITY))
    problem = problem_of([10, 30], uneven)
    # At K = 1/4 an even part, of 4 + 4 / K bytes, fits the larger GPU; a lesser one may be there.
    assert possible_options(problem, 0, 1 / 4) == [(0, 4 << SCALE_BITS, 4)]
    assert possible_options(problem_of([10, 30], HOT), 0, 1 / 4) == [(1, 20 << SCALE_BITS, 4)]
    # At K = 1/8 it does not, and one of the copies carries that much or more.
    assert possible_options(problem, 0, 1 / 8) == []
    # A quarter on the small GPU and the rest on the large one, 2 / 6 and 6 / 26.
    assert solve_by_force(problem).value == pytest.approx(2 / 6)


def listed(problem, claim):
    """What each model is priced at least, and its offers, from the definition."""
    unit, found = problem.goal.memory_unit_bytes, []
    for index, (model, prices) in enumerate(zip(problem.models, claim.prices, strict=True)):
        memories = [problem.fleet.gpu(gpu).usable_bytes for gpu in problem.allowed(index)]
        pairs = [
            (degree, copies)
            for degree in model.tensor_parallel
            for copies in range(model.replicas.min, model.replicas.max + 1)
            if degree * copies <= len(memories)
        ]
        assert len(pairs) == len(prices)
        needed, offers = [], []
        domains = defaultdict(list)
        for gpu in problem.allowed(index):
            usable_bytes = problem.fleet.gpu(gpu).usable_bytes
            domains[problem.fleet.domain(gpu, "link")].append(usable_bytes)
        for (degree, copies), price in zip(pairs, prices, strict=True):
            if sum(len(gpus) // degree for gpus in domains.values()) < copies:
                continue
            weights = -(-model.weights_bytes // degree) + model.overhead_bytes
            least = weights + max(1, model.min_kv_bytes) if degree > 1 else 0
            if not any(sum(least <= gpu for gpu in gpus) >= degree for gpus in domains.values()):
                continue
            load = Fraction(problem.shard(index, degree, 1 / copies).load)
            known = copies == 1 or model.replicas.split is Split.EVEN
            more = load * unit / Fraction(claim.threshold) if load else 0
            size = Fraction(math.floor((weights + more) * 2**SCALE_BITS), 2**SCALE_BITS)
            kept = weights + model.min_kv_bytes
            if any(size < memory and kept <= memory for memory in memories):
                needed.append(degree * copies * price)
                offers.append((price, size if known else Fraction(weights), kept))
        found.append((min(needed, default=None), offers))
    return found


def dearest(found, memory):
    """The highest price of shards that fit a memory, one of each model at most."""
    best = 0
    for chosen in product(*([(0, 0, 0), *offers] for _, offers in found)):
        price, size, kept = map(sum, zip(*chosen, strict=True))
        if size < memory and kept <= memory:
            best = max(best, price)
    return best


def drawn_claim(draw, problem, optimum):
    """Prices per option, and worths that are the highest price of any set, or near it."""
    near = draw.choice([0.3, 0.6, 0.9, 0.999, 1.0, 1.001, 1.5])
    threshold = optimum * near if 0 < optimum < math.inf else draw.choice([1e-3, 1.0, 1e3]) * GIB
    fluid = draw.random() < 0.5
    prices = []
    for index in range(len(problem.models)):
        own = [draw.randint(0, 4) for _ in problem.options(index)]
        if fluid:
            own = [0] * len(own)
            for at, size, _ in possible_options(problem, index, threshold):
                own[at] = size
        prices.append(tuple(own))
    claim = Certificate(threshold, tuple(prices), ())
    found = listed(problem, claim)
    worths = tuple(
        (memory, max(0, dearest(found, memory) + draw.choice([0, 0, 0, -1, 1])))
        for memory in sorted({gpu.usable_bytes for gpu in problem.fleet.gpus})
    )
    return replace(claim, worths=worths), found


@pytest.mark.parametrize("seed", seeds(2, 4))
def test_the_checker_says_what_listing_all_sets_says(seed):
    draw, seen = random.Random(seed), Counter()
    while seen.total() < 250:
        problem = random_split_problem(draw, models=4)
        if problem.plain:
            continue
        # A certificate says nothing of soft rules.
        hard = replace(problem, rules=tuple(r for r in problem.rules if r.soft is None))
        truth = solve_by_force(hard)
        claim, found = drawn_claim(draw, problem, truth.value)
        worths, gpus = dict(claim.worths), [gpu.usable_bytes for gpu in problem.fleet.gpus]
        nowhere = any(needed is None for needed, _ in found)
        proved = nowhere or (
            sum(needed for needed, _ in found) > sum(worths[memory] for memory in gpus)
            and all(dearest(found, memory) <= worths[memory] for memory in worths)
        )
        accepted = check_certificate(problem, claim) == ""
        assert accepted == proved
        seen[accepted, truth.feasible] += 1
        if accepted:
            assert claim.threshold <= truth.value * (1 + OPTIMAL_GAP)
    assert seen[True, True] > 20
    assert seen[False, True] > 20


def test_a_copy_has_shards_only_where_link_domains_are_wide_enough():
    narrow = Node("n", tuple(GPU(f"n/{at}", "small", 2 * GIB) for at in range(2)), {})
    wide = Node("w", tuple(GPU(f"w/{at}", "large", 3 * GIB) for at in range(4)), {})
    problem = Problem((byte_model("a", GIB),), Fleet((narrow, wide)), Objective.REQUESTS)
    assert problem.wide(0, 2) == {("small", 2 * GIB), ("large", 3 * GIB)}
    assert problem.wide(0, 4) == problem.wide(0, 3) == {("large", 3 * GIB)}
    assert not problem.wide(0, 5)


def test_one_pressure_counts_no_shard_where_link_domains_are_too_narrow():
    # Two models in two shards of 6 bytes each: only the pair of 10 is wide enough, which holds one.
    models = [replace(byte_model(name, 12, 0.0), tensor_parallel=(2,)) for name in "ab"]
    pair = Node("p", tuple(GPU(f"p/{at}", "small", 10) for at in range(2)), {})
    lone = [Node(f"n{at}", (GPU(f"n{at}/0", "large", 30),), {}) for at in range(2)]
    problem = Problem(tuple(models), Fleet((pair, *lone)), Objective.REQUESTS)
    proof = Certificate(math.inf, ((1,), (1,)), ((10, 1), (30, 0)))
    assert check_certificate(problem, proof) == ""
    assert check_certificate(problem, RuleCertificate(math.inf, "fluid"))
    linked = Node("l", tuple(GPU(f"l/{at}", "large", 30) for at in range(2)), {})
    both = replace(problem, fleet=Fleet((pair, linked)))
    assert "priced above" in check_certificate(both, proof)


def test_an_option_too_large_for_wide_link_domains_is_none_by_hand():
    # A shard of 6 bytes and half the load of 8: 6 + 4 / K <= 10 on the pair, in one copy.
    model = replace(byte_model("a", 12, 8.0), tensor_parallel=(2,))
    pair = Node("p", tuple(GPU(f"p/{at}", "small", 10) for at in range(2)), {})
    lone = Node("n", (GPU("n/0", "large", 100),), {})
    demand = replace(model.demand, requests_per_second=8.0 / GIB)
    problem = Problem((replace(model, demand=demand),), Fleet((pair, lone)), Objective.REQUESTS)
    assert solve_by_force(problem).value == pytest.approx(1.0)
    for proof in (RuleCertificate(1.0, "fluid"), Certificate(1.0, ((0,),), ((10, 0), (100, 0)))):
        assert check_certificate(problem, proof) == ""
        assert check_certificate(problem, replace(proof, threshold=1.01))


def test_prices_on_levels_of_the_largest_gpu_are_checked_on_these_for_every_gpu(monkeypatch):
    # Only nodes of two large GPUs hold the split model, so that the small GPU is looked at by
    # itself. Prices are by 512 levels of the large GPU. Seven shards of 3,155 bytes are priced as
    # 119 levels, and a small GPU has 118. By 2,048 levels of the large GPU they are too large, with
    # 7 x 68 of 475; by 2,048 of the small one they would not be, and no search settles it here.
    monkeypatch.setattr(knapsack, "MAX_STEPS", 0)
    small, large = 22_060, 95_000
    alone, pair = GPU("a/0", "t", small), tuple(GPU(f"b/{i}", "t", large) for i in range(2))
    sizes = [3_155] * 7 + random.Random(0).choices(range(4_000, 20_000), k=300)
    models = [byte_model(f"m{j}", size, 0.0) for j, size in enumerate(sizes)]
    models.append(replace(byte_model("split", 80_000, 0.0), tensor_parallel=(2,)))
    fleet_ = Fleet((Node("a", (alone,)), Node("b", pair)))
    problem = Problem(tuple(models), fleet_, Objective.REQUESTS)
    levels = [size * 512 // large for size in [*sizes, 40_000]]
    price = [(level * 10**6 - level % 2,) for level in levels]  # no common divisor
    worths = tuple((m, m * 512 // large * 10**6) for m in (small, large))
    assert check_certificate(problem, Certificate(1.0, tuple(price), worths)) == ""
