"""The checker that can say no: by hand, against brute force, and on damaged certificates."""

import math
import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from kvplace.core.certificates import certificate, relaxations
from kvplace.core.certificates import knapsack as checker
from kvplace.core.certificates.certificate import (
    SCALE_BITS,
    Certificate,
    check_certificate,
    scaled_sizes,
)
from kvplace.core.certificates.knapsack import TooLarge, set_above
from kvplace.core.certificates.offers import Bin, Offer
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.result import Status
from kvplace.solver.solve import solve
from oracle import solve_exactly
from tiny import GIB, byte_problem, byte_problems, fleet, random_problem


def plain(memories, rows):
    """A problem whose KVPR is load / free bytes, from rows of (bytes, load) or with min_kv.

    Occupancy, with one token of one byte held for one second.
    """
    models = tuple(
        Model(f"m{j}", row[0], Demand(float(row[1]), 1.0, 0.0), SLO(1.0, 0.0), 1,
              overhead_bytes=0, min_kv_bytes=row[2] if len(row) > 2 else 0)
        for j, row in enumerate(rows)
    )  # fmt: skip
    return Problem(models, fleet(memories), Objective.OCCUPANCY)


# Two GPUs of 10 bytes, three models of 4 bytes and load 2: some GPU holds two of them, and
# (2 + 2) / (10 - 8) = 2. Below K = 2 each takes more than 4 + 2 / 2 = 5 bytes, so no GPU holds
# two: with prices of 1 a GPU is worth 1, and 3 > 2 x 1.
PAIR = plain([10, 10], [(4, 2)] * 3)
PROOF = Certificate(2.0, (1, 1, 1), ((10, 1),))


def test_a_proof_by_hand():
    assert solve_exactly(PAIR).optimum == 2
    assert check_certificate(PAIR, PROOF) == ""


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"threshold": math.nextafter(2.0, 3.0)}, "priced above its worth"),
        ({"threshold": math.inf}, "priced above its worth"),
        ({"threshold": 0.0}, "not above 0"),
        ({"threshold": -2.0}, "not above 0"),
        ({"threshold": math.nan}, "not above 0"),
        ({"prices": (1, 1, 0)}, "not above all GPUs'"),
        ({"prices": (1, 1)}, "2 prices for 3 models"),
        ({"prices": (1, 1, 1, 1)}, "4 prices for 3 models"),
        ({"prices": ()}, "0 prices for 3 models"),
        ({"prices": (1, 1, -1)}, "not a non-negative integer"),
        ({"prices": (1, 1, 1.0)}, "not a non-negative integer"),
        ({"prices": (1, 1, True)}, "not a non-negative integer"),
        ({"prices": (1, 1, 2)}, "priced above its worth"),
        ({"worths": ((10, 2),)}, "not above all GPUs'"),
        ({"worths": ((10, 0),)}, "priced above its worth"),
        ({"worths": ((10, -1),)}, "not a non-negative integer"),
        ({"worths": ((10, 1.0),)}, "not a non-negative integer"),
        ({"worths": ()}, "do not name each size"),
        ({"worths": ((9, 1),)}, "do not name each size"),
        ({"worths": ((10, 1), (11, 0))}, "do not name each size"),
        ({"worths": ((10, 1), (10, 1))}, "do not name each size"),
    ],
)
def test_damage_by_hand(change, objection):
    assert objection in check_certificate(PAIR, replace(PROOF, **change))


@pytest.mark.parametrize(
    "harmless",
    [
        {"threshold": 1.0},  # a weaker claim on the same evidence
        {"threshold": 5e-324},
        {"prices": (5, 5, 5), "worths": ((10, 5),)},  # another unit of worth
    ],
)
def test_changes_that_leave_a_proof(harmless):
    assert check_certificate(PAIR, replace(PROOF, **harmless)) == ""


def test_a_proof_belongs_to_its_problem():
    assert check_certificate(plain([10, 10], [(4, 2)] * 2), PROOF)
    assert check_certificate(plain([10, 11], [(4, 2)] * 3), PROOF)
    assert check_certificate(plain([10, 10, 10], [(4, 2)] * 3), PROOF)
    lighter = math.nextafter(2.0, 0.0)
    assert check_certificate(plain([10, 10], [(4, 2), (4, 2), (4, lighter)]), PROOF)
    assert check_certificate(plain([10, 10], [(3, 2), (4, 2), (4, 2)]), PROOF)


