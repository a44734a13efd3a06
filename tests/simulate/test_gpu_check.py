"""The GPU check: its laws by hand, and all of it in a small size where torch is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"


@pytest.fixture(scope="module")
def check():
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def times(check, law, *engines):
    made = [check.Looping(alone, demand, duty) for alone, demand, duty in engines]
    check.simulate(law, made, 100.0)
    return [sum(e.times) / len(e.times) for e in made]


def test_equal_slices_double_the_step_of_each_of_two(check):
    busy = (0.8, 0.1)
    assert times(check, "equal slices", (1.0, busy, 1), (0.25, busy, 1)) == pytest.approx([2, 0.5])


def test_side_by_side_slows_by_the_sum_of_what_is_scarce(check):
    found = times(check, "side by side", (1.0, (0.8, 0.1), 1), (1.0, (0.7, 0.2), 1))
    assert found == pytest.approx([1.5, 1.5])
    found = times(check, "side by side", (1.0, (0.4, 0.1), 1), (1.0, (0.2, 0.6), 1))
    assert found == pytest.approx([1.0, 1.0])


def test_one_at_a_time_a_short_step_waits_for_a_long_one(check):
    found = times(check, "one at a time", (1.0, (1, 0), 1), (0.25, (1, 0), 1))
    assert found == pytest.approx([1.25, 1.25], rel=0.02)


def test_an_engine_that_pauses_gives_its_time_to_the_other(check):
    # The second works 1 s and pauses 4: beside a busy first its step takes 2 s, so a cycle takes
    # 6 s, in which the first has 2 s at half and 4 s at full speed: 5 s of work.
    found = times(check, "equal slices", (0.01, (1, 0), 1), (1.0, (1, 0), 0.2))
    assert found == pytest.approx([0.01 * 6 / 5, 2.0], rel=0.02)


def test_requests_are_answered_in_order_with_their_tokens(check):
    step = {"prefill 8": 1.0, **{f"decode {b}": 0.5 for b in check.BATCHES}}
    one = check.Serving([0.0, 0.5], [3, 2], step, dict.fromkeys(step, (1, 0)), 8)
    check.simulate("equal slices", [one], 10)
    # 0 to 1 the first prompt, 1 to 2 the second, then decodes that end at 2.5 and 3.
    assert one.requests.latencies() == {"ttft": [1.0, 1.5], "tpot": [1.0, 0.5]}


def test_the_script_runs_whole_on_a_cpu(tmp_path):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    out = tmp_path / "found.json"
    command = [sys.executable, SCRIPT, "--device", "cpu", "--seconds", "60", "--output", out]
    subprocess.run(command, check=True, timeout=240)
    found = json.loads(out.read_text())
    assert found["parts"]["processes"]["holds"]
    assert len(found["alone"]) == 16
    assert found["parts"]["processes"]["requests"]
