"""Facts with hand-derived answers, and every way in which a checkpoint can be wrong."""

import json

import pytest
from checkpoints import write_checkpoint, write_safetensors

from kvplace.errors import InputError
from kvplace.facts.checkpoint.huggingface import facts_from_directory

LLAMA = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 131072,
}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "hidden_size": 7168,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]},
}
QWEN3_NEXT = {
    "model_type": "qwen3_next",
    "num_hidden_layers": 48,
    "num_attention_heads": 16,
    "num_key_value_heads": 2,
    "head_dim": 256,
    "hidden_size": 2048,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "torch_dtype": "bfloat16",
}
JAMBA = {
    "model_type": "jamba",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_conv": 4,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "torch_dtype": "bfloat16",
}


def layout(config, tmp_path, **options):
    return facts_from_directory(write_checkpoint(tmp_path / "m", config), **options).layout


def refusal(config, tmp_path) -> list[str]:
    with pytest.raises(InputError) as caught:
        facts_from_directory(write_checkpoint(tmp_path / "m", config))
    return caught.value.lines()


def test_llama_31_8b_takes_131072_bytes_per_token(tmp_path):
    # 32 layers x 8 KV heads x 128 wide x (key + value) x 2 bytes
    assert layout(LLAMA, tmp_path).bytes_per_token() == 131_072


def test_deepseek_v3_takes_70272_bytes_per_token(tmp_path):
    # 61 layers x (512 latent + 64 rotary) x 2 bytes, whatever its 128 heads
    assert layout(DEEPSEEK, tmp_path).bytes_per_token() == 70_272


@pytest.mark.parametrize(
    ("degree", "per_rank"),
    [(1, 131072), (2, 65536), (4, 32768), (8, 16384), (16, 16384), (32, 16384)],
)
def test_kv_heads_split_over_ranks_until_each_has_one_and_are_then_replicated(
    degree, per_rank, tmp_path
):
    assert layout(LLAMA, tmp_path).bytes_per_token(degree) == per_rank


@pytest.mark.parametrize("degree", [1, 2, 8, 16])
def test_every_rank_holds_the_whole_latent_vector(degree, tmp_path):
    assert layout(DEEPSEEK, tmp_path).bytes_per_token(degree) == 70_272


def test_a_degree_that_does_not_divide_the_heads_is_refused(tmp_path):
    with pytest.raises(InputError, match="8 KV heads do not split over 3 ranks"):
        layout(LLAMA, tmp_path).bytes_per_token(3)


def test_fp8_cache_halves_the_tokens_and_leaves_the_state(tmp_path):
    assert layout(LLAMA, tmp_path, kv_dtype="fp8").bytes_per_token() == 65_536
    whole, small = layout(QWEN3_NEXT, tmp_path), layout(QWEN3_NEXT, tmp_path, kv_dtype="fp8")
    assert small.bytes_per_token() * 2 == whole.bytes_per_token()
    assert small.bytes_per_sequence() == whole.bytes_per_sequence()


@pytest.mark.parametrize(
    "extra", [{"kv_cache_scheme": {"num_bits": 8, "type": "float"}}, {"kv_cache_quant_algo": "FP8"}]
)
def test_a_quantized_cache_is_read_from_the_config(extra, tmp_path):
    facts = facts_from_directory(
        write_checkpoint(tmp_path / "m", {**LLAMA, "quantization_config": extra})
    )
    assert facts.layout.bytes_per_token() == 65_536
    assert "kv_cache" in facts.kv_origin


