"""Rules and further capacities: by hand, and against a naive count on drawn placements."""

import math
import random
from collections import Counter
from dataclasses import replace

import pytest

from kvplace.core.evaluation.constraints import rule_violations
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.model import Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.rules.apart import Apart
from kvplace.core.rules.forbid import Forbid
from kvplace.core.rules.limit import Limit
from kvplace.core.rules.pin import Pin
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.core.rules.registry import rule_kinds
from kvplace.core.rules.reserve import Reserve
from kvplace.core.rules.rule import chosen
from kvplace.core.rules.spread import Spread
from kvplace.core.rules.together import Together
from kvplace.errors import InputError
from oracle_splits import ways
from splits import random_split_problem
from tiny import byte_model


def node(name, gpus=2, **labels):
    """A node of GPUs of 100 bytes."""
    return Node(name, tuple(GPU(f"{name}/{i}", "t", 100) for i in range(gpus)), labels)


FLEET = Fleet((node("x", zone="a"), node("y", zone="b"), node("z", zone="b"), node("w")))
"""Zone a has node x, zone b has y and z, and w is in none."""
MODELS = tuple(
    replace(byte_model(name, 1), tensor_parallel=(1, 2), replicas=Replicas(1, 8))
    for name in ("big", "bit", "small")
)


def broken(rule, **gpus):
    """Subjects and amounts of a rule's breaches; each copy is one text of GPU ids."""
    problem = Problem(MODELS, FLEET, Objective.REQUESTS, (rule,))
    placement = Placement(
        tuple(
            Replica(name, number, tuple(copy.split()))
            for name, copies in gpus.items()
            for number, copy in enumerate(copies)
        )
    )
    return [(v.subject, v.amount) for v in rule_violations(problem, placement)]


X, A, Z0 = Places(nodes=("x",)), Places(labels=(("zone", "a"),)), Places(gpus=("z/0",))


@pytest.mark.parametrize(
    ("rule", "gpus", "found"),
    [
        (Pin(("big",), places=X), {"big": ["x/0 x/1"], "bit": ["y/0"]}, []),
        (Pin(("big",), places=X), {"big": ["x/0", "y/0 y/1"]}, [("big", 2)]),
        (Pin(("b*",), places=A), {"big": ["y/0"], "bit": ["w/0"], "small": ["y/0"]},
         [("big", 1), ("bit", 1)]),
        (Pin(("big",), places=Places(("z/0",), ("x",), A.labels)), {"big": ["z/0", "x/1"]}, []),
        (Forbid(("bi?",), places=X), {"big": ["x/0"], "bit": ["y/0"], "small": ["x/0"]},
         [("big", 1)]),
        (Reserve(places=Z0), {"big": ["z/0 z/1"], "bit": ["z/1"]}, [("big", 1)]),
        (Reserve(places=Z0), {"big": ["z/0"]}, [("big", 1)]),
        (Together(("big", "bit"), over="node"), {"big": ["x/0"], "bit": ["x/1"]}, []),
        (Together(("big", "bit"), over="zone"), {"big": ["y/0"], "bit": ["z/1"]}, []),
        (Together(("big", "bit"), over="gpu"), {"big": ["x/0"], "bit": ["x/1"]}, [("big", 1)]),
        (Together(over="node"), {"big": ["x/0", "y/0"], "bit": ["z/0"], "small": ["z/1"]},
         [("big", 2)]),
        (Apart(("big", "bit"), over="gpu"), {"big": ["x/0"], "bit": ["x/1"]}, []),
        (Apart(("big", "bit"), over="node"), {"big": ["x/0"], "bit": ["x/1"]}, [("x", 1)]),
        (Apart(over="zone"), {"big": ["y/0"], "bit": ["z/0"], "small": ["y/0", "x/0"]},
         [("b", 2)]),
        # Two copies of one model are no two models; a GPU in no zone shares none.
        (Apart(over="node"), {"big": ["x/0", "x/1"]}, []),
        (Apart(over="zone"), {"big": ["w/0"], "bit": ["w/0"]}, []),
        # Over nodes: 2, 1, 0 and 0 copies.
        (Spread(("big",), over="node"), {"big": ["x/0", "x/1", "y/0"]}, [("big", 1)]),
        (Spread(("big",), over="node", max_skew=2), {"big": ["x/0", "x/1", "y/0"]}, []),
        # A copy on two GPUs of a node is one copy there.
        (Spread(("big",), over="node"), {"big": ["x/0 x/1", "y/0"]}, []),
        # Over zones 3 and 0; those outside every zone do not count.
        (Spread(("big",), over="zone"), {"big": ["y/0", "y/1", "z/0", "w/0"]}, [("big", 2)]),
        (Limit(most=1), {"big": ["x/0"], "bit": ["x/0", "x/1"]}, [("x/0", 1)]),
        (Limit(("b*",), most=1), {"big": ["x/0"], "small": ["x/0"]}, []),
        (Limit(over="node", most=2), {"big": ["x/0 x/1"], "bit": ["x/1", "y/0"]}, [("x", 1)]),
        (Limit(over="zone", most=0, places=Z0), {"big": ["z/0", "z/1"]}, [("b", 1)]),
        (Limit(over="zone", most=0), {"big": ["w/0"]}, []),
    ],
)  # fmt: skip
def test_each_rule_by_hand(rule, gpus, found):
    assert broken(rule, **gpus) == found


