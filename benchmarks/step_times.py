"""Refit the constants of step times to measured engines, and show the error on what was left out.

    pip install 'kvplace[fit]'
    python benchmarks/step_times.py                      # error tables
    python benchmarks/step_times.py --write              # and the table of forecast/steps

Data: ../shared/data/serving_measured.csv.gz, the accuracy samples of aiconfigurator (Apache-2.0):
time per token and to the first token by model, GPU type, engine, precision, lengths and
concurrency, of aggregated serving. Shapes come from the configs that aiconfigurator-core ships.

A row is one closed loop: C requests of P prompt and O output tokens are always under way. Every
step decodes them, and while a request puts out its O tokens the C - 1 others are prefilled. If
they all start at other times, it waits for each of their prefills; as they start together and have
equal lengths they run in waves, and it waits for half of them on average. So the time per token is
taken to be ::

    decode_seconds(B, P + O / 2) + w (B - 1) prefill_seconds(P) / O

with B the smaller of C and the sequences whose cache fits, and w, between a half and one, fitted
with the other constants. It belongs to such a loop and not to an engine.

How a GPU type differs from others is read off the kernel tables of `kernel_tables.py`, which hold
types that nobody served on here: a type has the constants of all, times what its kernels are better
or worse than those of the types that were served on. How well that works is seen on types that were
served on: each is left out, and its kernel tables are all that is used of it.

Left out of fit and table:

- more than 64 requests at a time, and more than 8 GPUs or data-parallel attention, which kvplace
  does not plan;
- rows measured twice (the first counts);
- DeepSeek under TensorRT-LLM 1.2.0rc6.post3: half the time per token that rc6.post2 takes for the
  same settings, that is, speculative decoding, which the table does not state.

Every fit minimises the pseudo-Huber loss of the logarithm with a weak prior around plausible
values, families of rows weighed by the root of their number.
"""

import argparse
import csv
import gzip
import importlib.util
import json
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from kvplace.core.models.architecture import Format
from kvplace.facts.catalogue.gpus import gpu_type
from kvplace.facts.config.architecture import architecture
from kvplace.facts.config.attention import cache_layout
from kvplace.forecast.step_time import decode_seconds, prefill_seconds
from kvplace.forecast.steps.roofline import CacheReads, Roofline, speed_of, step_time

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "shared/data/serving_measured.csv.gz"
TABLE = HERE.parent / "src/kvplace/forecast/steps/roofline.csv"
MOST = 64
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
STARTED = ("vllm", "sglang")
"""Engines that kvplace writes files for."""
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


def read_rows():
    """Return the rows that count, each with its shape, GPU and measurements."""
    if not ROWS.is_file():
        sys.exit(f"the measured rows are not at {ROWS}")
    found, seen, shapes = [], set(), {}
    with gzip.open(ROWS, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            name, degree = row["model_path"], int(row["tp_size"])
            if degree > 8 or int(row["attention_dp_size"] or 1) > 1:
                continue
            if int(row["concurrency"]) > MOST:
                continue
            if (row["backend"], row["backend_version"]) == ("trtllm", "1.2.0rc6.post3") and (
                "DeepSeek" in name
            ):
                continue
            key = (
                CONFIGS[name],
                *(row[k] for k in row if k not in ("model_path", "ttft_ms", "backend_version")),
            )
            if key in seen:
                continue
            seen.add(key)
            at = name, row["precision"]
            if at not in shapes:
                config = config_of(name)
                shapes[at] = (
                    architecture(quantised(config, row["precision"], name), name),
                    cache_layout(config, name, 2, (2, 4)),
                )
            found.append(_row(row, *shapes[at], degree))
    return found


def _row(row, shape, layout, degree):
    prompt, output = float(row["isl"]), float(row["osl"])
    # Public runs of vLLM on Blackwell and of TensorRT-LLM keep an FP8 cache with such weights.
    small = row["precision"] in ("fp8", "fp4") and (
        row["backend"] == "trtllm"
        or (row["backend"] == "vllm" and row["system"] in ("b200_sxm", "b300_sxm"))
    )
    scale = 0.5 if small else 1.0
    context = prompt + output / 2
    held = layout.bytes_held(context, degree) - layout.bytes_per_sequence(degree)
    kind = gpu_type(GPUS[row["system"]])
    weights = shape.parameters * shape.weight_bits / 8
    if shape.experts:
        dense = shape.parameters - shape.expert_parameters
        weights = (dense * shape.weight_bits + shape.expert_parameters * shape.expert_bits) / 8
    pool = 0.9 * kind.memory_bytes - weights / degree - 3 * 2**30
    longest = held * scale * (prompt + output) / context
    family = CONFIGS[row["model_path"]].split("--")[1]
    return {
        "model": family, "gpu": row["system"], "engine": row["backend"],
        "precision": row["precision"] or "bf16", "concurrency": float(row["concurrency"]),
        "batch": max(1.0, min(float(row["concurrency"]), pool / longest)),
        "prompt": prompt, "output": output, "degree": degree, "shape": shape,
        "reads": CacheReads(held * scale / context, 0, 0, layout.bytes_per_sequence(degree)),
        "tpot": float(row["tpot_ms"]) / 1e3, "ttft": float(row["ttft_ms"]) / 1e3,
    }  # fmt: skip


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


def scalar(row, values):
    """Return the time per token of a row by kvplace's own functions."""
    speed = speed_of(GPUS[row["gpu"]])._replace(roofline=roofline(values))
    times = step_time(row["shape"], row["reads"], speed, row["degree"])
    decode = decode_seconds(times, row["batch"], row["prompt"] + row["output"] / 2)
    prefill = prefill_seconds(times, row["prompt"])
    waves = values[list(CONSTANTS).index("waves")]
    return decode + waves * (row["batch"] - 1) * prefill / row["output"]


def roofline(values):
    """Return the constants as kvplace keeps them."""
    kept = zip(CONSTANTS, map(float, values), strict=True)
    return Roofline(**{name: value for name, value in kept if name not in LOOP}, source="")


def ordered(measured, predicted):
    """Return the share of pairs, apart by 20 % or more, that are predicted in the right order."""
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, len(measured), (2, 400_000))
    apart = measured[first] > 1.2 * measured[second]
    return float(np.mean(predicted[first][apart] > predicted[second][apart]))


