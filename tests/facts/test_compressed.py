"""DeepSeek-V4: a window on every layer, entries of 4 or 128 tokens, an indexer, open entries."""

import pytest

from kvplace.errors import InputError
from kvplace.facts.config.attention import cache_layout

CONFIG = {  # figures of DeepSeek-V4-Flash: transformers' DeepseekV4Config
    "architectures": ["DeepseekV4ForCausalLM"],
    "model_type": "deepseek_v4",
    "hidden_size": 4096,
    "num_hidden_layers": 43,
    "num_attention_heads": 64,
    "num_key_value_heads": 1,
    "head_dim": 512,
    "qk_rope_head_dim": 64,
    "q_lora_rank": 1024,
    "o_lora_rank": 1024,
    "o_groups": 8,
    "n_routed_experts": 256,
    "num_experts_per_tok": 6,
    "moe_intermediate_size": 2048,
    "sliding_window": 128,
    "compress_ratios": [0, *(4 if i % 2 else 128 for i in range(41)), 0, 0],  # one more: MTP
    "compress_rope_theta": 160000,
    "index_n_heads": 64,
    "index_head_dim": 128,
    "index_topk": 512,
    "num_hash_layers": 3,
    "hc_mult": 4,
    "num_nextn_predict_layers": 1,
    "max_position_embeddings": 1048576,
}


def layout(**changes):
    return cache_layout({**CONFIG, **changes}, "config.json", 2, (2, 4))


def test_the_figures_by_hand():
    found = layout()
    # 21 layers of ratio 128 (0, 2, .. of 41) and 20 of ratio 4; a vector is 512 x 2 B.
    assert found.bytes_per_token_beyond_window() == 21 * 1024 // 128 + 20 * (1024 + 256) // 4
    assert found.bytes_per_token() == found.bytes_per_token_beyond_window() + 43 * 1024
    coarse = 2 * 128 * 512 * 4
    fine = 2 * 8 * 1024 * 4 + 2 * 8 * 256 * 4
    assert found.bytes_per_sequence() == 21 * coarse + 20 * fine
    assert found.windows == (128,)


def test_every_rank_holds_all_of_it():
    found = layout()
    assert found.bytes_per_token(8) == found.bytes_per_token()
    assert found.bytes_per_sequence(8) == found.bytes_per_sequence()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compress_ratios": [0, 4]}, "a ratio for each of 43 layers"),
        ({"compress_ratios": None}, "a ratio for each of 43 layers"),
        ({"num_key_value_heads": 8}, "it must be 1"),
        ({"sliding_window": None}, "sliding_window"),
        ({"kv_share_layers": 3}, "kv_share_layers"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        layout(**changes)


def test_an_8_bit_cache_is_refused():
    with pytest.raises(InputError, match="an 8-bit cache"):
        cache_layout(CONFIG, "config.json", 1, (1, 4))
