"""Options that several verbs share, and the values they take."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import PurePath
from typing import Any

import click

from kvplace.cli.memory import MEMORY_LIMIT
from kvplace.errors import UnitError
from kvplace.units import parse_duration, parse_number

Command = Callable[..., Any]

AS_MARKDOWN = "kvplace.markdown"
"""Key of the context of a command whose table is to be in Markdown."""
_FORM_OF = {".json": "json", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}
_NOT_WRITTEN = frozenset({
    ".doc", ".docx", ".odt", ".rtf", ".pdf", ".ppt", ".pptx", ".xls", ".xlsx", ".xlsm", ".ods",
    ".html", ".htm", ".xml", ".tsv", ".toml", ".zip", ".gz", ".png", ".svg", ".jpg", ".jpeg",
})  # fmt: skip
"""Endings of files that programs would open as what they are not: an answer is no such file."""
_ALSO_CALLED = {"k8s": "kubernetes", "docker": "compose", "bash": "shell", "ray": "ray-serve"}
_OBJECTIVES = ("requests", "tokens", "occupancy", "pressure")
_DEFAULT_OBJECTIVE = (
    "pressure (KV memory and time) when shares of GPU time are known of every model, else "
    "occupancy when every model gives what it needs, else requests"
)
# The names in kvplace.solver.solve.SOLVERS, which costs too much to import for --help alone; a
# test keeps the two equal.
SOLVERS = ("auto", "reference", "prism-greedy")


class _Near(click.Choice[str]):
    """A choice that suggests the nearest value.

    Parameters
    ----------
    names
        What there is to choose from.
    of_file
        Which of them reads a file, for people who name the file in its place; empty for none.
    """

    def __init__(self, names: Sequence[str], of_file: str = "") -> None:
        super().__init__(names)
        self._of_file = of_file

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        choices = [str(c) for c in self.choices]
        near = [c for c in choices if c == _ALSO_CALLED.get(str(value).casefold())]
        if not near:
            from difflib import get_close_matches

            near = get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        if self._of_file and PurePath(str(value)).suffix:
            hint = f"; did you mean '{self._of_file} {value}'?"
        return super().get_invalid_choice_message(value, ctx).rstrip(".") + hint


def nearest_choice(names: Sequence[str], of_file: str = "") -> "click.Choice[str]":
    """Return the type of an argument that is one of the names, one of which may read a file."""
    return _Near(names, of_file)


def duration(text: str) -> float:
    """Read a duration of an option, in which ``5m`` is five minutes.

    Prometheus and Kubernetes write it so. In files, where most durations are of milliseconds, ``m``
    is refused.

    Raises
    ------
    UnitError
        It is no duration.
    """
    return parse_duration(f"{text}in" if text.strip().endswith("m") else text)


class _Seconds(click.ParamType[float]):
    """Seconds, as a number or with a unit."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = parse_number(str(value))
        try:
            seconds = duration(str(value)) if number is None else number
        except UnitError as error:
            self.fail(str(error), param, ctx)
        if not 0 < seconds < math.inf:
            self.fail(f"{value!r} must be above 0 seconds and finite", param, ctx)
        return seconds


class _Share(click.ParamType[float]):
    """A share from 0 up, as a number or a percentage."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        text = str(value).strip()
        number = parse_number(text.removesuffix("%"))
        share = math.nan if number is None else number / (100 if text.endswith("%") else 1)
        if not 0 <= share < math.inf:
            self.fail(f"{value!r} is not a share; write it like 0.01 or 1%", param, ctx)
        return share


class _Quantile(_Share):
    """A share above 0 and up to 1, which is the peak."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        share = super().convert(value, param, ctx)
        if not 0 < share <= 1:
            self.fail(f"{value!r} must be above 0 and up to 1; write it like 0.95 or 95%")
        return share


class _Factor(click.ParamType[float]):
    """A factor from 1 up."""

    name = "factor"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = parse_number(str(value))
        if number is None or not 1 <= number <= 1e6:
            self.fail(f"{value!r} is not a factor from 1 up; write it like 1.5", param, ctx)
        return number


class _CountOrNone(click.ParamType[int | float]):
    """A number from 0 up, or ``none`` for no limit, which becomes infinity for the caller."""

    name = "n|none"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        if value in ("none", math.inf):
            return math.inf
        if not str(value).isascii() or not str(value).isdecimal() or len(str(value)) > 18:
            self.fail(f"{value!r} is not a number from 0 up, nor 'none'", param, ctx)
        return int(value)


