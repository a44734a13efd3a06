"""Models that are read column by column are those that are read one by one."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.errors import InputError
from kvplace.formats.fleet import build
from kvplace.formats.fleet.schema import ModelPart
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.read import parse_fleet, read
from kvplace.formats.validation.models import columns_of
from strategies import split_problems

HEAD = {"schema": "kvplace.fleet/v1", "nodes": "4x8xH100"}
MODELS = [
    {"name": "a", "weights": "14.5GiB", "demand": {"requests_per_second": 2}},
    {"name": "b", "weights": "70000000000B", "demand": {"requests_per_second": "3/min"}},
    {
        "name": "c", "weights": "30GiB", "overhead": "1GiB", "min_kv": "2GiB", "replicas": 2,
        "kv_bytes_per_token": 131072, "tensor_parallel": [2, 1], "slo": {"tpot": "57ms"},
        "demand": {"requests_per_second": 1.5, "prompt_tokens": 800, "output_tokens": 200},
    },
    {
        "name": "Qwen/Qwen3-8B", "weights": "15.3GiB", "replicas": {"min": 1, "max": 3},
        "demand": {"requests_per_second": 1, "prompt_tokens": 9, "output_tokens": 9},
        "slo": {"latency": "4.25s"}, "gpu_types": "H100-SXM-80GB", "move": {"cost": "never"},
    },
    {
        "name": "d", "weights": "9GiB", "resident": {"1": "12GiB"}, "launch": {"args": "--x 1"},
        "demand": [{"window": "day", "requests_per_second": 1}],
    },
    {"model": "Qwen/Qwen3-8B", "demand": {"requests_per_second": 1}},
]  # fmt: skip
FAULTS = [
    {"weights": "14.5"}, {"demand": {}}, {"slo": {"latency": "0s"}}, {"name": 5}, {"replicas": 0},
    {"replicas": {"min": 3, "max": 2}}, {"attention": "mla", "kv_heads": 2}, {"wieghts": "1GiB"},
    {"overhead": None}, {"slo": None}, {"launch": {"env": {"A": 1}}}, {"tensor_parallel": [3]},
    {"demand": {"requests_per_second": 1, "cached_tokens": 5}}, {"sliding_windows": [{}]},
]  # fmt: skip


def answer(data, many, monkeypatch):
    """The problem of a file, or what is said of it."""
    with monkeypatch.context() as patch:
        patch.setattr(build, "MANY", 1 if many else 10**9)
        try:
            found = parse_fleet(json.dumps(data), "a.json", objective=data.get("objective"))
        except InputError as error:
            return [str(fault) for fault in error.faults]
        return found, found.assumed, found.digest


@pytest.mark.parametrize(
    "defaults", [{}, {"overhead": "2GiB"}, {"launch": {"max_num_seqs": 64}, "overhead": "1GiB"}]
)
@pytest.mark.parametrize("fault", [{}, *FAULTS], ids=str)
def test_columns_are_read_as_models_are(defaults, fault, monkeypatch):
    for some in (MODELS[:4], MODELS[:5], MODELS):
        models = [some[0], some[1] | fault, *some[2:]]
        data = HEAD | {"defaults": defaults, "models": models, "objective": "requests"}
        assert answer(data, True, monkeypatch) == answer(data, False, monkeypatch)
    data["models"] = [*MODELS[:3], 5]
    assert answer(data, True, monkeypatch) == answer(data, False, monkeypatch)


def test_columns_are_made_of_models_that_are_sound():
    found = columns_of(ModelPart, MODELS[:4])
    assert list(found.columns["name"]) == ["a", "b", "c", "Qwen/Qwen3-8B"]
    assert list(found.column("overhead_bytes")) == [3 * 2**29] * 2 + [2**30, 3 * 2**29]
    assert columns_of(ModelPart, MODELS) is None


@settings(max_examples=60)
@given(split_problems(), st.integers(0, 1))
def test_what_is_written_is_read_column_by_column(problem, many):
    text = write_fleet(replace(problem, rules=()))
    before = build.MANY
    try:
        build.MANY = many
        assert read(io.StringIO(text)).models == problem.models
    finally:
        build.MANY = before
