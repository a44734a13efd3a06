"""Whatever a config holds, the answer is figures or an InputError, never a crash."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.checkpoint.huggingface import facts_from_config

FULL = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "head_dim": 8,
    "dtype": "bfloat16",
    "torch_dtype": "bfloat16",
    "sliding_window": 16,
    "max_window_layers": 2,
    "use_sliding_window": True,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "index_head_dim": 8,
    "layer_types": ["full_attention", "linear_attention", "mamba", "sliding_attention"],
    "hybrid_override_pattern": "M*E-",
    "block_configs": [{"attention": {"n_heads_in_group": 4, "no_op": False}}] * 4,
    "attn_type_list": [0, 1, 0, 1],
    "attn_layer_indices": [1],
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "linear_attn_config": {"kda_layers": [1], "num_heads": 2, "head_dim": 4},
    "full_attention_interval": 2,
    "attention_chunk_size": 8,
    "no_rope_layers": [1, 0, 1, 0],
    "sliding_window_pattern": "LG",
    "num_key_value_heads_per_layer": [2, 2, 2, 2],
    "attn_config": {"kv_n_heads": 2},
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 4,
    "conv_kernel": 4,
    "ssm_state_size": 4,
    "mamba_num_heads": 2,
    "mamba_head_dim": 4,
    "n_groups": 1,
    "expand": 2,
    "mamba_ssm_dtype": "float32",
    "num_kv_shared_layers": 1,
    "use_cla": True,
    "cla_share_factor": 2,
    "global_head_dim": 16,
    "num_global_key_value_heads": 1,
    "quantization_config": {"kv_cache_scheme": {"num_bits": 8}, "kv_cache_quant_algo": "FP8"},
    "text_config": {"num_hidden_layers": 2},
    "thinker_config": {"text_config": {}},
}
ITEMS = st.one_of(st.integers(-2, 4), st.text(max_size=3), st.none(), st.just({}))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.just(10**30),
    st.floats(),
    st.text(max_size=4),
    st.lists(ITEMS, max_size=5),
    st.dictionaries(st.sampled_from(["attention", "kv_n_heads", "head_dim"]), st.integers()),
)


def ask(config) -> None:
    quantization = config.pop("hf_quant", None)
    try:
        facts = facts_from_config("m", config, Fact(1, "test"), quantization=quantization)
        for degree in (1, 2, 64):
            facts.layout.bytes_per_token(degree)
            facts.layout.bytes_per_sequence(degree)
        facts.layout.bytes_held(100)
    except InputError:
        return
    assert facts.kv_origin


@settings(max_examples=300, deadline=None)
@given(
    st.sets(st.sampled_from(sorted(FULL)), max_size=30),
    st.dictionaries(st.sampled_from([*sorted(FULL), "hf_quant"]), JUNK, max_size=4),
)
def test_any_mixture_of_fields_is_answered(dropped, junk):
    kept = {name: value for name, value in FULL.items() if name not in dropped}
    ask(copy.deepcopy({**kept, **junk}))


@pytest.mark.parametrize("name", sorted(FULL))
@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 0, [None], [{}], {"attention": 1}, 1.5])
def test_any_single_field_can_be_wrong(name, value):
    base = {k: FULL[k] for k in list(FULL)[:8]}
    ask(copy.deepcopy({**base, name: value}))
    ask(copy.deepcopy({"text_config": {**base, name: value}}))
