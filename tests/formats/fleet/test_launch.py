"""Launch settings: what files may say, what they may not, and that it reads back."""

import json

import pytest

from kvplace.checking.check import check
from kvplace.core.models.launch import Launch
from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.problem import problem_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve

FLEET = """\
schema: kvplace.fleet/v1
defaults: {{launch: {{image: "x:1", secrets: [HF_TOKEN], env: {{HF_HOME: /models}}}}}}
nodes: [{{name: a, gpus: 2, gpu: {{type: X, memory: 80GiB, reserve: 1GiB}}, labels: {{zone: z}}}}]
models:
  - {{name: one, weights: 10GiB, demand: {{requests_per_second: 2}}, slo: {{latency: 2s}}{0}}}
  - {{name: two, weights: 10GiB, demand: {{requests_per_second: 2}}, slo: {{latency: 2s}}}}
"""


def problem(launch=""):
    return parse_fleet(FLEET.format(f", launch: {launch}" if launch else ""), "fleet.yaml")


def test_a_model_takes_from_the_defaults_what_it_leaves_out():
    one, two = problem("{engine: sglang, image: y, args: [--max-total-tokens, 4096]}").models
    shared = {"env": (("HF_HOME", "/models"),), "secrets": ("HF_TOKEN",)}
    assert one.launch == Launch("sglang", "", "y", "", ("--max-total-tokens", "4096"), **shared)
    assert two.launch == Launch(image="x:1", **shared)


def test_arguments_are_a_list_or_a_line():
    line = problem("""{args: "--a 1 --b='two words'"}""").models[0].launch.args
    assert line == ("--a", "1", "--b=two words")
    assert problem("{args: [--a, 1, '--b=two words']}").models[0].launch.args == line


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ("{engine: vlm}", "must be one of vllm, sglang, not the text 'vlm'"),
        ("{args: {a: b}}", "must be a list of words"),
        ('{args: "--a \'b"}', "is not understood: no closing quotation"),
        ("{args: [[--a]]}", "must be one printable word"),
        ("{args: [--api-key=sk-1]}", "would write a secret"),
        ("{args: '--api-key sk-1'}", "would write a secret"),
        ("{env: [A=b]}", "must be a mapping"),
        ("{env: {HF_TOKEN: hf_1}}", "looks like a secret, which is never written"),
        ("{env: {AWS_SECRET_ACCESS_KEY: x}}", "looks like a secret"),
        ("{env: {'A B': c}}", "is no name of an environment variable"),
        ("{secrets: ['A=b']}", "is no name of an environment variable"),
        ("{env: {A: 1}, secrets: [A]}", "A is in env and in secrets"),
        ("{imag: x}", "did you mean 'image'?"),
    ],
)
def test_what_is_refused(launch, message):
    with pytest.raises(InputError) as caught:
        problem(launch)
    assert message in str(caught.value)
    assert "models[0].launch" in str(caught.value)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "VLLM_MAX_TOKENS", "MONKEY"])
def test_names_that_only_sound_like_secrets_are_accepted(name):
    assert problem(f"{{env: {{{name}: 1}}}}").models[0].launch.env[-1] == (name, "1")


def test_a_fleet_file_reads_back_equal():
    given = problem("{source: 's3://b/ü', venv: ~/v, args: [--a, 'b c'], env: {A: 'x: #y'}}")
    assert parse_fleet(write_fleet(given)) == given


def test_a_plan_carries_its_problem():
    given = problem("{args: [--a, 'b c']}")
    plan = parse_plan(write_plan(plan_of(solve(given))))
    again = problem_of(plan)
    assert again.digest == given.digest
    assert again.models == given.models
    assert [node.labels for node in again.fleet.nodes] == [{"zone": "z"}]
    assert again.fleet.gpus[0].usable_bytes == given.fleet.gpus[0].usable_bytes
    assert check(again, plan).agrees


def test_how_models_are_launched_decides_nothing():
    assert problem("{engine: sglang}").digest == problem().digest
    plan = plan_of(solve(problem("{engine: sglang}")))
    assert check(problem(), plan).agrees


@pytest.mark.parametrize(
    ("key", "change", "path"),
    [
        ("models", lambda data: data["models"][0].update(min_kv_bytes=7), "models[0]"),
        ("models", lambda data: data["models"].pop(), "models"),
        ("models", lambda data: data["models"][1].update(name="three"), "models[1]"),
        ("nodes", lambda data: data["nodes"][0].update(name="b"), "nodes"),
    ],
)
def test_a_check_finds_what_a_plan_states_wrongly_of_its_problem(key, change, path):
    given = problem()
    data = json.loads(write_plan(plan_of(solve(given))))
    change(data)
    plan = parse_plan(json.dumps(data))
    assert path in [one.path for one in check(given, plan)]
    with pytest.raises(InputError):
        problem_of(plan)


def test_an_older_plan_is_read_and_says_what_it_lacks():
    data = json.loads(write_plan(plan_of(solve(problem()))))
    del data["nodes"], data["models"]
    plan = parse_plan(json.dumps(data))
    assert check(problem(), plan).agrees
    with pytest.raises(InputError, match="--fleet"):
        problem_of(plan, "plan.json")


def test_faults_of_models_in_a_plan_have_their_place():
    data = json.loads(write_plan(plan_of(solve(problem()))))
    data["models"][0]["replicas"] = {"min": 3, "max": 1}
    data["models"][1]["weights_bytes"] = -1
    with pytest.raises(InputError) as caught:
        parse_plan(json.dumps(data))
    assert "models[0].replicas" in str(caught.value)
    assert "models[1].weights_bytes" in str(caught.value)