class _File(click.Path):
    """A file, and what ``-`` stands for; what is wrong with it, the code that opens it says.

    Parameters
    ----------
    dash
        What ``-`` becomes.
    """

    def __init__(self, dash: str | None = "-") -> None:
        super().__init__(readable=False)
        self._dash = dash

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("the name is empty", param, ctx)
        return self._dash if value == "-" else super().convert(value, param, ctx)


IN_FILE, OUT_FILE, NAMED_FILE = _File("/dev/stdin"), _File(None), _File()
SECONDS, SHARE, QUANTILE, COUNT_OR_NONE = _Seconds(), _Share(), _Quantile(), _CountOrNone()
FACTOR = _Factor()

FLEET = click.argument("fleet", type=IN_FILE, metavar="FLEET")
PLAN_FILE = click.argument("plan", type=IN_FILE, metavar="PLAN")
ALLOW_OVERLOAD = click.option(
    "--allow-overload",
    is_flag=True,
    help="Exit with 0 although the worst GPU is asked for more than it can bear; else with 5.",
)
ALL_GPUS = click.option(
    "--all", "every_gpu", is_flag=True, help="List every GPU and all its models in the table."
)


RAY = click.option(
    "--ray",
    metavar="ADDRESS",
    default="",
    help="Share the work on a Ray cluster that runs already: auto, HOST:6379 or "
    "ray://HOST:10001. The outcome is the same.",
)


def stacked(options: list[Callable[[Command], Command]], command: Command) -> Command:
    """Put options on a command so that its help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def input_options(command: Command, *more: str, default: str = _DEFAULT_OBJECTIVE) -> Command:
    """Add what decides how the fleet file is read.

    Parameters
    ----------
    command
        The function of a verb.
    more
        Further values of the objective.
    default
        Which it is where none is named.
    """
    return stacked(
        [
            click.option(
                "--objective",
                type=_Near([*_OBJECTIVES, *more]),
                help=f"What presses on a GPU. Default: {default}.",
            ),
            click.option(
                "--gpus",
                metavar="SPEC",
                help="The GPUs for a table of models, such as 8x80GiB,4xH100-SXM-80GB, or "
                "a CSV or Parquet file with a row per GPU.",
            ),
            MEMORY_LIMIT,
        ],
        command,
    )


def solver_option(command: Command) -> Command:
    """Add the choice of the algorithm."""
    return click.option(
        "--solver",
        type=_Near(SOLVERS),
        default="auto",
        show_default=True,
        help="auto: the best there is. reference: bisection, best fit decreasing, local search. "
        "prism-greedy: the baseline.",
    )(command)


TIME_LIMIT = click.option(
    "--time-limit",
    type=SECONDS,
    metavar="SECONDS",
    help="End after this time, reading and writing included, with the best answer so far (10, "
    "500ms, 2min).",
)


def limit_options(command: Command) -> Command:
    """Add what ends a search and what makes it repeatable."""
    return stacked(
        [
            TIME_LIMIT,
            click.option(
                "--seed",
                type=click.IntRange(0, 2**32 - 1),
                default=0,
                show_default=True,
                help="Seed of random choices.",
            ),
        ],
        command,
    )


def output_options(command: Command) -> Command:
    """Add where the answer goes and what it looks like."""
    return stacked(
        [
            click.option(
                "--format",
                "form",
                type=_Near(["table", "markdown", "json", "csv"]),
                help="A table for people, the same for a page in Markdown, JSON for programs, CSV "
                "for spreadsheets. Default: what the name of the --output file ends in, else a "
                "table.",
            ),
            click.option(
                "--output",
                "-o",
                type=OUT_FILE,
                metavar="FILE",
                help="Write to this file, whole or not at all, instead of stdout.",
            ),
            click.option("--quiet", "-q", is_flag=True, help="Print no progress and no notes."),
        ],
        _with_form(command),
    )


def _with_form(command: Command) -> Command:
    """Give a command the form that its output file asks for where none was asked for.

    Markdown is a table that is written in another way: a command is asked for the table, and
    `kvplace.cli.output` writes it so.
    """

    @wraps(command)
    def formed(*arguments: Any, **options: Any) -> Any:
        if options["form"] is None:
            suffix = PurePath(options["output"] or "").suffix.lower()
            options["form"] = _FORM_OF.get(suffix, "table")
            if suffix in _NOT_WRITTEN:
                raise click.UsageError(
                    f"{options['output']}: no {suffix} file is written; let the name end in "
                    ".json, .csv, .md or .txt, or pass --format"
                )
        if options["form"] == "markdown":
            click.get_current_context().meta[AS_MARKDOWN] = True
            options["form"] = "table"
        return command(*arguments, **options)

    return formed
