"""Facts from GGUF headers, from params.json and about adapters, with hand-derived answers."""

import json

import pytest
from checkpoints import write_checkpoint, write_safetensors
from gguf_files import write_gguf
from hypothesis import given
from hypothesis import strategies as st

from kvplace.errors import InputError
from kvplace.facts.find import find_facts

QWEN3_8B = {
    "general.architecture": "qwen3",
    "general.name": "Qwen3 8B",
    "qwen3.block_count": 36,
    "qwen3.context_length": 40960,
    "qwen3.embedding_length": 4096,
    "qwen3.attention.head_count": 32,
    "qwen3.attention.head_count_kv": 8,
    "qwen3.attention.key_length": 128,
    "qwen3.attention.value_length": 128,
    "qwen3.rope.freq_base": 1e6,
    "tokenizer.ggml.tokens": ["a"] * 50,
}


def test_a_gguf_directory_gives_cache_and_weights(tmp_path):
    write_gguf(tmp_path / "Qwen3-8B-Q4_K_M.gguf", QWEN3_8B, 5000)
    write_gguf(tmp_path / "mmproj-f16.gguf", {"general.type": "mmproj"})
    facts = find_facts(str(tmp_path))
    assert facts.layout.bytes_per_token() == 36 * 8 * 256 * 2
    assert facts.weights_bytes.value == 5000
    assert facts.context_tokens == 40960


def test_a_gguf_file_is_named_directly_where_several_lie_side_by_side(tmp_path):
    file = write_gguf(tmp_path / "a-Q4_K_M.gguf", QWEN3_8B)
    write_gguf(tmp_path / "a-Q8_0.gguf", QWEN3_8B, 2000)
    with pytest.raises(InputError, match="name the file itself"):
        find_facts(str(tmp_path))
    assert find_facts(str(file)).weights_bytes.value == 1000


def test_windows_and_heads_per_layer_of_a_gguf_header(tmp_path):
    pairs = {
        "general.architecture": "gemma4",
        "gemma4.block_count": 6,
        "gemma4.embedding_length": 2560,
        "gemma4.attention.head_count": 8,
        "gemma4.attention.head_count_kv": [4, 4, 4, 4, 4, 2],
        "gemma4.attention.key_length": 512,
        "gemma4.attention.value_length": 512,
        "gemma4.attention.key_length_swa": 256,
        "gemma4.attention.value_length_swa": 256,
        "gemma4.attention.sliding_window": 512,
        "gemma4.attention.sliding_window_pattern": [True] * 5 + [False],
    }
    write_gguf(tmp_path / "m.gguf", pairs)
    layout = find_facts(str(tmp_path)).layout
    assert layout.bytes_per_token_beyond_window() == 2 * 1024 * 2
    assert layout.bytes_per_token() == 5 * 4 * 512 * 2 + 2 * 1024 * 2
    assert layout.windows == (512,)


def test_the_latent_vector_of_a_gguf_header(tmp_path):
    pairs = {
        "general.architecture": "deepseek2",
        "deepseek2.block_count": 61,
        "deepseek2.embedding_length": 7168,
        "deepseek2.attention.head_count": 128,
        "deepseek2.attention.head_count_kv": 1,
        "deepseek2.attention.key_length": 576,
        "deepseek2.attention.value_length": 512,
        "deepseek2.attention.key_length_mla": 192,
        "deepseek2.attention.q_lora_rank": 1536,
        "deepseek2.attention.kv_lora_rank": 512,
        "deepseek2.rope.dimension_count": 64,
        "deepseek2.expert_count": 256,
    }
    write_gguf(tmp_path / "m.gguf", pairs)
    assert find_facts(str(tmp_path)).layout.bytes_per_token() == 70_272


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"GGUF" + bytes(64), "version 0 is not known"),
        (b"GGUF\3", "it ends within its header"),
        (b"GGML" + bytes(64), "does not begin with GGUF"),
        (b"GGUF\3\0\0\0" + b"\xff" * 16, "key-value pairs"),
    ],
)
def test_a_damaged_header_says_what_to_do(content, words, tmp_path):
    (tmp_path / "m.gguf").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        find_facts(str(tmp_path))
    assert "config.json of the model that it was made from" in str(caught.value)


def test_an_unknown_recurrent_architecture_is_refused_by_name(tmp_path):
    pairs = QWEN3_8B | {"qwen3.ssm.state_size": 128}
    write_gguf(tmp_path / "m.gguf", pairs)
    with pytest.raises(InputError, match="recurrent_layers"):
        find_facts(str(tmp_path))


@given(st.binary(max_size=200))
def test_any_header_is_answered(tmp_path_factory, tail):
    directory = tmp_path_factory.mktemp("m")
    (directory / "m.gguf").write_bytes(b"GGUF\3\0\0\0" + tail)
    with pytest.raises(InputError):
        find_facts(str(directory))


def test_params_json_of_mistral_is_read(tmp_path):
    params = {"dim": 5120, "n_layers": 40, "head_dim": 128, "n_heads": 32, "n_kv_heads": 8,
              "hidden_dim": 14336, "norm_eps": 1e-5, "rope_theta": 1e6, "vocab_size": 131072,
              "max_seq_len": 32768}  # fmt: skip
    (tmp_path / "params.json").write_text(json.dumps(params))
    write_safetensors(tmp_path / "consolidated.safetensors", 3000)
    facts = find_facts(str(tmp_path))
    assert facts.layout.bytes_per_token() == 40 * 8 * 256 * 2
    assert (facts.weights_bytes.value, facts.context_tokens) == (3000, 32768)


def test_an_adapter_names_its_base_model(tmp_path):
    base = {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(base))
    write_safetensors(tmp_path / "adapter_model.safetensors", 100)
    with pytest.raises(InputError, match=r"LoRA adapter of meta-llama/Llama-3\.1-8B-Instruct"):
        find_facts(str(tmp_path))


def test_an_empty_directory_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json, no params\.json and no GGUF file"):
        find_facts(str(tmp_path))


def test_a_base_model_beside_an_adapter_s_config_is_read(tmp_path):
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 2,
              "hidden_size": 64}  # fmt: skip
    write_checkpoint(tmp_path, config)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert find_facts(str(tmp_path)).layout.bytes_per_token() == 2 * 2 * 64 * 2