def test_domains_where_a_model_may_not_run_do_not_count_for_its_spread():
    rules = (Spread(("big",), over="node"), Pin(("big",), places=Places(nodes=("x", "y"))))
    problem = Problem(MODELS, FLEET, Objective.REQUESTS, rules)
    two = Placement((Replica("big", 0, ("x/0",)), Replica("big", 1, ("y/0",))))
    assert list(rule_violations(problem, two)) == []
    assert problem.domains_allowed(0, "node") == ("x", "y")
    assert problem.domains_allowed(0, "zone") == ("a", "b")
    assert problem.domains_allowed(1, "node") == ("w", "x", "y", "z")


def test_soft_rules_are_told_apart_from_those_that_must_hold():
    rules = (Pin(("big",), places=X, soft=2), Limit(most=1, soft=1), Forbid(("bit",), places=X))
    problem = Problem(MODELS, FLEET, Objective.REQUESTS, rules)
    gpus = {"big": "y/0", "bit": "y/0", "small": "x/0"}
    found = evaluate(problem, Placement.single(gpus))
    assert found.valid
    assert [(v.kind, v.tier, v.amount) for v in found.preferences] == [
        ("pin", 2, 1),
        ("limit", 1, 1),
    ]
    worse = evaluate(problem, Placement.single(gpus | {"bit": "x/0"}))
    assert [(v.kind, v.subject) for v in worse.violations] == [("forbid", "bit")]
    assert problem.allowed(0) == {gpu.id for gpu in FLEET.gpus}  # soft rules allow all
    assert "x/0" not in problem.allowed(1)


@pytest.mark.parametrize(
    ("patterns", "names", "found"),
    [
        (("*",), ["a", "b"], ["a", "b"]),
        (("a*", "c"), ["ab", "b", "c", "a"], ["ab", "c", "a"]),
        (("?b",), ["ab", "b", "abb"], ["ab"]),
        (("a[1]",), ["a[1]", "a1"], ["a[1]"]),  # brackets stand for themselves
        (("a[1]*",), ["a[1]x", "a1x"], ["a[1]x"]),
        (("A*",), ["a"], []),
    ],
)
def test_only_star_and_question_mark_stand_for_other_letters(patterns, names, found):
    assert chosen(patterns, names) == found


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Pin(("none*",), places=X), "no model is named 'none*'"),
        (Pin(("bigg",), places=X), "no model is named 'bigg'; did you mean 'big'?"),
        (Pin(("big",)), "names no places"),
        (Forbid(places=Places(gpus=("x/9",))), "there is no GPU 'x/9'"),
        (Reserve(places=Places(nodes=("v",))), "there is no node 'v'; nodes are named like 'x'"),
        (Limit(places=Places(labels=(("zone", "c"),))), "no node has the labels zone=c"),
        (
            Spread(over="rack"),
            "no node has the label 'rack'; over is one of gpu, link, node, zone",
        ),
    ],
)
def test_a_rule_that_names_what_there_is_not_is_refused(rule, message):
    with pytest.raises(InputError) as error:
        Problem(MODELS, FLEET, Objective.REQUESTS, (rule,))
    assert [(f.path, f.message) for f in error.value.faults] == [("rules[0]", message)]


