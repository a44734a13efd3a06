"""A model of the catalogue that a fleet file only names, and GPUs given by type alone."""

import pytest

from kvplace.core.models.model import Attention
from kvplace.errors import InputError
from kvplace.facts.catalogue.models import known_model, known_models
from kvplace.facts.catalogue.shapes import known_shape
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.read import parse_fleet
from kvplace.report.notes import notes
from kvplace.units import GIB

HEAD = "schema: kvplace.fleet/v1\nnodes: 2x8xH100\nmodels:\n"
LARGE = HEAD.replace("2x8xH100", "1x32xB300")
BUSY = (
    "demand: {requests_per_second: 1, prompt_tokens: 500, output_tokens: 100}, "
    "slo: {ttft: 1s, tpot: 50ms}"
)


def the_model(entry, head=HEAD):
    return parse_fleet(f"{head}  - {{{entry}}}\n").models[0]


def texts(problem):
    return [note.text for note in notes(problem)]


def test_the_name_alone_is_enough():
    problem = parse_fleet(HEAD + "  - {model: qwen/qwen3-8b}\n")
    (model,) = problem.models
    known = known_model("Qwen/Qwen3-8B")
    assert model.name == "Qwen/Qwen3-8B"
    assert model.weights_bytes == known.weights_bytes
    assert (model.kv_bytes_per_token, model.kv_heads) == (147456, 8)
    assert model.tensor_parallel == (1,)
    assert model.demand.requests_per_second == 0
    assert model.architecture == known_shape("Qwen/Qwen3-8B", model.weights_bytes)
    (said,) = [text for text in texts(problem) if text.startswith("Qwen/Qwen3-8B: ")]
    assert "weights 15.3 GiB, tensor_parallel 1, 147,456 B of KV cache per token; catalogue" in said
    assert "litgpt" in said


def test_every_model_of_the_catalogue_is_enough_by_its_name():
    for name, known in known_models().items():
        if known.kv_bytes_per_sequence is None:
            with pytest.raises(InputError, match="does not know the state that each sequence"):
                the_model(f"model: {name}", LARGE)
        else:
            assert the_model(f"model: {name}", LARGE).weights_bytes == known.weights_bytes


def test_what_is_stated_goes_before_the_catalogue():
    model = the_model(
        f"name: chat, model: Qwen/Qwen3-8B, weights: 8GiB, tensor_parallel: 2, {BUSY}"
    )
    assert (model.name, model.weights_bytes, model.tensor_parallel) == ("chat", 8 * GIB, (2,))
    assert model.architecture == known_shape("Qwen/Qwen3-8B", 8 * GIB)
    assert model.kv_bytes_per_token == 147456
    assert model.demand.requests_per_second == 1


def test_a_model_with_another_name_is_still_the_one_of_the_catalogue():
    named = the_model(f"model: meta-llama/Llama-3.1-8B-Instruct, {BUSY}")
    other = the_model(f"name: x, model: meta-llama/Llama-3.1-8B-Instruct, {BUSY}")
    assert (other.resident, other.max_model_len) == (named.resident, named.max_model_len)
    assert other.architecture == named.architecture


def test_the_cache_is_in_8_bits_where_the_engine_is_told_so():
    launch = "launch: {args: [--kv-cache-dtype, fp8]}"
    assert the_model(f"model: Qwen/Qwen3-8B, {launch}").kv_bytes_per_token == 147456 // 2


def test_a_large_model_is_split_over_the_gpus_it_needs():
    assert the_model("model: Qwen/Qwen3-235B-A22B").tensor_parallel == (8,)
    with pytest.raises(InputError, match=r"437.9 GiB of weights fit no node: split over 2 GPUs"):
        the_model("model: Qwen/Qwen3-235B-A22B", HEAD.replace("2x8", "2x2"))


def test_latent_caches_are_whole_on_every_rank():
    assert the_model("model: deepseek-ai/DeepSeek-V3", LARGE).attention is Attention.MLA


def test_a_filled_fleet_is_written_out_and_reads_back_equal():
    problem = parse_fleet(HEAD + f"  - {{model: Qwen/Qwen3-32B, {BUSY}}}\n")
    again = parse_fleet(write_fleet(problem))
    assert again == problem
    assert not again.assumed


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("model: Qwen3-8B", "the catalogue has no model 'Qwen3-8B'; did you mean 'Qwen/Qwen3-8B'"),
        (
            "model: zzz",
            "no model 'zzz'; kvplace catalogue models lists them; of another model give",
        ),
        (
            "model: Qwen/Qwen3-8B, tensor_paralel: 2",
            "unknown key 'tensor_paralel'; did you mean 'tensor_parallel'",
        ),
        ("name: Qwen/Qwen3-8B", "the catalogue knows this model: write model: Qwen/Qwen3-8B in"),
    ],
)
def test_a_fault_says_what_to_write(entry, message):
    with pytest.raises(InputError, match=message):
        the_model(entry)


def test_two_entries_of_one_model_need_names():
    text = HEAD + "  - {model: Qwen/Qwen3-8B}\n  - {model: Qwen/Qwen3-8B}\n"
    with pytest.raises(InputError, match="is already the name of models"):
        parse_fleet(text)


def test_gpus_are_given_by_type_or_memory_alone():
    head = HEAD.replace("2x8xH100", "\n  - {name: a, gpus: [L4, 40GiB, {type: H200}]}")
    gpus = parse_fleet(head + "  - {model: Qwen/Qwen3-8B}\n").fleet.gpus
    assert [gpu.type for gpu in gpus] == ["L4", "40GiB", "H200"]
    assert gpus[1].memory_bytes == 40 * GIB
    with pytest.raises(InputError, match="'A100' could be A100-SXM-40GB"):
        the_model(
            "model: Qwen/Qwen3-8B", HEAD.replace("2x8xH100", "\n  - {name: a, gpus: 1, gpu: A100}")
        )


def test_a_bare_h100_has_the_speed_of_the_usual_one_and_a_note_says_so():
    problem = parse_fleet(HEAD + f"  - {{model: Qwen/Qwen3-8B, {BUSY}}}\n")
    assert problem.goal.value == "pressure"
    (said,) = [text for text in texts(problem) if text.startswith("'H100'")]
    assert (
        said == "'H100' is taken to be as fast as H100-SXM-80GB; write H100-PCIE-80GB if it is that"
    )
