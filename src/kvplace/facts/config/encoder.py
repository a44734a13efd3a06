"""Encoders: models that attend in both directions at once and so keep no KV cache."""

from kvplace.facts.config.fields import Fields

_ENCODERS = frozenset((
    "albert", "bert", "big_bird", "camembert", "canine", "clip", "convbert", "data2vec-text",
    "deberta", "deberta-v2", "distilbert", "electra", "ernie", "ernie_m", "esm", "esmc",
    "eurobert", "flaubert", "fnet", "funnel", "gte", "ibert", "jina_bert", "jina_embeddings_v3",
    "layoutlm", "layoutlmv2", "layoutlmv3", "longformer", "luke", "lxmert", "markuplm",
    "megatron-bert", "mobilebert", "modernbert", "mpnet", "mra", "neobert", "nezha",
    "nomic_bert", "nystromformer", "qdqbert", "reformer", "rembert", "retribert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "siglip", "snowflake_bert", "splinter",
    "squeezebert", "tapas", "ultrabert", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
))  # fmt: skip
"""Model types of the transformers library (and of well-known embedders with code of their own)
whose layers attend in both directions, unless ``is_decoder`` says otherwise."""

_ENCODER_CLASSES = {"NewModel", "NewForMaskedLM", "NewForSequenceClassification"}
"""Classes of gte-multilingual, whose model type is just ``new``."""


def encoder_only(fields: Fields) -> bool:
    """Say whether a model keeps no KV cache, because it reads a whole input in one pass.

    vLLM gives encoder-only attention no cache. A decoder turned into an encoder says so with
    ``is_causal: false``, with ``use_bidirectional_attention`` or in the name of its class.
    """
    if fields.get("is_decoder"):
        return False
    if fields.model_type in _ENCODERS:
        return True
    if fields.get("is_causal") is False:
        return True
    classes = fields.outer.get("architectures")
    names = [name for name in classes if isinstance(name, str)] if isinstance(classes, list) else []
    both_ways = fields.get("use_bidirectional_attention") in (True, "all")
    if both_ways and names and not any("CausalLM" in n or "Generation" in n for n in names):
        return True  # EmbeddingGemma; PaliGemma attends both ways in the prompt and still decodes
    return any("Bidirectional" in name or name in _ENCODER_CLASSES for name in names)
