"""Models that are read together, column by column, are those that each is alone."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings

from kvplace.core.columns import made
from kvplace.core.models.demand import SLO
from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report
from kvplace.formats.fleet.asked import SLOPart
from kvplace.formats.fleet.schema import ModelPart
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.schema import PlanModelPart
from kvplace.formats.read import parse_fleet, read
from kvplace.formats.validation.json_text import stated
from kvplace.formats.validation.models import built_list, columns_of
from strategies import split_problems

HEAD = {"schema": "kvplace.fleet/v1", "nodes": "4x8xH100"}
MODELS = [
    {"name": "a", "weights": "14.5GiB", "demand": {"requests_per_second": 2}},
    {"name": "b", "weights": "70000000000B", "demand": {"requests_per_second": "3/min"}},
    {
        "name": "c", "weights": "30GiB", "overhead": "1GiB", "min_kv": "2GiB", "replicas": 2,
        "kv_bytes_per_token": 131072, "tensor_parallel": [2, 1],
        "slo": {"latency": "5s", "tpot": "57ms"},
        "demand": {"requests_per_second": 1.5, "prompt_tokens": 800, "output_tokens": 200},
    },
    {
        "name": "Qwen/Qwen3-8B", "weights": "15.3GiB", "replicas": {"min": 1, "max": 3},
        "demand": {"requests_per_second": 1, "prompt_tokens": 9, "output_tokens": 9},
        "slo": {"latency": "4.25s"}, "gpu_types": "H100", "move": {"cost": "never"},
    },
    {
        "name": "d", "weights": "9GiB", "resident": {"1": "12GiB"}, "launch": {"args": "--x 1"},
        "demand": [{"window": "day", "requests_per_second": 1}],
    },
    {"name": "chat", "model": "Qwen/Qwen3-8B", "demand": {"requests_per_second": 1}},
    {"model": "qwen/qwen3-14b", "demand": None},
]  # fmt: skip
FAULTS = [
    {"weights": "14.5"}, {"demand": {}}, {"slo": {"latency": "0s"}}, {"name": 5}, {"replicas": 0},
    {"replicas": {"min": 3, "max": 2}}, {"attention": "mla", "kv_heads": 2}, {"wieghts": "1GiB"},
    {"overhead": None}, {"slo": None}, {"launch": {"env": {"A": 1}}}, {"tensor_parallel": [3]},
    {"demand": {"requests_per_second": 1, "cached_tokens": 5}}, {"sliding_windows": [{}]},
]  # fmt: skip


def answer(models, defaults):
    """The problem of some models, or what is said of them."""
    data = HEAD | {"defaults": defaults, "models": models, "objective": "requests"}
    try:
        return parse_fleet(json.dumps(data, indent=1), "a.json")
    except InputError as error:
        return [(fault.path, fault.message) for fault in error.faults]


@pytest.mark.parametrize(
    "defaults", [{}, {"overhead": "2GiB"}, {"launch": {"max_num_seqs": 64}, "overhead": "1GiB"}]
)
@pytest.mark.parametrize("fault", [{}, *FAULTS], ids=str)
def test_models_are_read_together_as_each_alone(defaults, fault):
    for some in (MODELS[:4], MODELS[:5], MODELS):
        models = [*some[:3], some[1] | {"name": "e"} | fault, *some[3:]]
        models = [{"slo": {"latency": "9s"}} | model for model in models]
        alone = [answer([model], defaults) for model in models]
        together = answer(models, defaults)
        if isinstance(alone[3], list):
            told = [(path.replace("models[0]", "models[3]"), text) for path, text in alone[3]]
            assert together == told
        else:
            every = [replace(problem.models[0], windows={}) for problem in alone]
            assert [replace(model, windows={}) for model in together.models] == every
            assert together.assumed == tuple(text for one in alone for text in one.assumed)


def test_a_variable_that_defaults_give_and_a_model_keeps_secret_is_told():
    model = MODELS[0] | {"launch": {"secrets": ["HOME_OF_KEYS"]}}
    ((path, told),) = answer([model], {"launch": {"env": {"HOME_OF_KEYS": "x"}}})
    assert path == "models[0].launch"
    assert told == "HOME_OF_KEYS is in env and in secrets; keep it in secrets"


def test_columns_are_made_of_models_that_are_sound():
    found = columns_of(ModelPart, MODELS[:4])
    assert list(found.columns["name"]) == ["a", "b", "c", "Qwen/Qwen3-8B"]
    assert list(found.column("overhead_bytes")) == [3 * 2**29] * 2 + [2**30, 3 * 2**29]
    with pytest.raises(ValueError):
        columns_of(ModelPart, MODELS)
    assert list(columns_of(SLOPart, [{}, {}])) == [SLO(), SLO()]


def test_models_of_plans_are_read_by_columns_as_one_by_one():
    (model,) = parse_fleet(json.dumps(HEAD | {"models": [MODELS[2]]}), "a.json").models
    item = stated(PlanModelPart, model)
    assert made(columns_of(PlanModelPart, [item, item])) == [model, model]
    told = [{"slo": {"latency": "9s"}} | one for one in MODELS[:4]]
    every = parse_fleet(json.dumps(HEAD | {"models": told}), "a.json").models
    items = [stated(PlanModelPart, one) for one in every]
    assert {"replicas" in one for one in items} == {True, False}  # a part that some leave out
    assert made(columns_of(PlanModelPart, items)) == list(every)
    for key in ("overhead_bytes", "demand", "name"):
        without = {name: value for name, value in item.items() if name != key}
        with pytest.raises(ValueError):
            columns_of(PlanModelPart, [item, without])
        report = Report("")
        assert built_list(PlanModelPart, {"models": [item, without]}, "models", report) == [model]
        with pytest.raises(InputError, match=rf"models\[1\].{key}: is missing"):
            report.refuse()


@settings(max_examples=60)
@given(split_problems())
def test_what_is_written_is_read(problem):
    text = write_fleet(replace(problem, rules=()))
    assert read(io.StringIO(text)).models == problem.models