def summary(title, columns, predicted):
    error = predicted / columns.tpot - 1
    return {
        "of": title, "rows": len(error), "bias": float(np.median(error)),
        "median": float(np.median(abs(error))), "p90": float(np.quantile(abs(error), 0.9)),
        "ordered": ordered(columns.tpot, predicted),
    }  # fmt: skip


def table(title, columns, predicted):
    """Print the errors in all and by model, GPU type, engine and concurrency."""
    whole = summary(title, columns, predicted)
    print(f"\n{title}: {whole['rows']} rows, median error {whole['median']:.1%}, "
          f"p90 {whole['p90']:.1%}, {whole['ordered']:.1%} of pairs in order")  # fmt: skip
    started = np.isin(columns.labels["engine"], STARTED)
    error = abs(predicted[started] / columns.tpot[started] - 1)
    print(f"of them {' and '.join(STARTED)}, which kvplace starts: {len(error)} rows, median error "
          f"{np.median(error):.1%}, p90 {np.quantile(error, 0.9):.1%}, "
          f"{ordered(columns.tpot[started], predicted[started]):.1%} in order")  # fmt: skip
    print("| | rows | bias | median | p90 |\n|---|---|---|---|---|")
    for label in ("model", "gpu", "engine", "degree", "concurrency"):
        for value, count in sorted(Counter(columns.labels[label].tolist()).items()):
            if count < 20:
                continue
            chosen = columns.labels[label] == value
            error = predicted[chosen] / columns.tpot[chosen] - 1
            print(
                f"| {label} {value} | {count} | {np.median(error):+.0%} | "
                f"{np.median(abs(error)):.0%} | {np.quantile(abs(error), 0.9):.0%} |"
            )
    return whole


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write roofline.csv")
    parser.add_argument("--json", type=Path, help="write the sums of the tables")
    chosen = parser.parse_args()
    rows = read_rows()
    columns = Columns(rows)
    everything = np.ones(len(rows), bool)
    values = columns.fit(everything)
    for row, at_once in list(zip(rows, columns.predict(values), strict=True))[::37]:
        assert abs(scalar(row, values) / at_once - 1) < 1e-9, row
    from kernel_tables import Kernels, kernel_rows  # noqa: PLC0415 - it builds on this file

    kernels = Kernels(kernel_rows())
    served = sorted(set(columns.labels["gpu"].tolist()))
    factors = kernels.factors_of(values, served)
    sums = [table("fitted to all rows", columns, columns.predict(values))]
    for label in ("model", "gpu"):
        out, moved = np.zeros(len(rows)), np.zeros(len(rows))
        for value in np.unique(columns.labels[label]):
            left_out = columns.labels[label] == value
            columns.apply({})
            fitted = columns.fit(~left_out)
            out[left_out] = columns.predict(fitted)[left_out]
            if label == "gpu":
                others = [gpu for gpu in served if gpu != value]
                columns.apply(kernels.factors_of(fitted, others, [value]))
                moved[left_out] = columns.predict(fitted)[left_out]
        name = "GPU type" if label == "gpu" else label
        sums.append(table(f"every {name} left out of its own fit", columns, out))
        if label == "gpu":
            sums.append(table(f"every {name} left out, by its kernel tables", columns, moved))
    print("\n" + "\n".join(f"{k} {v:.3g}" for k, v in zip(CONSTANTS, values, strict=True)))
    if chosen.json:
        chosen.json.write_text(json.dumps(sums, indent=2) + "\n")
    if chosen.write:
        write(values, factors, served)


def write(values, factors, served):
    """Put constants into the package's table: of all types, and of those that nobody served on."""
    with TABLE.open(newline="") as lines:
        fields = csv.DictReader(lines).fieldnames
    rows = [table_row("any", values, "fitted to measured engines on H100, H200, B200 and B300 "
                      "(aiconfigurator accuracy samples)")]  # fmt: skip
    for gpu, own in sorted((gpu, own) for gpu, own in factors.items() if gpu not in served):
        told = ("the constants of any, times how this type differs in its kernel tables "
                f"(aiconfigurator-core {version('aiconfigurator-core')}, vLLM)")  # fmt: skip
        rows.append(table_row(GPUS[gpu], np.minimum(own * values, MOST_OF), told))
    with TABLE.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table_row(name, values, source):
    """Return a row of the package's table: seconds are written in microseconds."""
    row = {"name": name, "source": source}
    for constant, value in zip(CONSTANTS, values, strict=True):
        if constant not in LOOP:
            micro = constant.endswith("_seconds")
            column = f"{constant.removesuffix('_seconds')}_us" if micro else constant
            row[column] = f"{value * (1e6 if micro else 1):.3g}"
    return row


if __name__ == "__main__":
    import step_times  # the module that kernel_tables builds on, and not a second one

    step_times.main()
