"""Sizes: enough by a plan, less too little by proof, both judged by brute force."""

import math
import random
from dataclasses import replace
from itertools import product

import pytest

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import Places
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import price_of
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.size import floor
from kvplace.size.floor import floor_of
from kvplace.size.size import size_fleet
from kvplace.size.stock import stock_of
from kvplace.size.target import parse_target
from kvplace.solver.clock import Watch
from made import fleet, model, problem
from oracle_splits import solve_by_force
from splits import OBJECTIVES, random_split_problem
from timings import PowerTiming


def sized(problem_, target, spec="", prices=None, **options):
    nodes = parse_gpus(spec) if spec else ()
    return size_fleet(stock_of(problem_, nodes, prices), target, **options)


def test_as_many_gpus_as_the_sums_ask_for():
    # At 0.1 each model takes 20 + 2 / 0.1 = 40 GiB: two per GPU of 80, so three for five.
    found = sized(problem([model(name, 20, 2.0) for name in "abcde"], fleet(80)), 0.1)
    (size,) = found.sizes
    assert (size.mix, size.cost, size.least_cost, size.proved) == ((3,), 3, 3, True)
    assert size.result.value == pytest.approx(0.1)
    assert [cell.mix for cell in found.table] == [(2,), (3,), (4,)]
    assert found.table[0].result.value == pytest.approx(6 / 20)
    assert found.complete


def test_a_packing_may_need_more_than_the_sums():
    # 45 GiB each at the target: 3 x 45 = 135 of 160 GiB, but one per GPU.
    found = sized(problem([model(name, 40, 0.5) for name in "abc"], fleet(80)), 0.1)
    assert (found.sizes[0].mix, found.sizes[0].proved) == ((3,), True)


def test_the_cheapest_mix_and_not_the_fewest_gpus():
    # big takes 70 GiB at the target and needs the large type; four small ones take 30 each.
    models = [model("big", 60, 1.0), *(model(name, 20, 1.0) for name in "abcd")]
    made = problem(models, fleet(80))
    prices = {"100GiB": 5.0, "40GiB": 1.0}
    found = sized(made, 0.1, "100GiB,40GiB", prices)
    # One large GPU has room for big and one small; three more small at 1 each: 8. Two large: 10.
    assert found.sizes[0].mix == (1, 3)
    assert found.sizes[0].cost == found.sizes[0].least_cost == 8.0
    fewest = sized(made, 0.1, "100GiB,40GiB")
    assert fewest.sizes[0].cost == 2
    assert fewest.stock.in_words((1, 3)) == "1 x 100GiB + 3 x 40GiB"


def test_nodes_are_added_whole():
    found = sized(problem([model(name, 50) for name in "abc"], fleet(80, gpus=2)), 1.0)
    assert (found.sizes[0].mix, found.sizes[0].cost) == ((2,), 4)
    assert found.stock.in_words((2,)) == "2 nodes of 2 x 80GiB"


def test_each_growth_has_its_answer_and_the_table_crosses_them():
    made = problem([model(name, 20, 2.0) for name in "abcde"], fleet(80))
    found = sized(made, 0.1, growths=(1.0, 3.0))
    # Three times the load: 20 + 60 = 80 GiB each, one per GPU.
    assert [size.mix for size in found.sizes] == [(3,), (5,)]
    assert {(cell.mix, cell.growth) for cell in found.table} == set(
        product([(2,), (3,), (4,), (5,)], [1.0, 3.0])
    )


def test_an_answer_is_the_plan_that_the_table_has_for_it():
    models = [model(f"m{i}", 5 + 7 * i % 33, 1.0 + 5 * i % 7) for i in range(12)]
    found = sized(problem(models, fleet(80)), 1.0)  # the first plan on 4 GPUs is at 0.577
    of_table = {cell.mix: cell.result.value for cell in found.table if cell.result.placement}
    (size,) = found.sizes
    assert size.result.value == of_table[size.mix] == pytest.approx(0.515152, abs=1e-6)


