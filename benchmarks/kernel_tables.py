"""How GPU types differ, by the times of kernels that were measured on them.

aiconfigurator-core (Apache-2.0) ships tables of single kernels, GEMM, attention, experts and
exchanges between ranks, measured on each GPU type, and adds them up to steps of a model. Steps of
real engines take longer by what runs between kernels, so the sums are not used as they are, but to
tell GPU types apart: the same roofline is fitted to the kernels of one type and to those of the
types that were served on, and each constant of the type is multiplied by the ratio.
"""

import logging
import warnings

import numpy as np

from kvplace.facts.config.architecture import architecture
from kvplace.facts.config.attention import cache_layout
from kvplace.forecast.steps.roofline import CacheReads
from step_columns import CONFIGS, CONSTANTS, GPUS, Columns, config_of, quantised

__all__ = ["Kernels", "kernel_rows"]

GPUS.update({
    "a100_sxm": "A100-SXM-80GB", "l40s": "L40S-48GB", "gb200": "GB200-186GB",
    "rtx_pro_6000_server": "RTX-PRO-6000-Server-96GB",
})  # fmt: skip
MODELS = {
    "meta-llama/Meta-Llama-3.1-8B": ("bf16", "fp8"), "Qwen/Qwen3-32B": ("bf16", "fp8"),
    "meta-llama/Meta-Llama-3.1-70B": ("bf16", "fp8"), "Qwen/Qwen3-30B-A3B": ("bf16", "fp8"),
    "Qwen/Qwen3-235B-A22B": ("bf16", "fp8"), "openai/gpt-oss-120b": ("own",),
    "openai/gpt-oss-20b": ("own",),
}  # fmt: skip
CONFIGS.update({name: name.replace("/", "--") for name in MODELS})
DEGREES, BATCHES, CONTEXTS, PROMPTS = (1, 2, 8), (1, 8, 64), (2048,), (512, 8192)
COMPARED = ("memory", "experts", "unpacked", "compute_bf16", "compute_fp8", "compute_fp4", "cache",
            "attention", "layer_seconds", "expert_layer_seconds", "links",
            "link_seconds")  # fmt: skip
"""Constants that a GPU type changes; the others have no kernels of their own in the tables."""
PRIOR, MOST = 0.3, 3.0
"""Relative deviation of the prior around the constants of all types, and the largest ratio."""


def kernel_rows():
    """Return the steps of the kernel tables, as `step_times.read_rows` returns measured ones."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows = []
    for model, precisions in MODELS.items():
        for precision in precisions:
            config = config_of(model)
            given = config if precision == "own" else quantised(config, precision, model)
            shape = architecture(given, model)
            layout = cache_layout(config, model, 2, (2, 4))
            for system in GPUS:
                for degree in DEGREES:
                    for kind, batch, tokens, seconds in steps(model, system, precision, degree):
                        held = layout.bytes_held(tokens, degree)
                        rows.append({
                            "model": model.split("/")[1], "gpu": system, "engine": kind,
                            "precision": precision, "concurrency": float(batch),
                            "batch": float(batch), "prompt": float(tokens), "output": 0.0,
                            "degree": degree, "shape": shape, "tpot": seconds,
                            "reads": CacheReads(held / tokens),
                        })  # fmt: skip
    return rows


def steps(model, system, precision, degree):
    """Return kind, batch, tokens and seconds of steps; none where kernels are not in the tables."""
    from aiconfigurator_core.sdk.engine import EngineHandle  # noqa: PLC0415 - an extra

    asked = {
        "bf16": [("bfloat16", "bfloat16")], "fp8": [("fp8", "fp8_block"), ("fp8", "fp8")],
        "own": [(None, None)],
    }[precision]  # fmt: skip
    for dense, experts in asked:
        try:
            engine = EngineHandle.compile(
                model, system, "vllm", tp_size=degree, moe_tp_size=degree,
                gemm_quant_mode=dense, moe_quant_mode=experts,
            )  # fmt: skip
            return [
                *(("decode", batch, context, engine.predict_decode_latency(batch, context) / 1e3)
                  for batch in BATCHES for context in CONTEXTS),
                *(("prefill", 1, prompt, engine.predict_prefill_latency(1, prompt) / 1e3)
                  for prompt in PROMPTS),
            ]  # fmt: skip
        except Exception:  # noqa: BLE001 - each table is incomplete in a way of its own
            continue
    return []


class Kernels(Columns):
    """The steps of the tables, and the formulas of kvplace.forecast over them."""

    def __init__(self, rows):
        super().__init__(rows)
        self.context = self.prompt
        self.rows = rows

    def predict(self, values):
        """Return the seconds of every row."""
        decode, prefill = self.steps(values)
        return np.where(self.labels["engine"] == "prefill", prefill, decode)

    def factors_of(self, values, served, types=None):
        """Return what the constants of GPU types are multiplied by.

        Parameters
        ----------
        values
            Constants of all types.
        served
            Types that they were fitted on.
        types
            Types that are asked for; all by default.
        """
        if types is None:
            types = sorted(set(self.labels["gpu"].tolist()))
        deviation = np.maximum(PRIOR * np.abs(values), 1e-7)
        deviation[list(CONSTANTS).index("sharpness")] = 1e-3

        def fitted(chosen):
            of = Kernels([row for row in self.rows if row["gpu"] in chosen])
            return of, of.fit(np.ones(len(of.rows), bool), values, deviation)

        _, reference = fitted(served)
        return {name: of.ratio(own, reference) for name in types for of, own in [fitted([name])]}

    def ratio(self, own, reference):
        """Return the ratio of constants; 1 of one that no row depends on."""
        formats = {int(f) for which, _ in self.formats.values() for f in which}
        absent = {"compute_fp8": 1 not in formats, "compute_fp4": 2 not in formats,
                  "unpacked": not self.unpacked["expert"].any()}  # fmt: skip
        ratio = np.ones(len(own))
        for at, name in enumerate(CONSTANTS):
            if name in COMPARED and not absent.get(name):
                ratio[at] = np.clip(own[at] / max(reference[at], 1e-9), 1 / MOST, MOST)
        return ratio
