"""Exit codes and stderr of the command line, whatever the verb."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import kvplace.solver.solve
from kvplace.bench import families
from kvplace.cli import main as cli
from kvplace.cli.began import Command
from kvplace.cli.faults import fault_lines
from kvplace.cli.main import VERBS, main
from kvplace.cli.options import SOLVERS
from kvplace.cli.run import watched
from kvplace.cli.serving.bench import FAMILIES
from kvplace.errors import Fault, InputError, InternalError


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert f"kvplace {verb}" in capsys.readouterr().out


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"kvplace {kvplace.__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["plam"], "no such command 'plam'; did you mean 'plan'?"),
        (["xyz"], "no such command 'xyz'; it is one of init, plan, refine"),
        (["--verison"], "'--version'"),
        (["plan"], "kvplace: plan: missing argument 'FLEET'"),
        (
            ["check", "p.json"],
            "missing argument 'PLAN'; write kvplace check FLEET PLAN; see --help",
        ),
        (["forecast", "p.csv", "f.yaml"], "argument (f.yaml); write kvplace forecast PLAN; see"),
        (["plan", "x", "--fromat", "csv"], "'--format'"),
        (["plan", "x", "--format", "jsn"], "did you mean 'json'?"),
        (["plan", "x", "--solver", "refrence"], "did you mean 'reference'?"),
        (["plan", "x", "--objective", "occupency"], "did you mean 'occupancy'?"),
        (["plan", "x", "--gap", "-1"], "write it like 0.01 or 1%"),
        (["plan", "x", "--gap", "nan"], "write it like 0.01 or 1%"),
        (["plan", "x", "--time-limit", "5parsecs"], "unknown unit 'parsecs'"),
        (["plan", "x", "--time-limit", "0"], "must be above 0 seconds"),
        (["plan", "x", "--time-limit", "inf"], "'inf' is not a duration"),
        (["plan", "x", "--iterations", "-3"], "is not a number from 0 up"),
        (["plan", "x", "--seed", "-1"], "range"),
        (["refine"], "missing argument 'PLAN|FLEET'"),
        (["refine", "x", "--gpus", "2x80GiB"], "with --start PLAN"),
        (["init", "--gpus", "2xH100"], "no such option '--gpus'; did you mean '--nodes'?"),
        (["init", "org/model"], "unexpected extra argument (org/model); init takes options alone"),
        (
            ["verify", "p", "--current", "x"],
            "no such option '--current'; did you mean '--observed'?",
        ),
        (["demand", "--trace", "x"], "no such option '--trace'; write kvplace demand trace"),
        # Options that would do nothing: a replay reads a log, and plans for no quantile of it.
        (["backtest", "x", "--trace", "y", "--window", "7d"], "no such option '--window'"),
        (["backtest", "x", "--trace", "y", "--quantile", "1"], "no such option '--quantile'"),
        (["watch", "x", "--once", "--current", "y", "--quantile", "1"], "option '--quantile'"),
        (["watch", "x", "--once", "--current", "y", "--latency-quantile", "1"], "no such option"),
        (["bench", "adsr"], "'adsr' is neither a family nor a fleet file; did you mean 'adrs'?"),
        (["bench", "fleet"], "'fleet' is neither a family (adrs"),
        (["bench", "adrs", "\x1b[31mx"], "\\x1b[31mx"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(args, said, capsys):
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("kvplace: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert captured.err[:-1].isprintable()


def test_names_listed_for_help_are_those_of_the_library():
    assert SOLVERS == kvplace.solver.solve.SOLVERS
    assert list(FAMILIES) == list(families.FAMILIES)


def test_every_fault_is_one_line():
    error = InputError([Fault("is 1\n2", "models[3].slo", 41), "also"], "fleet.yaml")
    assert fault_lines(error) == [
        "kvplace: fleet.yaml: models[3].slo, line 41: is 1\n2",
        "kvplace: fleet.yaml: also",
    ]


def failing(error):
    """Return a verb that fails with this error."""

    @click.command("plan")
    def command():
        raise error

    return command


@pytest.mark.parametrize("error", [InternalError("it was wrong"), ZeroDivisionError("oh")])
def test_a_bug_is_exit_70_without_a_traceback(error, monkeypatch, capsys):
    monkeypatch.delenv("KVPLACE_DEBUG", raising=False)
    monkeypatch.setattr(cli._Verbs, "get_command", lambda *_: failing(error))
    assert main(["plan"]) == 70
    said = capsys.readouterr().err
    assert "please report it" in said
    assert "Traceback" not in said
    monkeypatch.setenv("KVPLACE_DEBUG", "1")
    assert main(["plan"]) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError(["a\x1b[2J", "b"], "f"), 2),
        (FileNotFoundError(2, "No such file or directory", "nowhere.yaml"), 2),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 4),
        (RecursionError("deep"), 70),
    ],
)
def test_what_is_raised_becomes_an_exit_code(error, code, monkeypatch, capsys):
    monkeypatch.setattr(cli._Verbs, "get_command", lambda *_: failing(error))
    assert main(["plan"]) == code
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "Traceback" not in said


def test_a_reader_that_leaves_is_no_error_message():
    program = f"{sys.executable} -m kvplace bench adrs --solver prism-greedy --format json"
    done = subprocess.run(
        ["bash", "-c", f"{program} | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode in {0, 141}  # 0 where the pipe took it all before it closed


def test_a_full_disk_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kvplace", "--help"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "kvplace: output: No space left on device\n"


def test_stderr_without_unicode_still_works(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["plan", "x", "--seed", "模"]) == 2
    stream.seek(0)
    assert "\\u6a21" in stream.read()


def test_the_first_signal_asks_for_the_best_so_far():
    code = (
        "import os, signal, sys\n"
        "from kvplace.cli.run import watched\n"
        "with watched(None, quiet=True) as watch:\n"
        "    os.kill(os.getpid(), getattr(signal, sys.argv[1]))\n"
        "    print(watch.stop)\n"
        "    print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    for name in ("SIGTERM", "SIGINT"):
        done = subprocess.run(
            [sys.executable, "-c", code, name], capture_output=True, text=True, check=True
        )
        assert done.stdout.split()[0] == "interrupted"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_first_signal_ends_a_command_that_waits_for_its_file(tmp_path, name):
    pipe = tmp_path / "fleet.yaml"
    os.mkfifo(pipe)
    code = """