def test_a_model_above_the_target_in_any_fleet_is_named_with_the_copies_it_takes():
    hot = model("hot", 40, 10.0, replicas=Replicas(1, 2))
    found = sized(problem([hot, model("a", 10)], fleet(80)), 0.1)
    (size,) = found.sizes
    # In two copies 5 / 40 = 0.125; in three 10 / 3 / 40 = 0.083.
    assert size.mix is None
    assert size.reasons[0] == (
        "'hot' in 2 copies, each alone on its GPUs of type 80GiB is at 0.125, above 0.1; "
        "allow it 3 copies (replicas: {min: 1, max: 3})"
    )
    allowed = problem([replace(hot, replicas=Replicas(1, 3)), model("a", 10)], fleet(80))
    assert sized(allowed, 0.1).sizes[0].mix == (4,)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (model("big", 90), "needs 90.0 GiB with overhead; the largest GPU on offer has 80.0 GiB"),
        (
            model("two", 90, tensor_parallel=(4,)),
            "needs 4 GPUs in one node, which no node",
        ),
        (model("typed", 1, gpu_types=("80GiB",)), ""),
        (model("kv", 70, min_kv_bytes=20 * 2**30), "and 20.0 GiB for KV"),
    ],
)
def test_what_fits_no_gpu_on_offer_is_named(made, said):
    (size,) = sized(problem([made], fleet(80)), 1.0).sizes
    if said:
        assert said in size.reasons[0]
        assert size.least_cost == math.inf
    else:
        assert size.mix == (1,)
        (size,) = sized(problem([made], fleet(80)), 1.0, "90GiB").sizes
        assert size.reasons == ("'typed' needs a GPU of type 80GiB, which no node on offer has",)


def test_a_type_on_offer_is_that_of_the_fleet_by_whatever_name():
    gpu = GPU("h/0", "L40S", 44 * 2**30)
    confined = problem([model("typed", 1, gpu_types=("L40S",))], Fleet((Node("h", (gpu,)),)))
    for spec in ("2xL40S", "NVIDIA-L40S", "L40S-48GB"):
        (size,) = sized(confined, 1.0, spec).sizes
        assert (size.mix, size.result.problem.gpu_types) == ((1,), ("L40S",))
    (size,) = sized(confined, 1.0, "L4").sizes
    assert size.mix is None


def test_a_split_model_above_the_target_is_alone_on_its_gpus():
    pair = Fleet((Node("h", (GPU("h/0", "t", 80 * 2**30), GPU("h/1", "t", 80 * 2**30))),))
    hot = model("hot", 80, 10.0, tensor_parallel=(2,))
    (size,) = sized(problem([hot], pair), 0.1).sizes
    assert size.reasons[0].startswith(
        "'hot' alone on its GPUs with tensor parallel 2 of type t is at 0.125, above 0.1"
    )


def test_what_needs_more_gpus_of_a_node_on_offer_says_how_many():
    (size,) = sized(problem([model("big", 90)], fleet(80)), 1.0, "4x40GiB").sizes
    assert size.reasons[0].endswith(
        "has 40.0 GiB usable; with tensor_parallel: 4 a copy fits, 22.5 GiB on each GPU"
    )


def test_rules_that_contradict_each_other_are_no_matter_of_size():
    rules = (Together(("a", "b"), over="node"), Apart(("a", "b"), over="node"))
    (size,) = sized(problem([model("a", 1), model("b", 1)], fleet(80, 80), *rules), 1.0).sizes
    assert size.mix is None
    assert "rules or limits stand in the way" in size.reasons[0]


def test_rules_that_name_hosts_are_left_out_and_others_hold():
    rules = (
        Pin(("a",), places=Places(nodes=("h0",))),
        Apart(("a", "b"), over="node"),
        Forbid(("a",), places=Places(labels=(("zone", "a"),))),
    )
    zones = [{"zone": "a"}, {"zone": "b"}]
    found = sized(problem([model("a", 1), model("b", 1)], fleet(80, 80, labels=zones), *rules), 1.0)
    assert found.stock.left_out == (0,)
    assert found.sizes[0].mix == (2,)
    placed = {replica.model: replica.gpus for replica in found.sizes[0].result.placement}
    assert placed["a"] == ("h1/0",)


