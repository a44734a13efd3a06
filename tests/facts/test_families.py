"""One small config per family whose fields once were ignored or refused, with figures by hand."""

import pytest

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.checkpoint.huggingface import facts_from_config

PLAIN = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "hidden_size": 512,
    "head_dim": 64,
    "torch_dtype": "bfloat16",
}
MLA = PLAIN | {
    "model_type": "deepseek_v32",
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "index_head_dim": 128,
    "index_n_heads": 64,
    "index_topk": 2048,
}
GLM_52 = MLA | {
    "model_type": "glm_moe_dsa",
    "mlp_layer_types": ["dense", "sparse", "sparse", "sparse"],
    "indexer_types": ["full", "shared", "shared", "full"],
    "index_share_for_mtp_iteration": True,
}
GEMMA_4 = PLAIN | {
    "model_type": "gemma4_text",
    "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
    "sliding_window": 16,
}
MIMO = PLAIN | {
    "model_type": "mimo_v2_flash",
    "hybrid_layer_pattern": [0, 1, 1, 1],
    "sliding_window": 128,
    "attention_chunk_size": 128,
    "v_head_dim": 32,
    "swa_num_attention_heads": 8,
    "swa_num_key_value_heads": 8,
    "swa_head_dim": 64,
    "swa_v_head_dim": 32,
    "add_swa_attention_sink_bias": True,
    "swa_rope_theta": 10000,
}
MINIMAX_M3 = PLAIN | {
    "model_type": "minimax_m3",
    "sparse_attention_config": {
        "use_sparse_attention": True,
        "sparse_index_dim": 128,
        "sparse_attention_freq": [0, 1, 1, 1],
    },
}
GRANITE = PLAIN | {
    "model_type": "granitemoehybrid",
    "mamba_n_heads": 4,
    "mamba_d_head": 8,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
NEMOTRON = {
    "model_type": "nemotron_h",
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "layers_block_type": ["mamba", "moe", "attention", "mamba", "moe"],
    "mtp_layers_block_type": ["attention", "moe"],
    "num_nextn_predict_layers": 1,
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "ssm_state_size": 16,
    "n_groups": 1,
    "conv_kernel": 4,
    "expand": 2,
    "dtype": "bfloat16",
}
PALIGEMMA = {
    "model_type": "paligemma",
    "text_config": {
        "model_type": "gemma2",
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "hidden_size": 2304,
        "sliding_window": 4096,
        "torch_dtype": "bfloat16",
    },
}
LARGE_4 = MLA | {"model_type": "mistral_large4_text", "kv_source_layers": [0, 0, 2, 2]}


def layout(config, **options):
    return facts_from_config("m", config, Fact(1, "test"), **options).layout


def refused(config) -> str:
    with pytest.raises(InputError) as caught:
        layout(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "within", "beyond"),
    [
        (MLA, 4 * (1152 + 132), 4 * (1152 + 132)),
        (GLM_52, 4 * 1152 + 2 * 132, 4 * 1152 + 2 * 132),
        (GEMMA_4 | {"global_head_dim": 128, "num_global_key_value_heads": 2,
                    "attention_k_eq_v": True}, 3 * 4 * 256 + 2 * 512, 2 * 512),
        (GEMMA_4 | {"per_layer_config": {"03": {"head_dim": 128, "num_key_value_heads": 2}}},
         3 * 4 * 256 + 2 * 512, 2 * 512),
        (MIMO, 4 * 96 * 2 + 3 * 8 * 96 * 2, 4 * 96 * 2),
        (MINIMAX_M3, 4 * 4 * 256 + 3 * 256, 4 * 4 * 256 + 3 * 256),
        (NEMOTRON, 2 * 256, 2 * 256),
        (LARGE_4, 2 * (1152 + 132), 2 * (1152 + 132)),
        # PaliGemma 2 leaves out head_dim, which is 256 for 2304 / 8 hidden elements a head.
        (PALIGEMMA, 26 * 4 * 256 * 4, 13 * 4 * 256 * 4),
    ],
    ids=["indexer", "shared indexers", "global heads", "per layer", "mimo", "minimax", "no count",
         "shared latents", "paligemma"],
)  # fmt: skip
def test_bytes_per_token(config, within, beyond):
    found = layout(config)
    assert found.bytes_per_token() == within
    assert found.bytes_per_token_beyond_window() == beyond


def test_published_and_written_back_names_of_a_mamba_hybrid_are_one():
    published = GRANITE | {"layer_types": ["mamba", "mamba", "mamba", "attention"]}
    back = GRANITE | {"layer_types": ["linear_attention"] * 3 + ["full_attention"]}
    assert layout(published) == layout(back)
    assert layout(published).bytes_per_token() == 4 * 256


