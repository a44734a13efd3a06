"""Processes killed while they write: benchmarks/kills.py with few kills."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "benchmarks/kills.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
def test_no_good_file_is_lost_when_a_writer_is_killed():
    command = [sys.executable, str(KILLS), "--kills", "60", "--commands", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "60  kills, 0 good files lost" in done.stdout
