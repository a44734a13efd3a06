"""The memory of a command: a limit is kept, and its end is one line."""

import subprocess
import sys

import pytest

from kvplace.cli.memory import Memory
from kvplace.core.result import Stop
from kvplace.solver.solve import solve
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
    assert done.stderr == (
        "kvplace: no more than 0.04 GiB of memory may be taken (--memory-limit)\n"
    )
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


def test_a_search_without_memory_returns_the_best_so_far(monkeypatch):
    problem = byte_problem([90] * 3, [(20, 6.0), (30, 5.0), (10, 1.0), (15, 2.0)])

    def short(self, start):
        whole(self, start)
        raise MemoryError

    whole = UndividedSearch.solve
    monkeypatch.setattr(UndividedSearch, "solve", short)
    result = solve(problem)
    assert result.placement is not None
    assert result.stop is Stop.MEMORY_LIMIT
    monkeypatch.setattr(UndividedSearch, "solve", lambda *_: (_ for _ in ()).throw(MemoryError))
    assert solve(problem).stop is Stop.MEMORY_LIMIT
    assert solve(problem).placement is None
