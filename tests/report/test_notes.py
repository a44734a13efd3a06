"""What a person is told besides the numbers."""

from dataclasses import replace

import pytest

from kvplace.formats.read import parse_fleet, read
from kvplace.report.alike import look_alikes
from kvplace.report.notes import notes, overloaded
from kvplace.report.page.markdown import markdown_summary
from kvplace.report.page.recommendation import as_sentence, recommendation, sources
from kvplace.report.summary import summary
from kvplace.solver.solve import solve

HEAD = """\
schema: kvplace.fleet/v1
nodes: [{name: h, gpus: %d, gpu: {type: H100-SXM-80GB, memory: 79.18GiB}}]
models:
"""
LLAMA = """\
  - name: meta-llama/Llama-3.1-8B-Instruct
    weights: 14.958GiB
    kv_bytes_per_token: 131072
    kv_heads: 8
    demand: {requests_per_second: %s, prompt_tokens: 900, output_tokens: %s}
    slo: {ttft: %s, tpot: %s}
"""
NAME = "meta-llama/Llama-3.1-8B-Instruct"
RERANKER = """\
  - {name: reranker, weights: 1.1GiB, demand: {requests_per_second: 5}, slo: {latency: 100ms}%s}
"""


def llama(rate=2, output=100, ttft="600ms", tpot="20ms", more=""):
    return LLAMA % (rate, output, ttft, tpot) + more


def told(text, gpus=1, objective=None):
    """Return the kinds and the texts of what is told of a fleet and its best plan."""
    problem = parse_fleet(HEAD % gpus + text, objective=objective)
    result = solve(problem)
    return {note.kind: str(note) for note in notes(problem, result.evaluation)}


def test_a_fleet_that_is_well_is_told_nothing():
    assert told(llama()) == {}


def test_computation_beyond_a_gpu_is_a_warning():
    # 200 requests/s of 900 prompt tokens are 180,000 tokens/s: 2,880 TFLOP/s on 989.
    found = told(llama(200, 10))
    assert set(found) == {"overload", "time"}
    assert set(told(llama(200, 10), objective="occupancy")) == {"time"}
    assert found["time"].startswith("warning: h/0: KV pool 31 % full, GPU time ")
    assert "meta-llama/Llama-3.1-8B-Instruct" in found["time"]


def test_time_that_is_tight_is_a_note():
    found = told(llama(21, 100))
    assert found["tight time"].startswith("note: 1 GPU is short of time to spare")


def test_an_overload_names_the_model_and_ways_out():
    problem = parse_fleet(HEAD % 2 + llama(30, 3000))
    result = solve(problem)
    assert overloaded(problem, result.evaluation)
    found = {note.kind: str(note) for note in notes(problem, result.evaluation)}
    assert found["overload"].startswith("warning: overloaded: h/")
    assert "replicas: {min: 1, max: 2}" in found["overload"]
    assert "tensor_parallel: [1, 2]" in found["overload"]


def test_an_objective_that_no_gpu_keeps_is_named_with_the_best():
    found = told(llama(tpot="3ms"))
    assert "tpot 3 ms (the best takes" in found["out of reach"]
    assert "out of reach" not in told(llama(tpot="3ms", more="    tensor_parallel: [1, 8]\n"), 8)


def test_a_model_without_tokens_changes_the_objective_and_it_is_said():
    found = told(llama() + RERANKER % "")
    assert "because reranker lacks kv_bytes_per_token" in found["objective"]
    assert "objective" not in told(llama() + RERANKER % ", kv_bytes_per_token: 0")


def test_what_keeps_gpu_time_out_of_the_plan_is_said():
    other = llama().replace("meta-llama/Llama-3.1-8B-Instruct", "a")
    found = told(llama() + other)
    assert "GPU time is left out, because architecture of 'a' is not known" in found["objective"]


def test_a_model_without_a_cache_is_first_class():
    problem = parse_fleet(HEAD % 1 + llama() + RERANKER % ", kv_bytes_per_token: 0")
    assert problem.goal == "pressure"
    assert problem.loads[1] == 0
    assert problem.pressures.known


def test_no_demand_is_said():
    found = told("  - {name: a, weights: 1GiB, demand: {requests_per_second: 0}}\n")
    assert "no model has demand" in found["no demand"]


def test_a_host_of_too_many_gpus_is_said():
    assert "one host of 40 GPUs" in told(llama(), 40)["large host"]


