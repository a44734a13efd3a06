"""A cache of compiled kernels that is damaged costs a compilation, never an answer."""

import os
import runpy
import subprocess
import sys

import pytest

numba = pytest.importorskip("numba")

KERNEL = """
from kvplace.solver.kernels import kernel


@kernel
def double(number):
    return 2 * number


print(double(21))
"""


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys):
    """Return what runs a module anew, with its compiled kernels below `tmp_path`."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))

    def run(module):
        monkeypatch.delitem(sys.modules, "part", raising=False)
        runpy.run_path(str(module))
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("damage", [b"", b"\x80\x04junk", bytes(400), None])
def test_a_damaged_cache_is_passed_by(damage, tmp_path, answer):
    module, cache = tmp_path / "doubling.py", tmp_path / "cache"
    module.write_text(KERNEL)
    assert answer(module) == "42\n"
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert files
    for path in files:
        if damage is None:
            path.write_bytes(path.read_bytes()[:-50])
        else:
            path.write_bytes(damage)
    assert answer(module) == "42\n"
    mended = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert answer(module) == "42\n"
    assert {path: path.read_bytes() for path in mended} == mended
    assert all(held != damage for held in mended.values())


def test_want_of_memory_damages_no_cache(tmp_path, answer, monkeypatch):
    module, cache = tmp_path / "doubling.py", tmp_path / "cache"
    module.write_text(KERNEL)
    answer(module)
    before = {path: path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    with monkeypatch.context() as short:
        short.setattr("kvplace.solver.kernels._FREE", 2**60)
        with pytest.raises(MemoryError):
            answer(module)
    assert {path: path.read_bytes() for path in before} == before
    assert answer(module) == "42\n"


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


def test_a_change_of_a_kernel_compiles_those_again_that_call_it(tmp_path, answer, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts may be as long, in one second
    module, part = tmp_path / "whole.py", tmp_path / "part.py"
    module.write_text(WHOLE)

    def told(text):
        part.write_text(text)
        return answer(module).split()

    assert told(PART) == ["False", "42", "0"]
    assert told(PART) == ["True", "42", "1"]
    assert told(PART.replace("Multiply", "Double") + "\nUNUSED = 3\n") == ["True", "42", "1"]
    assert told(PART.replace("= 2", "= 4")) == ["False", "84", "0"]
    assert told(PART.replace("FACTOR *", "3 *")) == ["False", "63", "0"]
    assert told(PART.replace("FACTOR *", "3 *")) == ["True", "63", "1"]


def test_a_fresh_process_finds_what_another_compiled(tmp_path):
    (tmp_path / "part.py").write_text(PART)
    (tmp_path / "whole.py").write_text(WHOLE)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def told():
        return subprocess.run(
            [sys.executable, str(tmp_path / "whole.py")], env=environment, capture_output=True,
            text=True, check=True,
        ).stdout.split()  # fmt: skip

    assert told() == ["False", "42", "0"]
    assert told() == ["True", "42", "1"]
