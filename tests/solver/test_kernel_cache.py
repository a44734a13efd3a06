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


SOURCES = """
import sys

from kvplace.solver import kernels

if sys.argv[1:]:
    kernels._sources = lambda: sys.argv[1]


@kernels.kernel
def double(number):
    return 2 * number


print(kernels.is_compiled(double), double(21), sum(double.stats.cache_hits.values()))
"""


def test_a_change_of_any_kernel_compiles_all_again(tmp_path):
    module, cache = tmp_path / "doubling.py", tmp_path / "cache"
    module.write_text(SOURCES)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}

    def answer(*arguments):
        return subprocess.run(
            [sys.executable, str(module), *arguments], env=environment, capture_output=True,
            text=True, check=True,
        ).stdout.split()  # fmt: skip

    assert answer() == ["False", "42", "0"]
    assert answer() == ["True", "42", "1"]
    assert answer("other") == ["False", "42", "0"]
    assert answer("other") == ["True", "42", "1"]
