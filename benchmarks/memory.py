"""Predicted against measured memory of engines: KV left on a GPU, report by report.

    python benchmarks/memory.py            # the table in Markdown
    python benchmarks/memory.py --json F   # its sums

Measured are start-up logs: what vLLM says it loaded, its peak in the profiling run, what libraries
took. The reports of the data folder (../shared/data/cases/b-overhead-table) come with their
sources; those below are 25 of the 58 logs of vLLM 0.19 on H100 (79.19 GiB) that
llm-d-incubation/llm-d-planner recorded (accuracy/accuracy_report.md, Apache-2.0): models of
which the shape is known here, one row per degree, and one row of 0.16.

A log does not tell the CUDA context, and many do not tell CUDA graphs. A part that a log does not
tell is left out of the prediction it is compared with; the last column has all parts.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from kvplace.facts.catalogue.shapes import known_shape, stored_bytes
from kvplace.facts.memory.loaded import loaded_weights
from kvplace.facts.memory.overhead import EngineLimits, overhead, overhead_of_unknown
from kvplace.units import GIB

REPORTS = Path(__file__).parents[2] / "shared/data/cases/b-overhead-table/reports.csv"
LARGE, OLDER, SMALL = EngineLimits(8192, 1024), EngineLimits(8192, 256), EngineLimits(2048, 256)
"""Limits by default: vLLM from 0.8 on large GPUs, releases before it, and on GPUs below 70 GiB."""
KNOWN = {
    # Report: model of known shape, limits, whether its GPUs share NVLink.
    "gemma-3-4b-it (B200)": ("google/gemma-3-4b-it", LARGE, True),
    "Llama-3-8B (H100)": ("meta-llama/Meta-Llama-3-8B-Instruct", OLDER, True),
    "Llama-3-8B TP2 (H100)": ("meta-llama/Meta-Llama-3-8B-Instruct", OLDER, True),
    "gpt-oss-120b (H100)": ("openai/gpt-oss-120b", LARGE, True),
    "Qwen3-235B-A22B-FP8 TP4 (H100)": ("Qwen/Qwen3-235B-A22B-FP8", LARGE, True),
    "DeepSeek-R1 TP8 PP2 (H20-3e)": ("deepseek-ai/DeepSeek-R1", SMALL, True),
    "R1-Distill-Qwen-14B TP2 (4090)": ("Qwen/Qwen2.5-14B-Instruct", SMALL, False),
    "R1 AWQ TP16 (3090)": ("deepseek-ai/DeepSeek-R1", SMALL, False),
    "R1 GGUF TP16 (3090)": ("deepseek-ai/DeepSeek-R1", SMALL, False),
    "Qwen3-0.6B (910B)": ("Qwen/Qwen3-0.6B", SMALL, True),
    "Llama-3.1-8B (H100)": ("meta-llama/Llama-3.1-8B-Instruct", OLDER, True),
}
SWEEP = [
    # Model, degree, weights loaded where the report gives them, peak, libraries, release.
    ("deepseek-ai/DeepSeek-V2-Lite-Chat", 1, None, 1.93, 0.26, (0, 19)),
    ("google/gemma-2-27b-it", 1, None, 3.66, 0.26, (0, 19)),
    ("google/gemma-2-2b-it", 1, None, 3.62, 0.24, (0, 19)),
    ("google/gemma-2-9b-it", 1, None, 3.65, 0.25, (0, 19)),
    ("google/gemma-3-12b-it", 1, 23.31, 3.94, 0.25, (0, 19)),
    ("google/gemma-3-27b-it", 1, 51.45, 3.99, 0.26, (0, 19)),
    ("google/gemma-3-4b-it", 1, 8.58, 3.89, 0.25, (0, 19)),
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 14.99, 1.89, 0.25, (0, 19)),
    ("meta-llama/Llama-3.1-8B-Instruct", 2, 7.51, 1.89, 2.07, (0, 19)),
    ("meta-llama/Llama-3.1-8B-Instruct", 4, 3.77, 1.89, 2.13, (0, 19)),
    ("microsoft/phi-4", 1, None, 1.52, 0.25, (0, 19)),
    ("mistralai/Mistral-Small-3.1-24B-Instruct-2503", 1, None, 2.03, 0.25, (0, 19)),
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", 2, None, 1.21, 2.07, (0, 19)),
    ("openai/gpt-oss-20b", 2, 7.0, 2.87, 2.07, (0, 19)),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 4, None, 3.19, 2.17, (0, 19)),
    ("Qwen/Qwen2.5-72B-Instruct", 2, None, 2.29, 2.09, (0, 19)),
    ("Qwen/Qwen2.5-7B-Instruct", 1, 14.25, 2.21, 0.24, (0, 19)),
    ("Qwen/Qwen2.5-7B-Instruct", 2, 7.12, 2.21, 2.06, (0, 19)),
    ("Qwen/Qwen2.5-7B-Instruct", 4, 3.55, 2.21, 2.13, (0, 19)),
    ("Qwen/Qwen3-30B-A3B", 1, None, 2.68, 0.27, (0, 19)),
    ("Qwen/Qwen3-8B", 1, None, 2.21, 0.25, (0, 19)),
    ("Qwen/Qwen3-14B", 1, 27.52, 2.23, 0.25, (0, 18)),
    ("Qwen/Qwen3-14B", 1, 27.52, 5.64, 0.13, (0, 16)),
    ("meta-llama/Llama-3.3-70B-Instruct", 4, None, 1.97, 2.21, (0, 19)),
    ("meta-llama/Llama-2-7b-chat-hf", 1, None, 0.77, 0.25, (0, 19)),
]
HELD_OUT = [
    # Found after all constants were fixed, and used for none. Source, model, GPU's GiB, degree,
    # limits, NVLink, release, weights loaded, KV cache and utilization; None where not printed.
    ("vllm#27508", "openai/gpt-oss-120b", 79.18, 1, EngineLimits(1024, 1024), True, (0, 11),
     None, 1.71, 0.95),
    ("vllm#10517, 20,000 tokens", "meta-llama/Llama-3.1-8B-Instruct", 23.58, 1,
     EngineLimits(20_000, 256), False, (0, 6), 14.9888, 3.81, 0.9),
    ("vllm#10517, 29,000 tokens", "meta-llama/Llama-3.1-8B-Instruct", 23.58, 1,
     EngineLimits(29_000, 256), False, (0, 6), 14.9888, 2.89, 0.9),
    ("vllm#33155", "openai/gpt-oss-120b", 79.18, 1, LARGE, True, (0, 14), 64.38, None, None),
    ("vllm#17469", "Qwen/Qwen3-30B-A3B", 79.18, 4, LARGE, True, (0, 8), 14.2474, None, None),
]  # fmt: skip
H100_GIB = 79.19
SOURCE = "llm-d-planner"


def predicted(model, weights_gib, degree, limits, *, linked, release=None):
    """Return weights and parts of the overhead in GiB; None for the shape of a model unknown."""
    shape = known_shape(model) if model else None
    if shape is None:
        return weights_gib, {"all": overhead_of_unknown(round(weights_gib * GIB)) / GIB}
    parts = overhead(shape, degree, limits, linked=linked, release=release).parts()
    loaded = loaded_weights(stored_bytes(shape), shape, degree).total_bytes / GIB
    return loaded, {name: size / GIB for name, size in parts.items()}


def compared(source, name, gpu_gib, degree, weights, measured, forecast, *, told, own_weights):
    """Return a row: KV left by the report and by kvplace, of what the report tells and in all."""
    loaded, parts = forecast
    loaded = loaded if own_weights else weights
    of_told = sum(parts.values())
    if "activations" in parts:
        of_told -= 0.51  # no log tells the context
        of_told -= 0 if told else parts["CUDA graphs"]
    left = gpu_gib - weights - measured
    own = gpu_gib - loaded - of_told
    whole = gpu_gib - loaded - sum(parts.values())
    return {
        "report": source, "model": name, "gpu_gib": gpu_gib, "degree": degree, "left": left,
        "predicted": own, "error": (own - left) / gpu_gib, "with_all": (whole - left) / gpu_gib,
    }  # fmt: skip


def table():
    """Return all rows."""
    if not REPORTS.is_file():
        sys.exit(f"the reports are not at {REPORTS}")
    rows = []
    with REPORTS.open(newline="") as lines:
        for row in csv.DictReader(lines):
            model, limits, linked = KNOWN.get(row["model"], (None, SMALL, True))
            weights, degree = float(row["weights_per_gpu_gib"]), int(row["degree"])
            forecast = predicted(model, weights, degree, limits, linked=linked)
            rows.append(
                compared(
                    row["source"].replace("public log ", ""), row["model"],
                    float(row["gpu_gib"]), degree, weights, float(row["overhead_gib"]),
                    forecast, told=bool(row["graphs_gib"]), own_weights=False,
                )
            )  # fmt: skip
    for model, degree, weights, peak, libraries, release in SWEEP:
        forecast = predicted(model, weights or 0, degree, LARGE, linked=True, release=release)
        measured = peak + libraries
        rows.append(
            compared(
                f"{SOURCE}, vLLM {release[0]}.{release[1]}", model, H100_GIB, degree,
                weights or forecast[0], measured, forecast, told=False,
                own_weights=weights is not None,
            )
        )  # fmt: skip
    return rows


def held_out():
    """Print what logs say that no constant was fitted to, and what kvplace predicts."""
    print("\n| log | model | TP | weights, GiB | predicted | KV left, GiB | predicted | error |")
    print("|---|---|---|---|---|---|---|---|")
    for source, model, gpu, degree, limits, linked, release, weights, kv, part in HELD_OUT:
        loaded, parts = predicted(model, 0, degree, limits, linked=linked, release=release)
        cells = ["", "", ""]
        if kv is not None:
            left = gpu * (1 - part) + kv
            own = gpu - loaded - sum(parts.values()) + 0.51 + parts["CUDA graphs"]
            cells = [f"{left:.2f}", f"{own:.2f}", f"{(own - left) / gpu:+.1%}"]
        told = "" if weights is None else f"{weights:.2f}"
        print(f"| {source} | {model} | {degree} | {told} | {loaded:.2f} | {' | '.join(cells)} |")


def sums(rows, key):
    """Return how many rows are within 10 % of the GPU's memory, and the most that is too much."""
    errors = [row[key] for row in rows]
    return {
        "rows": len(rows), "within_10_percent": sum(abs(e) <= 0.1 for e in errors),
        "most_too_much": max(errors), "most_too_little": min(errors),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the sums")
    chosen = parser.parse_args()
    rows = table()
    print("| report | model | GPU, GiB | TP | KV left, GiB | predicted | error | with all parts |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['report']} | {row['model']} | {row['gpu_gib']:.1f} | {row['degree']} | "
            f"{row['left']:.1f} | {row['predicted']:.1f} | {row['error']:+.1%} | "
            f"{row['with_all']:+.1%} |"
        )
    held_out()
    found = {}
    for title, chosen_rows in (
        ("the 18 reports", rows[:18]), ("the sweep", rows[18:]), ("all", rows),
    ):  # fmt: skip
        found[title] = {key: sums(chosen_rows, key) for key in ("error", "with_all")}
        for key, total in found[title].items():
            print(f"{title}, {key}: {total}", file=sys.stderr)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
