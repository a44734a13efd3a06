"""The memory of a command: a limit is kept, and its end is one line."""

import os
import subprocess
import sys
from unittest.mock import Mock

import pytest

from kvplace.cli.faults import say
from kvplace.cli.memory import Memory
from kvplace.core.result import Stop
from kvplace.solver import kernels
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation import master
from kvplace.solver.solve import solve
from kvplace.solver.strategies.assigned import ready
from kvplace.solver.strategies.stages import Settings
from kvplace.solver.strategies.undivided.strategy import UndividedSearch
from tiny import byte_problem

pytest.importorskip("resource", reason="this system limits no memory")

TABLE = "name,weights_gib,requests_per_second,slo_seconds\na,8,1,5\nb,9,2,5\n"


def run(tmp_path, *options, rows=TABLE):
    table = tmp_path / "models.csv"
    table.write_text(rows)
    command = [sys.executable, "-m", "kvplace", "plan", str(table), "--gpus", "2x80GiB", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_plan_within_the_limit_is_as_without(tmp_path):
    done = run(tmp_path, "--memory-limit", "2GiB", "--format", "csv")
    assert done.returncode == 0
    assert done.stdout == run(tmp_path, "--format", "csv").stdout


def test_too_little_is_one_line_and_an_earlier_file_stays(tmp_path):
    output = tmp_path / "plan.json"
    output.write_text("good")
    rows = TABLE + "".join(f"{'m' * 200}{j},0.1,1,5\n" for j in range(60_000))
    done = run(tmp_path, "--memory-limit", "40MiB", "-o", str(output), rows=rows)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr == "kvplace: no more than 40MiB of memory may be taken (--memory-limit)\n"
    assert output.read_text() == "good"


@pytest.mark.parametrize("size", ["1", "-1GiB", "1KiB", "much"])
def test_a_limit_that_is_none_is_refused(tmp_path, size):
    done = run(tmp_path, f"--memory-limit={size}")
    assert done.returncode == 2
    assert "memory-limit" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_system_says_without_memory_is_known():
    for error in (
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ImportError("x.so: failed to map segment from shared object"),
    ):
        assert Memory.is_short(error)
    assert not Memory.is_short(ValueError("memory"))
    assert Memory.sentence() == "the system gives no more memory"


def test_what_the_interpreter_cannot_even_say_is_want_of_memory_under_a_limit(monkeypatch):
    error = SystemError("returned NULL without setting an exception")
    monkeypatch.setattr(Memory, "is_limited", classmethod(lambda _: False))
    assert not Memory.is_short(error)
    monkeypatch.setattr(Memory, "is_limited", classmethod(lambda _: True))
    assert Memory.is_short(error)


@pytest.mark.parametrize(("ends", "code"), [("os._exit(1)", 4), ("Memory.leave(1)", 1)])
def test_a_library_that_ends_the_process_is_told_from_a_command_that_does(ends, code):
    """OpenBLAS ends a process with 1, which of check and diff means something else."""
    text = f"import os; from kvplace.cli.memory import Memory; print(Memory.watch() or {ends})"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == f"{code}\n"
    assert ("no more memory" in done.stderr) == (code == 4)


def test_little_memory_leaves_libraries_out_that_would_end_the_process(monkeypatch):
    search = UndividedSearch(byte_problem([90] * 3, [(20, 6.0)]), Settings(watch=Watch()))
    assert ready(search, "PAIRS")
    monkeypatch.setattr(kernels, "_FREE", 2**60)
    assert not ready(search, "PAIRS")
    monkeypatch.setattr(master, "_FREE", 2**60)
    with pytest.raises(MemoryError):
        master.quiet_highs()


def test_a_search_without_memory_returns_the_best_so_far(monkeypatch):
    problem = byte_problem([90] * 3, [(20, 6.0), (30, 5.0), (10, 1.0), (15, 2.0)])

    def short(self, start, **how):
        whole(self, start, **how)
        raise MemoryError

    whole = UndividedSearch.solve
    monkeypatch.setattr(UndividedSearch, "solve", short)
    result = solve(problem)
    assert result.placement is not None
    assert result.stop is Stop.MEMORY_LIMIT
    monkeypatch.setattr(UndividedSearch, "solve", Mock(side_effect=MemoryError))
    assert solve(problem).stop is Stop.MEMORY_LIMIT
    assert solve(problem).placement is None


def test_where_the_system_limits_memory_libraries_take_no_more_than_they_need(monkeypatch):
    resource = pytest.importorskip("resource")
    absent = OSError("Could not find/load shared object file 'libllvmlite.so'")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    Memory.prepare()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert not Memory.is_short(absent)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**29, 2**29))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    Memory.prepare()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    Memory.prepare()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert Memory.is_short(absent)


def test_a_line_is_told_without_memory_for_what_cleans_it(monkeypatch, capfd):
    class Full:
        def find_spec(self, name, *_):
            if name == "kvplace.report.text":
                raise MemoryError

    monkeypatch.delitem(sys.modules, "kvplace.report.text", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Full(), *sys.meta_path])
    say("kvplace: no more\x1b[31m é")
    assert capfd.readouterr().err == "kvplace: no more\\x1b[31m \\xe9\n"


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [("NUMBA_NUM_THREADS", "0", 2), ("NUMBA_NUM_THREADS", "many", 0), ("NUMBA_OPT", "x", 0)],
)
def test_odd_variables_of_the_compiler_are_refused_or_passed_by(variable, value, code):
    command = [sys.executable, "-c", "import kvplace.solver.kernels"]
    if code:
        command[2] = (
            "from kvplace.errors import InputError\ntry:\n import kvplace.solver.kernels\n"
            "except InputError as e:\n print(e); raise SystemExit(2)"
        )
    done = subprocess.run(
        command, env={**os.environ, variable: value}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert ("NUMBA_ variables" in done.stdout) == bool(code)
