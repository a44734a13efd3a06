"""What step times are fitted with: rows in arrays, their formulas, constants and configs.

`step_times.py` fits measured engines with it, and `kernel_tables.py` kernels of one layer.
"""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from kvplace.core.models.architecture import Format
from kvplace.forecast.steps.roofline import speed_of

__all__ = ["CONFIGS", "CONSTANTS", "GPUS", "LOOP", "MOST_OF", "Columns", "config_of", "quantised"]

GPUS = {"b200_sxm": "B200-SXM-180GB", "h100_sxm": "H100-SXM-80GB", "h200_sxm": "H200-SXM-141GB",
        "b300_sxm": "B300-SXM-270GB"}  # fmt: skip
CONFIGS = {
    "Qwen/Qwen3-32B": "Qwen--Qwen3-32B", "nvidia/Qwen3-32B-NVFP4": "Qwen--Qwen3-32B",
    "MiniMaxAI/MiniMax-M2.5": "MiniMaxAI--MiniMax-M2.5",
    "Qwen/Qwen3.5-397B-A17B": "Qwen--Qwen3.5-397B-A17B",
    "deepseek-ai/DeepSeek-R1": "deepseek-ai--DeepSeek-R1",
    "deepseek-ai/DeepSeek-V3": "deepseek-ai--DeepSeek-R1",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai--DeepSeek-R1",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-ai--DeepSeek-R1",
    "meta-llama/Llama-3.1-70B": "meta-llama--Meta-Llama-3.1-70B",
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama--Meta-Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama--Meta-Llama-3.1-8B",
    "openai/gpt-oss-120b": "openai--gpt-oss-120b", "zhipuai/GLM-5": "zai-org--GLM-5",
}  # fmt: skip
CONSTANTS = {
    # start and prior mean, prior deviation, least, most
    "memory": (0.85, 0.1, 0.4, 1.0), "experts": (0.75, 0.15, 0.3, 1.0),
    "compute_bf16": (0.7, 0.2, 0.2, 1.0), "compute_fp8": (0.56, 0.2, 0.1, 1.0),
    "compute_fp4": (0.42, 0.2, 0.1, 1.0), "unpacked": (0.8, 0.15, 0.3, 1.0),
    "cache": (0.85, 0.15, 0.3, 1.1),
    "attention": (0.5, 0.3, 0.1, 1.1), "layer_seconds": (50e-6, 20e-6, 5e-6, 150e-6),
    "expert_layer_seconds": (15e-6, 15e-6, 0, 100e-6),
    "latent_layer_seconds": (10e-6, 10e-6, 0, 100e-6),
    "indexed_layer_seconds": (15e-6, 10e-6, 0, 100e-6),
    "state_layer_seconds": (10e-6, 10e-6, 0, 100e-6),
    "sequence_seconds": (10e-6, 20e-6, 0, 200e-6), "sharpness": (1.3, 0.5, 1.0, 6.0),
    "links": (0.4, 0.3, 0.03, 1.2), "link_seconds": (8e-6, 6e-6, 0, 40e-6),
    "waves": (0.75, 0.2, 0.5, 1.0),
}  # fmt: skip
LOOP = ("waves",)
"""Constants that belong to the closed loop, and not to kvplace's roofline."""
MEAN, DEVIATION, LEAST, MOST_OF = (
    np.array(column) for column in zip(*CONSTANTS.values(), strict=True)
)
STEP = 0.1
"""Error from which the loss grows with the error itself and no more with its square."""


def config_of(name):
    spec = importlib.util.find_spec("aiconfigurator_core")
    if spec is None:
        sys.exit("the configs come with an extra: pip install 'kvplace[fit]'")
    folder = Path(spec.submodule_search_locations[0]) / "model_configs"
    return json.loads((folder / f"{CONFIGS[name]}_config.json").read_text())


def quantised(config, precision, name):
    """Return the config with the precision that a row states; gpt-oss is always its MXFP4."""
    plain = {key: value for key, value in config.items() if key != "quantization_config"}
    if name == "openai/gpt-oss-120b":
        return config
    if precision == "fp8":
        return plain | {"quantization_config": {"quant_method": "fp8"}}
    if precision == "fp4":
        spared = [f"model.layers.{i}.self_attn.q_proj" for i in range(99)]
        found = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
        experts = config.get("text_config", config)
        sparse = any(key in experts for key in ("n_routed_experts", "num_experts",
                                                "num_local_experts"))  # fmt: skip
        return plain | {"quantization_config": found | ({"ignore": spared} if sparse else {})}
    return plain


def packed(shape, part):
    """Return bits and number format of a part of the weights."""
    if part == "dense":
        return shape.weight_bits, shape.weight_format
    return shape.expert_bits, shape.expert_format