def loaded(scope, amount, **gpus):
    """Subjects and amounts of what is overdrawn where each shard takes 0.1."""
    holders = {"resources": {"r": amount}}
    gpu = {} if scope == "node" else holders
    nodes = tuple(
        replace(n, gpus=tuple(replace(g, **gpu) for g in n.gpus),
                **(holders if scope == "node" else {}))
        for n in FLEET.nodes
    )  # fmt: skip
    models = tuple(replace(model, resources={"r": 0.1}) for model in MODELS)
    problem = Problem(models, Fleet(nodes), Objective.REQUESTS)
    replicas = [Replica(name, 0, tuple(copy.split())) for name, copy in gpus.items()]
    return [(v.subject, v.amount) for v in rule_violations(problem, Placement(tuple(replicas)))]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Spread(("a",), None, "node", 0), "1 to 1,000,000, not 0"),
        (lambda: Apart(("a",), 1_000_001), "1 to 1,000,000, not 1000001"),
        (lambda: Limit(("a",), most=-1), "at least 0 shards, not -1"),
        (lambda: Reserve(("a",), places=Z0), "speaks of all models"),
        (lambda: Reserve(soft=1, places=Z0), "must hold"),
        (lambda: Places(labels=(("zone", "a"), ("zone", "b"))), "each label once"),
    ],
)
def test_a_rule_that_no_file_states_is_none(make, message):
    # A plan was made under it and written, and nothing could read it again.
    with pytest.raises(InputError, match=message):
        make()


def test_degrees_come_in_any_order():
    # A plan of a model of degrees (2, 1) was another problem's once it was read.
    assert replace(byte_model("a", 2, 1.0), tensor_parallel=(4, 1, 4)).tensor_parallel == (1, 4)


def test_capacities_of_gpus_and_nodes_by_hand():
    assert loaded("gpu", 0.2, big="x/0", bit="x/0") == []
    assert loaded("gpu", 0.2, big="x/0", bit="x/0", small="x/0") == [("x/0", pytest.approx(0.1))]
    assert loaded("node", 0.2, big="x/0", bit="x/1") == []
    assert loaded("node", 0.2, big="x/0 x/1", bit="x/1") == [("x", pytest.approx(0.1))]
    # Ten times a tenth is one, whatever the order of the sum.
    assert loaded("node", 0.3, big="x/0", bit="x/0", small="x/1") == []


@pytest.mark.parametrize("amount", [-1.0, math.nan, math.inf])
def test_a_capacity_is_finite_and_not_negative(amount):
    with pytest.raises(InputError, match="'r'"):
        GPU("g", "t", 10, resources={"r": amount})
    with pytest.raises(InputError, match="'r'"):
        Node("n", (GPU("g", "t", 10),), resources={"r": amount})


def test_a_capacity_is_of_gpus_or_of_nodes():
    mixed = Fleet((Node("n", (GPU("g", "t", 10, resources={"r": 1.0}),), {}, {"r": 1.0}),))
    with pytest.raises(InputError, match="GPUs and nodes both have 'r'"):
        Problem((byte_model("m", 1),), mixed, Objective.REQUESTS)
    asking = replace(byte_model("m", 1), resources={"r": 1.0})
    with pytest.raises(InputError, match="no GPU and no node has 'r'"):
        Problem((asking,), FLEET, Objective.REQUESTS)


def naive_total(problem, placement, rule):
    """By how much a rule is broken in all, from its description alone."""
    names = [m.name for m in problem.models if chosen(rule.models, [m.name])]
    if isinstance(rule, Reserve):
        names = [m.name for m in problem.models]
    host = {gpu.id: n for n in problem.fleet.nodes for gpu in n.gpus}
    link = {gpu.id: gpu.link for gpu in problem.fleet.gpus}
    shards = [(r.model, r.index, g) for r in placement for g in r.gpus if r.model in names]

    def at(gpu, key):
        own = {"gpu": gpu, "node": host[gpu].name, "link": (host[gpu].name, link[gpu])}
        return own.get(key) or host[gpu].labels.get(key)

    def inside(gpu):
        places, labels = rule.places, dict(rule.places.labels)
        return (
            gpu in places.gpus
            or host[gpu].name in places.nodes
            or (bool(labels) and labels == {k: host[gpu].labels.get(k) for k in labels})
        )

    if isinstance(rule, Pin):
        return sum(not inside(gpu) for _, _, gpu in shards)
    if isinstance(rule, Forbid):
        return sum(inside(gpu) for _, _, gpu in shards)
    domains = {at(gpu.id, rule.over) for gpu in problem.fleet.gpus} - {None}
    if isinstance(rule, Together):
        return max(0, len({at(gpu, rule.over) for _, _, gpu in shards}) - 1)
    if isinstance(rule, Apart):
        pairs = {(at(gpu, rule.over), name) for name, _, gpu in shards}
        held = Counter(domain for domain, _ in pairs if domain is not None)
        return sum(count - 1 for count in held.values())
    if isinstance(rule, Limit):
        counted = [g for _, _, g in shards if rule.places == EVERYWHERE or inside(g)]
        held = Counter(at(gpu, rule.over) for gpu in counted)
        return sum(max(0, held[domain] - rule.most) for domain in domains)
    total = 0
    for index, model in enumerate(problem.models):
        if model.name in names:
            open_to = {at(gpu, rule.over) for gpu in naive_allowed(problem, index)} - {None}
            pairs = {(at(gpu, rule.over), i) for name, i, gpu in shards if name == model.name}
            held = Counter(domain for domain, _ in pairs)
            counts = [held[domain] for domain in open_to]
            total += max(0, max(counts) - min(counts) - rule.max_skew) if counts else 0
    return total


