"""Problem and what it is made of: cross checks, digest, misfits, memory."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.certificates.certificate import possible_options
from kvplace.core.derived.needs import shard_need
from kvplace.core.evaluation.constraints import misfits
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES, Attention, Model, Replicas, Split
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.spread import Spread
from kvplace.errors import InputError
from splits import random_split_problem
from strategies import problems
from tiny import GIB, byte_model, byte_problem, fleet


def faults_of(make):
    """The paths and messages of the faults that building something raises."""
    with pytest.raises(InputError) as error:
        make()
    return [(fault.path, fault.message) for fault in error.value.faults]


def test_the_text_of_a_large_problem_says_how_large_it_is():
    shown = [repr(byte_problem([100] * 2, [(1, 1.0)] * count)) for count in (8, 9)]
    assert shown[0].startswith("Problem(models=(Model(name='m0'")
    assert shown[1].startswith("<Problem: 9 models on 2 GPUs, objective requests, 0 rules")


def test_all_faults_of_a_problem_are_named_at_once():
    models = (
        byte_model("a", 1),
        byte_model("b", 1),
        byte_model("a", 2),
        Model("bare", 1, Demand(1.0)),
    )
    faults = faults_of(lambda: Problem(models, fleet([10]), Objective.REQUESTS))
    assert faults == [
        ("models[2].name", "'a' is already the name of models[0]"),
        ("models[3].slo.latency", "'bare' needs it for the objective requests"),
    ]


def test_a_problem_needs_models_and_gpus_with_names_of_their_own():
    assert faults_of(lambda: Problem((), fleet([10]))) == [("models", "there is no model to place")]
    assert faults_of(lambda: Fleet(())) == [("nodes", "the fleet has no GPU")]
    gpu = GPU("same", "t", 10)
    faults = faults_of(lambda: Fleet((Node("n", (gpu, gpu)), Node("n", (gpu,)))))
    assert faults == [
        ("nodes", "two nodes are named 'n'"),
        ("nodes", "two GPUs have the id 'same'"),
    ]


@pytest.mark.parametrize(("memory", "reserve"), [(0, 0), (-1, 0), (5, 5), (5, 6), (5, -1)])
def test_a_gpu_without_usable_memory_is_refused(memory, reserve):
    with pytest.raises(InputError, match="GPU 'g'"):
        GPU("g", "t", memory, reserve)


def test_one_usable_byte_is_a_gpu():
    assert GPU("g", "t", 5, 4).usable_bytes == 1


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"weights_bytes": -1}, "m.weights_bytes"),
        ({"overhead_bytes": -1}, "m.overhead_bytes"),
        ({"min_kv_bytes": -1}, "m.min_kv_bytes"),
        ({"kv_bytes_per_token": -1}, "m.kv_bytes_per_token"),
        ({"kv_bytes_per_sequence": -1}, "m.kv_bytes_per_sequence"),
        ({"demand": Demand(math.nan)}, "m.demand.requests_per_second"),
        ({"demand": Demand(math.inf)}, "m.demand.requests_per_second"),
        ({"demand": Demand(1.0, -1.0)}, "m.demand.prompt_tokens"),
        ({"demand": Demand(1.0, 1.0, math.inf)}, "m.demand.output_tokens"),
        ({"slo": SLO(ttft_seconds=-1.0)}, "m.slo.ttft_seconds"),
        ({"slo": SLO(tpot_seconds=math.nan)}, "m.slo.tpot_seconds"),
        ({"slo": SLO(latency_seconds=-0.5)}, "m.slo.latency_seconds"),
        ({"tensor_parallel": ()}, "m.tensor_parallel"),
        ({"tensor_parallel": (1, 0)}, "m.tensor_parallel"),
        ({"replicas": Replicas(0, 1)}, "m.replicas"),
        ({"replicas": Replicas(3, 2)}, "m.replicas"),
    ],
)
def test_impossible_numbers_of_a_model_are_refused_by_name(change, path):
    assert [p for p, _ in faults_of(lambda: replace(byte_model("m", 5), **change))] == [path]


def test_several_impossible_numbers_are_named_together():
    faults = faults_of(lambda: Model("m", -1, Demand(-1.0), SLO(-1.0, -1.0, -1.0)))
    assert len(faults) == 5


def test_loads_that_overflow_together_are_refused():
    # Each load is finite, as is their sum on two GPUs; on one GPU it would not be.
    rows = [(2, 1e308), (2, 1e308)]
    assert faults_of(lambda: byte_problem([10, 10], rows))[0][0] == "models"
    # A single load that is finite, yet not in bytes instead of GiB.
    assert faults_of(lambda: byte_problem([10], [(2, 1e300)]))[0][0] == "models"


def test_the_default_overhead_counts_as_weights():
    model = Model("m", 100, Demand(1.0), SLO(latency_seconds=1.0))
    problem = Problem((model,), fleet([2**40]))
    assert DEFAULT_OVERHEAD_BYTES == 3 * 2**29
    assert problem.need(0).weights_bytes == 100 + DEFAULT_OVERHEAD_BYTES


def test_shards_split_weights_and_load_but_not_overhead_and_lose_no_byte():
    model = Model("m", 10, Demand(6.0), overhead_bytes=2, min_kv_bytes=3)
    need = shard_need(model, 6.0, degree=3, load_part=1 / 6)
    assert (need.weights_bytes, need.min_kv_bytes, need.load) == (4 + 2, 3, 1.0)


def test_another_objective_is_another_problem_and_none_keeps_it():
    problem = byte_problem([10], [(1, 1.0)])
    assert problem.with_objective(None) is problem
    assert problem.with_objective("requests") == problem
    with pytest.raises(InputError):
        problem.with_objective("tokens")


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_digest_tells_what_matters_and_nothing_else(data):
    problem = data.draw(problems())
    models = tuple(data.draw(st.permutations(problem.models)))
    nodes = tuple(data.draw(st.permutations(problem.fleet.nodes)))
    shuffled = Problem(models, Fleet(nodes), problem.objective)
    assert shuffled.digest == problem.digest

    at = data.draw(st.integers(0, len(models) - 1))
    change = data.draw(
        st.sampled_from(
            [
                {"weights_bytes": models[at].weights_bytes + 1},
                {"overhead_bytes": models[at].overhead_bytes + 1},
                {"min_kv_bytes": models[at].min_kv_bytes + 1},
                {"name": "".join(m.name for m in models) + "x"},
                {"tensor_parallel": (1, 2)},
                {"replicas": Replicas(1, 2)},
            ]
        )
    )
    other = (*models[:at], replace(models[at], **change), *models[at + 1 :])
    assert Problem(other, problem.fleet, problem.objective).digest != problem.digest
    node = nodes[0]
    gpu = replace(node.gpus[0], memory_bytes=node.gpus[0].memory_bytes + 1)
    grown = Fleet((replace(node, gpus=(gpu, *node.gpus[1:])), *nodes[1:]))
    assert Problem(models, grown, problem.objective).digest != problem.digest


RULES = (
    Pin(("a",), 1, Places(nodes=("n0",))),
    Spread(("a", "b"), None, "zone", 2),
    Limit(("*",), None, "gpu", 3, Places(gpus=("g0",))),
)


def ruled(change=None, node=None, gpu=None, rules=RULES):
    """Two split and copied models on two nodes, with one thing changed."""
    split = {
        "tensor_parallel": (1, 2), "replicas": Replicas(1, 3), "kv_heads": 8,
        "gpu_types": ("t",), "resources": {"compute": 0.5},
    }  # fmt: skip
    models = [replace(byte_model(name, 5), **split) for name in "ab"]
    models[0] = replace(models[0], **(change or {}))
    nodes = []
    for name, zone in (("n0", "x"), ("n1", "y")):
        gpus = [GPU(f"g{name[1]}", "t", 20, link="0", resources={"compute": 1.0})]
        if name == "n0":
            gpus = [replace(gpus[0], **(gpu or {})), GPU("g2", "u", 20, link="0")]
        nodes.append(Node(name, tuple(gpus), {"zone": zone}, {"host": 4.0}))
    nodes[0] = replace(nodes[0], **(node or {}))
    return Problem(tuple(models), Fleet(tuple(nodes)), "requests", rules)


@pytest.mark.parametrize(
    "change",
    [
        {"change": {"tensor_parallel": (1, 2, 4)}},
        {"change": {"tensor_parallel": (2,)}},
        {"change": {"replicas": Replicas(2, 3)}},
        {"change": {"replicas": Replicas(1, 4)}},
        {"change": {"replicas": Replicas(1, 3, Split.CAPACITY)}},
        {"change": {"kv_heads": 1}},
        {"change": {"kv_heads": None, "attention": Attention.MLA}},
        {"change": {"gpu_types": ("t", "u")}},
        {"change": {"gpu_types": ()}},
        {"change": {"resources": {"compute": 0.25}}},
        {"change": {"resources": {"host": 0.5}}},
        {"gpu": {"link": "1"}},
        {"gpu": {"resources": {"compute": 2.0}}},
        {"gpu": {"reserve_bytes": 1}},
        {"node": {"labels": {"zone": "y"}}},
        {"node": {"labels": {"zone": "x", "rack": "1"}}},
        {"node": {"resources": {"host": 5.0}}},
        {"rules": RULES[1:]},
        {"rules": ()},
        {"rules": (*RULES, RULES[0])},
        {"rules": (replace(RULES[0], soft=2), *RULES[1:])},
        {"rules": (replace(RULES[0], soft=None), *RULES[1:])},
        {"rules": (replace(RULES[0], models=("b",)), *RULES[1:])},
        {"rules": (replace(RULES[0], places=Places(nodes=("n1",))), *RULES[1:])},
        {"rules": (Forbid(*(getattr(RULES[0], f) for f in ("models", "soft", "places"))),
                   *RULES[1:])},
        {"rules": (RULES[0], replace(RULES[1], over="node"), RULES[2])},
        {"rules": (RULES[0], replace(RULES[1], max_skew=1), RULES[2])},
        {"rules": (*RULES[:2], replace(RULES[2], most=2))},
        {"rules": (*RULES[:2], replace(RULES[2], places=EVERYWHERE))},
    ],
)  # fmt: skip
def test_the_digest_moves_with_all_that_splits_copies_and_rules_say(change):
    assert ruled(**change).digest != ruled().digest


def test_the_digest_does_not_move_with_the_order_of_anything():
    one = ruled()
    nodes = tuple(
        replace(node, labels=dict(reversed(node.labels.items()))) for node in one.fleet.nodes[::-1]
    )
    turned = Problem(one.models[::-1], Fleet(nodes), one.objective, one.rules[::-1])
    assert turned.digest == one.digest


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        ({"kv_heads": 8}, {1: 1, 2: 1 / 2, 8: 1 / 8, 16: 1 / 8, 3: 3 / 8, 5: 2 / 8}),
        ({"kv_heads": 1}, {1: 1, 2: 1, 8: 1}),
        ({"attention": Attention.MLA}, {1: 1, 2: 1, 16: 1}),
        ({}, {1: 1, 2: 1 / 2, 3: 1 / 3, 16: 1 / 16}),
    ],
)
def test_the_part_of_the_kv_cache_on_each_rank(fields, parts):
    model = replace(byte_model("m", 5), **fields)
    assert {degree: model.kv_part(degree) for degree in parts} == parts
    tokens = replace(
        model, demand=Demand(4.0, 1.0, 0.0), slo=SLO(tpot_seconds=1.0, latency_seconds=1.0),
        kv_bytes_per_token=2, tensor_parallel=tuple(parts), replicas=Replicas(2, 2),
    )  # fmt: skip
    held = Problem((tokens,), fleet([20] * 32), Objective.TOKENS)
    bare = Problem((tokens,), fleet([20] * 32), Objective.REQUESTS)
    for degree, part in parts.items():
        # 4 requests/s of one token of 2 bytes, over two copies.
        assert held.need(0, degree, 2).load == 8 * (0.5 * part)
        assert bare.need(0, degree, 2).load == 4 * (0.5 * (1 / degree))  # no KV bytes in it


def test_demand_is_divided_evenly_or_by_the_memory_of_the_smallest_gpu():
    even = replace(byte_model("m", 5), tensor_parallel=(1, 2), replicas=Replicas(1, 3))
    problem = Problem((even,), fleet([10, 30, 60]), "requests")
    copies = [("g0",), ("g1",), ("g2",)]
    assert problem.demand_parts(0, copies) == [1 / 3] * 3
    uneven = replace(even, replicas=Replicas(1, 3, Split.CAPACITY))
    problem = Problem((uneven,), fleet([10, 30, 60]), "requests")
    assert problem.demand_parts(0, copies) == [0.1, 0.3, 0.6]
    assert problem.demand_parts(0, [("g2", "g0"), ("g1",)]) == [10 / 40, 30 / 40]
    assert problem.demand_parts(0, [("g2", "g1")]) == [1.0]


def test_options_are_the_degrees_and_copies_that_the_allowed_gpus_can_hold():
    model = replace(byte_model("m", 5), tensor_parallel=(1, 2, 4), replicas=Replicas(2, 4))
    free = Problem((model,), fleet([10] * 5), "requests")
    assert free.options(0) == [(1, 2), (1, 3), (1, 4), (2, 2)]
    pinned = (Pin(("m",), places=Places(gpus=("g0", "g1"))),)
    assert Problem((model,), fleet([10] * 5), "requests", pinned).options(0) == [(1, 2)]
    alone = (Pin(("m",), places=Places(gpus=("g0",))),)
    assert Problem((model,), fleet([10] * 5), "requests", alone).options(0) == []


@pytest.mark.parametrize("seed", range(20))
def test_the_option_table_states_what_the_problem_says_of_each_option(seed):
    drawn = random_split_problem(random.Random(seed))
    for objective in (Objective.REQUESTS, Objective.TOKENS):
        problem = drawn.with_objective(objective)
        table = problem.option_table
        for index in range(len(problem.models)):
            rows = range(table.starts[index], table.starts[index + 1])
            ways = [(table.degrees[row], table.copies[row]) for row in rows]
            assert ways == problem.options(index)
            assert table.count(index) == len(ways)
            for row, way in zip(rows, ways, strict=True):
                need = problem.need(index, *way)
                taken = (table.weights_bytes[row], table.min_kv_bytes[row], table.loads[row])
                assert taken == (need.weights_bytes, need.min_kv_bytes, need.load)


def test_the_digest_moves_with_load_and_objective():
    digests = {
        byte_problem([10], [(1, 1.0)]).digest,
        byte_problem([10], [(1, 1.0 + 2**-52)]).digest,
        byte_problem([10], [(1, 0.0)]).digest,
        Problem((byte_model("m0", 1, 0.0),), fleet([10]), "tokens").digest,
    }
    assert len(digests) == 4
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in digests)


def test_misfits_are_named_with_the_reason():
    problem = byte_problem([10, 7], [(9, 1.0), (10, 1.0), (8, 1.0, 2), (8, 1.0, 3)])
    reasons = misfits(problem)
    assert list(reasons) == ["m1", "m3"]
    assert "for KV" in reasons["m3"]
    assert "for KV" not in reasons["m1"]


def test_a_model_that_may_be_split_is_judged_by_its_smallest_shard():
    model = replace(byte_model("m", 16), tensor_parallel=(1, 2))
    assert misfits(Problem((model,), fleet([10, 10]), "requests")) == {}


def test_lookups():
    problem = byte_problem([10, 7], [(1, 1.0), (2, 1.0)])
    assert problem.index_of == {"m0": 0, "m1": 1}
    assert problem.fleet.gpu("g1").usable_bytes == 7
    assert problem.fleet.gpu("g2") is None
    assert problem.fleet.node_of("g1").name == "n0"
    assert problem.fleet.node_of("nowhere") is None


def test_a_degree_wider_than_every_node_is_a_misfit():
    big = Model("big", 40 * GIB, Demand(1.0), SLO(latency_seconds=1.0), tensor_parallel=(16,))
    gpus = tuple(GPU(f"n/{i}", "t", 80 * GIB) for i in range(8))
    more = tuple(GPU(f"m/{i}", "t", 80 * GIB) for i in range(8))
    problem = Problem((big,), Fleet((Node("n", gpus), Node("m", more))))
    assert "needs 16 GPUs in one node" in misfits(problem)["big"]
    assert possible_options(problem, 0, math.inf) == []


def test_a_copy_that_no_node_holds_is_a_misfit():
    # Two GPUs of 80 in one node are too small, and the large ones stand alone.
    big = Model("big", 300 * GIB, Demand(1.0), SLO(latency_seconds=1.0), tensor_parallel=(2,))
    pair = Node("n", tuple(GPU(f"n/{i}", "t", 80 * GIB) for i in range(2)))
    alone = (Node(f"m{i}", (GPU(f"m{i}/0", "u", 180 * GIB),)) for i in range(40))
    problem = Problem((big,), Fleet((pair, *alone)))
    reason = misfits(problem)["big"]
    assert "each of the largest 2 GPUs of one node has 80.0 GiB usable" in reason
    assert possible_options(problem, 0, math.inf) == []


def test_more_replicas_than_gpus_are_a_misfit():
    # Two nodes of 3: three replicas of degree 2 find one pair in each, 2 in all.
    copied = Model(
        "a", GIB, Demand(1.0), SLO(latency_seconds=1.0), tensor_parallel=(2,),
        replicas=Replicas(3, 3),
    )  # fmt: skip
    nodes = (Node(n, tuple(GPU(f"{n}/{i}", "t", 80 * GIB) for i in range(3))) for n in "xy")
    problem = Problem((copied,), Fleet(tuple(nodes)))
    assert "needs 3 replicas on GPUs of their own; the 6 GPUs" in misfits(problem)["a"]
    assert possible_options(problem, 0, math.inf) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"weights_bytes": 400 * GIB},
            (
                "with tensor_parallel: 8 a copy fits, 50.0 GiB on each GPU of a node of 8 or more; "
                "no node has more than 6"
            ),
        ),
        (
            {"weights_bytes": 90 * GIB, "tensor_parallel": (8,)},
            (
                "no node has more than 6 that it may run on; with tensor_parallel: 2 a copy fits, "
                "45.0 GiB on each GPU"
            ),
        ),
    ],
)
def test_a_model_too_large_for_all_nodes_learns_how_wide_one_must_be(options, said):
    given = {"slo": SLO(latency_seconds=1.0), "overhead_bytes": 0, **options}
    big = Model("big", demand=Demand(1.0), **given)
    gpus = tuple(GPU(f"n/{i}", "t", 60 * GIB) for i in range(6))
    assert misfits(Problem((big,), Fleet((Node("n", gpus),))))["big"].endswith(said)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, 4),  # powers of two: 150 / 2 is above 60, 150 / 3 is not tried
        ({"kv_heads": 3}, 3),
        ({"kv_heads": 5}, 5),  # 4 divides neither way
        ({"kv_heads": 2}, 4),  # two ranks for each head
        ({"tensor_parallel": (2,)}, 4),
        ({"min_kv_bytes": 120 * GIB}, None),
    ],
)
def test_a_model_too_large_for_one_gpu_learns_the_least_degree_that_fits(options, named):
    slo = SLO(latency_seconds=1.0)
    big = Model("big", 150 * GIB, Demand(1.0), slo, overhead_bytes=0, **options)
    gpus = tuple(GPU(f"n/{i}", "t", 60 * GIB) for i in range(6))
    said = misfits(Problem((big,), Fleet((Node("n", gpus),))))["big"]
    if named is None:
        assert "tensor_parallel" not in said
        return
    each = 150 / named
    assert said.endswith(f"; with tensor_parallel: {named} a copy fits, {each:.1f} GiB on each GPU")
    fitting = replace(big, tensor_parallel=(named,))
    assert misfits(Problem((fitting,), Fleet((Node("n", gpus),)))) == {}


def test_a_degree_that_no_link_domain_holds_is_named_with_the_node_that_it_takes():
    big = Model("big", 100 * GIB, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
    apart = tuple(Node(n, (GPU(f"{n}/0", "t", 80 * GIB),)) for n in "xy")
    said = misfits(Problem((big,), Fleet(apart)))["big"]
    assert said.endswith("50.0 GiB on each GPU of a node of 2 or more; no node has more than 1")
    uneven = Node("n", (GPU("n/0", "t", 80 * GIB), GPU("n/1", "u", 40 * GIB)))
    said = misfits(Problem((big,), Fleet((uneven,))))["big"]
    assert said.endswith("25.0 GiB on each GPU of a node of 4 or more; no node has more than 2")
