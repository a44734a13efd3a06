"""Readers of plans, tables in columns, logs, states and runtimes, each given damaged inputs."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet_files

from damage import JUNK, damaged, text_of, torn
from kvplace.checking.check import check
from kvplace.core.certificates.claim import Bound, Choice, Leaf, ProofTree
from kvplace.core.problem import Problem
from kvplace.facts.memory.start_log import read_start_log
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.fleet.prices import read_prices
from kvplace.formats.observation import read_observation
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.proposal import read_proposal
from kvplace.formats.read import read
from kvplace.observe.answers import Asker
from kvplace.observe.sources import ASKED, read_source
from kvplace.size.target import parse_target
from kvplace.solver.solve import solve
from kvplace.units import parse_bytes, parse_duration, parse_rate

__all__ = ["MORE"]

MODELS = "name,weights_gib,requests_per_second,slo_seconds\nm,8,1,5\nn,9,2,5\n"
PLAN = "model,replica,shard,node,gpu,weights_bytes,load\nm,0,0,n,n/0,5,1.0\nm,1,0,n,n/1,5,1.0\n"
START = """\
INFO 11-26 12:00:00 [gpu_model_runner.py:2653] Model loading took 14.9889 GiB and 5.3 seconds
INFO 11-26 12:00:09 [gpu_worker.py:298] Available KV cache memory: 54.31 GiB
INFO 11-26 12:00:09 [kv_cache_utils.py:1087] GPU KV cache size: 444,864 tokens
INFO 11-26 12:00:20 [gpu_model_runner.py:3480] Graph capturing finished in 9 secs, took 0.56 GiB
"""
OBSERVED = {
    "schema": "kvplace.observation/v1", "observed": "2026-08-13T12:00:00Z",
    "engines": [{"model": "m", "gpus": ["n/0"], "state": "serving", "runtime": "vllm",
                 "address": "http://h:8000", "since": "2026-08-13T11:00:00Z"}],
    "notes": ["x"],
}  # fmt: skip
PRICES = {"H100": 2.5, "H200": 3}
RUNNING: tuple[Any, ...] = (
    {"data": [{"id": "org/m", "parent": None}, {"id": "n"}], "is_sleeping": True},
    {"models": {"org/a": {"endpoint": "http://10.0.0.5:20123"}, "b": {"endpoint": 7}}},
    {"sleeping_models": {"b": 1.0}, "health": {"http://10.0.0.5:20123": True}},
    {"models": [{"model_name": "a", "port": 1, "phase": "Active", "ready": True,
                 "claim_ref": {"name": "c"}}]},
    {"applications": {"k": {"deployments": {"LLMServer:m": {"replicas": [
        {"state": "RUNNING", "node_ip": "10.0.0.7", "start_time_s": 0.0}]}}}}},
    {"running": [{"model": "m", "state": "ready", "proxy": "http://localhost:5801"}]},
    {"data": {"result": [{"metric": {"model_name": "m", "instance": "h:1"}, "value": [0, "1"]}]}},
)  # fmt: skip
FLEET = {
    "schema": "kvplace.fleet/v1",
    "nodes": [{"name": "n", "count": 2, "gpus": 2, "gpu": {"type": "x", "memory": "80GiB"}}],
    "models": [{"name": "m", "weights": "8GiB", "overhead": "0B", "replicas": {"min": 1, "max": 2},
                "demand": {"requests_per_second": 1}, "slo": {"latency": "1s"}}],
    "rules": [{"rule": "pin", "models": ["m"], "places": {"gpus": ["n-0/0"]}, "soft": 1}],
}  # fmt: skip


def plan_json(folder: Path, rng: random.Random) -> None:
    """Read a damaged plan in JSON and check it, with its certificate or proof tree."""
    problem, text = rng.choice(_plans())
    data = damaged(json.loads(text), rng)
    for _ in range(rng.randrange(3)):
        data = damaged(data, rng)
    path = folder / "plan.json"
    path.write_bytes(json.dumps(data).encode("utf-8", "surrogatepass"))
    check(problem, read_plan(path))


@cache
def _plans() -> list[tuple[Problem, str]]:
    """Return problems, each with a plan as a file states it."""
    sizes = random.Random(7)
    models = "".join(
        f"m{j},{sizes.randint(5, 30)},{sizes.randint(1, 9)},{sizes.randint(2, 9)}\n"
        for j in range(9)
    )
    with tempfile.TemporaryDirectory() as name:
        table, fleet = Path(name) / "models.csv", Path(name) / "fleet.json"
        table.write_text("name,weights_gib,requests_per_second,slo_seconds\n" + models)
        fleet.write_text(json.dumps(FLEET))
        problems = [read(table, gpus="4x80GiB"), read(fleet)]
    found = []
    for problem in problems:
        result = solve(problem)
        leaf = Leaf((1,) * len(problem.names), ((problem.fleet.gpus[0].usable_bytes, 5),))
        tree = ProofTree(
            result.value / 2, (Choice(0, (0,), ("n0",)), leaf, leaf) if problem.plain else ()
        )
        searched = replace(result, proof=Bound(result.value / 2, "search", tree))
        found += [(problem, write_plan(plan_of(one))) for one in (result, searched)]
    return found


def _column(rng: random.Random, rows: int) -> pa.Array:
    """Return a column of some type and any values."""
    kinds = (
        pa.int64(), pa.uint64(), pa.int8(), pa.float64(), pa.float32(),
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
        pa.bool_(), pa.timestamp("s"), pa.list_(pa.int64()),
        pa.struct([("a", pa.int64())]), pa.null(),
        pa.decimal128(38, 9), pa.decimal256(76, 2), pa.float16(), pa.uint32(),
        pa.binary_view(), pa.large_binary(), pa.binary(2), pa.large_list(pa.string()),
        pa.list_view(pa.int64()), pa.date32(),
        pa.time64("us"), pa.duration("ns"), pa.timestamp("us", "UTC"),
    )  # fmt: skip
    for _ in range(20):
        values = [rng.choice(JUNK) for _ in range(rows)]
        try:
            column = pa.array(values, rng.choice(kinds))
            return column.dictionary_encode() if rng.random() < 0.2 else column
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            continue
    return pa.array([None] * rows)


def parquet(folder: Path, rng: random.Random) -> None:
    """Read a Parquet file of models or of a plan, with columns of any type, or torn."""
    whole = rng.choice((MODELS, PLAN))
    head, *lines = whole.splitlines()
    cells = list(zip(*(line.split(",") for line in lines), strict=True))
    arrays = {}
    for name, column in zip(head.split(","), cells, strict=True):
        numeric = all(cell.replace(".", "").isdigit() for cell in column)
        good = [float(cell) for cell in column] if numeric else list(column)
        arrays[name] = _column(rng, len(column)) if rng.random() < 0.3 else pa.array(good)
    names = list(arrays)
    if rng.random() < 0.1:  # a name that is there twice, or is no name
        names[rng.randrange(len(names))] = rng.choice((*names, "", "\0", "x" * 5000))
    table = pa.table(list(arrays.values()), names=names)
    if rng.random() < 0.2:
        told = rng.choice((b"{}", b"[", b"null", b'{"objective": 1}', b"\xff"))
        table = table.replace_schema_metadata({b"kvplace.plan": told})
    path = folder / "x.parquet"
    try:
        parquet_files.write_table(table, path)
    except pa.ArrowException:  # a kind that the library does not write
        return
    if rng.random() < 0.3:
        path.write_bytes(torn(path.read_bytes(), rng))
    if whole == PLAN:
        read_plan(path)
    else:
        read(path, gpus="2x80GiB")


def start_log(folder: Path, rng: random.Random) -> None:
    """Read a damaged log of an engine."""
    text = torn(torn(START.encode(), rng), rng).decode("utf-8", "replace")
    read_start_log(text.splitlines(), str(folder / "log"))


def grammar(_folder: Path, rng: random.Random) -> None:
    """Read damaged words of the command line: GPUs, sizes, times, rates, targets."""
    words = ("5x8xH100", "2x80GiB", "8xH200@zone=a", "1.5GiB", "572ms", "2.1/s", "occupancy<=0.8")
    text = torn(rng.choice(words).encode(), rng).decode("utf-8", "replace")
    rng.choice((parse_gpus, parse_bytes, parse_duration, parse_rate, parse_target))(text)


def state(folder: Path, rng: random.Random) -> None:
    """Read a damaged observation, proposal or list of prices."""
    path = folder / "state.json"
    path.write_bytes(text_of(rng.choice((OBSERVED, PRICES, FLEET)), rng))
    rng.choice((read_observation, read_proposal, read_prices))(path)


class _Answers(Asker):
    """A runtime that answers whatever it likes."""

    rng: random.Random

    def ask(self, url: str) -> tuple[Any, str]:  # noqa: ARG002 - of the interface
        """Return damaged answers of some runtime."""
        return damaged(self.rng.choice(RUNNING), self.rng), ""

    def status(self, url: str) -> int:  # noqa: ARG002 - of the interface
        """Return any status."""
        return self.rng.choice((0, 200, 404, 500))


def runtime(_folder: Path, rng: random.Random) -> None:
    """Ask a runtime that answers whatever it likes."""
    answers = _Answers()
    object.__setattr__(answers, "rng", rng)
    read_source(rng.choice(list(ASKED)), "http://host:8000", answers)


MORE: tuple[Callable[[Path, random.Random], None], ...] = (
    plan_json, plan_json, parquet, parquet, start_log, grammar, state, runtime,
)  # fmt: skip
