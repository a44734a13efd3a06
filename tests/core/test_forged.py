"""Forged plans and proofs: benchmarks/forged.py with few of them."""

import subprocess
import sys
from pathlib import Path

FORGED = Path(__file__).parents[2] / "benchmarks/forged.py"


def test_no_forgery_is_verified():
    command = [sys.executable, str(FORGED), "--forged", "1500", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "forged, none verified" in done.stdout
