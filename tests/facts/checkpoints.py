"""Writes checkpoints as publishers do: a config in the family's own words, and weight files."""

import json
from pathlib import Path


def write_safetensors(path: Path, total_bytes: int, parts: int = 3) -> None:
    """Write a sparse file whose header describes `parts` tensors of `total_bytes` in all."""
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for part in range(parts):
        end = total_bytes if part == parts - 1 else begin + total_bytes // parts
        entry = {"dtype": "U8", "shape": [end - begin], "data_offsets": [begin, end]}
        header[f"layer.{part}"], begin = entry, end
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + total_bytes)


def write_checkpoint(directory: Path, config: dict, weights_bytes: int = 1000) -> Path:
    """Write a directory with a config and one weight file."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    write_safetensors(directory / "model.safetensors", weights_bytes)
    return directory


def published_config(row: dict[str, str]) -> dict:
    """Return a config in the words of the model's family, from a row of the table."""
    name, attn = row["name"], row["attn"]
    layers, heads, hidden = int(row["layers"]), int(row["q_heads"]), int(row["hidden_size"])
    kv, width = int(row["kv_heads"]), int(row["head_dim"])
    plain = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "hidden_size": hidden,
        "torch_dtype": "bfloat16",
    }
    if width != hidden // heads:
        plain["head_dim"] = width
    full = int(row["full_attn_layers"])
    if attn == "mla":
        config = {
            **plain,
            "model_type": "deepseek_v3",
            # As published: as many KV heads as query heads, which says nothing about the cache.
            "num_key_value_heads": heads,
            "kv_lora_rank": int(row["mla_kv_lora_rank"]),
            "qk_rope_head_dim": int(row["mla_rope_dim"]),
            "qk_nope_head_dim": 128,
            "v_head_dim": 128,
        }
        config.pop("head_dim", None)
        if "DSA" in row["note"]:
            config |= {"index_head_dim": 128, "index_n_heads": 64, "index_topk": 2048}
        return {"text_config": config, "model_type": "kimi"} if "Kimi-K2.5" in name else config
    if "gemma-2" in name:
        window = {"model_type": "gemma2", "sliding_window": 4096, "sliding_window_size": 4096}
        return {**plain, **window, "head_dim": width}
    if "gemma-3-1b" in name:
        window = {"model_type": "gemma3_text", "sliding_window": 512, "sliding_window_pattern": 6}
        return {**plain, **window, "head_dim": width}
    if "gemma-3-4b" in name:  # the published file leaves out what equals the class defaults
        text = {"model_type": "gemma3_text", "hidden_size": hidden, "num_hidden_layers": layers}
        text["sliding_window"] = 1024
        return {"model_type": "gemma3", "torch_dtype": "bfloat16", "text_config": text}
    if "gemma-3" in name:
        text = {**plain, "model_type": "gemma3_text", "sliding_window": 1024, "head_dim": width}
        return {"model_type": "gemma3", "text_config": text, "vision_config": {"n_layer": 27}}
    if "gpt-oss" in name:
        kinds = ["sliding_attention", "full_attention"] * (layers // 2)
        window = {"sliding_window": 128, "layer_types": kinds, "head_dim": 64}
        return {**plain, **window, "model_type": "gpt_oss"}
    if "Llama-4" in name:
        text = {**plain, "model_type": "llama4_text", "attention_chunk_size": 8192}
        return {"model_type": "llama4", "text_config": {**text, "no_rope_layers": []}}
    if "Qwen3-Next" in name or "Qwen3.5" in name:
        linear = {
            "full_attention_interval": 4,
            "linear_conv_kernel_dim": 4,
            "linear_key_head_dim": 128,
            "linear_value_head_dim": 128,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 32,
        }
        return {**plain, **linear, "model_type": "qwen3_next"}
    if "Super-49B" in name:
        used = {"attention": {"n_heads_in_group": heads // kv, "no_op": False}}
        idle = {"attention": {"n_heads_in_group": None, "no_op": True}}
        blocks = [used] * full + [idle] * (layers - full)
        config = {**plain, "model_type": "nemotron-nas", "block_configs": blocks}
        del config["num_key_value_heads"]
        return config
    if "Nemotron-3-" in name:
        rest = layers - full
        return {
            **plain,
            "model_type": "nemotron_h",
            "hybrid_override_pattern": "M" * (rest - rest // 2) + "*" * full + "E" * (rest // 2),
            "head_dim": width,
            "mamba_num_heads": 64,
            "mamba_head_dim": 64,
            "ssm_state_size": 128,
            "n_groups": 8,
            "conv_kernel": 4,
            "mamba_ssm_cache_dtype": "float32",
        }
    if "falcon-7b" in name:
        config = {**plain, "model_type": "falcon", "multi_query": True}
        del config["num_key_value_heads"]
        return {**config, "new_decoder_architecture": False}
    if "falcon-40b" in name:
        config = {**plain, "model_type": "falcon", "multi_query": True, "num_kv_heads": kv}
        del config["num_key_value_heads"]
        return {**config, "new_decoder_architecture": True}
    if "glm-4-9b" in name:
        return {
            "model_type": "chatglm",
            "num_layers": layers,
            "num_attention_heads": heads,
            "hidden_size": hidden,
            "multi_query_attention": True,
            "multi_query_group_num": kv,
            "kv_channels": width,
            "torch_dtype": "bfloat16",
        }
    if "Phi-3" in name:
        window = 2047 if "4k" in name else 262144
        return {**plain, "model_type": "phi3", "sliding_window": window}
    if "Qwen2.5" in name or "QwQ" in name:
        gate = {"use_sliding_window": False, "sliding_window": 131072, "max_window_layers": 21}
        return {**plain, **gate, "model_type": "qwen2"}
    if kv == heads:  # Llama 2 and others leave the field out
        del plain["num_key_value_heads"]
    if "Mistral" in name or "Mixtral" in name:
        return {**plain, "model_type": "mistral", "sliding_window": None}
    return plain
