"""Damages good inputs at random and gives them to every reader: each must answer, or refuse.

Run: ``python benchmarks/hostile.py --seconds 60``; without limit with ``--seconds inf``. It prints
how many inputs each reader got and the longest answer, and stops with 1 at the first exception
that is not kvplace's own, with the input in a file. All seconds are of processor time.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from damage import damaged, text_of, torn
from hostile_more import MORE
from kvplace.demand.logs.traces import read_trace
from kvplace.errors import KvplaceError
from kvplace.facts.find import find_facts
from kvplace.formats.plan.io import read_plan
from kvplace.formats.read import read
from kvplace.scaffold.deployments.read import read_deployment

_LONGEST_ANSWER = 10.0

CONFIG = {
    "model_type": "glm_moe_dsa", "num_hidden_layers": 4, "num_attention_heads": 8,
    "num_key_value_heads": 8, "hidden_size": 64, "head_dim": 8, "kv_lora_rank": 16,
    "qk_rope_head_dim": 4, "index_head_dim": 128, "indexer_types": ["full", "shared"] * 2,
    "layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 8,
    "per_layer_config": {"1": {"head_dim": 16}}, "torch_dtype": "bfloat16",
    "sparse_attention_config": {"sparse_attention_freq": [1, 0, 1, 0], "sparse_index_dim": 8},
    "linear_attn_config": {"kda_layers": [1], "num_heads": 2, "head_dim": 4},
    "quantization_config": {"kv_cache_scheme": {"num_bits": 8}}, "architectures": ["X"],
}  # fmt: skip
COMPOSE = {
    "services": {
        "a": {"image": "vllm/vllm-openai", "command": "--model org/m -tp ${T:-2}",
              "deploy": {"replicas": 1, "resources": {"reservations": {"devices": [
                  {"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}]}}}},
        "b": {"extends": "a", "environment": ["CUDA_VISIBLE_DEVICES=1"], "profiles": ["x"],
              "volumes": ["./m:/m:ro"], "gpus": [{"count": 1}]},
        "c": {"entrypoint": ["bash", "-c"], "command": ["T=2; exec vllm serve org/n -tp $$T"]},
    },
}  # fmt: skip
MANIFEST = {
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "a", "annotations": {"kvplace/placement": '[["m", ["n/0"]]]'}},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"image": "vllm", "args": ["--model", "org/m"], "env": [{"name": "A", "value": "b"}],
         "resources": {"limits": {"nvidia.com/gpu": 1}}}]}}},
}  # fmt: skip
SWAP = {"macros": {"s": "vllm serve"}, "models": {"m": {"cmd": "${s} org/m", "env": ["A=b"]}}}
SERVE = {"applications": [{"args": {"llm_configs": [{
    "model_loading_config": {"model_id": "m"}, "engine_kwargs": {"tensor_parallel_size": 2},
    "deployment_config": {"num_replicas": 2}}]}}]}  # fmt: skip
FLEET = {
    "schema": "kvplace.fleet/v1",
    "nodes": [{"name": "n", "count": 2, "gpus": 2, "gpu": {"type": "x", "memory": "80GiB"}}],
    "models": [{"name": "m", "weights": "8GiB", "kv_bytes_per_token": 1024, "tensor_parallel": [1],
                "replicas": {"min": 1, "max": 2}, "demand": {"requests_per_second": 1,
                "prompt_tokens": 5, "output_tokens": 5}, "slo": {"ttft": "1s", "tpot": "50ms"}}],
    "rules": [{"rule": "spread", "models": ["m"], "over": "node"}],
}  # fmt: skip
ROWS = [
    {"timestamp": 1782864000 + 60 * i, "model": "m", "usage": {"prompt_tokens": 5,
     "completion_tokens": 1}, "requests": 2} for i in range(3)
]  # fmt: skip
TABLE = "timestamp,model,prompt_tokens,output_tokens,requests\n" + "".join(
    f"{1782864000 + 60 * i},m,5,1,2\n" for i in range(3)
)
PLAN = "model,replica,shard,node,gpu,weights_bytes,load\nm,0,0,n,n/0,5,1.0\nm,1,0,n,n/1,5,1.0\n"
MODELS = "name,weights_gib,requests_per_second,slo_seconds\nm,8,1,5\nn,9,2,5\n"


def checkpoint(folder: Path, rng: random.Random) -> None:
    """Read a damaged checkpoint."""
    directory = folder / "m"
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    name = rng.choice(("config.json", "config.json", "params.json", "adapter_config.json"))
    content = json.dumps(damaged(CONFIG, rng)).encode("utf-8", "surrogatepass")
    (directory / name).write_bytes(torn(content, rng) if rng.random() < 0.1 else content)
    head = {"w": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}
    if rng.random() < 0.3:
        head = damaged(head, rng)
    text = json.dumps(head).encode("utf-8", "surrogatepass")
    (directory / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    if rng.random() < 0.2:
        index = {"metadata": {"total_size": 8}, "weight_map": {"w": "model.safetensors"}}
        (directory / "model.safetensors.index.json").write_bytes(text_of(index, rng))
    found = find_facts(str(directory), kv_dtype=rng.choice(("auto", "fp8")))
    for degree in (1, 8):
        found.layout.bytes_per_token(degree)
    found.layout.bytes_held(100)


def gguf(folder: Path, rng: random.Random) -> None:
    """Read a damaged GGUF header."""
    head = b"GGUF\3\0\0\0" + bytes(8) + (3).to_bytes(8, "little")
    for key, value in ((b"general.architecture", b"qwen3"), (b"x", b"y"), (b"qwen3.z", b"w")):
        head += len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little")
        head += len(value).to_bytes(8, "little") + value
    path = folder / "m.gguf"
    path.write_bytes(torn(head, rng))
    find_facts(str(path))


def deployment(folder: Path, rng: random.Random) -> None:
    """Read a damaged deployment."""
    data = text_of(rng.choice((COMPOSE, COMPOSE, MANIFEST, SWAP, SERVE)), rng)
    read_deployment(data.decode("utf-8", "replace"), str(folder / "compose.yaml"))


def trace(folder: Path, rng: random.Random) -> None:
    """Read a damaged log."""
    kind = rng.choice(("csv", "json", "jsonl", "tsv"))
    path = folder / f"log.{kind}"
    if kind in ("csv", "tsv"):
        path.write_bytes(torn(TABLE.encode(), rng))
    elif kind == "json":
        path.write_bytes(json.dumps(damaged(ROWS, rng)).encode("utf-8", "surrogatepass"))
    else:
        lines = [json.dumps(damaged(row, rng)) for row in ROWS]
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    read_trace(path, skip_bad=rng.random() < 0.5)


def fleet(folder: Path, rng: random.Random) -> None:
    """Read a damaged fleet file or table of models."""
    kind = rng.choice(("yaml", "json", "csv"))
    path = folder / f"fleet.{kind}"
    data = torn(MODELS.encode(), rng) if kind == "csv" else text_of(FLEET, rng)
    if rng.random() < 0.1:
        text = data.decode("utf-8", "replace")
        data = text.encode(
            rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037")), "replace"
        )
    path.write_bytes(data)
    read(path, gpus="2x80GiB" if kind == "csv" else None)


def plan(folder: Path, rng: random.Random) -> None:
    """Read a damaged plan in CSV."""
    path = folder / "plan.csv"
    path.write_bytes(torn(PLAN.encode(), rng))
    read_plan(path)


READERS: tuple[Callable[[Path, random.Random], None], ...] = (
    checkpoint, checkpoint, gguf, deployment, deployment, trace, fleet, plan, *MORE,
)  # fmt: skip


def run(seconds: float, seed: int, inputs: float) -> int:
    """Read damaged inputs for so many seconds; return 1 if one was not answered as it must be."""
    counts: Counter[str] = Counter()
    slowest = ("", 0.0)
    end = time.process_time() + seconds
    number = seed
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while time.process_time() < end and number - seed < inputs:
            rng = random.Random(number)
            reader = READERS[number % len(READERS)]
            begin = time.process_time()
            try:
                reader(folder, rng)
                counts[f"{reader.__name__} answered"] += 1
            except KvplaceError:
                counts[f"{reader.__name__} refused"] += 1
            except Exception as error:
                sys.stderr.write(f"{reader.__name__}, seed {number}: {type(error).__name__}\n")
                raise
            took = time.process_time() - begin
            if took > slowest[1]:
                slowest = (f"{reader.__name__}, seed {number}", took)
            number += 1
    for what, count in sorted(counts.items()):
        sys.stdout.write(f"{count:>9,}  {what}\n")
    sys.stdout.write(
        f"{sum(counts.values()):>9,}  in all; slowest {slowest[1]:.2f} s ({slowest[0]})\n"
    )
    return int(slowest[1] > _LONGEST_ANSWER)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--inputs", type=float, default=math.inf, help="end after so many")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    sys.exit(run(options.seconds, options.seed, options.inputs))
