"""The fleet file: what is read, and what is refused with which words."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings

import strategies
from fleet_text import FLEET
from kvplace.core.hardware import GPU, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES, Replicas
from kvplace.core.models.objective import Objective
from kvplace.errors import InputError
from kvplace.formats.fleet import nodes
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.read import parse_fleet, read

DATA = Path(__file__).parents[3] / ".." / "shared" / "data" / "fleets"
GIB = 2**30


def test_everything_a_file_says_is_in_the_problem():
    problem = parse_fleet(FLEET)
    a0, a1, b = problem.fleet.nodes
    assert a0 == Node(
        "a-0", tuple(GPU(f"a-0/{i}", "X", 80 * GIB, 2 * GIB) for i in (0, 1)), a0.labels
    )
    assert a0.labels == {"zone": "z"}
    assert [gpu.id for gpu in a1.gpus] == ["a-1/0", "a-1/1"]
    assert [(gpu.id, gpu.type) for gpu in b.gpus] == [("b/0", "40GiB"), ("b/1", "H100-SXM-80GB")]
    assert b.gpus[1].memory_bytes == 85018877624  # 79.18 GiB
    one, two = problem.models
    assert one.demand == Demand(2.1)
    assert one.slo == SLO(None, None, 2.0)
    assert one.overhead_bytes == DEFAULT_OVERHEAD_BYTES
    assert (one.tensor_parallel, one.replicas) == ((1,), Replicas())
    assert two.weights_bytes == 1_500_000_000
    assert two.kv_bytes_per_sequence == 3 * 2**20
    assert (two.overhead_bytes, two.min_kv_bytes) == (0, 2 * GIB)
    assert two.demand == Demand(0.5, 1000.0, 100.0)
    assert two.slo == SLO(0.5, 0.02)
    assert problem.goal is Objective.REQUESTS  # model one gives no tokens


@pytest.mark.parametrize(
    ("written", "copies"), [("1-3", (1, 3)), ("2", (2, 2)), (" 2 - 4 ", (2, 4))]
)
def test_copies_are_written_as_in_a_table(written, copies):
    model = f"{{name: m, weights: 1GiB, replicas: '{written}', demand: {{requests_per_second: 1}}}}"
    text = (
        f"schema: kvplace.fleet/v1\nnodes: 4x80GiB\nmodels: [{model[:-1]}, slo: {{latency: 1s}}}}]"
    )
    (read,) = parse_fleet(text).models
    assert (read.replicas.min, read.replicas.max) == copies


def test_json_reads_as_yaml_does():
    data = {
        "schema": "kvplace.fleet/v1",
        "nodes": [{"name": "a", "gpus": 1, "gpu": {"memory": "80GiB"}}],
        "models": [
            {
                "name": "m",
                "weights": "1GiB",
                "demand": {"requests_per_second": 1},
                "slo": {"latency": "1s"},
            }
        ],
    }
    text = json.dumps(data)
    assert parse_fleet(text, "f.json") == parse_fleet(text, "f.yaml")


def test_the_default_overhead_can_be_changed_for_the_file():
    problem = parse_fleet(FLEET.replace("nodes:", "defaults: {overhead: 1GiB}\nnodes:"))
    assert [m.overhead_bytes for m in problem.models] == [GIB, 0]


def test_the_objective_of_the_call_goes_before_that_of_the_file():
    complete = (
        FLEET.partition("  - name: org/one")[0]
        + "  - name: two"
        + FLEET.partition("- name: two")[2]
    )
    assert parse_fleet(complete).goal is Objective.OCCUPANCY
    named = complete.replace("nodes:", "objective: tokens\nnodes:")
    assert parse_fleet(named).goal is Objective.TOKENS
    assert parse_fleet(named, objective="requests").goal is Objective.REQUESTS
    with pytest.raises(InputError, match=r"there is no objective 'speed'; known: requests, tokens"):
        parse_fleet(named, objective="speed")


def test_yaml_words_mean_what_yaml_1_2_says():
    text = FLEET.replace("name: two", "name: no").replace("zone: z", "on: off")
    problem = parse_fleet(text.replace("131072", "0o17"))
    assert problem.models[1].name == "no"
    assert problem.fleet.nodes[0].labels == {"on": "off"}
    assert problem.models[1].kv_bytes_per_token == 15
    assert parse_fleet(FLEET.replace("131072", "010")).models[1].kv_bytes_per_token == 10


@given(strategies.problems())
@settings(max_examples=30, deadline=None)
def test_a_written_problem_reads_back_equal(problem):
    text = write_fleet(problem)
    again = parse_fleet(text, "f.yaml")
    assert again == problem
    assert again.digest == problem.digest
    assert write_fleet(again) == text


def test_a_gpu_that_a_file_cannot_name_is_not_written():
    problem = parse_fleet(FLEET)
    fleet = type(problem.fleet)((Node("n", (GPU("7", "t", GIB),)),))
    with pytest.raises(InputError, match="'7' would be n/0 in a fleet file"):
        write_fleet(type(problem)(problem.models, fleet))


def test_real_demand_is_read():
    path = DATA / "openrouter-47.yaml"
    if not path.exists():
        pytest.skip("the shared data is absent")
    problem = read(path)
    assert (len(problem.models), len(problem.fleet.gpus)) == (47, 16)
    assert problem.goal is Objective.PRESSURE
    assert parse_fleet(write_fleet(problem)) == problem


@pytest.mark.parametrize("name", ["lmsys-16", "openrouter-60", "openrouter-103"])
def test_real_files_with_splits_and_copies_read_and_write_back_equal(name):
    path = DATA / f"{name}.yaml"
    if not path.exists():
        pytest.skip("the shared data is absent")
    problem = read(path)
    assert not problem.plain
    assert parse_fleet(write_fleet(problem)) == problem


SPLITS = """
schema: kvplace.fleet/v1
nodes:
  - name: n
    count: 2
    gpus: 4
    gpu: {type: X, memory: 80GiB, resources: {compute: 1}}
    labels: {zone: a}
    link_size: 2
    resources: {host_gib: 512}
