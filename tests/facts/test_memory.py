"""Weights as loaded and what an engine takes besides: against public start-up logs."""

import pytest

from kvplace.facts.catalogue.gpus import gpu_type
from kvplace.facts.catalogue.models import known_models
from kvplace.facts.catalogue.shapes import known_shape, known_shapes, stored_bytes
from kvplace.facts.memory.loaded import loaded_weights
from kvplace.facts.memory.overhead import EngineLimits, engine_limits, overhead, overhead_of_unknown
from kvplace.units import GIB

H100 = gpu_type("H100-SXM-80GB")
LARGE = EngineLimits(8192, 1024)


def gib(size):
    return size / GIB


@pytest.mark.parametrize(
    ("name", "file_gib", "degree", "loaded_gib", "within"),
    [
        # "Model loading took" of public logs: vllm#33155, llm-d-planner's sweep of vLLM 0.19,
        # vllm#10511.
        ("openai/gpt-oss-120b", 60.713, 1, 64.38, 0.01),
        ("openai/gpt-oss-20b", 12.807, 2, 7.0, 0.03),
        ("meta-llama/Llama-3.1-8B-Instruct", 14.958, 1, 14.99, 0.002),
        ("meta-llama/Llama-3.1-8B-Instruct", 14.958, 4, 3.77, 0.01),
        ("Qwen/Qwen2.5-7B-Instruct", 14.185, 1, 14.25, 0.005),
        ("Qwen/Qwen2.5-7B-Instruct", 14.185, 2, 7.12, 0.005),
        ("Qwen/Qwen3-14B", 27.508, 1, 27.52, 0.002),
        ("meta-llama/Meta-Llama-3-8B-Instruct", 14.958, 2, 7.48, 0.005),
    ],
)
def test_weights_are_those_that_an_engine_loads(name, file_gib, degree, loaded_gib, within):
    size = round(file_gib * GIB)
    loaded = loaded_weights(size, known_shape(name, size), degree)
    assert gib(loaded.total_bytes) == pytest.approx(loaded_gib, rel=within)


@pytest.mark.parametrize(
    ("name", "degree", "release", "activations_gib"),
    [
        # Peak of torch's memory on one H100 as vLLM tells it: llm-d-planner, vLLM 0.19 and 0.16.
        ("meta-llama/Llama-3.1-8B-Instruct", 1, (0, 19), 1.89),
        ("meta-llama/Llama-3.3-70B-Instruct", 4, (0, 19), 1.97),
        ("Qwen/Qwen2.5-7B-Instruct", 1, (0, 19), 2.21),
        ("Qwen/Qwen2.5-72B-Instruct", 2, (0, 19), 2.29),
        ("Qwen/Qwen3-14B", 1, (0, 19), 2.23),
        ("Qwen/Qwen3-14B", 1, (0, 16), 5.64),
        ("Qwen/Qwen3-30B-A3B", 1, (0, 19), 2.68),
        ("google/gemma-2-27b-it", 1, (0, 19), 3.66),
        ("google/gemma-2-2b-it", 1, (0, 19), 3.62),
        ("google/gemma-3-12b-it", 1, (0, 19), 3.94),
        ("microsoft/phi-4", 1, (0, 19), 1.52),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 2, (0, 19), 1.21),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 1, (0, 19), 1.93),
        ("openai/gpt-oss-20b", 2, (0, 19), 2.87),
        ("meta-llama/Llama-2-7b-chat-hf", 1, (0, 19), 0.77),
    ],
)
def test_activations_are_those_of_public_logs(name, degree, release, activations_gib):
    found = overhead(known_shape(name), degree, LARGE, release=release)
    assert gib(found.activations) == pytest.approx(activations_gib, rel=0.15)


def test_gpt_oss_120b_leaves_on_one_h100_what_two_reports_measured():
    # vllm#23278: 5.8 GiB, vllm#27508: 5.7 GiB.
    size = round(60.713 * GIB)
    shape = known_shape("openai/gpt-oss-120b", size)
    taken = (
        loaded_weights(size, shape).total_bytes + overhead(shape, 1, engine_limits([H100])).total
    )
    assert 4.5 < gib(H100.memory_bytes - taken) < 6.5


def test_parts_add_up_and_grow_with_what_they_depend_on():
    shape = known_shape("Qwen/Qwen3-8B")
    one, two = (overhead(shape, degree, LARGE) for degree in (1, 2))
    assert sum(one.parts().values()) == one.total
    assert one.communication == 0 < two.communication
    assert overhead(shape, 2, LARGE, linked=False).communication < two.communication
    few = overhead(shape, 1, EngineLimits(2048, 64))
    assert few.activations < one.activations
    assert few.graphs < one.graphs
    assert overhead(shape, 1, LARGE, release=(0, 19)).total < one.total
    assert overhead(shape, 1, LARGE, engine="sglang").total < one.total
    assert "1,024 sequences" in one.origin


def test_limits_are_those_that_vllm_takes_on_the_smallest_gpu():
    assert engine_limits([H100]) == LARGE
    assert engine_limits([H100, gpu_type("A100-SXM-80GB")]) == EngineLimits(2048, 256)
    assert engine_limits([gpu_type("L4-24GB")]) == EngineLimits(2048, 256)
    assert engine_limits([]) == EngineLimits(2048, 256)


def test_an_unknown_model_is_estimated_from_its_weights():
    assert overhead_of_unknown(8 * GIB) == 1.5 * GIB
    assert overhead_of_unknown(112 * GIB) == pytest.approx(4.5 * GIB)


def test_every_shipped_shape_stores_what_the_catalogue_says():
    models, shapes = known_models(), known_shapes()
    assert len(shapes) > 200
    for name in models.keys() & shapes.keys():
        if "nominal" in models[name].note or models[name].weight_dtype == "int4":
            continue  # the vendor's round number of parameters
        own = stored_bytes(shapes[name]) - 2 * shapes[name].other_parameters
        assert own == pytest.approx(models[name].weights_bytes, rel=0.005), name


def test_a_shape_follows_the_bits_that_weights_tell():
    whole = known_shape("Qwen/Qwen3-32B", 61 * GIB)
    half = known_shape("qwen/qwen3-32b", 31 * GIB)
    assert whole.weight_bits == 16
    assert half.weight_bits == 8
    assert known_shape("Qwen/Qwen3-32B", 3 * GIB) is None
    assert known_shape("nobody/knows") is None
    alike = known_shape("NousResearch/Hermes-3-Llama-3.1-70B")
    assert alike == known_shape("meta-llama/Llama-3.1-70B-Instruct")


def test_a_vision_tower_is_loaded_where_the_weights_hold_it():
    text = known_shape("google/gemma-3-4b-it", round(7.227 * GIB))
    whole = known_shape("google/gemma-3-4b-it", round(8.01 * GIB))
    assert text.other_parameters == 0
    assert whole.other_parameters > 4e8


def test_a_measured_report_goes_before_the_file():
    measured = known_models()["google/gemma-3-4b-it"]
    assert gib(measured.loaded_bytes) == pytest.approx(8.58)
    assert "21489" in measured.loaded_source