def naive_allowed(problem, index):
    """GPUs of the right type on which a shard by itself breaks no hard rule about places."""
    model = problem.models[index]
    rules = [r for r in problem.rules if isinstance(r, Pin | Forbid) and r.soft is None]
    return {
        gpu.id
        for gpu in problem.fleet.gpus
        if not (model.gpu_types and gpu.type not in model.gpu_types)
        and all(
            naive_total(problem, Placement((Replica(model.name, 0, (gpu.id,)),)), rule) == 0
            for rule in rules
        )
    }


def naive_overdraft(problem, placement):
    """What is taken of each capacity above what there is, in all."""
    total = 0.0
    wanted = {model.name: model.resources for model in problem.models}
    for n in problem.fleet.nodes:
        ids = {gpu.id for gpu in n.gpus}
        holders = [(n.resources, ids), *((gpu.resources, {gpu.id}) for gpu in n.gpus)]
        for resources, inside in holders:
            for name, most in resources.items():
                taken = math.fsum(
                    wanted[r.model].get(name, 0) for r in placement for g in r.gpus if g in inside
                )
                total += max(0.0, taken - most)
    return total


def drawn_placement(draw, problem):
    """Any way for each model, whether or not it fits or may."""
    replicas = []
    for index, model in enumerate(problem.models):
        options = ways(problem, index)
        if options:
            copies = draw.choice(options)
            replicas += [Replica(model.name, number, gpus) for number, gpus in enumerate(copies)]
    return Placement(tuple(replicas))


@pytest.mark.parametrize("seed", range(4))
def test_every_rule_says_what_a_naive_count_says(seed):
    draw, seen = random.Random(seed), Counter()
    for _ in range(300):
        problem = random_split_problem(draw)
        placement = drawn_placement(draw, problem)
        for rule in problem.rules:
            alone = replace(problem, rules=(rule,))
            found = [v for v in rule_violations(alone, placement) if v.kind == rule.kind]
            assert all(v.amount >= 1 and v.message and v.tier == rule.soft for v in found)
            # With the other rules in place, which decide where a model may spread to.
            total = sum(b.amount for b in rule.breaches(problem, copies_of(placement)))
            assert total == naive_total(problem, placement, rule)
            seen[rule.kind, total > 0] += 1
        over = sum(v.amount for v in rule_violations(problem, placement) if v.kind == "resource")
        assert over == pytest.approx(naive_overdraft(problem, placement), abs=1e-12)
        for index in range(len(problem.models)):
            assert problem.allowed(index) == naive_allowed(problem, index)
    assert len(seen) == 14  # every kind, held and broken


def copies_of(placement):
    """Replicas by model."""
    copies = {}
    for replica in placement:
        copies.setdefault(replica.model, []).append(replica)
    return copies


@pytest.mark.parametrize("seed", range(2))
def test_what_some_models_break_is_not_mended_by_more_of_them(seed):
    draw = random.Random(seed)
    for _ in range(200):
        problem = random_split_problem(draw)
        placement = drawn_placement(draw, problem)
        gone = draw.choice(problem.models).name
        rest = Placement(tuple(r for r in placement if r.model != gone))
        for rule in problem.rules:
            alone = replace(problem, rules=(rule,))
            part = sum(v.amount for v in rule_violations(alone, rest) if v.kind == rule.kind)
            whole = sum(v.amount for v in rule_violations(alone, placement) if v.kind == rule.kind)
            assert part <= whole


def test_registry_finds_every_kind_of_rule():
    kinds = rule_kinds()
    assert kinds == {
        rule.kind: rule for rule in (Apart, Forbid, Limit, Pin, Reserve, Spread, Together)
    }
    assert list(kinds) == sorted(kinds)