def test_memory_alone_by_hand():
    claim = replace(PROOF, threshold=math.inf)
    # Two of 5 bytes leave nothing of 10; two of 4 bytes leave 2, of which one is to be left 3.
    assert check_certificate(plain([10, 10], [(5, 0)] * 3), claim) == ""
    assert check_certificate(plain([10, 10], [(4, 0, 2)] * 3), claim) == ""
    assert "priced above" in check_certificate(plain([10, 10], [(4, 0, 1)] * 3), claim)
    # Each limit by itself lets a pair through: 4 + 5 bytes leave 1, of which 3 must be left; two
    # of 5 bytes leave nothing, and need nothing. Only both limits together prove it.
    both = plain([10, 10], [(4, 0, 3), (5, 0), (5, 0)])
    assert not solve_exactly(both).feasible
    assert check_certificate(both, claim) == ""


def test_a_model_that_fits_nowhere_by_hand():
    misfit = plain([10, 7], [(10, 1.0), (1, 1.0)])
    assert check_certificate(misfit, Certificate(math.inf, (1, 0), ((7, 0), (10, 0)))) == ""
    assert check_certificate(misfit, Certificate(math.inf, (0, 1), ((7, 0), (10, 0))))


def test_zero_sizes_are_free_at_any_threshold():
    # Two models of no bytes and no load: any number of them fit.
    free = plain([10], [(0, 0), (0, 0), (4, 3)])
    assert solve_exactly(free).optimum == Fraction(1, 2)
    assert check_certificate(free, Certificate(0.5, (0, 0, 1), ((10, 0),))) == ""
    assert check_certificate(free, Certificate(0.5, (1, 1, 3), ((10, 5),)))
    assert check_certificate(free, Certificate(0.5, (1, 1, 3), ((10, 2),))) == ""
    assert check_certificate(free, Certificate(0.5, (1, 1, 3), ((10, 1),)))


def test_prices_say_nothing_of_models_that_may_be_split_or_copied():
    alone = Certificate(1.0, (1,), ((10, 0),))
    problem = plain([10, 10], [(4, 6)])
    assert check_certificate(problem, alone) == ""
    for freedom in [{"tensor_parallel": (1, 2)}, {"replicas": Replicas(1, 2)}]:
        freer = Problem((replace(problem.models[0], **freedom),), problem.fleet, problem.objective)
        assert "needs 2 prices" in check_certificate(freer, alone)


def test_giving_up_is_a_rejection(monkeypatch):
    # 6 and 4 bytes fill a GPU of 10, of which one must stay free: by fractions alone 3 + 2 fit.
    problem = plain([10], [(6, 0), (4, 0)])
    proof = Certificate(1.0, (3, 2), ((10, 3),))
    assert check_certificate(problem, proof) == ""
    monkeypatch.setattr(checker, "MAX_ENTRIES", 0)
    monkeypatch.setattr(checker, "MAX_STEPS", 0)
    failure = check_certificate(problem, proof)
    assert "not settled" in failure
    assert isinstance(failure, TooLarge)  # no verdict on the claim


def eighty(worth):
    """A GPU of 80 GiB."""
    return Bin(((80 << 94) - 1, 80 << 30), worth, "80 GiB")


def test_crafted_options_cost_a_bounded_number_of_sets(monkeypatch):
    # Two offers per model, close in price: sets doubled with every model, to gigabytes.
    grown = []
    undominated = checker._undominated
    monkeypatch.setattr(
        checker, "_undominated", lambda found: grown.append(len(found)) or undominated(found)
    )
    groups = [
        (Offer(10**12 + 39, (1 << 94, 1 << 30)), Offer(10**12 + 61, (1 << 93, 1 << 29)))
        for _ in range(40)
    ]
    assert "priced above" in set_above(groups, [eighty(10**12 * 20 - 10**10)])
    assert max(grown) <= 2 * 41


def test_many_equal_models_are_one_kind():
    # 600 sets of growing size, not 600 copies of the list of them.
    groups = [(Offer(1_000_003, (1 << 84, (1 << 20) + 1)),)] * 600
    assert "priced above" in set_above(groups, [eighty(1_000_003 * 600 - 1)])
    assert set_above(groups, [eighty(1_000_003 * 600)]) == ""


def test_a_price_of_thousands_of_digits_is_refused():
    problem = plain([10], [(6, 0), (4, 0)])
    huge = 10**4000
    assert "bits" in check_certificate(problem, Certificate(1.0, (3, huge), ((10, huge),)))