@pytest.mark.parametrize("name", ["deepseek_sparse_attention", "indexed_attention"])
def test_names_of_sparse_attention(name):
    assert layout(GLM_52 | {"layer_types": [name] * 4}) == layout(GLM_52)


@pytest.mark.parametrize(("engine", "size"), [("vllm", 656), ("sglang", 656), ("trtllm", 576)])
def test_the_fp8_latent_of_sparse_attention_is_laid_out_by_engine(engine, size):
    found = layout(MLA, kv_dtype="fp8", engine=engine)
    assert found.bytes_per_token() == 4 * (size + 132)


def test_the_fp8_latent_without_an_indexer_has_no_scales():
    config = {k: v for k, v in MLA.items() if not k.startswith("index")}
    assert layout(config, kv_dtype="fp8").bytes_per_token() == 4 * 576


def test_index_keys_are_whole_on_every_rank():
    found = layout(MINIMAX_M3)
    assert found.bytes_per_token(4) == 4 * 256 + 3 * 256


def test_the_rhythm_of_indexers_is_read_where_no_list_is():
    config = MLA | {"index_topk_freq": 2, "index_skip_topk_offset": 1}
    assert layout(config).bytes_per_token() == 4 * 1152 + 2 * 132


def test_kv_cache_scheme_as_text():
    config = PLAIN | {"quantization_config": {"quant_algo": "FP8", "kv_cache_scheme": "FP8"}}
    assert layout(config).bytes_per_token() == layout(PLAIN).bytes_per_token() // 2


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "xlm-roberta", "architectures": ["XLMRobertaForSequenceClassification"]},
        {"model_type": "modernbert", "local_attention": 128, "global_attn_every_n_layers": 3},
        {"is_causal": False},
        {"architectures": ["LlamaBidirectionalModel"]},
        {"model_type": "gemma3_text", "architectures": ["Gemma3TextModel"],
         "use_bidirectional_attention": True},
    ],
)  # fmt: skip
def test_an_encoder_keeps_no_cache(config):
    facts = facts_from_config("m", PLAIN | config, Fact(1, "test"))
    assert facts.layout.bytes_per_token() == 0
    assert "no layer keeps a KV cache" in facts.kv_origin


def test_a_decoder_of_an_encoder_s_type_keeps_one():
    assert layout(PLAIN | {"model_type": "bert", "is_decoder": True}).bytes_per_token() > 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kv_compression_ratio", 4),
        ("local_attention_window_len", 512),
        ("num_shared_kv_layers", 2),
        ("index_kpool", 16),
        ("recurrent_block_count", 2),
        ("latent_cache_dim", 64),
        ("loop_count", 2),
        ("sink_head_dim", 32),
    ],
)
def test_a_field_that_may_change_the_cache_is_refused_by_name(name, value):
    assert name in refused(PLAIN | {name: value})
    assert name in refused(GLM_52 | {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mlp_layer_types", ["dense"] * 4),
        ("mlp_only_layers", [1]),
        ("moe_layer_freq", [0, 1, 1, 1]),
        ("chunk_size_feed_forward", 4),
        ("swa_rope_theta", 1e4),
        ("q_lora_rank", 1536),
        ("vision_head_dim", 64),
        ("num_shared_experts", 2),
        ("attention_window", 0),
        ("sliding_window", None),
        ("shared_expert_intermediate_size", 64),
    ],
)
def test_a_field_that_cannot_change_the_cache_refuses_nothing(name, value):
    assert layout(PLAIN | {name: value}) == layout(PLAIN)


def test_layers_that_only_predict_further_tokens_are_left_out():
    config = PLAIN | {"layer_types": ["full_attention"] * 5, "num_nextn_predict_layers": 1}
    assert layout(config) == layout(PLAIN)


def test_a_layer_that_does_not_exist_in_per_layer_config_is_a_fault():
    assert "per_layer_config.9" in refused(PLAIN | {"per_layer_config": {"9": {"head_dim": 1}}})
    assert "num_latent_heads" in refused(
        PLAIN | {"per_layer_config": {"1": {"num_latent_heads": 3}}}
    )


def test_a_state_takes_the_type_that_engines_keep_it_in():
    inputs = 3 * (4 * 8 + 2 * 16) * 2
    assert layout(NEMOTRON).bytes_per_sequence() == 2 * (4 * 8 * 16 * 4 + inputs)
    named = NEMOTRON | {"mamba_ssm_cache_dtype": "bfloat16"}
    assert layout(named).bytes_per_sequence() == 2 * (4 * 8 * 16 * 2 + inputs)
