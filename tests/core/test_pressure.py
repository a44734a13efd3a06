"""The objective pressure: windows, shares of time, the worth of a placement, and bounds."""

import math
import pickle
import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest

from judge_splits import damage
from kvplace.core.certificates.by_rule import RuleCertificate
from kvplace.core.certificates.certificate import (
    SCALE_BITS,
    Certificate,
    TooLarge,
    check_certificate,
    spelled_out,
)
from kvplace.core.certificates.weighted import kinds_of, weighted_limit, weighted_sizes
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import ALWAYS, Window, mean_demand
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from oracle_splits import solve_by_force, ways
from seeds import seeds
from splits import random_split_problem
from timings import PowerTiming

PRESSURE = (Objective.PRESSURE,)


def model(name, size, rates, **more):
    """A model whose load in bytes is its rate; a number, or a rate by window."""
    windows = {}
    if isinstance(rates, dict):
        windows = {window: Demand(float(rate), 1.0, 0.0) for window, rate in rates.items()}
        rates = sum(rates.values()) / len(rates)
    return Model(
        name,
        size,
        Demand(float(rates), 1.0, 0.0),
        SLO(1.0, 1.0),
        kv_bytes_per_token=1,
        overhead_bytes=0,
        windows=windows,
        **more,
    )


def fleet(*kinds):
    """GPUs of given type and bytes on one node."""
    gpus = (GPU(f"g{at}", kind, memory) for at, (kind, memory) in enumerate(kinds))
    return Fleet((Node("n", tuple(gpus)),))


# Two models of 4 bytes that peak in turn, on GPUs of 10 bytes. By day "a" has 3 bytes in use and
# needs 0.8 of the slow GPU's time, by night 1 byte and 0.2; "b" the other way round.
DAYS = Problem(
    (
        model("a", 4, {"day": 3, "night": 1}),
        model("b", 4, {"day": 1, "night": 3}),
    ),
    fleet(("fast", 10), ("slow", 12)),
    "pressure",
    timing=PowerTiming({"a": 0.2, "b": 0.2}, {"fast": 2.0, "slow": 0.75}, exponent=1.0),
)


def test_a_gpu_by_hand():
    together = evaluate(DAYS, Placement.single({"a": "g0", "b": "g0"}))
    gpu = together.gpus[0]
    assert gpu.occupancies == (2.0, 2.0)  # 3 + 1 bytes in each window, in 10 - 8
    assert gpu.time_shares == pytest.approx((0.4, 0.4))  # (3 + 1) x 0.2 / 2
    assert (gpu.pressure, gpu.kvpr, together.value) == (2.0, 2.0, 2.0)
    assert gpu.binding == ("kv", 0)
    apart = evaluate(DAYS, Placement.single({"a": "g0", "b": "g1"}))
    fast, slow = apart.gpus
    assert fast.occupancies == (3 / 6, 1 / 6)
    assert slow.occupancies == (1 / 8, 3 / 8)
    assert slow.time_shares == pytest.approx((0.2 / 0.75, 0.6 / 0.75))
    assert slow.binding == ("time", 1)
    assert apart.profile() == (slow.pressure, fast.pressure) == (pytest.approx(0.8), 0.5)
    assert [shard.window_loads for shard in slow.shards] == [(1.0, 3.0)]


def test_what_peaks_in_turn_may_share_and_what_peaks_together_may_not():
    # On one GPU of 20 bytes and another: a and b together never need more than 4 bytes.
    roomy = replace(DAYS, fleet=fleet(("fast", 20), ("fast", 20)))
    timing = replace(roomy.timing, works={"a": 0.2, "b": 0.2, "c": 0.2})
    third = model("c", 4, {"day": 3, "night": 1})
    both = replace(roomy, models=(*roomy.models, third), timing=timing)
    apart = evaluate(both, Placement.single({"a": "g0", "b": "g0", "c": "g1"}))
    alike = evaluate(both, Placement.single({"a": "g0", "c": "g0", "b": "g1"}))
    assert apart.value < alike.value


