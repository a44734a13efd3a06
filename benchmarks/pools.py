"""Fill two real mixed GPU pools with open models and production demand, as fleet files.

    python benchmarks/pools.py --to /tmp/pools          # both pools, seed 0
    kvplace bench /tmp/pools/alibaba-2023-0.json --time-limit 20

Needs the tables of ../shared/data and says so where they are absent. Nodes by GPU type are those
of Alibaba's cluster traces; models are drawn from the table of open models in the dtype they are
published in, each split over as few GPUs as hold it; rates and tokens are those of ServeGen's
clients, one client of a service standing for one tenant's deployment; latency objectives are what
one reseller's users saw of open models (p90 of TTFT, 1.5 times the median time per token).
"""

import argparse
import csv
import json
import random
import sys
from collections import Counter
from itertools import product
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared/data"
POOLS = {"alibaba-2023": "alibaba-gpu-v2023", "alibaba-2026": "alibaba-spot-gpu-v2026"}
USABLE = {
    # GPU type of the trace: the row of gpus.csv that it is.
    "A10": "A10-24GB", "A100-SXM4-80GB": "A100-SXM-80GB", "A800-SXM4-80GB": "A100-SXM-80GB",
    "H800": "H100-SXM-80GB", "T4": "T4-16GB", "V100M32": "V100-SXM-32GB",
    # The traces hide these names; what stands for them is a choice.
    "G2": "A10-24GB", "G3": "A100-SXM-80GB",
    "GPU-series-1": "L40S-48GB", "GPU-series-2": "H20-96GB",
}  # fmt: skip
USABLE_GIB = {"P100": 15.9, "V100M16": 15.78}
"""Not in gpus.csv: what nvidia-smi reports of the two with 16 GB."""
OVERHEAD_GIB = 1.5
FILL = 0.7
"""Share of the memory that one copy of each model takes, overhead included."""
LOAD = 0.35
"""Share of the KV memory then left that is in use on average, were demand fluid."""
SHARD_SHARE = 0.85
"""Most of the largest GPU that one shard takes."""
LOAD_LIMIT = 9.0
"""Loads to their mean are cut there: no deployment needs more than the copies it may have."""
COPIED_SHARE, MOST_COPIES = 0.2, 8


