"""The ``kvplace`` command: finds the verb, and turns every end into an exit code.

========  ==========================================================================
exit code meaning
========  ==========================================================================
0         done
1         ``check`` found a disagreement, ``diff`` a difference, ``verify`` a drift, or
          ``watch`` advises a re-plan
2         bad input or usage: one line per fault on stderr
3         proved infeasible
4         stopped without a placement, or out of memory
5         planned, but a GPU is asked for more than it can bear or compute
70        a bug in kvplace
130, 143  interrupted before there was anything to return
141       whoever read the output has gone
========  ==========================================================================
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module

import click

from kvplace._version import __version__
from kvplace.cli.began import Command
from kvplace.cli.faults import fault_lines, say
from kvplace.cli.memory import Memory

_ROOMS = {
    "inputs": ("init", "model", "measure", "demand", "catalogue"),
    "planning": ("plan", "refine", "check", "explain", "size", "diff", "export", "report"),
    "running": ("replan", "verify", "observe", "watch", "backtest"),
    "serving": ("forecast", "simulate", "compare", "bench"),
}
_ROOM_OF = {verb: room for room, verbs in _ROOMS.items() for verb in verbs}
VERBS = (
    "init", "plan", "refine", "replan", "verify", "observe", "watch", "backtest", "check",
    "explain", "size", "forecast", "simulate", "compare", "diff", "export", "report", "model",
    "measure", "demand", "catalogue", "bench",
)  # fmt: skip

_KEPT_OBJECTS = 200_000
"""Objects made between two looks for cycles: what a command imports and reads stays to its end."""

_BUG, _BAD, _GONE, _INTERRUPTED, _STOPPED = 70, 2, 141, 130, 4
_INSTEAD = {
    "help": "'kvplace --help' lists the commands, and 'kvplace plan --help' explains one",
    "validate": "'kvplace plan' checks a fleet file before it plans, and 'kvplace check' a plan",
    "lint": "'kvplace plan' checks a fleet file before it plans, and 'kvplace check' a plan",
    "apply": "'kvplace export' writes the files of a runtime, and 'kvplace replan' a safe order",
    "deploy": "'kvplace export' writes the files of a runtime, and 'kvplace replan' a safe order",
    "solve": "did you mean 'plan'?",
}


class _Verbs(click.Group):
    """A group that imports a verb's file when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(VERBS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"kvplace.cli.{_ROOM_OF[cmd_name]}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs, each with the whole first sentence of its help."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            assert command is not None
            first = (command.help or "").strip().partition("\n\n")[0]
            rows.append((name, " ".join(first.split()).partition(". ")[0].rstrip(".") + "."))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in VERBS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, VERBS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it is one of {', '.join(VERBS)}"
            hint = _INSTEAD.get(name, hint)
            raise click.UsageError(f"no such command {name!r}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)
@click.version_option(__version__, message="kvplace %(version)s")
def root() -> None:
    """Decide which LLM runs on which GPU.

    The GPU with the highest pressure, on its KV memory or its time, is made as good as it can be,
    and every answer says how near to the optimum it is proved to be. Data goes to stdout, the rest
    to stderr.

    Exit codes: 0 done, 1 check found a disagreement, diff a difference, verify a drift or watch
    advises a re-plan, 2 bad input or usage, 3 proved infeasible, 4 stopped without a placement,
    5 planned but overloaded, 70 a bug in kvplace.
    """


def run() -> int:
    """Run the command line and end the process with its exit code.

    To take modules, schemas and arrays apart one by one takes longer than a small plan does; the
    system frees them at once. With KVPLACE_DEBUG=1 Python ends the process, after whatever
    measures it, and the exit code is returned.
    """
    gc.set_threshold(_KEPT_OBJECTS, 10, 10)
    # pydantic would look for plugins in the metadata of every package that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # numpy would start a thread per core for matrix products, which spin before the first one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = main()
    if os.environ.get("KVPLACE_DEBUG") == "1":
        return code
    atexit._run_exitfuncs()  # noqa: SLF001 - what Python itself calls at its end
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; never raises.

    Parameters
    ----------
    args
        Arguments after the program's name; those of the process where None.
    """
    Command.begin(of_process=args is None)
    Memory.prepare()
    # A stream that the caller has closed is none; what goes there is lost, as the caller asked.
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115 - a stream, open to the end
    try:
        code = _run(list(sys.argv[1:] if args is None else args))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more at its end; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = _GONE
    except OSError as error:
        say(f"kvplace: output: {error.strerror or error}")
        code = _BAD
    if Memory.watched:
        sys.stdout.flush()
        sys.stderr.flush()
        Memory.leave(code)
    return code


def _run(args: list[str]) -> int:
    """Run one verb and turn what it raises into lines on stderr and an exit code."""
    try:
        if "_KVPLACE_COMPLETE" in os.environ:  # the shell asks what could come next
            root.main(args=args, prog_name="kvplace")
        # Not root.main(), which would end the process by itself when a pipe breaks.
        with _interruptible(), root.make_context("kvplace", args or ["--help"]) as context:
            outcome = root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("kvplace: interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the one place where everything ends
        if Command.interrupted:
            say("kvplace: interrupted")
            return _INTERRUPTED
        if Memory.is_short(error):
            outcome = None  # what it holds goes first, so that there is memory for a sentence
            error.__traceback__ = error.__context__ = None
            Memory.loosen()
            say(f"kvplace: {Memory.sentence()}")
            return _STOPPED
        lines = fault_lines(error)
        for line in lines or _bug_report(error):
            say(line)
        return _BAD if lines else _BUG
    return outcome if isinstance(outcome, int) else 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make Ctrl-C an exception within; before and after it ends the process without a word."""
    ends = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if ends:
        signal.signal(signal.SIGINT, Command.interrupt)
    try:
        yield
    finally:
        if ends:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _bug_report(error: Exception) -> list[str]:
    """Return what to say of an error that nobody foresaw."""
    if os.environ.get("KVPLACE_DEBUG") == "1":
        import traceback

        return traceback.format_exc().splitlines()
    what = f"{type(error).__name__}: {error}"
    return [
        f"kvplace: internal error: {what}",
        "kvplace: this is a bug in kvplace; please report it with what KVPLACE_DEBUG=1 prints",
    ]


if __name__ == "__main__":
    sys.exit(run())
