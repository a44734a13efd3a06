"""Twenty seconds of damaged inputs to every reader; ``benchmarks/hostile.py`` goes on longer."""

import subprocess
import sys
import time
from pathlib import Path

HOSTILE = Path(__file__).parents[1] / "benchmarks/hostile.py"


def test_damaged_inputs_are_answered_or_refused():
    seed = str(int(time.time()))  # other inputs every time: a fixed set would be exhausted
    command = [sys.executable, str(HOSTILE), "--seconds", "20", "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "in all" in done.stdout