def test_a_quantized_cache_is_read_from_the_quantizer_s_file(tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    text = json.dumps({"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}})
    (directory / "hf_quant_config.json").write_text(text)
    assert facts_from_directory(directory).layout.bytes_per_token() == 65_536


def test_qwen3_next_has_12_attention_layers_and_a_state(tmp_path):
    kept = layout(QWEN3_NEXT, tmp_path)
    assert kept.bytes_per_token() == 12 * 2 * 256 * 2 * 2
    # 36 layers: 32 heads of 128 x 128, and 3 past inputs of 2 x 16 x 128 + 32 x 128 channels
    assert kept.bytes_per_sequence() == 36 * (32 * 128 * 128 + 3 * (4096 + 4096)) * 2
    assert kept.bytes_per_sequence(4) == kept.bytes_per_sequence() // 4
    assert kept.bytes_held(100) == kept.bytes_per_sequence() + 100 * kept.bytes_per_token()


def test_a_recurrent_state_takes_the_type_the_config_names(tmp_path):
    kept = layout({**QWEN3_NEXT, "mamba_ssm_dtype": "float32"}, tmp_path)
    assert kept.bytes_per_sequence() == 36 * (32 * 128 * 128 * 4 + 3 * 8192 * 2)


def test_nemotron_h_reads_its_pattern(tmp_path):
    config = {
        "model_type": "nemotron_h",
        "hybrid_override_pattern": "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
        "num_hidden_layers": 52,
        "num_attention_heads": 32,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "hidden_size": 2688,
        "mamba_num_heads": 64,
        "mamba_head_dim": 64,
        "ssm_state_size": 128,
        "n_groups": 8,
        "conv_kernel": 4,
        "mamba_ssm_cache_dtype": "float32",
        "torch_dtype": "bfloat16",
    }
    kept = layout(config, tmp_path)
    assert kept.bytes_per_token() == 6 * 2 * 128 * 2 * 2 == 6144
    # 23 Mamba layers: 64 x 64 x 128 in 4 bytes; 3 past inputs of 4096 + 2 x 8 x 128 in 2 bytes
    assert kept.bytes_per_sequence() == 23 * (64 * 64 * 128 * 4 + 3 * (4096 + 2048) * 2)
    # 16 ranks: 4 heads each, and one group each though there are only 8
    assert kept.bytes_per_sequence(16) == 23 * (4 * 64 * (128 * 4 + 3 * 2) + 2 * 128 * 3 * 2)


def test_jamba_attends_once_in_eight_layers(tmp_path):
    kept = layout(JAMBA, tmp_path)
    assert kept.bytes_per_token() == 4 * 8 * 128 * 2 * 2
    assert kept.bytes_per_sequence() == 28 * 8192 * (16 + 3) * 2


def test_a_config_of_mamba_layers_alone_states_its_channels(tmp_path):
    # Falcon-Mamba-7B as published: its factor of 16 would make 65,536 channels of 8,192
    config = {
        "model_type": "falcon_mamba", "architectures": ["FalconMambaForCausalLM"],
        "conv_kernel": 4, "expand": 16, "hidden_size": 4096, "intermediate_size": 8192,
        "num_hidden_layers": 64, "state_size": 16, "torch_dtype": "bfloat16", "vocab_size": 65024,
    }  # fmt: skip
    kept = layout(config, tmp_path)
    assert kept.bytes_per_token() == 0
    assert kept.bytes_per_sequence() == 64 * 8192 * (16 + 3) * 2
    del config["intermediate_size"]
    assert layout(config, tmp_path).bytes_per_sequence() == 64 * 65536 * (16 + 3) * 2


def test_kimi_linear_mixes_latent_vectors_and_states(tmp_path):
    config = {**DEEPSEEK, "model_type": "kimi_linear", "num_hidden_layers": 4}
    linear = {"kda_layers": [1, 2, 3], "full_attn_layers": [4], "num_heads": 32, "head_dim": 128}
    config["linear_attn_config"] = {**linear, "short_conv_kernel_size": 4}
    kept = layout(config, tmp_path)
    assert kept.bytes_per_token() == (512 + 64) * 2
    assert kept.bytes_per_sequence() == 3 * 32 * (128 * 128 * 4 + 3 * 3 * 128 * 2)
    # what vLLM keeps where the config names no type; a named one counts
    named = layout({**config, "mamba_ssm_dtype": "bfloat16"}, tmp_path)
    assert named.bytes_per_sequence() == 3 * 32 * (128 * 128 + 3 * 3 * 128) * 2


def test_gpt_oss_alternates_and_stops_growing_beyond_its_window(tmp_path):
    kinds = ["sliding_attention", "full_attention"] * 18
    config = {**LLAMA, "model_type": "gpt_oss", "num_hidden_layers": 36, "layer_types": kinds}
    config |= {"num_attention_heads": 64, "head_dim": 64, "sliding_window": 128}
    kept = layout(config, tmp_path)
    assert kept.bytes_per_token() == 73_728
    assert kept.bytes_per_token_beyond_window() == 36_864
    assert kept.bytes_held(100) == 100 * 73_728
    assert kept.bytes_held(1128) == 128 * 73_728 + 1000 * 36_864


def test_shared_layers_keep_nothing(tmp_path):
    gemma = {**LLAMA, "layer_types": ["full_attention"] * 32, "num_kv_shared_layers": 12}
    assert layout(gemma, tmp_path).bytes_per_token() == 20 * 4096
    hunyuan = {**LLAMA, "use_cla": True, "cla_share_factor": 2}
    assert layout(hunyuan, tmp_path).bytes_per_token() == 16 * 4096


def test_lfm2_lists_its_attention_layers_and_convolves_in_the_others(tmp_path):
    config = {**LLAMA, "model_type": "lfm2", "num_hidden_layers": 4, "full_attn_idxs": [2]}
    kept = layout({**config, "conv_L_cache": 3}, tmp_path)
    assert kept.bytes_per_token() == 1 * 4096
    assert kept.bytes_per_sequence() == 3 * 4096 * 2 * 2


def test_longcat_flash_attends_twice_in_each_layer(tmp_path):
    config = {k: v for k, v in DEEPSEEK.items() if k != "num_hidden_layers"}
    config |= {"model_type": "longcat_flash", "num_layers": 28}
    assert layout(config, tmp_path).bytes_per_token() == 28 * 2 * (512 + 64) * 2


def test_step_calls_its_kv_heads_groups(tmp_path):
    config = {k: v for k, v in LLAMA.items() if k != "num_key_value_heads"}
    config |= {"num_attention_groups": 1, "head_dim": 256}
    assert layout(config, tmp_path).bytes_per_token() == 32 * 2 * 256 * 2


@pytest.mark.parametrize("pattern", ["M*-M", ["M", "*", "-", "M"]])
def test_a_pattern_may_be_a_text_or_a_list(pattern, tmp_path):
    config = {**LLAMA, "num_hidden_layers": 4, "hybrid_override_pattern": pattern}
    config |= {"mamba_expand": 2, "ssm_state_size": 16, "conv_kernel": 4}
    assert layout(config, tmp_path).bytes_per_token() == 4096


def test_a_multimodal_config_is_read_by_its_text_part(tmp_path):
    vision = {"num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16}
    config = {"model_type": "vl", "text_config": LLAMA, "vision_config": vision}
    assert layout(config, tmp_path).bytes_per_token() == 131_072


def test_headers_are_believed_before_the_index(tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    (directory / "model.safetensors").unlink()
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    for name, size in zip(names, (5_000, 7_000), strict=True):
        write_safetensors(directory / name, size)
    index = {"metadata": {"total_size": 99}, "weight_map": {"a": names[0], "b": names[1]}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    facts = facts_from_directory(directory)
    assert facts.weights_bytes.value == 12_000
    assert "2 safetensors headers" in facts.weights_bytes.origin
    (directory / names[1]).unlink()
    facts = facts_from_directory(directory)
    assert facts.weights_bytes.value == 99
    assert "total_size" in facts.weights_bytes.origin


@pytest.mark.parametrize(
    "index",
    [[1], {"weight_map": [1]}, {"weight_map": {"a": 1}}, {"metadata": [1]}, {"metadata": {}}],
)
def test_a_damaged_index_is_one_line(index, tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError) as caught:
        facts_from_directory(directory)
    assert len(caught.value.lines()) == 1


def test_without_weight_files_the_bytes_are_not_guessed(tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    (directory / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weight file here"):
        facts_from_directory(directory)


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, (2).to_bytes(8, "little") + b"[]"])
def test_a_damaged_header_is_one_line(content, tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError) as caught:
        facts_from_directory(directory)
    assert len(caught.value.lines()) == 1
    assert "damaged safetensors header" in caught.value.lines()[0]


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "lists no tensor that takes a byte"),
        ({"a": ("F16", [7, 9], 0, 0)}, "'a', F16 of shape [7, 9], has 0 bytes"),
        ({"a": ("F16", [8], 0, 16), "b": ("U8", [9], 7, 16)}, "two tensors share bytes"),
        ({"a": ("F16", ["x"], 0, 16)}, "damaged safetensors header"),
        ({"a": ("F16", None, 0, 16)}, "damaged safetensors header"),
    ],
)
def test_a_header_that_contradicts_itself_is_told(tensors, said, tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    header = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
        for name, (kind, shape, begin, end) in tensors.items()
    }
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(100)
    (directory / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError) as caught:
        facts_from_directory(directory)
    assert said in str(caught.value)


def test_elements_of_less_than_a_byte_are_counted(tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    header = {
        "a": {"dtype": "F4", "shape": [3, 100], "data_offsets": [0, 150]},
        "b": {"dtype": "F16", "shape": [], "data_offsets": [150, 152]},
        "c": {"dtype": "A_NEW_ONE", "shape": [5], "data_offsets": [152, 153]},
    }
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + bytes(153)
    (directory / "model.safetensors").write_bytes(content)
    assert facts_from_directory(directory).weights_bytes.value == 153


def test_a_truncated_download_is_told(tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA, weights_bytes=10_000)
    file = directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="where its tensors need"):
        facts_from_directory(directory)


def test_all_missing_fields_are_told_at_once(tmp_path):
    lines = refusal({"model_type": "x", "torch_dtype": "bfloat16"}, tmp_path)
    told = "\n".join(lines)
    assert "num_hidden_layers" in told
    lines = refusal({**LLAMA, "kv_lora_rank": 512, "num_attention_heads": "many"}, tmp_path)
    assert any("qk_rope_head_dim" in line for line in lines)


@pytest.mark.parametrize(
    "hint",
    [
        {"sliding_window": 4096},
        {"ssm_state_size": 16},
        {"layer_types": ["full_attention", "brand_new_attention"] * 16},
        {"hybrid_layer_pattern": [0, 1]},
        {"cross_attention_layers": [3, 8]},
        {"block_types": ["recurrent", "attention"]},
        {"is_encoder_decoder": True},
    ],
)
def test_a_layout_that_is_not_understood_is_an_error(hint, tmp_path):
    (line, *_) = refusal({**LLAMA, "model_type": "new", **hint}, tmp_path)
    assert line


def test_speech_models_and_parts_of_pipelines_are_called_what_they_are(tmp_path):
    speech = {"model_type": "whisper", "d_model": 1280, "encoder_layers": 32, "decoder_layers": 4}
    assert "it is an encoder-decoder" in refusal(speech, tmp_path)[0]
    image = {"_class_name": "FluxTransformer2DModel", "num_layers": 19, "num_attention_heads": 24,
             "attention_head_dim": 128}  # fmt: skip
    assert refusal(image, tmp_path)[0].endswith("pipeline of diffusers, no LLM")


@pytest.mark.parametrize("layers", [10_001, 2**63, 10**400])
def test_an_absurd_number_of_layers_is_one_line(layers, tmp_path):
    (line,) = refusal({**LLAMA, "num_hidden_layers": layers}, tmp_path)
    assert line.endswith("num_hidden_layers: it is more than 10,000")


def test_an_unknown_type_asks_for_the_cache_s_type(tmp_path):
    (line,) = refusal({**LLAMA, "torch_dtype": "float4"}, tmp_path)
    assert "--kv-dtype" in line


def test_without_a_type_the_cache_is_in_16_bits_as_engines_keep_it(tmp_path):
    # gpt-oss publishes none; float32, which engines then assume, is served in half precision.
    config = {k: v for k, v in LLAMA.items() if k != "torch_dtype"}
    facts = facts_from_directory(write_checkpoint(tmp_path / "m", config))
    assert facts.layout.bytes_per_token() == 131_072
    assert "names no type" in facts.kv_origin


@pytest.mark.parametrize("text", ["", "[1]", "{", '"x"'])
def test_a_config_that_is_no_object_is_one_line(text, tmp_path):
    directory = write_checkpoint(tmp_path / "m", LLAMA)
    (directory / "config.json").write_text(text)
    with pytest.raises(InputError) as caught:
        facts_from_directory(directory)
    assert len(caught.value.lines()) == 1


def test_an_index_that_names_no_possible_file_is_answered(tmp_path):
    from kvplace.facts.checkpoint.safetensors import INDEX, local_weights  # noqa: PLC0415

    listed = {"metadata": {"total_size": 7}, "weight_map": {"a": "x" * 4000}}
    (tmp_path / INDEX).write_text(json.dumps(listed))
    assert local_weights(tmp_path).value == 7
