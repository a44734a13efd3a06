"""What a fleet file leaves out is estimated, written back and read the same."""

import pytest

from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.problem import problem_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve
from kvplace.units import GIB

ONE = """\
schema: kvplace.fleet/v1
nodes:
  - {name: h, gpus: 1, gpu: {type: H100-SXM-80GB, memory: 79.18GiB}}
models:
  - name: openai/gpt-oss-120b
    weights: 60.713GiB
    kv_bytes_per_token: 73728
    demand: {requests_per_second: 1, prompt_tokens: 3671, output_tokens: 612}
    slo: {ttft: 903ms, tpot: 30.6ms}
"""
PLAIN = """\
schema: kvplace.fleet/v1
nodes: [{name: h, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79.18GiB}}]
models:
  - name: %s
    weights: %s
    kv_bytes_per_token: 131072
    demand: {requests_per_second: 1, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
"""


def model_of(text):
    return parse_fleet(text).models[0]


def test_gpt_oss_120b_is_left_what_reports_measured():
    result = solve(parse_fleet(ONE))
    assert 4.5 * GIB < result.evaluation.gpus[0].free_bytes < 6.5 * GIB


def test_engines_that_share_gpus_are_started_with_lower_limits():
    alone = model_of(ONE)
    head, item = ONE.split("models:\n")
    two = item + item.replace("gpt-oss-120b", "gpt-oss-20b").replace("60.713", "12.807")
    shared = parse_fleet(f"{head}models:\n{two}").models[0]
    assert (alone.launch.max_num_batched_tokens, alone.launch.max_num_seqs) == (8192, 1024)
    assert (shared.launch.max_num_batched_tokens, shared.launch.max_num_seqs) == (2048, 256)
    assert shared.resident_bytes(1) < alone.resident_bytes(1)


def test_limits_and_releases_are_taken_from_the_launch():
    fewer = model_of(ONE + "    launch: {args: [--max-num-seqs=128]}\n")
    stated = model_of(ONE + "    launch: {max_num_seqs: 128}\n")
    newer = model_of(ONE + "    launch: {image: 'vllm/vllm-openai:v0.19.0'}\n")
    assert fewer.resident_bytes(1) == stated.resident_bytes(1) < model_of(ONE).resident_bytes(1)
    assert newer.resident_bytes(1) < model_of(ONE).resident_bytes(1)


def test_a_stated_overhead_wins_exactly():
    exact = model_of(ONE + "    overhead: 2GiB\n")
    assert exact.resident == ()
    assert exact.resident_bytes(1) == round(60.713 * GIB) + 2 * GIB
    measured = model_of(ONE + "    resident: {1: 70GiB, 2: 36GiB}\n")
    assert measured.resident_bytes(1) == 70 * GIB
    assert measured.resident_bytes(2) == 36 * GIB
    assert measured.resident_bytes(4) < 36 * GIB


def test_each_replica_is_left_room_for_its_longest_request():
    model = model_of(PLAIN % ("Qwen/Qwen3-8B", "15.256GiB"))
    # Four times 600 tokens, rounded up to 1,024.
    assert model.max_model_len == 3072
    assert model.least_kv_bytes(1) == 3072 * 131072
    assert model.least_kv_bytes(2) == 3072 * 131072 // 2
    assert model_of(PLAIN % ("a", "1GiB") + "    max_model_len: 100\n").max_model_len == 100
    flagged = PLAIN % ("a", "1GiB") + "    launch: {args: [--max-model-len, 9000]}\n"
    assert model_of(flagged).max_model_len == 9000
    stated = model_of(PLAIN % ("a", "1GiB") + "    min_kv: 1GiB\n")
    assert stated.max_model_len is None
    assert stated.least_kv_bytes(1) == GIB


def test_an_engine_that_could_not_start_makes_the_plan_impossible():
    tight = (PLAIN % ("a", "74GiB")).replace("prompt_tokens: 500", "prompt_tokens: 5000")
    assert solve(parse_fleet(tight)).status == "infeasible"
    assert solve(parse_fleet(tight + "    min_kv: 0B\n")).status == "optimal"


STEPS = "    step_times: [{gpu_type: H100-SXM-80GB, context_tokens: 700, decode: %s}]\n"


@pytest.mark.parametrize("text", [ONE, PLAIN % ("a", "1GiB"), PLAIN % ("b", "60GiB"),
                                  ONE + "    overhead: 0B\n    min_kv: 0B\n",
                                  PLAIN % ("c", "9GiB") + STEPS % "7ms",
                                  ONE.replace("3671,", "3671, cached_tokens: 2000,")])  # fmt: skip
def test_what_was_estimated_is_written_and_reads_back_equal(text):
    problem = parse_fleet(text)
    again = parse_fleet(write_fleet(problem))
    assert again.models == problem.models
    assert again.digest == problem.digest
    result = solve(problem)
    plan = parse_plan(write_plan(plan_of(result)))
    assert problem_of(plan).models == problem.models


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("resident: {a: 1GiB}", "no tensor parallel degree"),
        ("resident: 70GiB", "must be a mapping such as"),
        ("resident: {1: 70}", "has no unit"),
        ("architecture: {layers: 3}", "architecture.hidden_size, line 10: is missing"),
        ("architecture: {layers: 3, heads: 2.5}", "heads, line 10: must be a whole number"),
        ("architecture: {layer: 3}", "did you mean 'layers'"),
        ("architecture: {layers: 0, hidden_size: 1, parameters: 1, active_parameters: 1}",
         "it must be at least 1"),
        ("max_model_len: 0", "whole number from 1"),
        ("windows: {night: {requests_per_second: 1, prompt_tokens: 5, cached_tokens: 6}}",
         "cached_tokens 6 is more than the prompt's tokens"),
        ("step_times: [{gpu_type: a}]", "give the time of a decode step, of a prefill, or of both"),
        ("step_times: [{gpu_type: a, decode: 9ms}]", "context_tokens: decode_seconds needs it"),
        ("step_times: [{gpu_type: a, decode: 9, context_tokens: 8}]", "has no unit"),
        ("launch: {max_num_seqs: many}", "whole number"),
    ],
)  # fmt: skip
def test_wrong_fields_are_told_with_their_place(line, message):
    with pytest.raises(InputError) as error:
        parse_fleet(f"{ONE}    {line}\n")
    assert message in str(error.value)
    assert "models[0]" in str(error.value)


def test_a_measured_step_goes_before_the_computed_one():
    shares = [
        solve(parse_fleet(PLAIN % ("own", "9GiB") + STEPS % step)).evaluation.gpus[0].time_shares[0]
        for step in ("7ms", "14ms")
    ]
    assert shares[1] == pytest.approx(2 * shares[0], rel=1e-6)


def test_a_measured_step_makes_time_known_of_a_model_without_a_shape():
    assert parse_fleet(PLAIN % ("own", "9GiB")).goal == "occupancy"
    assert parse_fleet(PLAIN % ("own", "9GiB") + STEPS % "7ms").goal == "pressure"
