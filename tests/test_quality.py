"""Lint, format, types and import contracts, as a part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        [BIN / "ruff", "check", "."],
        [BIN / "ruff", "format", "--check", "."],
        [sys.executable, "-m", "mypy"],
        [BIN / "lint-imports"],
    ],
    ids=["lint", "format", "types", "imports"],
)
def test_the_code_is_clean(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
