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
import json
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np

from kernel_tables import Kernels, kernel_rows
from kvplace.facts.catalogue.gpus import gpu_type
from kvplace.facts.config.architecture import architecture
from kvplace.facts.config.attention import cache_layout
from kvplace.forecast.step_time import decode_seconds, prefill_seconds
from kvplace.forecast.steps.roofline import CacheReads, Roofline, speed_of, step_time
from step_columns import CONFIGS, CONSTANTS, GPUS, LOOP, MOST_OF, Columns, config_of, quantised

HERE = Path(__file__).parent
ROWS = HERE.parents[1] / "shared/data/serving_measured.csv.gz"
TABLE = HERE.parent / "src/kvplace/forecast/steps/roofline.csv"
MOST = 64
STARTED = ("vllm", "sglang")
"""Engines that kvplace writes files for."""


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
    main()