models:
  - name: one
    weights: 10GiB
    kv_bytes_per_token: 131072
    tensor_parallel: [1, 2]
    replicas: {min: 1, max: 3, split: capacity}
    kv_heads: 8
    gpu_types: X
    resources: {compute: 0.25, host_gib: 20}
    demand: {requests_per_second: 1, prompt_tokens: 10, output_tokens: 10}
    slo: {ttft: 1s, tpot: 10ms}
  - name: two
    weights: 10GiB
    kv_bytes_per_token: 1000
    attention: mla
    tensor_parallel: 2
    demand: {requests_per_second: 1, prompt_tokens: 10, output_tokens: 10}
    slo: {ttft: 1s, tpot: 10ms}
rules:
  - {rule: pin, models: two, places: {nodes: n-1}}
  - {rule: forbid, models: [one], places: {gpus: [n-0/0], labels: {zone: a}}, soft: 2}
  - {rule: reserve, places: {gpus: n-1/3}}
  - {rule: together, models: "*", over: zone}
  - {rule: apart, models: [one, two], over: node}
  - {rule: spread, models: "o*", over: node, max_skew: 2}
  - {rule: limit, most: 3}
"""


def test_splits_copies_and_rules_read_and_write_back_equal():
    problem = parse_fleet(SPLITS)
    one, two = problem.models
    assert [one.kv_part(t) for t in (1, 2, 16)] == [1, 1 / 2, 1 / 8]
    assert [two.kv_part(t) for t in (1, 2, 16)] == [1, 1, 1]
    assert [gpu.link for gpu in problem.fleet.nodes[0].gpus] == ["0", "0", "1", "1"]
    assert [rule.kind for rule in problem.rules] == [
        "pin", "forbid", "reserve", "together", "apart", "spread", "limit",
    ]  # fmt: skip
    assert sorted(problem.allowed(1)) == ["n-1/0", "n-1/1", "n-1/2"]
    assert parse_fleet(write_fleet(problem)) == problem


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            "{rule: pin, models: one}",
            "rules[0], line 30: a pin rule needs places; write it like places: {nodes: [h200-0]}",
        ),
        (
            "{rule: apart, models: one}",
            "rules[0], line 30: an apart rule needs over; write it like over: zone",
        ),
        (
            "{rule: pin, models: x, places: {nodes: n-0}}",
            "rules[0], line 30: no model is named 'x'",
        ),
        ("{rule: reserve, places: {nodes: m}}", "rules[0], line 30: there is no node 'm'"),
        ("{rule: spread, models: one, over: rack}", "rules[0], line 30: no node has the label"),
        (
            "{rule: limit, most: 1, max_skew: 2}",
            "rules[0], line 30: a limit rule takes no max_skew",
        ),
        ("{rule: pn}", "rules[0].rule, line 30: must be one of"),
    ],
)
def test_each_fault_of_a_rule_has_its_line(rule, message):
    text = SPLITS.partition("rules:")[0] + f"rules:\n  - {rule}\n"
    with pytest.raises(InputError) as caught:
        parse_fleet(text)
    assert any(line.startswith(message) for line in caught.value.lines()), caught.value.lines()


def test_three_thousand_models_are_read():
    head, _, _ = FLEET.partition("models:")
    body = "models:\n" + FLEET.partition("models:\n")[2] * 1500
    names = iter(range(3000))
    lines = [
        f"  - name: m{next(names)}" if "- name" in line else line for line in body.splitlines()
    ]
    problem = parse_fleet(head + "\n".join(lines))
    assert len(problem.models) == 3000


def test_a_type_of_many_nodes_is_looked_up_once(monkeypatch):
    asked = []
    own = nodes.gpu_kind
    monkeypatch.setattr(nodes, "gpu_kind", lambda kind: asked.append(kind) or own(kind))
    hosts = [{"name": f"n{at}", "gpus": 8, "gpu": "H100" if at else "H200"} for at in range(9)]
    model = {"name": "a", "weights": "9GiB", "demand": {"requests_per_second": 1}}
    data = {
        "schema": "kvplace.fleet/v1",
        "nodes": hosts,
        "models": [model | {"slo": {"latency": "2s"}}],
    }
    assert len(read(data).fleet.gpus) == 72
    assert asked == ["H200", "H100"]
