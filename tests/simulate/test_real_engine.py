"""The recorded run of a real vLLM, replayed: `benchmarks/real_engine.py` measured it."""

import importlib.util
import json
import statistics
from pathlib import Path

import pytest

from kvplace.forecast.rules import Rules

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def replay():
    path = BENCHMARKS / "real_engine_compare.py"
    spec = importlib.util.spec_from_file_location("real_engine_compare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = json.loads((BENCHMARKS / "results" / "real_engine.json").read_text())
    return module.rows_of(result)


def test_time_per_token_and_ttft_are_those_of_the_engine(replay):
    _, errors = replay
    assert statistics.median(abs(error) for error in errors["tpot"]) <= 0.10
    assert statistics.median(abs(error) for error in errors["ttft"]) <= 0.15
    assert all(abs(error) <= 0.20 for error in errors["tpot"])


def test_preemptions_are_within_a_factor_of_one_and_a_half(replay):
    rows, _ = replay
    ((*_, real, simulated, _expected),) = [row for row in rows if row[0] == "overflow"]
    assert int(real) / 1.5 <= int(simulated) <= int(real) * 1.5
    assert int(real) >= 50


def test_the_forecast_is_near_the_engine_where_pools_suffice(replay):
    rows, _ = replay
    apart = []
    for row in rows:
        measured, expected = (float(row[at].split()[0]) for at in (3, 11))
        if row[0] not in ("overflow", "alone 2.0"):
            apart.append(abs(expected / measured - 1))
    assert statistics.median(apart) <= 0.10


@pytest.mark.parametrize("record", sorted((BENCHMARKS / "results").glob("gpu_check_*.json")))
def test_the_record_of_a_gpu_shares_in_equal_slices(record):
    found = json.loads(record.read_text())
    laws = found["parts"]["processes"]["laws"]
    assert found["parts"]["processes"]["holds"] == "equal slices"
    assert laws["equal slices"]["median_error"] < 0.10
    loss = Rules().slice_loss
    for row in found.get("crowd", [])[1:]:
        assert row["speeds_add_up_to"] == pytest.approx(1 - loss, abs=0.02)
