"""Threads that share work: every part is done once, however many there are."""

import math
import subprocess
import sys
import threading
import time

import pytest

from kvplace.solver import kernels
from kvplace.solver.kernels import Crew, compiled_in_time, interpreted, kernel
from kvplace.solver.strategies.large.strategy import LargeSearch
from kvplace.solver.strategies.stages import Settings
from tiny import byte_problem


@pytest.mark.parametrize("threads", [1, 2, 5, None])
@pytest.mark.parametrize("total", [0, 1, 9, 1000])
def test_every_part_is_done_once(threads, total):
    crew, done, lock = Crew(threads), [], threading.Lock()

    def work(first, end):
        with lock:
            done.extend(range(first, end))
        return end - first

    try:
        assert crew.share(work, total, 4) == total
    finally:
        crew.close()
    assert sorted(done) == list(range(total))
    assert crew.threads >= 1


def test_little_work_is_not_divided():
    crew, calls = Crew(4), []
    crew.share(lambda first, end: calls.append((first, end)) or 0, 7, 4)
    crew.close()
    assert calls == [(0, 7)]


def test_what_goes_wrong_in_a_part_is_not_lost():
    crew = Crew(2)

    def work(first, end):
        raise ValueError(first)

    with pytest.raises(ValueError, match="0"):
        crew.share(work, 100, 4)
    crew.close()


def test_a_kernel_answers_as_the_function_it_was_made_of():
    def poly(x, y):
        total = 0.0
        for power in range(5):
            total += x**power * y
        return total

    compiled = kernel(poly)
    for x, y in [(0.5, 2.0), (-3.0, 1.5), (0.0, 0.0)]:
        assert compiled(x, y) == poly(x, y)


@kernel
def _halved(x):
    return x // 2


@kernel
def _steps(x):
    return 0 if x == 0 else 1 + _steps(_halved(x))


def test_an_interpreted_kernel_compiles_nothing_that_it_calls():
    assert interpreted(_steps)(5) == 3
    assert not _steps.signatures
    assert not _halved.signatures


def test_a_kernel_is_waited_for_no_longer_than_the_search_lasts(monkeypatch):
    known, go, calls = [], threading.Event(), []
    monkeypatch.setattr(kernels, "is_compiled", lambda compiled: compiled in known)
    looks = iter([None, None, "time limit"])
    assert not compiled_in_time("slow", go.wait, lambda: next(looks))
    go.set()
    assert compiled_in_time("quick", lambda: calls.append(1), lambda: None)
    assert compiled_in_time("wrong", lambda: 1 / 0, lambda: None)  # told to whoever calls it next
    known.append("old")
    assert compiled_in_time("old", lambda: calls.append(2), lambda: "time limit")
    assert calls == [1]


def test_exchanges_are_left_out_where_their_kernels_come_too_late(monkeypatch):
    rows = [(4 + j % 9, 1.0 + j % 7) for j in range(60)]
    search = LargeSearch(byte_problem([90] * 10, rows), Settings(), threads=1)
    monkeypatch.setattr(
        "kvplace.solver.improve.parallel_pairs.compiled_in_time",
        lambda *_: search.watch.interrupt(),
    )
    search.solve(None)
    assert search.placement is not None
    assert search.steps == 0


def test_kernels_are_loaded_without_scipy_and_products_of_others_work():
    code = (
        "import sys, numpy, numba\n"
        "from numba.np.linalg import ensure_blas\n"
        "from kvplace.solver.kernels import kernel\n"
        "import numba.np.linalg as linalg\n"
        "assert linalg.ensure_blas is ensure_blas\n"
        "assert kernel(lambda a: a.sum())(numpy.ones(3)) == 3.0\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "try: import scipy.linalg\n"
        "except ImportError: sys.exit()\n"
        "assert numba.njit(lambda a: numpy.dot(a, a))(numpy.ones(3)) == 3.0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_flag_for_kernels_is_set_once_time_is_over_and_never_without_a_limit():
    with kernels.halting(0.0) as halted:
        ended = time.monotonic() + 60
        while not halted[0] and time.monotonic() < ended:
            time.sleep(0.001)
        assert halted[0]
    for seconds in (math.inf, 1e300):
        with kernels.halting(seconds) as halted:
            assert not halted[0]
