"""The last look at a config: what names a cache and was not read is refused, never dropped."""

import re
from typing import Any

from kvplace.facts.config.fields import Fields
from kvplace.facts.config.layers import ATTENDING
from kvplace.facts.config.states import STATES

_TELLING = re.compile(
    r"kv|key_value|head_dim|heads?_per|_heads|n_head|num_head|_groups?_num|sliding|swa|window|chunk"
    r"|mamba|ssm|recurren|rwkv|lru|state_(size|dim)|linear_(num|key|value|head|conv|attn)|hybrid"
    r"|layer_types|block_types?$|layers_block|attn_types?|attention_types?$|attention_other"
    r"|layer_pattern|attn_(layer|config|every|freq|idxs)|full_attn|full_attention|compress"
    r"|^index|indexer|latent|kv_lora|^use_cla|^cla_|shar(e|ed)_(kv|key|attn|attention|cache)"
    r"|cross_attention_layers|block_configs|sparse_(attention|attn)|conv_(kernel|states)|l_cache"
    r"|per_layer_config|^n?u?m?_?loops?|_loops?$|loop_|local_(attention|window)"
    r"|global_(attn|attention|head)|attention_layers|attn_layers|^n_recurrent"
)
"""Parts of names of fields that may say how much a layer caches."""

_HARMLESS = re.compile(
    # Numbers that scale, seed, regularise or place, and choices of kernels.
    r"_bias(es)?$|dropout|multiplier|_act(ivation)?$|_kernels?$|kernel_options|_scale$|scaling"
    r"|_init|init_|_theta$|rope|_norm$|norm_|_eps$|_dtype$|_limit$|_min$|_max$|_floor$|_gate$"
    r"|_token(s)?(_id|_ids|_index)?$|_cap$|softcap|_lower_bound$|_alpha_factor$|_beta_factor$"
    r"|multiple_of|multipliers$|expert|_neg_eigval$|_log_(min|max)$|stateful|_impl(ementation)?$"
    # Query heads, and parts of a query or of the output: nothing of them is kept.
    r"|^num_attention_heads|^num_(sliding|swa|global|linear)_attention_heads"
    r"|^(swa|sliding|global)_num_(attention|query)_heads"
    r"|^(q|o)_(lora_rank|groups)|qk_nope_head_dim|qk_head_dim|query_|^num_query_heads"
    # The indexer's queries and what it picks; its keys are read.
    r"|^index_(n_heads|topk|local_blocks|init|block_size|skip|share_for_mtp)"
    # The MLP, the embeddings, the loss, the heads that predict, other modalities.
    r"|^mlp_|moe_|^mtp_|prediction_head|_mlp|nextn|lm_head|head_type|classifier|image|video|audio|vision|speech"
    r"|patch|loss|pooler|pooling|label|freeze|laurel|_per_layer_input|hc_lowrank|attn_res"
    # How a computation is cut, not what is kept.
    r"|^chunk_size$|chunk_size_feed_forward|mamba_chunk_size|chunk_size_lm_head|max_window_layers"
    r"|_chunksize$|fused|parallel_attn|use_cache|cache_implementation|kv_cache_(dtype|scheme)"
    r"|attention_k_eq_v|max_latent|^head_dtype|_kv_cache_quant|output_hidden|share_embedding"
    r"|shared_expert|share_expert|shared_intermediate|^use_sliding_window$|is_hybrid|^mamba_dt_rank"
    r"|time_step|^use_mamba|^mamba_proj|^mamba_conv_bias|^mamba_(norm|hidden|expand)|^expand$|ngram|^ple_"
)
"""Names that change nothing of the cache although they hold such a part."""

_BY_KIND = re.compile(
    r"sliding|window|layer_types|layers_block|hybrid|layer_pattern|attn_(layer|every|freq|idxs)"
    r"|attn_type|attention_type|full_attn|full_attention|attention_chunk|block_types?$"
    r"|global_(attn|attention)_(every|layers)|local_attention$|attention_layers"
)
"""Names that say which layer is of which kind, or how long a window is."""


_STATE = re.compile(r"mamba|ssm|state_|linear_|conv_|l_cache")
_HEADS = re.compile(r"head|kv")


def refuse_unread(fields: Fields, kinds: list[str], *, stated: bool) -> None:
    """Record a fault for every field that may change the cache and was not read.

    Parameters
    ----------
    fields
        The text part of the config, after everything known was read from it.
    kinds
        The kind of each layer.
    stated
        Whether a field said them. Then others that say the same need no reading, nor do fields
        of kinds that no layer has.
    """
    parts = {part for kind in kinds for part in kind.split("+")}
    needless = [_BY_KIND] if stated else []
    if stated and not parts & STATES.keys():
        needless.append(_STATE)
    if stated and not parts & set(ATTENDING):
        needless.append(_HEADS)
    for name, value in fields.values.items():
        if name in fields.used or not _says(value) or _HARMLESS.search(name):
            continue
        if not _TELLING.search(name) or any(names.search(name) for names in needless):
            continue
        kind = fields.model_type or "without a model_type"
        fields.fault(
            name,
            f"it may change what layers cache, and for the model type {kind!r} it is not known "
            "how; give the figures in the fleet file yourself",
        )


def _says(value: Any) -> bool:
    """Say whether a value states anything: null, false, 0 and empty do not."""
    return bool(value) and value != "none"