def test_further_nodes_fill_up_the_labels_evenly():
    zones = [{"zone": "a"}, {"zone": "b"}]
    stock = stock_of(problem([model("a", 1)], fleet(80, 80, labels=zones)))
    nodes = stock.on((5,)).fleet.nodes
    assert [node.labels["zone"] for node in nodes] == ["a", "b", "a", "b", "a"]
    assert len({gpu.id for node in nodes for gpu in node.gpus}) == 5


def test_a_type_without_a_price_and_a_resource_that_nobody_has_are_refused():
    made = problem([model("a", 1)], fleet(80))
    with pytest.raises(
        InputError, match="'80GiB' has no price; prices, per GPU and hour, are given for 40GiB"
    ):
        stock_of(made, (), {"40GiB": 1.0})


@pytest.mark.parametrize("named", ["H200", "NVIDIA H200", "H200-SXM-141GB"])
@pytest.mark.parametrize("offered", ["h200", "H200-SXM-141GB"])
def test_a_price_may_name_a_type_as_it_may_be_named_elsewhere(named, offered):
    nodes = parse_gpus(f"8x{offered}")
    assert stock_of(problem([model("a", 1)], fleet(80)), nodes, {named: 3.0}).prices == (24.0,)
    twice = {"H100-SXM-80GB": 1.0, "H100": 2.0}
    assert [price_of(twice, name) for name in ("H100", "h100", "L4-24GB")] == [2.0, 1.0, None]


@pytest.mark.parametrize(
    ("text", "objective", "value"),
    [
        ("occupancy<=0.8", Objective.OCCUPANCY, 0.8),
        (" requests <= 5e-2 ", Objective.REQUESTS, 0.05),
        ("tokens:3", Objective.TOKENS, 3.0),
        ("80%", None, 0.8),
        ("0.8", None, 0.8),
    ],
)
def test_targets(text, objective, value):
    target = parse_target(text)
    assert (target.objective, target.value) == (objective, value)


@pytest.mark.parametrize(
    "text", ["", "occupancy", "x<=1", "0", "-1", "1e999", "nan", "1..2", "a b"]
)
def test_what_is_no_target(text):
    with pytest.raises(InputError):
        parse_target(text)


def test_an_interrupt_returns_what_is_known():
    watch = Watch()
    watch.interrupt()
    found = sized(problem([model(name, 40) for name in "abc"], fleet(80)), 1.0, watch=watch)
    assert not found.complete
    assert not found.sizes[0].proved


@pytest.mark.parametrize("seed", range(3))
def test_brute_force_finds_nothing_cheaper(seed):
    draw = random.Random(seed)
    judged = 0
    while judged < 8:
        drawn = random_split_problem(draw, models=3)
        truth = solve_by_force(drawn)
        if not truth.feasible or truth.value == 0:
            continue
        judged += 1
        target = truth.value * draw.choice([0.7, 1.0 + 1e-6, 1.5, 3.0])
        prices = {"t0": draw.choice([1.0, 2.0]), "t1": 1.5}
        stock = stock_of(drawn, (), prices)
        (size,) = size_fleet(stock, target).sizes
        kinds = len(stock.kinds)
        if size.mix is not None:
            placed = size.result
            assert evaluate(placed.problem, placed.placement).value <= target
            assert size.cost == pytest.approx(stock.cost(size.mix))
        for mix in product(range(3), repeat=kinds):
            cheaper = 0 < stock.cost(mix) < size.least_cost * (1 - 1e-6)
            if not any(mix) or stock.gpus(mix) > 6 or not cheaper:
                continue
            part = stock.on(mix)
            assert part is None or not_below(part, target), (mix, size)


def not_below(part, target):
    """Whether brute force finds no placement within a target, soft rules put aside."""
    hard = replace(part, rules=tuple(rule for rule in part.rules if rule.soft is None))
    return solve_by_force(hard).value > target * (1 - 1e-9)


@pytest.mark.parametrize("objectives", [OBJECTIVES, (Objective.PRESSURE,)])
def test_the_floor_admits_every_fleet_that_is_enough(objectives):
    draw = random.Random(100)
    for _ in range(80):
        drawn = random_split_problem(draw, models=3, objectives=objectives)
        truth = solve_by_force(drawn)
        if not truth.feasible or truth.value == 0:
            continue
        stock = stock_of(drawn)
        floor = floor_of(stock, truth.value * (1 + 1e-9))
        assert floor.unreachable == ()
        assert floor.admits(tuple(len(kind) for kind in stock.kinds))