def test_one_window_without_shares_of_time_is_occupancy():
    draw = random.Random(1)
    for _ in range(60):
        problem = random_split_problem(draw, models=3, objectives=PRESSURE)
        bare = tuple(replace(m, windows={}) for m in problem.models)
        timing = replace(problem.timing, works=dict.fromkeys(problem.names, 0.0))
        pressed = replace(problem, models=bare, windows=(), timing=timing)
        plain = replace(pressed, objective=Objective.OCCUPANCY, timing=None)
        assert pressed.windows == (ALWAYS,)
        for _ in range(3):
            placement = random_placement(draw, problem)
            if placement is None:
                continue
            one, two = evaluate(pressed, placement), evaluate(plain, placement)
            assert one.value == two.value
            assert one.pressures == two.kvprs
            assert one.violations == two.violations


def random_placement(draw, problem):
    """Any way to place every model; None where one has none."""
    found = []
    for index, name in enumerate(problem.names):
        chosen = ways(problem, index)
        if not chosen:
            return None
        copies = draw.choice(chosen)
        found += [Replica(name, number, group) for number, group in enumerate(copies)]
    return Placement(tuple(found))


def defined(problem, placement):
    """The pressure of each GPU, from the definition."""
    held = {gpu.id: [] for gpu in problem.fleet.gpus}
    for name in problem.names:
        copies = [r for r in placement if r.model == name]
        found = problem.models[problem.index_of[name]]
        least = [min(problem.usable_bytes(g) for g in r.gpus) for r in copies]
        for replica, memory in zip(copies, least, strict=True):
            even = found.replicas.split is Split.EVEN
            part = 1 / len(copies) if even else memory / sum(least)
            for gpu in replica.gpus:
                held[gpu].append((found, part, len(replica.gpus)))
    pressures = []
    for gpu in problem.fleet.gpus:
        free = gpu.usable_bytes - sum(
            -(-m.weights_bytes // d) + m.overhead_bytes for m, _, d in held[gpu.id]
        )
        values = [0.0]
        for window in problem.windows:
            load = time = 0.0
            for m, part, degree in held[gpu.id]:
                demand = m.windows.get(window.name, m.demand)
                load += demand.requests_per_second * m.kv_bytes_per_token * part * m.kv_part(degree)
                time += problem.timing.share(m, demand, degree, part, gpu.type)
            if held[gpu.id]:
                values += [load / free if free > 0 else math.inf, time]
        pressures.append(max(values))
    return pressures


def test_evaluation_is_the_definition():
    draw = random.Random(2)
    for _ in range(150):
        problem = random_split_problem(draw, objectives=PRESSURE)
        placement = random_placement(draw, problem)
        if placement is not None:
            found = evaluate(problem, placement)
            assert found.pressures == pytest.approx(defined(problem, placement))
            for gpu in found.gpus:
                assert gpu.pressure == max(*gpu.occupancies, *gpu.time_shares)
                assert gpu.kvpr == max(gpu.occupancies)


def test_an_assignment_in_an_array_is_worth_the_same():
    draw = random.Random(3)
    models = tuple(
        model(f"m{j}", draw.randint(0, 4), {w: draw.random() for w in ("x", "y")})
        for j in range(12)
    )
    kinds = [(draw.choice(["fast", "slow"]), draw.randint(40, 60)) for _ in range(4)]
    works = {m.name: draw.random() for m in models}
    timing = PowerTiming(works, {"fast": 2.0, "slow": 1.0})
    problem = Problem(models, fleet(*kinds), "pressure", timing=timing)
    ids = [gpu.id for gpu in problem.fleet.gpus]
    gpu_of = problem.undivided_bytes.__class__("q", [draw.randrange(4) for _ in models])
    assigned = Placement(Assigned(problem.names, ids, gpu_of))
    listed = Placement(tuple(assigned))
    assert list(evaluate(problem, assigned).gpus) == list(evaluate(problem, listed).gpus)


def test_windows_are_taken_from_the_models_and_checked():
    assert [window.name for window in DAYS.windows] == ["day", "night"]
    lacking = model("c", 1, {"day": 1})
    stray = model("d", 1, {"day": 1, "night": 1, "noon": 2})
    with pytest.raises(InputError) as error:
        replace(DAYS, models=(*DAYS.models, lacking, stray), windows=DAYS.windows)
    messages = [str(fault) for fault in error.value.faults]
    assert any("'c' states no demand in window 'night'" in message for message in messages)
    assert any("no window 'noon'" in message for message in messages)
    assert any("work of 'c'" in message for message in messages)
    with pytest.raises(InputError, match="two windows"):
        replace(DAYS, windows=(Window("day"), Window("night"), Window("day")))
    with pytest.raises(InputError, match="weight"):
        Window("day", 0.0)
    # A model that names no window has its one demand in each.
    steady = model("c", 1, 2.0)
    timing = replace(DAYS.timing, works={**DAYS.timing.works, "c": 0.1})
    grown = replace(DAYS, models=(*DAYS.models, steady), timing=timing)
    assert [loads[2] for loads in grown.pressures.window_loads] == [2.0, 2.0]


@pytest.mark.parametrize("objective", [None, "pressure"])
def test_each_model_is_asked_once_for_what_it_lacks(objective, monkeypatch):
    """Of a million models in a table each is made anew for that."""
    asked = Counter()

    def missing(_, model):
        asked[model.name] += 1
        return []

    monkeypatch.setattr(PowerTiming, "missing", missing)
    problem = replace(DAYS, objective=objective)
    assert problem.objective is Objective.PRESSURE
    evaluate(problem, Placement.single({"a": "g0", "b": "g0"}))
    assert set(asked.values()) == {1}


def test_a_problem_survives_another_process():
    assert solve_by_force(DAYS).feasible  # with all that is worked out and kept
    copy = pickle.loads(pickle.dumps(DAYS))
    assert copy.digest == DAYS.digest
    assert pickle.loads(pickle.dumps(copy)).pressures.table.shares == DAYS.pressures.table.shares


def test_what_is_missing_is_said():
    nobody = replace(DAYS, objective="occupancy", timing=None)
    assert nobody.lacking(Objective.OCCUPANCY) == []
    assert [place for place, _ in nobody.lacking(Objective.PRESSURE)] == ["timing"]
    assert not nobody.pressures.known
    some = replace(nobody, timing=PowerTiming({"a": 0.1}, {"fast": 1.0}))
    assert some.lacking(Objective.PRESSURE) == [
        ("nodes", "the speed of a GPU of type 'slow'"),
        ("models[1].work", "work of 'b'"),
    ]
    with pytest.raises(InputError, match="pressure needs work of 'b'"):
        replace(some, objective="pressure")
    wrong = replace(DAYS, timing=PowerTiming({"a": -1.0, "b": 0.1}, DAYS.timing.speeds))
    with pytest.raises(InputError, match="share of time"):
        _ = wrong.pressures.table


def test_shares_of_time_are_seen_under_every_objective_and_count_under_one():
    placement = Placement.single({"a": "g0", "b": "g1"})
    seen = evaluate(replace(DAYS, objective="occupancy"), placement)
    assert seen.gpus[1].time_shares == pytest.approx((0.2 / 0.75, 0.6 / 0.75))
    assert seen.gpus[1].pressure == seen.gpus[1].kvpr == 2 / 8  # the mean demand


def test_the_mean_demand_of_windows():
    demands = [Demand(3.0, 100.0, 10.0), Demand(1.0, 300.0, None), Demand(0.0, None, None)]
    assert mean_demand(demands, [1.0, 1.0, 2.0]) == Demand(1.0, 150.0, None)
    assert mean_demand(demands[:1], [5.0]) == demands[0]


def test_the_digest_moves_with_windows_and_times_and_not_with_their_order():
    def changed(**more):
        return replace(DAYS, **more).digest

    a, b = DAYS.models
    turned = replace(a, windows=dict(reversed(a.windows.items())))
    same = {
        DAYS.digest,
        changed(models=(b, a)),
        changed(models=(turned, b)),
        changed(windows=DAYS.windows[::-1]),
        changed(windows=(Window("night", 3.0), Window("day"))),
    }
    assert len(same) == 1
    works = {**DAYS.timing.works, "a": 0.3}
    different = [
        changed(models=(replace(a, windows={**a.windows, "day": Demand(4.0, 1.0, 0.0)}), b)),
        changed(timing=replace(DAYS.timing, works=works)),
        changed(timing=replace(DAYS.timing, speeds={"fast": 1.0, "slow": 0.75})),
        changed(models=(replace(a, slo=SLO(1.0, 0.5)), b)),
        replace(DAYS, objective="occupancy").digest,
    ]
    assert len({*different, *same}) == 6
    # Under the other objectives windows and times are not looked at.
    plain = replace(DAYS, objective="occupancy", timing=None)
    bare = tuple(replace(m, windows={}) for m in plain.models)
    assert plain.digest == replace(plain, models=bare, windows=()).digest


def test_a_certificate_by_hand():
    # Alone, "a" has a pressure of at least 0.5 on the fast GPU and 0.8 on the slow one, and "b"
    # as well; together on the fast one they have 2. So 0.8 is the optimum.
    assert solve_by_force(DAYS).value == pytest.approx(0.8)
    kinds = sorted(kinds_of(DAYS, frozenset({"g0", "g1"})))
    assert kinds == [("fast", 10), ("slow", 12)]
    # KV by day and by night counts once; below 0.79, nothing may be on the slow GPU by its time,
    # and the two together take (4 + 4) x 2 + (4 + 4) / K of 20 bytes of the fast one.
    proof = Certificate(0.79, (1, 1), ((10, 1), (12, 0)), (), ((1, 1, 0, 0),), ("fast", "slow"))
    assert check_certificate(DAYS, proof) == ""
    # Above the optimum the slow GPU holds one.
    assert "priced above" in check_certificate(DAYS, replace(proof, threshold=0.81))
    # The weights of time alone say nothing of memory: both fit the fast GPU.
    time = replace(proof, weights=((0, 0, 1, 1),))
    assert "priced above" in check_certificate(DAYS, time)
    many = replace(proof, weights=((0, 0, 1, 1),) * 1000)
    assert isinstance(check_certificate(DAYS, many), TooLarge)
    several = replace(proof, weights=((0, 0, 1, 1), (1, 0, 0, 0), (0, 1, 0, 0)))
    assert check_certificate(DAYS, several) == ""
    for wrong, words in [
        ({"threshold": math.inf}, "finite"),
        ({"threshold": 0.0}, "above 0"),
        ({"threshold": math.nan}, "finite"),
        ({"weights": ((1, 1, 0),)}, "needs 4 weights"),
        ({"weights": ((0, 0, 0, 0),)}, "no weight above 0"),
        ({"weights": ((1, 1, 0, -1),)}, "non-negative"),
        ({"weights": ((1, 1, 0, 1.0),)}, "non-negative"),
        ({"weights": ()}, "needs 4 weights"),
        ({"types": ()}, "types"),
        ({"types": ("fast", "fast")}, "name each kind"),
        ({"worths": ((12, 1), (10, 0))}, "name each kind"),
        ({"prices": (1,)}, "prices for 2 models"),
        ({"prices": (1, (1,))}, "non-negative"),
        ({"prices": (1, 10**100)}, "bits"),
        ({"scope": ("g9",)}, "does not have"),
        ({"scope": ("g0",), "worths": ((10, 1),), "types": ("fast",)}, ""),
    ]:
        assert words in (said := check_certificate(DAYS, replace(proof, **wrong)))
        assert bool(said) == bool(words)
    bare = replace(proof, weights=(), types=())
    assert "weights" in check_certificate(DAYS, bare)
    plain = replace(DAYS, objective="occupancy")
    assert "knows nothing" in check_certificate(plain, proof)


def test_a_small_part_may_be_where_an_even_one_is_not():
    # Copies that carry 20/28 and 8/28 of a load of 12: 8.6 / 16 and 3.4 / 4 = 0.86, the optimum.
    # An even part, 6 / 4, is not within 0.9 on the small GPU; the smaller one is.
    hot = model("hot", 4, 12, replicas=Replicas(2, 2, split=Split.CAPACITY))
    timing = PowerTiming({"hot": 0.001}, {"large": 1.0, "small": 1.0})
    problem = Problem((hot,), fleet(("large", 20), ("small", 8)), "pressure", timing=timing)
    assert solve_by_force(problem).value == pytest.approx(12 * 8 / 28 / 4)
    worths, types = ((20, 1), (8, 0)), ("large", "small")
    false = Certificate(0.9, ((1,),), worths, (), ((1, 0),), types)
    assert "priced above" in check_certificate(problem, false)
    assert check_certificate(problem, replace(false, threshold=0.37)) == ""


def dearest(found, kind, limits, kept):
    """The highest price of shards that keep the limits of a kind, one of each model at most."""
    best = 0
    for chosen in product(*([None, *offers.get(kind, ())] for offers in found)):
        held = [offer for offer in chosen if offer is not None]
        sizes = [sum(column) for column in zip(*(offer[1] for offer in held), strict=True)]
        if held and (
            any(size > limit for size, limit in zip(sizes, limits, strict=True))
            or sum(offer[2] for offer in held) > kept
        ):
            continue
        best = max(best, sum(offer[0] for offer in held))
    return best


def listed(problem, claim):
    """What each model is priced at least, and its offers on each kind, from the definition."""
    target, n = Fraction(claim.threshold), len(problem.windows)
    scale = 2**SCALE_BITS
    found = []
    for index, m in enumerate(problem.models):
        prices = claim.prices[index]
        prices = (prices,) if isinstance(prices, int) else prices
        kinds = sorted(kinds_of(problem, problem.allowed(index)))
        needed, offers = [], {}
        widths = Counter(problem.fleet.domain(gpu, "link") for gpu in problem.allowed(index))
        for (degree, copies), price in zip(problem.options(index), prices, strict=True):
            if sum(width // degree for width in widths.values()) < copies:
                continue
            weights = -(-m.weights_bytes // degree) + m.overhead_bytes
            kept, somewhere = weights + m.min_kv_bytes, False
            for kind in kinds:
                of_type = problem.pressures.shard(index, degree, 1 / copies, kind[0])
                kv = [weights + Fraction(load) / target for load in of_type[0]]
                time = [Fraction(share) for share in of_type[1]]
                within = (
                    kept <= kind[1]
                    and all(math.floor(size * scale) < kind[1] * scale for size in kv)
                    and all(share < target for share in time)
                )
                somewhere |= within
                uneven = copies > 1 and m.replicas.split is not Split.EVEN
                if within or (uneven and kept <= kind[1]):
                    if uneven:
                        kv, time = [Fraction(weights)] * n, [Fraction(0)] * n
                    both = [math.floor(size * scale) for size in (*kv, *time)]
                    sizes = [
                        sum(a * b for a, b in zip(row, both, strict=True)) for row in claim.weights
                    ]
                    way = (degree, copies)
                    offers.setdefault(kind, []).append((price, sizes, kept, way))
            if not somewhere:
                for kind in kinds:
                    offers[kind] = [o for o in offers.get(kind, []) if o[3] != (degree, copies)]
                continue
            needed.append(degree * copies * price)
        found.append((min(needed, default=None), offers))
    return found


def drawn_claim(draw, problem, optimum):
    """Weights and prices, and worths that are the highest price of any set, or near it."""
    near = draw.choice([0.3, 0.6, 0.9, 0.999, 1.0, 1.001, 1.5])
    threshold = optimum * near if 0 < optimum < math.inf else draw.choice([1e-3, 1.0, 1e3])
    n = len(problem.windows)
    weights = tuple(
        tuple(draw.choice([0, 0, 1, 3]) for _ in range(n))
        + tuple(draw.choice([0, 0, 1, 10, 1000]) for _ in range(n))
        for _ in range(draw.choice([1, 1, 2, 3]))
    )
    weights = tuple(row if any(row) else (1, *row[1:]) for row in weights)
    fluid = draw.random() < 0.5
    prices = []
    for index, options in enumerate(weighted_sizes(problem, threshold, weights)):
        own = [draw.randint(0, 4) for _ in problem.options(index)]
        if fluid:
            own = [0] * len(own)
            for option in options:
                own[option.at] = min(sizes[0] for sizes in option.sizes.values())
        prices.append(own[0] if problem.plain else tuple(own))
    kinds = sorted(kinds_of(problem, frozenset(gpu.id for gpu in problem.fleet.gpus)))
    types = tuple(kind for kind, _ in kinds)
    claim = Certificate(threshold, tuple(prices), (), (), weights, types)
    found = listed(problem, claim)
    best = {}
    for kind in kinds:
        limits = [weighted_limit(threshold, kind[1], row) for row in weights]
        best[kind] = dearest([offers for _, offers in found], kind, limits, kind[1])
    moved = {kind: max(0, best[kind] + draw.choice([0, 0, 0, -1, 1])) for kind in kinds}
    worths = tuple((kind[1], moved[kind]) for kind in kinds)
    counts = kinds_of(problem, frozenset(gpu.id for gpu in problem.fleet.gpus))
    nowhere = any(needed is None for needed, _ in found)
    proved = nowhere or (
        sum(needed for needed, _ in found) > sum(moved[kind] * counts[kind] for kind in kinds)
        and all(best[kind] <= moved[kind] for kind in kinds)
    )
    return replace(claim, worths=worths), proved


@pytest.mark.parametrize("seed", seeds(2, 3))
def test_the_checker_says_what_listing_all_sets_says(seed):
    draw, seen = random.Random(seed), Counter()
    while seen.total() < 120:
        problem = random_split_problem(draw, models=4, objectives=PRESSURE)
        hard = replace(problem, rules=tuple(r for r in problem.rules if r.soft is None))
        truth = solve_by_force(hard)
        claim, proved = drawn_claim(draw, problem, truth.value)
        accepted = check_certificate(problem, claim) == ""
        assert accepted == proved
        if accepted:
            assert claim.threshold <= truth.value * (1 + 1e-9)
        seen[accepted] += 1
    assert seen[True] > 10
    assert seen[False] > 10


def test_bounds_by_rule_hold_and_agree_with_what_they_spell_out():
    draw, seen = random.Random(7), Counter()
    while seen.total() < 300:
        problem = random_split_problem(draw, models=4, objectives=PRESSURE)
        bare = tuple(
            replace(m, tensor_parallel=(1,), replicas=Replicas(), gpu_types=(), resources={})
            for m in problem.models
        )
        problem = replace(problem, models=bare, rules=())
        truth = solve_by_force(problem)
        factor = draw.choice([0.2, 0.5, 0.9, 1.0])
        threshold = truth.value * factor if 0 < truth.value < math.inf else 0.1
        rule = RuleCertificate(threshold, "single-model", draw.choice(problem.names))
        if draw.random() < 0.7:
            window = draw.randrange(len(problem.windows))
            rule = RuleCertificate(threshold, "fluid", "", draw.choice(["kv", "time"]), window)
        said = check_certificate(problem, rule)
        if not said:
            assert threshold <= truth.value * (1 + 1e-9)
            assert check_certificate(problem, spelled_out(problem, rule)) == ""
        seen[rule.rule, rule.resource, not said] += 1
    assert all(seen["fluid", resource, True] > 5 for resource in ("kv", "time"))
    assert seen["single-model", "kv", True] > 5
    stray = RuleCertificate(1.0, "fluid", "", "time", 9)
    assert "window" in check_certificate(problem, stray)
    assert "pressure on" in check_certificate(problem, replace(stray, resource="disk", window=0))


def test_damaged_certificates_are_rejected_or_still_prove_their_claim():
    draw, damaged = random.Random(11), Counter()
    while damaged.total() < 400:
        problem = random_split_problem(draw, models=4, objectives=PRESSURE)
        hard = replace(problem, rules=tuple(r for r in problem.rules if r.soft is None))
        truth = solve_by_force(hard)
        claim, proved = drawn_claim(draw, problem, truth.value)
        if not proved:
            continue
        for _ in range(6):
            broken = damage(draw, claim)
            if check_certificate(problem, broken) == "":
                assert broken.threshold <= truth.value * (1 + 1e-9)
                damaged["still proved"] += 1
            else:
                damaged["rejected"] += 1
    assert damaged["rejected"] > 80
