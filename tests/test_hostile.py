"""Damaged inputs to every reader, for some processor seconds; for a minute where it is heavy."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

HOSTILE = Path(__file__).parents[1] / "benchmarks/hostile.py"


@pytest.mark.parametrize("seconds", ["8", pytest.param("60", marks=pytest.mark.heavy)])
def test_damaged_inputs_are_answered_or_refused(seconds):
    seed = str(int(time.time()))  # other inputs every time: a fixed set would be exhausted
    command = [sys.executable, str(HOSTILE), "--seconds", seconds, "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "in all" in done.stdout
