"""KV heads of a layer and their width, from whatever fields a config says them with."""

from kvplace.facts.config.fields import Fields

QUERY_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = (
    "num_key_value_heads", "num_kv_heads", "n_head_kv", "n_kv_heads",
    "num_attention_groups",  # Step
    "num_query_groups",
)  # fmt: skip
_OWN = {
    # Names for layers with a window, and for layers without one, where they differ.
    "window": ("swa_", "sliding_"),
    "full": ("global_",),
}


def head_widths(fields: Fields, kind: str) -> tuple[int, int]:
    """Return the elements of a key and of a value of one KV head, in a layer of a kind."""
    own = _own(fields, kind, "head_dim")
    key = own if own is not None else head_dim(fields)
    value = _own(fields, kind, "v_head_dim")
    if value is None and own is None:
        value = fields.whole("v_head_dim")
    return key, value or key


def kv_heads(fields: Fields, kind: str) -> int:
    """Return the KV heads of a layer of a kind, by the field of the model's family."""
    own = _own(fields, kind, "num_key_value_heads")
    if own is None and kind == "full" and "num_key_value_heads" not in fields.own:
        own = _gemma_global_heads(fields)
    if own is None and kind == "window":  # Step 3.5: what differs in its layers with a window
        other = fields.mapping("attention_other_setting").get("num_attention_groups")
        own = other if isinstance(other, int) and not isinstance(other, bool) else None
    return own if own is not None else _plain_heads(fields)


def listed_heads(fields: Fields, layers: int) -> list[int] | None:
    """Return the KV heads of each layer where a config lists them; None where it does not."""
    blocks = fields.sequence("block_configs")
    if blocks:
        counts = [_heads_of_block(fields, block) for block in blocks]
    else:
        for name in ("num_key_value_heads_per_layer", "num_kv_heads_per_layer"):
            each = fields.integers(name)
            if each is not None:
                counts = list(each)
                break
        else:
            many = fields.values.get("num_key_value_heads")
            if not isinstance(many, list):  # OpenELM lists them under the plain name
                return None
            counts = list(fields.integers("num_key_value_heads") or ())
    if len(counts) != layers:
        fields.fault("num_key_value_heads", f"{len(counts)} are given for {layers} layers")
        return None
    return counts


def _own(fields: Fields, kind: str, name: str) -> int | None:
    """Return what the config states for layers of that kind alone, such as ``swa_head_dim``."""
    if name in fields.own:
        return None
    for prefix in _OWN.get(kind, ()):
        value = fields.whole(prefix + name)
        if value:
            return value
    return None


def _gemma_global_heads(fields: Fields) -> int | None:
    """Return Gemma 4's KV heads of layers that see all, which share keys and values."""
    heads = fields.whole("num_global_key_value_heads")
    return heads if heads and fields.get("attention_k_eq_v") is not False else None


def head_dim(fields: Fields) -> int:
    """Return the width of a head: given, or the hidden size over the number of heads."""
    given = fields.whole("head_dim", "attention_head_dim", "kv_channels", "d_head", "d_kv")
    if given:
        return given
    hidden, heads = fields.need("hidden_size", "n_embd", "d_model", "dim"), _queries(fields)
    if heads and hidden % heads:
        fields.fault("hidden_size", f"{hidden} is no multiple of the {heads} attention heads")
    return hidden // (heads or 1)


def _queries(fields: Fields) -> int:
    return fields.need(*QUERY_HEADS)


def _heads_of_block(fields: Fields, block: object) -> int:
    """Return the KV heads of a searched block: given, or query heads over the group's size."""
    attention = block.get("attention") if isinstance(block, dict) else None
    if not isinstance(attention, dict):
        fields.fault("block_configs", "each must be a mapping with a mapping 'attention'")
        return 0
    if isinstance(attention.get("num_key_value_heads"), int):
        return int(attention["num_key_value_heads"])
    group = attention.get("n_heads_in_group")
    return _queries(fields) // group if isinstance(group, int) and group > 0 else 0


def _plain_heads(fields: Fields) -> int:
    """Return the KV heads of a layer that is like all others."""
    inner = fields.mapping("attn_config")  # MPT, DBRX
    if isinstance(inner.get("kv_n_heads"), int):
        fields.used.update(_KV_HEADS)
        return int(inner["kv_n_heads"])
    if fields.get("multi_query_attention"):  # ChatGLM
        return fields.need("multi_query_group_num")
    grouped = fields.get("new_decoder_architecture")  # Falcon: multi-query unless it is set
    if fields.get("multi_query") and not grouped:
        fields.used.update(_KV_HEADS)
        return 1
    given = fields.whole(*_KV_HEADS)
    # Without such a field the transformers library gives every query head its own KV head.
    return given if given is not None else _queries(fields)