def test_models_of_one_level_are_settled_together(monkeypatch):
    # Three of 4 bytes and more never share 10 bytes, however many there are to choose from; the
    # best price per size does not say so.
    sizes = [(4 + j % 3, 0) for j in range(50)]
    problem = plain([10] * 20, sizes)
    proof = Certificate(1.0, (1,) * 50, ((10, 2),))
    dear = Certificate(1.0, (1,) * 50, ((10, 1),))
    monkeypatch.setattr(checker, "MAX_ENTRIES", 0)
    monkeypatch.setattr(checker, "MAX_STEPS", 0)
    assert check_certificate(problem, proof) == ""  # 10 / 4 rounded down
    prices = tuple(5 if size == 6 else 3 for size, _ in sizes)
    proof = Certificate(1.0, prices, ((10, 6),))  # 3 + 3; a part of 5 and 3 would be 7
    assert "not settled" in check_certificate(problem, proof)
    monkeypatch.setattr(relaxations, "GRID", 40)
    assert check_certificate(problem, proof) == ""
    assert "not settled" in check_certificate(problem, dear)


def test_sizes_are_rounded_down_and_exact_where_they_can_be():
    problem = plain([10], [(4, 1), (4, 0)])
    assert scaled_sizes(problem, 2.0) == [
        (4 << SCALE_BITS) + (1 << SCALE_BITS - 1),
        4 << SCALE_BITS,
    ]
    assert scaled_sizes(problem, math.inf) == [4 << SCALE_BITS] * 2
    third = scaled_sizes(problem, 3.0)[0]
    assert third <= (4 + Fraction(1, 3)) * 2**SCALE_BITS < third + 1
    # In requests a load is per GiB.
    assert scaled_sizes(byte_problem([10], [(4, 1.0)]), float(GIB)) == [5 << SCALE_BITS]


@pytest.mark.parametrize(
    ("memory", "rows"),
    [
        (22, [(3, 1.0), (5, 0.3)]),
        # One byte stays free, so that K is huge and a load takes next to nothing at K.
        (66571993088, [(0, 1208323514.1806343), (66571993087, 11534336000.0)]),
    ],
)
def test_the_fluid_bound_is_certified_where_hardly_a_byte_is_free(memory, rows):
    found = solve(plain([memory], rows), solver="reference")
    assert found.status is Status.OPTIMAL
    assert found.proof.certificate is not None


def proved(problem, claim, scaled):
    """Whether a well-formed certificate proves its claim, by listing every set of models.

    With `scaled`, on the integers that the checker is to use; else on exact numbers.
    """
    unit, infinite = problem.goal.memory_unit_bytes, math.isinf(claim.threshold)
    rows = []
    for model, load, price in zip(problem.models, problem.loads, claim.prices, strict=True):
        weights = model.weights_bytes + model.overhead_bytes
        size = Fraction(weights)
        if not infinite:
            size += Fraction(load) * unit / Fraction(claim.threshold)
        if scaled:
            size = Fraction(math.floor(size * 2**SCALE_BITS), 2**SCALE_BITS)
        rows.append((size, weights + model.min_kv_bytes, price))
    sums = [(Fraction(0), 0, 0)]
    for size, least, price in rows:
        sums += [(s + size, m + least, p + price) for s, m, p in sums]
    gpus = [gpu.usable_bytes for gpu in problem.fleet.gpus]
    worths = dict(claim.worths)
    if sum(claim.prices) <= sum(worths[memory] for memory in gpus):
        return False
    return all(
        price <= worths[memory]
        for memory in set(gpus)
        for size, least, price in sums
        if size < memory and least <= memory
    )


@st.composite
def claims(draw, problem):
    """A certificate that may well hold: worths are the best that any set is priced at, or near."""
    truth = solve_exactly(problem, leximax=False)
    optimum = float(truth.optimum) if truth.feasible else math.inf
    finite = optimum if 0 < optimum < math.inf else 1.0
    near = draw(st.sampled_from([0.5, 0.9, 0.999, 1 - 2**-52, 1.0, 1 + 2**-52, 1.001, 1.5]))
    threshold = draw(st.sampled_from([optimum, math.inf, finite * near, finite * near]))
    assume(threshold > 0)
    prices = tuple(draw(st.integers(0, 4)) for _ in problem.models)
    if draw(st.booleans()):
        prices = tuple(scaled_sizes(problem, threshold))
    sums = [(0, 0, 0)]
    for at, size in enumerate(scaled_sizes(problem, threshold)):
        need = problem.need(at)
        least = need.weights_bytes + need.min_kv_bytes
        sums += [(p + prices[at], s + size, m + least) for p, s, m in sums]
    worths = []
    for memory in sorted({gpu.usable_bytes for gpu in problem.fleet.gpus}):
        worth = max(p for p, s, m in sums if s < memory << SCALE_BITS and m <= memory)
        worths.append((memory, max(0, worth + draw(st.sampled_from([0, 0, 0, -1, 1])))))
    return Certificate(threshold, prices, tuple(worths))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_checker_says_what_listing_all_sets_says(data):
    problem = data.draw(byte_problems(models=5))
    claim = data.draw(claims(problem))
    accepted = check_certificate(problem, claim) == ""
    event("accepted" if accepted else "rejected")
    assert accepted == proved(problem, claim, scaled=True)
    if accepted:
        assert proved(problem, claim, scaled=False)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_an_accepted_certificate_never_claims_above_the_optimum(data):
    problem = data.draw(byte_problems(models=5))
    claim = data.draw(claims(problem))
    truth = solve_exactly(problem, leximax=False)
    if check_certificate(problem, claim) == "":
        assert not truth.feasible or Fraction(claim.threshold) <= truth.optimum


