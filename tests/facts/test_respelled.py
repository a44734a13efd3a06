"""A config and what the transformers library makes of it say the same of the cache."""

import copy
import json

import pytest

from kvplace.core.fact import Fact
from kvplace.facts.checkpoint.huggingface import facts_from_config

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

PLAIN = {
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_size": 512,
    "head_dim": 64,
    "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096,
}
MAMBA = {
    "mamba_n_heads": 16,
    "mamba_d_head": 64,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
DELTA = {
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "linear_key_head_dim": 32,
    "linear_value_head_dim": 32,
    "linear_conv_kernel_dim": 4,
}
LATENT = {
    "num_key_value_heads": 8,
    "kv_lora_rank": 128,
    "q_lora_rank": 96,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 64,
    "v_head_dim": 64,
}
INDEXED = {**LATENT, "index_head_dim": 128, "index_n_heads": 8, "index_topk": 64}
WINDOW = {"sliding_window": 64}
HALF = ["sliding_attention", "full_attention"] * 4

CONFIGS = {
    "llama": {},
    "qwen3": {"use_sliding_window": False, **WINDOW, "max_window_layers": 8},
    "qwen2": {"use_sliding_window": True, **WINDOW, "max_window_layers": 3},
    "mistral": WINDOW,
    "phi3": WINDOW,
    "gemma2": WINDOW,
    "gemma3_text": {**WINDOW, "sliding_window_pattern": 6},
    "gemma3n_text": {**WINDOW, "layer_types": HALF, "num_kv_shared_layers": 2,
                     "intermediate_size": 64},
    "gemma4_text": {**WINDOW, "layer_types": HALF, "global_head_dim": 128,
                    "num_global_key_value_heads": 2, "attention_k_eq_v": True},
    "cohere2": {**WINDOW, "sliding_window_pattern": 4},
    "gpt_oss": {**WINDOW, "layer_types": HALF},
    "exaone4": {**WINDOW, "sliding_window_pattern": 4},
    "olmo3": {**WINDOW, "layer_types": HALF},
    "llama4_text": {"attention_chunk_size": 64, "no_rope_layers": [1, 1, 1, 0] * 2},
    "deepseek_v3": LATENT,
    "deepseek_v32": INDEXED,
    "glm_moe_dsa": {**INDEXED, "indexer_types": ["full", "shared"] * 4},
    "qwen3_next": {**DELTA, "full_attention_interval": 4},
    "granitemoehybrid": {**MAMBA, "layer_types": ["mamba", "attention"] * 4},
    "bamba": {**MAMBA, "attn_layer_indices": [3, 7]},
    "falcon_h1": {**MAMBA, "mamba_d_ssm": 1024},
    "jamba": {"attn_layer_period": 4, "attn_layer_offset": 2, "mamba_d_conv": 4,
              "mamba_d_state": 16, "mamba_expand": 2},
    "lfm2": {"full_attn_idxs": [2, 5], "conv_L_cache": 3},
    "nemotron_h": {"hybrid_override_pattern": "M-M*M-M*", "mamba_num_heads": 16,
                   "mamba_head_dim": 64, "ssm_state_size": 16, "n_groups": 1, "conv_kernel": 4,
                   "expand": 2, "mamba_ssm_cache_dtype": "float32"},
    "kimi_linear": {**LATENT, "linear_attn_config": {
        "kda_layers": [1, 2, 3, 5, 6, 7], "full_attn_layers": [4, 8], "num_heads": 8,
        "head_dim": 32, "short_conv_kernel_size": 4}},
    "minimax": {"layer_types": ["full_attention", "linear_attention"] * 4},
}  # fmt: skip


def figures(config):
    found = facts_from_config("m", config, Fact(1, "test"))
    degrees = [
        (found.layout.bytes_per_token(n), found.layout.bytes_per_sequence(n)) for n in (1, 4)
    ]
    return degrees, found.layout.bytes_per_token_beyond_window(), found.layout.windows


@pytest.mark.parametrize("model_type", sorted(CONFIGS))
@pytest.mark.parametrize("differences", [True, False], ids=["what differs", "everything"])
def test_written_back_it_says_the_same(model_type, differences):
    published = {**PLAIN, **CONFIGS[model_type], "model_type": model_type}
    if model_type not in transformers.CONFIG_MAPPING:
        pytest.skip(f"this release of transformers does not know {model_type}")
    read = transformers.CONFIG_MAPPING[model_type].from_dict(copy.deepcopy(published))
    back = json.loads(read.to_json_string(use_diff=differences))
    if differences:  # what equals the defaults of the class is in the class, not in the file
        back = {**json.loads(read.to_json_string(use_diff=False)), **back}
    assert figures(back) == figures(published)