@pytest.mark.parametrize(
    ("degree", "reason"),
    [(3, "does not divide the 32 attention heads"), (4, ""), (6, "32 attention heads")],
)
def test_a_degree_that_engines_refuse_is_a_warning_of_models_made_in_python(degree, reason):
    problem = parse_fleet(HEAD % 8 + llama())
    (model,) = problem.models
    problem = replace(problem, models=(replace(model, tensor_parallel=(degree,)),))
    found = {note.kind: str(note) for note in notes(problem, solve(problem).evaluation)}
    assert ("degree" in found) == bool(reason)
    assert reason in found.get("degree", "")


def test_a_soft_rule_that_is_broken_is_told_and_counted():
    pair = RERANKER % ", replicas: 1"
    apart = f"rules: [{{rule: apart, models: [reranker, {NAME}], over: gpu, soft: 2}}]\n"
    text = llama() + pair + apart
    assert "soft rule" not in told(text, gpus=2)
    assert told(text)["soft rule"].startswith("note: a soft rule of tier 2 is broken: ")
    result = solve(parse_fleet(HEAD % 1 + text))
    assert ", 1 soft rule broken" in summary(result)
    assert "- **note:** a soft rule of tier 2 is broken: " in markdown_summary(result)


def test_warnings_come_first_and_nothing_is_said_of_what_does_not_fit():
    problem = parse_fleet(HEAD % 40 + llama(200, 10))
    levels = [note.level for note in notes(problem, solve(problem).evaluation)]
    assert levels == sorted(levels, reverse=True)
    assert {note.kind for note in notes(problem)} == {"large host"}


def test_the_page_and_the_markdown_say_what_the_table_says():
    result = solve(parse_fleet(HEAD % 1 + llama(200, 10), objective="occupancy"))
    head, _advice = recommendation(result)
    assert head.startswith("Too slow: h/0: KV pool 31 % full, GPU time ")
    assert "- **warning:** h/0: KV pool 31 % full, GPU time " in markdown_summary(result)


def test_sources_of_figures_are_no_advice_and_names_keep_their_letters():
    fleet = {
        "schema": "kvplace.fleet/v1",
        "nodes": "1x2xH100",
        "models": [{"model": "openai/gpt-oss-20b"}, {"model": "Qwen/Qwen3-8B"}],
    }
    result = solve(read(fleet))
    _, advice = recommendation(result)
    told = sources(result)
    assert not set(told) & set(advice)
    assert [line.partition(":")[0] for line in told] == ["openai/gpt-oss-20b", "Qwen/Qwen3-8B"]
    assert as_sentence("no figure is known") == "No figure is known."
    assert as_sentence("gpt-oss has none") == "gpt-oss has none."


def test_what_is_assumed_is_told_in_one_line_and_in_full_where_asked():
    names = ["Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-4B"]
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1x8xH100"}
    several = read(fleet | {"models": [{"model": name} for name in names]})
    assert len(several.assumed) == 3
    (one,) = [note.text for note in notes(several) if note.kind == "catalogue"]
    assert one.startswith("3 assumptions fill in what the file leaves open")
    assert one.endswith("kvplace check lists them")
    every = [note.text for note in notes(several, every=True) if note.kind == "catalogue"]
    assert every == list(several.assumed)
    assert sources(solve(several)) == [f"{text}." for text in every]
    alone = read(fleet | {"models": [{"model": names[0]}]})
    assert [n.text for n in notes(alone) if n.kind == "catalogue"] == list(alone.assumed)


@pytest.mark.parametrize(
    "other",
    [
        "Q\u0435n/caf\u00e9",  # Cyrillic e
        "Qen/cafe\u0301",  # e and an accent
        "Qen/caf\u00e9\u3164",  # a filler that nobody sees
        "\uff31en/caf\u00e9\ufe0f",  # a letter of full width, a variation selector
    ],
)
def test_names_that_look_alike_are_told_with_their_places(other):
    names = ["plain", "Qen/caf\u00e9", other]
    text = HEAD % 1 + "".join((RERANKER % "").replace("reranker", f'"{name}"') for name in names)
    problem = parse_fleet(text)
    (told,) = (note for note in notes(problem) if note.kind == "look-alike")
    assert told.level == "warning"
    assert told.text.startswith("models[1] 'Qen/caf\\xe9' and models[2] ")
    assert told.text.isascii()


def test_names_that_differ_to_the_eye_are_not_told():
    names = [
        "Qwen",
        "qwen",
        "caf\u00e9",
        "cafe",
        "\u043c\u043e\u0434\u0435\u043b\u044c",
        "a-1",
        "a_1",
    ]
    assert not list(look_alikes(names))
    assert list(look_alikes(["a-1", "a\u20111", "a\u22121", "b"])) == [(0, 1), (0, 2)]
    assert list(look_alikes(["scope", "\u0455\u0441\u043e\u0440\u0435"])) == [(0, 1)]