import os, signal, sys, threading, time
from kvplace.cli.main import run
signal.signal(signal.SIGINT, signal.SIG_DFL)
ask = getattr(signal, sys.argv.pop(1))
from kvplace.formats import read  # what waits comes next
def asked():
    while signal.getsignal(ask) in (signal.SIG_DFL, Command.interrupt):
        time.sleep(0.01)
    time.sleep(1)  # for it to open the file
    os.kill(os.getpid(), ask)
from kvplace.cli.began import Command
threading.Thread(target=asked, daemon=True).start()
sys.exit(run())
"""
    command = [sys.executable, "-c", code, name, "plan", pipe]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ended = {"SIGTERM": (-signal.SIGTERM, ""), "SIGINT": (130, "kvplace: interrupted\n")}
    assert (done.returncode, done.stderr) == ended[name]


def test_an_interrupt_that_the_shell_ignores_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with watched(None, quiet=True) as watch:
            signal.raise_signal(signal.SIGINT)
            assert watch.stop is None
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", ["import click", "kvplace.cli.faults.say"])
def test_ctrl_c_ends_without_a_traceback_also_while_loading_and_when_asked_twice(where):
    """The first is asked for while the commands load; the second while its sentence is written."""
    ask = "os.kill(os.getpid(), signal.SIGINT)"
    code = f"""
import os, signal, sys
import kvplace.__main__ as first
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {where.removeprefix("import ")!r}:
            {ask}
sys.meta_path.insert(0, Finder())
if "say" in {where!r}:
    import kvplace.cli.main as main
    def asks(*_): {ask}
    main.say = main.root.invoke = asks
sys.exit(first.run())
"""
    command = [sys.executable, "-c", code, "catalogue", "gpus"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_an_error_that_a_library_makes_of_ctrl_c_is_no_bug(monkeypatch, capsys):
    def initialised(*_):
        """Do as pybind11 does where a module that it initialises is interrupted."""
        try:
            Command.interrupt()
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr(cli.root, "invoke", initialised)
    assert main(["plan", "x.yaml"]) == 130
    assert capsys.readouterr().err == "kvplace: interrupted\n"
    monkeypatch.setattr(cli.root, "invoke", lambda _: 1 / 0)
    assert main(["plan", "x.yaml"]) == 70


def test_help_loads_no_library_but_the_command_line():
    code = (
        "import sys; from kvplace.cli.main import main; main(['--help']);"
        "print({'numpy', 'numba', 'pydantic', 'rich', 'yaml'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("degrees", ["", "1 2"])
def test_a_table_is_planned_without_schemas(tmp_path, degrees):
    table = tmp_path / "models.csv"
    head = "name,weights_gib,requests_per_second,slo_seconds,tensor_parallel,replicas"
    table.write_text(f"{head}\na,15,2,3,{degrees},\nb,9,1,3,,1-2\n")
    code = (
        "import sys; from kvplace.cli.main import main; main(sys.argv[1:]);"
        "print({'pydantic', 'importlib.metadata', 'yaml'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, "plan", str(table), "--gpus", "2xH100", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_dash_is_stdin():
    fleet = Path(__file__).parents[2] / "examples/open-models.yaml"

    def run(*args, given):
        command = [sys.executable, "-m", "kvplace", *args]
        return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60)

    plan = run("plan", "-", "--quiet", "--format", "json", given=fleet.read_bytes()).stdout
    assert b"the plan holds" in run("check", str(fleet), "-", given=plan).stdout


def test_what_is_wrong_with_a_file_is_said_by_its_reader(tmp_path, capsys, monkeypatch):
    path = tmp_path / "fleet.yaml"
    path.write_text("x")
    monkeypatch.setattr("os.access", lambda *_: False)  # what a missing permission is to click
    assert main(["plan", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"kvplace: {path}: line 1: a fleet file is a mapping of keys")