def test_copies_split_by_capacity_may_lean_on_larger_gpus():
    # Of two copies the one on 40 GiB carries a third of 6: 2 / (40 - 10), the other 4 / (80 - 10).
    both = model("a", 10, 6.0, replicas=Replicas(2, 2, Split.CAPACITY))
    made = problem([both], fleet(80, 40))
    (size,) = sized(made, 0.07).sizes
    assert size.mix == (1, 1)
    # Two of 40 GiB: 3 / 30 = 0.1.
    assert floor_of(stock_of(made), 0.07).unreachable == ()


def test_a_soft_rule_goes_before_the_target():
    # Together they are at 10 / 40 = 0.25 whatever the size; what is proved is without the rule.
    rule = Together(("a", "b"), soft=1, over="gpu")
    made = problem([model("a", 20, 5.0), model("b", 20, 5.0)], fleet(80), rule)
    (size,) = sized(made, 0.1).sizes
    assert (size.mix, size.reasons, size.proved) == (None, (), False)
    assert size.least_cost == 2
    assert sized(made, 0.25).sizes[0].mix == (1,)


def test_a_spread_does_not_fool_the_proof():
    zones = [{"zone": "a"}, {"zone": "a"}, {"zone": "b"}]
    copies = model("m", 50, 1.0, replicas=Replicas(3, 3))
    made = problem([copies], fleet(80, 80, 80, labels=zones), Spread(("m",), over="zone"))
    found = sized(made, 1.0)
    assert found.sizes[0].mix == (3,)
    assert isinstance(found.stock.on((3,)).fleet, Fleet)


def test_a_fleet_whose_time_is_short_is_not_called_enough():
    # Two models of 10 bytes with room to spare; each needs 0.6 of a GPU's time by day.
    models = tuple(
        Model(
            name, 10, Demand(1.0, 1.0, 0.0), SLO(1.0, 1.0), 1, overhead_bytes=0,
            windows={"day": Demand(2.0, 1.0, 0.0), "night": Demand(0.0, 1.0, 0.0)},
        )
        for name in "ab"
    )  # fmt: skip
    timing = PowerTiming({"a": 0.3, "b": 0.3}, {"T": 1.0}, exponent=1.0)
    gpus = Fleet((Node("n0", (GPU("n0/0", "T", 80),)),))
    made = Problem(models, gpus, "pressure", timing=timing)
    (size,) = size_fleet(stock_of(made), 0.7).sizes
    assert (size.mix, size.proved) == ((2,), True)
    assert size_fleet(stock_of(made), 1.25).sizes[0].mix == (1,)
    assert floor_of(stock_of(made), 0.5).unreachable
    assert stock_of(made).grown(2.0).problem.models[0].windows["day"].requests_per_second == 4.0


def test_undivided_models_by_columns_have_the_floor_that_each_has_by_itself():
    draw = random.Random("floor")
    models = [model(f"m{j}", draw.randint(1, 90), draw.uniform(0.0, 9.0)) for j in range(60)]
    case = problem(models, fleet(80))
    stock = stock_of(case, parse_gpus("8x80GiB,1x48GiB"))
    offers, found = floor._Offers(stock), list(floor._needed(stock, case.loads, 0.5))
    assert {len(kinds) for kinds, _ in found} == {0, 1, 2}
    for index, (kinds, least) in enumerate(found):
        assert kinds == floor._kinds(stock, offers, index, 0.5)
        assert least == pytest.approx(floor._least(case, index, case.loads[index], 0.5))


def test_a_large_host_is_looked_at_once_for_all_models(monkeypatch):
    looked = []
    room = floor._room
    monkeypatch.setattr(floor, "_room", lambda *of: looked.append(of) or room(*of))
    models = [model(f"m{j}", 4, 1.0, tensor_parallel=(1, 2)) for j in range(20)]
    floor_of(stock_of(problem(models, fleet(80)), parse_gpus("100x80GiB")), 1.0)
    assert len(looked) == 2