class Columns:
    """The rows in arrays, and the formulas of kvplace.forecast over them."""

    def __init__(self, rows):
        def column(read):
            return np.array([read(row) for row in rows], dtype=float)

        shape = {name: column(lambda r, n=name: float(getattr(r["shape"], n))) for name in (
            "layers", "hidden_size", "dense_parameters", "active_expert_parameters",
            "expert_parameters", "weight_bits", "expert_bits", "state_layers", "latent",
            "indexed", "experts", "experts_per_token", "attending_layers", "heads",
            "head_size")}  # fmt: skip
        self.shape = shape
        speeds = [speed_of(GPUS[row["gpu"]]) for row in rows]
        self.bandwidth = np.array([s.bytes_per_second for s in speeds])
        self.link = np.array([s.link_bytes_per_second for s in speeds])
        self.flops16 = np.array([s.flops[Format.BF16] for s in speeds])
        self.formats = {}
        for part, field in (("dense", "weight_format"), ("expert", "expert_format")):
            used = [
                s.multiplied_in(getattr(r["shape"], field))
                for s, r in zip(speeds, rows, strict=True)
            ]
            self.formats[part] = (
                np.array([list(Format).index(f) for f in used]),
                np.array([s.flops[f] for s, f in zip(speeds, used, strict=True)]),
            )
        self.unpacked = {
            part: np.array([s.unpacks(*packed(r["shape"], part)) for s, r in
                            zip(speeds, rows, strict=True)])
            for part in ("dense", "expert")
        }  # fmt: skip
        self.batch, self.prompt = column(lambda r: r["batch"]), column(lambda r: r["prompt"])
        self.output, self.degree = column(lambda r: r["output"]), column(lambda r: r["degree"])
        self.context = self.prompt + self.output / 2
        self.factors = np.ones((len(CONSTANTS), 1))
        self.per_token = column(lambda r: r["reads"].bytes_per_token)
        self.state = column(lambda r: r["reads"].bytes_per_sequence)
        self.tpot = column(lambda r: r["tpot"])
        self.labels = {name: np.array([row[name] for row in rows]) for name in (
            "model", "gpu", "engine", "precision", "degree", "concurrency")}  # fmt: skip

    def apply(self, factors):
        """Multiply the constants of each row by the factors of its GPU type."""
        one = np.ones(len(CONSTANTS))
        self.factors = np.stack([factors.get(gpu, one) for gpu in self.labels["gpu"]], axis=1)

    def predict(self, values):
        """Return the time per token of every row."""
        decode, prefill = self.steps(values)
        waves = values[list(CONSTANTS).index("waves")]
        return decode + waves * (self.batch - 1) * prefill / self.output

    def steps(self, values):
        """Return the seconds of a decode step and of a prefill of every row."""
        constants = self.factors * np.asarray(values)[:, None]
        c, s, degree = dict(zip(CONSTANTS, constants, strict=True)), self.shape, self.degree
        kinds = ("compute_bf16", "compute_fp8", "compute_fp4")
        reached = np.stack([c[kind] + np.zeros(len(degree)) for kind in kinds])
        share = np.where(s["experts"] > 0, s["experts_per_token"] / np.maximum(1, s["experts"]), 0)
        token = 0.0
        for part, field in (("dense", "dense_parameters"), ("expert", "active_expert_parameters")):
            which, flops = self.formats[part]
            found = reached[which, np.arange(len(degree))]
            token = token + 2 * s[field] / (flops * found * degree)
        memory = {
            part: self.bandwidth * np.where(self.unpacked[part], c["unpacked"], 1)
            for part in ("dense", "expert")
        }
        dense = s["dense_parameters"] * s["weight_bits"] / 8 / (memory["dense"] * c["memory"])
        experts = s["expert_parameters"] * s["expert_bits"] / 8 / (memory["expert"] * c["experts"])

        def weights(tokens):
            reading = (dense + experts * (1 - (1 - share) ** tokens)) / degree
            sharp = c["sharpness"]
            return (reading**sharp + (token * tokens) ** sharp) ** (1 / sharp)

        exchanges = np.where(degree > 1, 2 * s["layers"], 0)
        moved = exchanges * s["hidden_size"] * 4 * (degree - 1) / degree
        link = moved / (self.link * c["links"])
        fixed = (
            s["layers"] * (c["layer_seconds"] + c["expert_layer_seconds"] * (s["experts"] > 0)
                           + c["latent_layer_seconds"] * s["latent"]
                           + c["indexed_layer_seconds"] * s["indexed"])
            + s["state_layers"] * c["state_layer_seconds"] + exchanges * c["link_seconds"]
        )  # fmt: skip
        cached = self.bandwidth * c["cache"]
        sequence = c["sequence_seconds"] + (self.state + self.per_token * self.context) / cached
        decode = fixed + weights(self.batch) + self.batch * (sequence + link)
        pairs = 4 * s["attending_layers"] * s["heads"] * s["head_size"] * self.prompt**2 / 2
        prefill = (
            fixed + weights(self.prompt) + pairs / (self.flops16 * c["attention"] * degree)
            + self.per_token * self.prompt / cached + self.prompt * link
        )  # fmt: skip
        return decode, prefill

    def fit(self, chosen, mean=MEAN, deviation=DEVIATION):
        """Return the constants that fit the chosen rows, with a prior around plausible ones."""
        names = ("model", "gpu", "engine", "precision")
        keys = list(zip(*(self.labels[name] for name in names), strict=True))
        size = Counter(key for key, is_in in zip(keys, chosen, strict=True) if is_in)
        weight = np.array(
            [size[key] ** -0.5 if is_in else 0 for key, is_in in zip(keys, chosen, strict=True)]
        )
        weight = np.sqrt(weight * 200 / weight.sum())
        logs = np.log(self.tpot)

        def residuals(unit):
            values = LEAST + (MOST_OF - LEAST) * unit
            error = (np.log(self.predict(values)) - logs) / STEP
            loss = np.sign(error) * np.sqrt(2 * (np.sqrt(1 + error * error) - 1))
            return np.concatenate([(loss * weight)[chosen], (values - mean) / deviation])

        start = np.clip((mean - LEAST) / (MOST_OF - LEAST), 0.01, 0.99)
        return LEAST + (MOST_OF - LEAST) * least_squares(residuals, start, bounds=(0, 1)).x
