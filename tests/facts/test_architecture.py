"""The shape of a model: parameters counted from configs against published totals."""

import pytest

from kvplace.core.models.architecture import Format
from kvplace.errors import InputError
from kvplace.facts.config.architecture import architecture

LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
    "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
QWEN3_30B = {
    "model_type": "qwen3_moe", "hidden_size": 2048, "num_hidden_layers": 48,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128,
    "num_experts_per_tok": 8, "decoder_sparse_step": 1, "mlp_only_layers": [],
    "vocab_size": 151936, "tie_word_embeddings": False, "use_sliding_window": False,
}  # fmt: skip
GPT_OSS_120B = {
    "model_type": "gpt_oss", "hidden_size": 2880, "num_hidden_layers": 36,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
    "intermediate_size": 2880, "num_local_experts": 128, "num_experts_per_tok": 4,
    "layer_types": ["sliding_attention", "full_attention"] * 18, "sliding_window": 128,
    "vocab_size": 201088, "tie_word_embeddings": False,
    "quantization_config": {
        "quant_method": "mxfp4",
        "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
    },
}  # fmt: skip
DEEPSEEK_V3 = {
    "model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61,
    "num_attention_heads": 128, "num_key_value_heads": 128, "intermediate_size": 18432,
    "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
    "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "vocab_size": 129280,
    "tie_word_embeddings": False,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters", "active", "dense_bits", "expert_bits"),
    [
        # Totals as published; active ones less the input embedding, which is looked up.
        (LLAMA_8B, 8.0303e9, 8.0303e9 - 0.5253e9, 16, 16),
        (QWEN3_30B, 30.5321e9, 3.353e9 - 0.3112e9, 16, 16),
        (GPT_OSS_120B, 116.8292e9, 5.712e9 - 0.5791e9, 16, 4.25),
        (DEEPSEEK_V3, 671.0264e9, 37.552e9 - 0.9267e9, 8.46, 8.0),
    ],
)
def test_parameters_are_those_published(config, parameters, active, dense_bits, expert_bits):
    shape = architecture(config, "config.json")
    assert shape.parameters == pytest.approx(parameters, rel=0.001)
    assert shape.active_parameters == pytest.approx(active, rel=0.001)
    assert shape.weight_bits == pytest.approx(dense_bits, abs=0.02)
    assert shape.expert_bits == pytest.approx(expert_bits, abs=0.01)


def test_the_shape_of_latent_attention_and_windows():
    deepseek = architecture(DEEPSEEK_V3, "config.json")
    assert deepseek.latent
    assert deepseek.kv_heads == 1
    assert deepseek.head_size == 192
    assert deepseek.weight_format is Format.FP8
    gpt_oss = architecture(GPT_OSS_120B, "config.json")
    assert gpt_oss.attending_layers == 18
    assert gpt_oss.weight_format is Format.BF16
    assert gpt_oss.expert_format is Format.FP4
    indexed = architecture(DEEPSEEK_V3 | {"index_head_dim": 128, "index_n_heads": 64}, "c")
    assert indexed.indexed
    assert indexed.parameters > deepseek.parameters


def test_a_head_that_shares_the_embedding_is_counted_once():
    tied = architecture(LLAMA_8B | {"tie_word_embeddings": True}, "config.json")
    assert tied.parameters == tied.active_parameters
    assert tied.embedding_parameters == 0


def test_a_vision_tower_is_counted_beside_the_language_model():
    # SigLIP of Gemma 3: 0.42e9 parameters.
    tower = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27}
    shape = architecture({"text_config": LLAMA_8B, "vision_config": tower}, "config.json")
    assert shape.other_parameters == pytest.approx(0.42e9, rel=0.03)


@pytest.mark.parametrize(
    ("quantization", "bits", "multiplied"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 4.16, Format.BF16),
        ({"quant_method": "gptq", "bits": 8}, 8.0, Format.BF16),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}, 4.5,
         Format.FP4),
        ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {
            "group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 128},
                        "input_activations": None}}}, 4.125, Format.BF16),
        ({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups": {
            "group_0": {"weights": {"num_bits": 8, "type": "float"},
                        "input_activations": {"num_bits": 8}}}}, 8.0, Format.FP8),
        ({"quant_method": "fp8", "modules_to_not_convert": [
            f"model.layers.{i}.self_attn.q_proj" for i in range(32)]}, 8.002, Format.FP8),
    ],
)  # fmt: skip
def test_quantised_weights_have_their_bits(quantization, bits, multiplied):
    shape = architecture(LLAMA_8B | {"quantization_config": quantization}, "config.json")
    assert shape.expert_bits == pytest.approx(bits, abs=0.01)
    assert shape.expert_format is multiplied
    # The head keeps its 16 bits, so the mean is above.
    assert shape.weight_bits > bits


def test_what_is_missing_is_named_at_once():
    with pytest.raises(InputError) as error:
        architecture({"model_type": "llama", "num_hidden_layers": 2}, "config.json")
    assert "hidden_size" in str(error.value)
