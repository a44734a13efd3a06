"""What all tests share: no deadlines, an order, and lines counted where the whole suite runs.

Each file of tests runs in one process, and kernels are compiled by one: two files that call all of
them come first, and tests that need no kernel run beside them. Processes that tests start may keep
what Python makes of the source, whatever the environment says, for reading the source again takes
most of their time.

A run of the whole suite tells which lines no test reaches, and fails below a floor. slipcover marks
modules as they are imported and takes its marks out again once a line was reached, so that counting
costs little on every Python. Kernels are left out: numba compiles their code as it stands. What
runs in other processes does not count.
"""

import gc
import json
import os
import signal
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")  # a busy machine is no fault of what is tested
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for jobs in its background, and so would the commands that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

FLOOR = 85.0
"""Per cent of the lines."""
SOURCE = Path(__file__).parents[1] / "src/kvplace"
COUNTING = "KVPLACE_COUNT_LINES"
TESTS = Path(__file__).parent
COMPILING = ("solver/large_neighbourhood/test_warm.py", "simulate/test_real_engine.py")
"""Files that call, and so compile, the kernels of searches, and those of forecasts and runs."""
COMPILED = ("bench", "explain", "forecast", "simulate", "size", "solver")
"""Rooms whose tests call kernels."""


class _Lines:
    """What one process reached, and what its workers did."""

    def __init__(self, unseen):
        """Count from now on; files below `unseen` count even where nothing imports them."""
        import slipcover  # noqa: PLC0415 - where lines are counted only

        self._slipcover = slipcover
        kernels = [str(path) for path in SOURCE.rglob("*.py") if "@kernel\n" in path.read_text()]
        kernels.append(str(SOURCE / "solver/instance/pressure.py"))  # which kernels compile, too
        counted = slipcover.FileMatcher(sources=[SOURCE], omit=kernels)
        self._own = slipcover.Slipcover(source=unseen, omit=kernels)
        slipcover.ImportManager(self._own, counted).__enter__()
        self._merged = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        for name in self._merged["files"] if self._merged else ():
            self._own.code_lines[str(Path(name).absolute())] = set()  # workers have looked at these
        found = self._own.get_coverage()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["lines"] = json.dumps(found)
            return
        if self._merged is not None:
            self._slipcover.merge_coverage(found, self._merged)
        self._merged = found
        if self._share < FLOOR and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        theirs = getattr(node, "workeroutput", {}).get("lines")
        if theirs is None:
            return
        if self._merged is None:
            self._merged = json.loads(theirs)
        else:
            self._slipcover.merge_coverage(self._merged, json.loads(theirs))

    @property
    def _share(self):
        return float(self._merged["summary"]["percent_covered"])

    def pytest_terminal_summary(self, terminalreporter):
        if self._merged is None:
            return
        terminalreporter.section("lines that no test reaches")
        files = self._merged["files"].items()
        missed = sorted(((len(f["missing_lines"]), name) for name, f in files), reverse=True)
        for count, name in missed[:10]:
            terminalreporter.write_line(f"{count:5} in {os.path.relpath(name)}")
        terminalreporter.write_line(
            f"{self._share:.1f} % are reached; at least {FLOOR:g} % must be"
        )


def pytest_configure(config):
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if hasattr(config, "workerinput"):
        if COUNTING in os.environ:
            config.pluginmanager.register(_Lines(None))
        return
    os.environ.pop(COUNTING, None)
    if _whole(config):
        os.environ[COUNTING] = "1"  # the workers, which are about to start, are told so
        config.pluginmanager.register(_Lines([str(SOURCE)]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - where there are workers only

    config.option.loadscopereorder = False  # the order is made below
    return LoadFileScheduling(config, log)


class _Backwards(pytest.Dir):
    """A directory of which the last is looked at first."""

    def collect(self):
        return list(super().collect())[::-1]


def pytest_collect_directory(path, parent):
    # pytest writes down what it makes of each file of tests, which takes most of collecting. Of two
    # workers one begins at either end, so that each finds half of the files done by the other.
    odd = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 2
    return _Backwards.from_parent(parent, path=path) if odd else None


def pytest_collection_modifyitems(items):
    # What is loaded by now stays: looking through it for garbage takes a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    items.sort(key=lambda item: (_turn(item.path), item.path))  # within a file as they stand


def _turn(path):
    """Return what comes sooner: 0 what compiles, 1 what needs no kernel, 2 what does."""
    inside = path.relative_to(TESTS)
    if inside.as_posix() in COMPILING:
        return 0
    return 2 if inside.parts[0] in COMPILED else 1


def _whole(config):
    """Whether all tests are asked for and none is left out."""
    picked = any(config.getoption(name, None) for name in ("keyword", "deselect", "lf"))
    picked |= config.getoption("markexpr") != "not heavy"
    return config.args_source is config.ArgsSource.TESTPATHS and not picked
