"""Where an answer goes: stdout or a file, as a table, Markdown, JSON or CSV."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kvplace.cli.began import Command
from kvplace.cli.faults import say, say_as_notes
from kvplace.cli.options import AS_MARKDOWN

if TYPE_CHECKING:
    from kvplace.core.evaluation.evaluate import Evaluation
    from kvplace.core.problem import Problem
    from kvplace.core.result import Result
    from kvplace.report.tables.plan import Look
    from kvplace.solver.clock import Watch

_INFEASIBLE, _NOT_FOUND, _OVERLOADED = 3, 4, 5
_FORMS = {
    "table": (3.5e-6, 2e-6),
    "markdown": (3.5e-6, 2e-6),
    "csv": (5e-6, 0.0),
    "parquet": (9e-6, 2e-6),
    "json": (10e-6, 10e-6),
}
"""Time to write one model and one GPU of a plan, measured on 200,000 models and 100,000 GPUs."""
_COPIES = 1.75
"""Factor on the time of a model that may be split or copied, measured on 200,000 of them."""
_COLUMNS, _READING = 7e-6, {".csv": 20e-6, ".parquet": 20e-6, ".json": 25e-6}
"""Time to read one model from a table into columns, and into an object from files by the ending
of their names, measured on 200,000 of them."""
_YAML = 80e-6
"""The same of YAML, measured on 20,000."""
_FASTEST, _BUSIEST = 0.4, 3.0
"""Least and largest factor by which a machine differs; what reading waits for beyond is a download.
"""
_LATE = 0.3
"""Seconds that a command may take beyond its time limit."""
_MARKDOWN_WIDTH = 100


def as_markdown() -> bool:
    """Whether the command that runs is to write its table in Markdown."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(AS_MARKDOWN))


def look(output: str | None) -> "Look":
    """Return what the table may use: the terminal's width, its colours and its characters."""
    from kvplace.report.tables.plan import Look

    if as_markdown():
        return Look(width=_MARKDOWN_WIDTH, colour=False, blocks=True)
    terminal = output is None and sys.stdout.isatty()
    columns = shutil.get_terminal_size((80, 24)).columns
    encoding = "utf-8" if output is not None else sys.stdout.encoding or "ascii"
    try:
        "█▒░⋮∞²".encode(encoding)
        blocks = True
    except UnicodeEncodeError:
        blocks = False
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    width = max(60, columns)
    longest = width if terminal else None
    return Look(width, colour=terminal and not plain, blocks=blocks, longest=longest)


def emit(text: str, output: str | None, *, data: bool) -> None:
    """Write an answer, ended by one line end.

    What is for people becomes a block of Markdown that keeps its columns where that is asked for.
    On a terminal its long lines are broken at words.

    Parameters
    ----------
    text
        What to write.
    output
        File, written whole or not at all; None for stdout.
    data
        Whether programs read it, which makes it UTF-8 whatever the locale says.
    """
    text = text if text.endswith("\n") else text + "\n"
    if as_markdown() and not data:
        from kvplace.report.tables.scores import fenced

        text, data = fenced(text), True
    if output is not None:
        from kvplace.files import write_atomic

        write_atomic(output, text)
    elif data:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        if sys.stdout.isatty():
            from kvplace.report.text import wrap_lines

            text = wrap_lines(text, shutil.get_terminal_size((80, 24)).columns)
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()


def emit_rows(rows: "Sequence[Mapping[str, str]]", output: str | None, after: str = "") -> None:
    """Write rows of ready text as a table for people, and what is to be said after it."""
    from kvplace.report.tables.scores import rows_markdown, rows_table

    ending = f"\n\n{after}" if after else ""
    if as_markdown():
        emit(rows_markdown(rows) + ending, output, data=True)
    else:
        seen = look(output)
        table = rows_table(rows, colour=seen.colour, width=seen.longest)
        emit(table + ending, output, data=False)


def writing_seconds(
    problem: "Problem", form: str, output: str | None, fleet: str, reading: float
) -> float:
    """Return how long writing a plan may take, to be kept from the time of the search.

    Parameters
    ----------
    problem, form, output
        What is written, how, and where.
    fleet, reading
        The file of the fleet and the seconds that reading it took, which say how fast the machine
        is.
    """
    from kvplace.core.models.model_table import ModelTable
    from kvplace.files import is_parquet

    models, gpus = len(problem.models), len(problem.fleet.gpus)
    parquet = output is not None and is_parquet(output)
    of_model, of_gpu = _FORMS["parquet" if parquet else form]
    usual = models * of_model * (1 if problem.plain else _COPIES) + gpus * of_gpu
    of_file = _READING.get(Path(fleet).suffix.lower(), _YAML)
    usually = models * (_COLUMNS if isinstance(problem.models, ModelTable) else of_file)
    return usual * min(max(_FASTEST, reading / usually), _BUSIEST)


