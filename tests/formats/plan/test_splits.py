"""Splits, copies, rules and capacities in files: written, read back equal, checked."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from kvplace.checking.check import check
from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Result, Stop
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.problem import problem_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.read import parse_fleet

FLEET = """\
schema: kvplace.fleet/v1
nodes:
  - name: n
    count: 2
    gpus: 4
    gpu: {type: X, memory: 80GiB, resources: {compute: 1}}
    labels: {zone: a, rack: "1"}
    link_size: 2
    resources: {host_gib: 512}
models:
  - name: one
    weights: 40GiB
    kv_bytes_per_token: 131072
    tensor_parallel: [1, 2]
    replicas: {min: 1, max: 3, split: capacity}
    kv_heads: 8
    gpu_types: X
    resources: {compute: 0.25, host_gib: 20}
    demand: {requests_per_second: 1, prompt_tokens: 10, output_tokens: 10}
    slo: {ttft: 1s, tpot: 10ms}
  - name: two
    weights: 60GiB
    kv_bytes_per_token: 1000
    attention: mla
    tensor_parallel: 2
    demand: {requests_per_second: 1, prompt_tokens: 10, output_tokens: 10}
    slo: {ttft: 1s, tpot: 10ms}
rules:
  - {rule: pin, models: two, places: {nodes: n-1}}
  - {rule: forbid, models: [one], places: {gpus: [n-0/0], labels: {zone: a}}, soft: 2}
  - {rule: reserve, places: {gpus: n-1/3}}
  - {rule: spread, models: "o*", over: node, max_skew: 2}
  - {rule: limit, most: 3}
"""
PLACEMENT = Placement(
    (
        Replica("one", 0, ("n-0/2", "n-0/3")),
        Replica("one", 1, ("n-1/0",)),
        Replica("two", 0, ("n-1/0", "n-1/1")),
    )
)


def result_of(problem, placement, bound=0.0, method="trivial"):
    """A result that a solver could have returned."""
    evaluation = evaluate(problem, placement)
    return Result(
        problem, placement, evaluation, Bound(bound, method), Stop.LOCAL_OPTIMUM, "auto", 0, 0, 0.1
    )


@pytest.fixture(scope="module")
def problem():
    return parse_fleet(FLEET)


@pytest.fixture(scope="module")
def plan(problem):
    return plan_of(result_of(problem, PLACEMENT))


@given(strategies.split_problems())
@settings(max_examples=40, deadline=None)
def test_a_written_problem_reads_back_equal(problem):
    text = write_fleet(problem)
    again = parse_fleet(text, "f.yaml")
    assert again == problem
    assert again.digest == problem.digest
    assert write_fleet(again) == text


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_plan_carries_its_problem(data):
    problem = data.draw(strategies.split_problems())
    placement = data.draw(strategies.split_placements(problem))
    bound = data.draw(st.sampled_from([0.0, math.inf, 1.5]))
    plan = plan_of(result_of(problem, placement, bound, "search"))
    again = parse_plan(write_plan(plan))
    assert again == plan
    carried = problem_of(again)
    assert carried.digest == problem.digest
    found, other = evaluate(problem, placement), evaluate(carried, placement)
    assert found.profile() == other.profile()
    assert found.preferences == other.preferences
    assert sorted(v.kind for v in found.violations) == sorted(v.kind for v in other.violations)


def test_a_true_plan_agrees(problem, plan):
    assert evaluate(problem, PLACEMENT).violations == ()
    assert [v.amount for v in evaluate(problem, PLACEMENT).preferences] == [3]
    assert check(problem, plan).agrees


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("nodes", 0, "labels", "zone"), "b", "nodes[0]"),
        (("nodes", 1, "links", 2), "0", "nodes[1]"),
        (("nodes", 1, "resources", "host_gib"), 5.0, "nodes[1]"),
        (("nodes", 0, "gpu_resources", 3, "compute"), 2.0, "nodes[0]"),
        (("rules", 0, "places", "nodes", 0), "n-0", "rules"),
        (("rules", 1, "soft"), 1, "rules"),
        (("rules", 3, "max_skew"), 1, "rules"),
        (("rules", 4, "most"), 4, "rules"),
        (("models", 0, "replicas", "max"), 2, "models[0]"),
        (("models", 0, "replicas", "split"), "even", "models[0]"),
        (("models", 0, "tensor_parallel"), [2], "models[0]"),
        (("models", 0, "kv_heads"), 4, "models[0]"),
        (("models", 0, "resources", "compute"), 0.5, "models[0]"),
        (("models", 1, "attention"), "grouped", "models[1]"),
        (("placements", 0, "gpus"), ["n-0/1", "n-0/3"], "placements"),  # two link domains
        (("placements", 1, "gpus"), ["n-1/3"], "placements"),  # reserved
        (("placements", 1, "gpus"), ["n-0/3"], "placements"),  # copies share a GPU
        (("placements", 2, "gpus"), ["n-0/0", "n-0/1"], "placements"),  # not where it is pinned
        (("gpus", 4, "shards", 0, "load"), 1.0, "gpus[4].shards[0].load"),
        (("gpus", 4, "shards", 1, "weights_bytes"), 1, "gpus[4].shards[1].weights_bytes"),
    ],
)
def test_what_is_changed_in_a_plan_is_named(problem, plan, path, value, where):
    data = json.loads(write_plan(plan))
    inner = data
    for step in path[:-1]:
        inner = inner[step]
    assert inner[path[-1]] != value
    inner[path[-1]] = value
    assert where in [d.path for d in check(problem, parse_plan(json.dumps(data)))]


def test_a_plan_without_its_rules_is_named(problem, plan):
    assert "rules" in [d.path for d in check(problem, replace(plan, rules=()))]
    turned = replace(plan, rules=plan.rules[::-1])
    assert check(problem, turned).agrees
