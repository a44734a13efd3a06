"""Random problems against everything that must always hold, for some processor seconds.

Each run draws other cases; a failure prints the command that repeats it.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("seconds", ["8", pytest.param("60", marks=pytest.mark.heavy)])
@pytest.mark.parametrize(
    "arguments",
    [
        ["fuzz.py", "--solver", "auto", "--oracle"],
        ["fuzz.py", "--solver", "reference"],
        ["fuzz_splits.py", "--limit", "20"],
        ["fuzz_splits.py", "--limit", "20", "--objective", "pressure"],
    ],
    ids=["auto", "reference", "splits", "pressure"],
)
def test_random_problems_keep_every_promise(arguments, seconds):
    seed = str(int(time.time()))  # other cases every time: a fixed set would be exhausted
    command = [sys.executable, BENCHMARKS / arguments[0], *arguments[1:]]
    limits = ["--seconds", seconds, "--cases", "1000000", "--seed", seed]
    done = subprocess.run([*command, *limits], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
