"""Forged plans and proofs: benchmarks/forged.py with few of them."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

FORGED = Path(__file__).parents[2] / "benchmarks/forged.py"


@pytest.mark.parametrize("forged", ["500", pytest.param("20000", marks=pytest.mark.heavy)])
def test_no_forgery_is_verified(forged):
    seed = str(int(time.time()))  # other forgeries every time
    command = [sys.executable, str(FORGED), "--forged", forged, "--seed", seed]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "forged, none verified" in done.stdout