def print_result(
    result: "Result",
    form: str,
    output: str | None,
    *,
    every_gpu: bool,
    quiet: bool,
    allow_overload: bool = False,
    expect: bool = False,
    time_limit: float | None = None,
) -> int:
    """Print a result in the form asked for and return the exit code.

    Without a placement the reasons go to stderr. JSON is still written, since it holds the
    evidence that there is none, but never over a file that is there already, and not of a search
    that proved nothing where that breaks the `time_limit` of the command. An overloaded plan
    is written and has an exit code of its own, unless that is allowed. Where it is asked what to
    `expect`, the table has a forecast of each model; other forms have it said beside them.
    """
    from kvplace.core.certificates.standing import never_kept
    from kvplace.files import is_parquet
    from kvplace.report.summary import forecast_sentence, reasons, summary

    if result.placement is None:
        writing = writing_seconds(result.problem, form, output, "", 0) if form == "json" else 0.0
        late = time_limit is not None and Command.seconds() + writing > time_limit
        if late and writing > _LATE and result.status == "unknown":
            say("kvplace: the time limit leaves none to write what was tried")
        else:
            emit_evidence(result, form, output)
        for reason in reasons(result):
            say(f"kvplace: cannot be placed: {reason}")
        say(f"kvplace: {summary(result)}")
        none = result.status == "infeasible" or never_kept(result.problem)
        more = "" if none else "; more --time-limit may find a plan"
        say(f"kvplace: kvplace explain, with the same file, looks for what would help{more}")
        return _INFEASIBLE if result.status == "infeasible" else _NOT_FOUND
    expected = None
    if expect:
        from kvplace.forecast.forecast import forecast

        expected = forecast(result, watch=telling(quiet=quiet))
        say_as_notes(() if quiet else expected.notes)
    tabled = form == "table" and output is None and not as_markdown()
    if expected is not None and not tabled and not quiet:
        say(forecast_sentence(expected))
    if output is not None and is_parquet(output):
        from kvplace.formats.plan.io import write_plan

        _kept(output, lambda path: write_plan(result, path))
        if not quiet:
            say(summary(result))
        return _told(result, quiet=quiet, allow_overload=allow_overload)
    if as_markdown():
        from kvplace.report.page.markdown import markdown_summary

        emit(markdown_summary(result), output, data=True)
    elif form == "table":
        from kvplace.report.tables.plan import plan_table

        table = plan_table(result, look(output), every_gpu=every_gpu, expected=expected)
        emit(table, output, data=False)
    else:
        _emit_plan(result, form, output)
    if not quiet and (form != "table" or output is not None):
        say(summary(result))
    return _told(result, quiet=quiet, allow_overload=allow_overload)


def telling(*, quiet: bool) -> "Watch":
    """Return a watch that says what a command waits for."""
    from kvplace.solver.clock import Watch

    return Watch(None, None if quiet else lambda progress: say(f"kvplace: {progress.phase}"))


def emit_evidence(result: "Result", form: str, output: str | None) -> None:
    """Write the JSON of what is not the plan asked for, but never over a file that is there.

    It holds what was proved and tried. Other forms have no place for that and are not written.
    """
    if form == "json" and (output is None or not Path(output).is_file()):
        _emit_plan(result, form, output)
    elif form == "json":
        say(f"kvplace: {output} stays as it was")


def _told(result: "Result", *, quiet: bool, allow_overload: bool) -> int:
    """Say what is to be known besides the numbers, and return the exit code."""
    from kvplace.report.notes import overloaded

    assert result.evaluation is not None
    if not quiet:
        say_notes(result.problem, result.evaluation)
    over = overloaded(result.problem, result.evaluation)
    return _OVERLOADED if over and not allow_overload else 0


def say_notes(
    problem: "Problem", evaluation: "Evaluation | None" = None, *, every: bool = False
) -> None:
    """Write to stderr what is to be known of a problem and a placement of it.

    Where `every` one is wanted, with all that is assumed where the file leaves something open.
    """
    from kvplace.report.notes import notes

    for note in notes(problem, evaluation, every=every):
        say(f"kvplace: {note}")


def _emit_plan(result: "Result", form: str, output: str | None) -> None:
    """Write a result as a plan file or as one row per shard."""
    if form == "json":
        from kvplace.collector import paused_collector
        from kvplace.files import write_atomic
        from kvplace.formats.plan.io import plan_pieces

        with paused_collector():
            if output is not None:
                _kept(output, lambda path: write_atomic(path, lambda: plan_pieces(result)))
                return
            sys.stdout.flush()
            sys.stdout.buffer.writelines(piece.encode() for piece in plan_pieces(result))
            sys.stdout.buffer.flush()
    else:  # without what reads and writes JSON
        from kvplace.formats.plan.rows import table_text
        from kvplace.formats.plan.table import table_of

        text = table_text(table_of(result))
        if output is None:
            emit(text, None, data=True)
        else:
            _kept(output, lambda path: emit(text, path, data=True))


def _kept(output: str, write: Callable[[str], None]) -> None:
    """Write what was found, where it is to be or else among the temporary files.

    Raises
    ------
    InputError
        It could not be written where it is to be; the message says where it is instead.
    """
    import tempfile

    from kvplace.errors import InputError

    try:
        write(output)
    except InputError as error:
        try:
            path = Path(tempfile.mkdtemp(prefix="kvplace-")) / Path(output).name
            write(str(path))
        except (InputError, OSError):
            raise error from None  # nothing can be written there either
        raise InputError([*error.faults, f"what was found is in {path}"], error.source) from None