def damaged(draw, problem, proof):
    """A certificate changed in one number, and whether no such change can leave a proof."""
    kind = draw.randrange(7)
    prices, worths = list(proof.prices), [list(pair) for pair in proof.worths]
    at, of = draw.randrange(len(prices)), draw.randrange(len(worths))
    by = draw.choice([1, 2, 7, 10**6])
    if kind == 0:
        factor = draw.choice([2, 1.5, 1.01, 1 + 1e-9])
        return replace(proof, threshold=proof.threshold * factor), False
    if kind == 1:
        prices[at] += by
    elif kind == 2:
        prices[at] -= by
    elif kind == 3:
        worths[of][1] += by
    elif kind == 4:
        worths[of][1] -= by
    elif kind == 5:
        worths[of][0] += draw.choice([-1, 1])
        return replace(proof, worths=tuple(map(tuple, worths))), True
    else:
        prices = draw.choice([prices[:at] + prices[at + 1 :], [*prices, by]])
        return replace(proof, prices=tuple(prices)), True
    negative = min(prices) < 0 or min(pair[1] for pair in worths) < 0
    return replace(proof, prices=tuple(prices), worths=tuple(map(tuple, worths))), negative


def judge_damage(seed, cases, per_case, **solver):
    """Return how many certificates were damaged and how many of them rejected."""
    draw, made, rejected = random.Random(seed), 0, 0
    for _ in range(cases):
        problem = random_problem(draw, gpus=3, models=5)
        proof = solve(problem, **solver).proof.certificate
        if proof is None:
            continue
        assert check_certificate(problem, proof) == ""
        truth = solve_exactly(problem, leximax=False)
        for _ in range(per_case):
            claim, hopeless = damaged(draw, problem, proof)
            accepted = check_certificate(problem, claim) == ""
            made, rejected = made + 1, rejected + (not accepted)
            assert not (accepted and hopeless)
            if accepted:
                assert proved(problem, claim, scaled=False)
                assert not truth.feasible or Fraction(claim.threshold) <= truth.optimum
            elif not hopeless:
                assert not proved(problem, claim, scaled=True)
    return made, rejected


def test_damaged_certificates_are_rejected_unless_they_still_prove_their_claim():
    made, rejected = judge_damage(1, cases=60, per_case=10, solver="reference")
    assert made > 400
    assert rejected > made / 2


@pytest.mark.heavy
@pytest.mark.parametrize("solver", ["reference", "auto"])
def test_ten_thousand_damaged_certificates(solver):
    made, _ = judge_damage(2, cases=1200, per_case=10, solver=solver)
    assert made >= 10_000


@pytest.mark.parametrize("threshold", [0.1, 3, 1e-12, float("inf")])
def test_sizes_at_a_threshold_are_the_exact_ones_rounded_down(threshold):
    problem = byte_problem([90, 90], [(20, 6.0), (30, 5.5), (10, 0.0), (2**64, 1e9)])
    unit = problem.goal.memory_unit_bytes
    for index, size in enumerate(scaled_sizes(problem, threshold)):
        need = problem.need(index)
        exact = Fraction(need.weights_bytes)
        if math.isfinite(threshold):
            exact += Fraction(need.load) * unit / Fraction(threshold)
        assert size == math.floor(exact * 2**SCALE_BITS)


def test_work_on_all_kinds_of_gpu_together_is_bounded(monkeypatch):
    # By least KV each of four kinds holds other models, and has a table of its own. A GPU holds two
    # models. The price grows faster than the size, so that nothing is settled at a glance.
    memories, rng = [40_000, 41_000, 42_000, 43_000], random.Random(1)
    rows = [
        (size, 0.0, max(0, rng.randint(20_100, 42_900) - size)) for size in range(50, 30_050, 100)
    ]
    problem = byte_problem(memories, rows)
    prices = tuple(size * size for size, *_ in rows)
    proof = Certificate(1.0, prices, tuple((memory, 6 * max(prices) // 5) for memory in memories))
    assert check_certificate(problem, proof) == ""
    monkeypatch.setattr(certificate, "MAX_WORK", 1_000_000)
    failure = check_certificate(problem, proof)
    assert isinstance(failure, TooLarge)
    assert "work or the time" in failure
