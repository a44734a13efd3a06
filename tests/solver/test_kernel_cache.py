"""A cache of compiled kernels that is damaged costs a compilation, never an answer."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

KERNEL = """
from kvplace.solver.kernels import kernel


@kernel
def double(number):
    return 2 * number


print(double(21))
"""


@pytest.mark.parametrize("damage", [b"", b"\x80\x04junk", bytes(400), None])
def test_a_damaged_cache_is_passed_by(damage, tmp_path):
    module, cache = tmp_path / "doubling.py", tmp_path / "cache"
    module.write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}

    def answer():
        return subprocess.run(
            [sys.executable, str(module)], env=environment, capture_output=True, text=True,
            check=True,
        ).stdout  # fmt: skip

    assert answer() == "42\n"
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    for path in files:
        if damage is None:
            path.write_bytes(path.read_bytes()[:-50])
        else:
            path.write_bytes(damage)
    assert answer() == "42\n"
    mended = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert answer() == "42\n"
    assert {path: path.read_bytes() for path in mended} == mended
    assert all(held != damage for held in mended.values())


PART = """
from kvplace.solver.kernels import kernel

FACTOR = 2


@kernel
def times(number):
    \"\"\"Multiply.\"\"\"
    return FACTOR * number
"""

WHOLE = """
from kvplace.solver.kernels import is_compiled, kernel
from part import times


@kernel
def double(number):
    return times(number)


print(is_compiled(double), double(21), sum(double.stats.cache_hits.values()))
"""


def test_a_change_of_a_kernel_compiles_those_again_that_call_it(tmp_path):
    module, part, cache = tmp_path / "whole.py", tmp_path / "part.py", tmp_path / "cache"
    module.write_text(WHOLE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}

    def answer(text):
        part.write_text(text)
        return subprocess.run(
            [sys.executable, str(module)], env=environment, capture_output=True, text=True,
            check=True,
        ).stdout.split()  # fmt: skip

    assert answer(PART) == ["False", "42", "0"]
    assert answer(PART) == ["True", "42", "1"]
    assert answer(PART.replace("Multiply", "Double") + "\nUNUSED = 3\n") == ["True", "42", "1"]
    assert answer(PART.replace("= 2", "= 4")) == ["False", "84", "0"]
    assert answer(PART.replace("FACTOR *", "3 *")) == ["False", "63", "0"]
    assert answer(PART.replace("FACTOR *", "3 *")) == ["True", "63", "1"]
