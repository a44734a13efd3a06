"""KV cache of 86 published models against a second source: what is equal, and why the rest is not.

    python benchmarks/second_source.py            # the table in Markdown
    python benchmarks/second_source.py --json F   # its sums

The configs are those that `aiconfigurator-core` (the extra ``fit``) carries of models on the
Hugging Face hub; its own `get_kvcache_bytes_per_sequence` is the second source, with a cache in 16
bits. Both are compared at 4,096 and 32,768 tokens. Where they differ, the other figure is made from
the config by the formula that the reason says: a reason that does not give that figure explains
nothing, and is counted as unexplained.
"""

import argparse
import contextlib
import io
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.cache import CacheLayout
from kvplace.facts.checkpoint.huggingface import facts_from_config

TOKENS = (4096, 32768)
Formula = Callable[[Mapping[str, Any], CacheLayout, int], float]


def _every_layer(config: Mapping[str, Any], _: CacheLayout, tokens: int) -> float:
    """All layers keep keys and values of `head_dim` in 16 bits, of all tokens."""
    layers = config.get("num_hidden_layers") or len(config["layers_block_type"])
    width = config.get("head_dim") or config["attention_head_dim"]
    return float(tokens * layers * config["num_key_value_heads"] * width * 4)


def _small_indexer(config: Mapping[str, Any], layout: CacheLayout, tokens: int) -> float:
    """The indexer's keys have 4 bits instead of 16, and open entries half of their rows."""
    layers = config["compress_ratios"][: config["num_hidden_layers"]].count(4)
    key = config["index_head_dim"] * 2
    rows = 4 * 2 * (config["head_dim"] + config["index_head_dim"]) * 2 * 4
    return layout.bytes_held(tokens) - layers * ((tokens // 4) * (key - key // 4) + rows)


def _all_indexers(config: Mapping[str, Any], _: CacheLayout, tokens: int) -> float:
    """Every layer has an indexer of its own: 128 bytes and a scale of 4."""
    latent = (config["kv_lora_rank"] + config["qk_rope_head_dim"]) * 2
    return float(tokens * config["num_hidden_layers"] * (latent + config["index_head_dim"] + 4))


REASONS: dict[str, tuple[str, Formula]] = {
    # Model type: why the second source says something else, and how its figure comes about.
    "minimax_m3": ("leaves out the index keys of the sparse layers", _every_layer),
    "minimax_m3_vl": ("leaves out the index keys of the sparse layers", _every_layer),
    "mimo_v2_flash": (
        "counts values as wide as keys, and windows as whole layers with the heads of the others",
        _every_layer,
    ),
    "deepseek_v4": (
        (
            "keeps the indexer's keys in 4 bits, where ours are in 16 as asked, and half of the "
            "rows of open entries that the published reference code has"
        ),
        _small_indexer,
    ),
    "llama4": (
        "leaves out `attention_chunk_size`: 36 of 48 layers keep 8,192 tokens",
        _every_layer,
    ),
    "kimi_k3": (
        "sets aside five recurrent states for a sequence, as an allowance; a sequence has one",
        lambda _, layout, tokens: layout.bytes_held(tokens) + 4 * layout.bytes_per_sequence(),
    ),
    "glm_moe_dsa": ("leaves out `indexer_types`: 57 of 78 layers share an indexer", _all_indexers),
    "nemotron-nas": ("answers 0; `block_configs` has 49 layers with attention", lambda *_: 0.0),
    "nemotron_h": (
        "counts Mamba and MLP layers as attention, and no state of a sequence",
        _every_layer,
    ),
}


def theirs(name: str) -> list[float] | None:
    """Return the bytes of a sequence by the second source; None where it cannot make the model."""
    from aiconfigurator_core.sdk import common  # noqa: PLC0415
    from aiconfigurator_core.sdk.config import ModelConfig  # noqa: PLC0415
    from aiconfigurator_core.sdk.models import get_model  # noqa: PLC0415

    bits = common.KVCacheQuantMode
    wide = bits.bfloat16 if hasattr(bits, "bfloat16") else bits.float16
    given = ModelConfig(moe_tp_size=1, moe_ep_size=1, kvcache_quant_mode=wide)
    with contextlib.suppress(Exception, SystemExit):
        with contextlib.redirect_stderr(io.StringIO()):
            model = get_model(name, given, "vllm")
        return [float(model.get_kvcache_bytes_per_sequence(tokens)) for tokens in TOKENS]
    return None


def table() -> list[dict[str, Any]]:
    """Return a row per config: both figures, and what is said of their difference."""
    import aiconfigurator_core  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    folder = Path(aiconfigurator_core.__file__).parent / "model_configs"
    rows = []
    for path in sorted(folder.glob("*_config.json")):
        if path.name.endswith("hf_quant_config.json"):
            continue
        name = path.name.removesuffix("_config.json").replace("--", "/", 1)
        config = json.loads(path.read_text())
        row: dict[str, Any] = {"model": name, "ours": None, "theirs": theirs(name)}
        rows.append(row)
        try:
            facts = facts_from_config(
                name, config, Fact(1, "not asked"), kv_dtype="bf16", engine="vllm"
            )
        except InputError as error:
            row |= {"is": "refused", "why": error.lines()[0].split(": ", 1)[-1]}
            continue
        row["ours"] = [facts.layout.bytes_held(tokens) for tokens in TOKENS]
        row |= _judged(row, config, facts.layout)
    return rows


def _judged(
    row: Mapping[str, Any], config: Mapping[str, Any], layout: CacheLayout
) -> dict[str, str]:
    """Return whether the figures agree, and if not, why."""
    if row["theirs"] is None:
        return {"is": "alone", "why": "the second source cannot make the model"}
    if _alike(row["ours"], row["theirs"]):
        return {"is": "equal", "why": ""}
    text = {**config, **config.get("text_config", {})}
    why, formula = REASONS.get(config["model_type"], ("not known", lambda *_: -1.0))
    made = [formula(text, layout, tokens) for tokens in TOKENS]
    return {"is": "explained" if _alike(made, row["theirs"]) else "unexplained", "why": why}


def _alike(one: list[float], other: list[float]) -> bool:
    return [round(x) for x in one] == [round(x) for x in other]


def main() -> None:
    """Print the table, or write its sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = table()
    counts = Counter(row["is"] for row in rows)
    if asked.json:
        asked.json.write_text(json.dumps({"configs": len(rows), **counts}, indent=1) + "\n")
    print("| model | ours, 32,768 tokens | second source | the difference |")
    print("|---|--:|--:|---|")
    for row in rows:
        if row["is"] != "equal":
            figures = [f"{pair[1]:,.0f}" if pair else "-" for pair in (row["ours"], row["theirs"])]
            print(f"| {row['model']} | {' | '.join(figures)} | {row['is']}: {row['why']} |")
    print(f"\n{len(rows)} configs: {dict(counts)}", file=sys.stderr)


if __name__ == "__main__":
    main()