def rows(name):
    """Return the rows of a table of the shared data."""
    with (DATA / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def nodes_of(pool):
    """Return the nodes of a pool as a fleet file has them."""
    usable = {row["name"]: float(row["usable_gib"]) for row in rows("gpus.csv")}
    found = []
    for row in rows("traces/alibaba_gpu_nodes.csv"):
        if row["cluster"] == pool:
            kind, size = row["gpu_model"], int(row["gpus_per_node"])
            memory = USABLE_GIB[kind] if kind in USABLE_GIB else usable[USABLE[kind]]
            name, count = f"{kind.lower()}-x{size}", int(row["nodes"])
            gpu = {"type": kind, "memory": f"{memory}GiB"}
            found.append({"name": name, "count": count, "gpus": size, "gpu": gpu})
    return found


def shapes(nodes):
    """Return the models that some node holds, each with the least degree that it needs."""
    sizes = [(node["gpus"], float(node["gpu"]["memory"][:-3])) for node in nodes]
    found = []
    for row in rows("models.csv"):
        weights = float(row["weight_gib"])
        degrees = [
            degree for degree in (1, 2, 4, 8)
            if any(
                gpus >= degree and weights / degree + OVERHEAD_GIB <= SHARD_SHARE * memory
                for gpus, memory in sizes
            )
        ]  # fmt: skip
        if row["is_native"] == "1" and degrees:
            found.append((row, weights, degrees[0]))
    return found


def deployments(nodes, chance):
    """Draw models until one copy of each fills the pool as it is to be filled."""
    at_least = Counter()  # GiB of all GPUs of at least so much memory
    sizes = {float(node["gpu"]["memory"][:-3]) for node in nodes}
    for size, node in product(sizes, nodes):
        memory = float(node["gpu"]["memory"][:-3])
        at_least[size] += node["count"] * node["gpus"] * memory * (memory >= size)
    memory = at_least[min(sizes)]
    known = shapes(nodes)
    # Published sizes are drawn as often as they are light, as small models are deployed more.
    odds = [1 / (weights + 8) for _, weights, _ in known]
    clients = rows("traces/servegen_client_summary.csv")
    served = [
        row for row in rows("openrouter_open_models_to0813.csv")
        if row["ttft_p90_ms"] and row["decode_tok_s_p50"]
    ]  # fmt: skip
    drawn, taken = [], Counter()  # of the latter what models take that need so much memory
    while taken[min(sizes)] < FILL * memory:
        ((row, weights, degree),) = chance.choices(known, odds)
        whole = weights + degree * OVERHEAD_GIB
        bound = [size for size in sizes if not others_hold(whole / degree, size, sizes)]
        if any(taken[size] + whole > FILL * at_least[size] for size in bound if size > min(sizes)):
            continue  # the GPUs that are large enough have their share
        taken.update(dict.fromkeys(bound, whole))
        drawn.append((row, weights, degree, chance.choice(clients), chance.choice(served)))
    made = [model(number, *parts) for number, parts in enumerate(drawn)]
    loads = [load(one) for one in made]
    most = LOAD_LIMIT * sum(loads) / len(loads)
    factor = LOAD * (memory - taken[min(sizes)]) * 2**30 / sum(min(one, most) for one in loads)
    hottest = sorted(range(len(made)), key=lambda j: -loads[j])[: round(COPIED_SHARE * len(made))]
    for one, of in zip(made, loads, strict=True):
        one["demand"]["requests_per_second"] *= factor * min(1, most / of)
    for j in hottest:
        made[j]["replicas"] = {"min": 1, "max": MOST_COPIES}
    return made


def others_hold(shard, size, sizes):
    """Whether a smaller GPU than of a size holds a shard."""
    return any(smaller < size and shard <= SHARD_SHARE * smaller for smaller in sizes)


def model(number, row, weights, degree, client, served):
    """Return one deployment as a fleet file has it."""
    seconds = 600 * int(client["active_windows"])
    attention = {"attention": "mla"} if row["attn"] == "mla" else {"kv_heads": int(row["kv_heads"])}
    return {
        "name": f"d{number}/{row['name']}",
        "weights": f"{weights}GiB",
        "overhead": f"{OVERHEAD_GIB}GiB",
        "kv_bytes_per_token": int(float(row["kv_bytes_per_token_bf16"])),
        "tensor_parallel": degree,
        **attention,
        "demand": {
            "requests_per_second": int(client["requests"]) / seconds,
            "prompt_tokens": float(client["in_mean"]),
            "output_tokens": float(client["out_mean"]),
        },
        "slo": {
            "ttft": f"{float(served['ttft_p90_ms'])}ms",
            "tpot": f"{round(1500 / float(served['decode_tok_s_p50']), 3)}ms",
        },
    }


def load(one):
    """Return KV bytes in use on average, by Little's law."""
    demand = one["demand"]
    seconds = (
        float(one["slo"]["ttft"][:-2]) + demand["output_tokens"] * float(one["slo"]["tpot"][:-2])
    ) / 1000
    tokens = demand["prompt_tokens"] + demand["output_tokens"] / 2
    return demand["requests_per_second"] * seconds * one["kv_bytes_per_token"] * tokens


def write_pool(name, seed, folder):
    """Write one pool as a fleet file and return its path; None where the data are absent."""
    if not DATA.exists():
        print(f"{name}: skipped, there is no {DATA}", file=sys.stderr)
        return None
    nodes = nodes_of(POOLS[name])
    chance = random.Random(f"{name}/{seed}")
    fleet = {
        "schema": "kvplace.fleet/v1", "nodes": nodes, "models": deployments(nodes, chance),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{seed}.json"
    path.write_text(json.dumps(fleet, indent=1), "utf-8")
    return path


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("pools", nargs="*", choices=[[], *POOLS], help="both by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    for name in options.pools or POOLS:
        path = write_pool(name, options.seed, options.to)
        if path:
            print(path)


if __name__ == "__main__":
    main()
