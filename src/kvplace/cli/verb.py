"""The decorator of a verb's function, and its promise to lose no file that is read."""

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from kvplace.cli.began import Command
from kvplace.cli.options import IN_FILE


class _Verb(click.Command):
    """A command that does not write over a file that it reads.

    Parameters
    ----------
    replaces
        Inputs that what an option writes may replace, since it is a later state of the same.
    """

    def __init__(
        self, *args: Any, replaces: Mapping[str, Sequence[str]] | None = None, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._replaces = replaces or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name, word = error.option_name, error.option_name.removeprefix("--")
            arguments = [of for of in self.params if isinstance(of, click.Argument)]
            other = _OTHERS_SAY.get(name, "")
            if any(word in getattr(of.type, "choices", ()) for of in arguments):
                meant = f"write kvplace {self.name} {word}"
            elif any(other in of.opts for of in self.params):
                meant = f"did you mean {other!r}?"
            else:
                raise
            raise click.UsageError(f"no such option {name!r}; {meant}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        Command.limit = ctx.params.get("time_limit") or math.inf
        written = {
            option.name: option.opts[0]
            for option in self.params
            if option.name in _WRITTEN and option.type is not IN_FILE and ctx.params[option.name]
        }
        for one, other in combinations(written, 2):
            _refuse_one_file(ctx, written[one], ctx.params[one], written[other], ctx.params[other])
        for option, words in written.items():
            for name, value in ctx.params.items():
                if name not in written and name not in self._replaces.get(option, ()):
                    values = value if isinstance(value, tuple) else (value,)
                    refuse_same(ctx.params[option], values, words)
        for param in self.params:  # before any work that would be lost
            if param.name in written and getattr(param, "metavar", "") == "FILE":
                from kvplace.files import target_of

                target_of(ctx.params[param.name or ""])
        return super().invoke(ctx)


def _refuse_one_file(ctx: click.Context, one: str, first: str, other: str, second: str) -> None:
    """Refuse that two options write one file, which would lose what the first wrote."""
    path = os.path.realpath(first)
    if path == os.path.realpath(second) and (Path(path).is_file() or not Path(path).exists()):
        raise click.UsageError(f"{one} and {other} both name {second}; name two files", ctx)


_OTHERS_SAY = {
    "--gpus": "--nodes", "--nodes": "--gpus", "--current": "--observed", "--observed": "--current",
}  # fmt: skip
"""Options that stand for one another in different commands."""

verb = partial(click.command, cls=_Verb)
"""Decorator of the function of a verb."""
_WRITTEN = frozenset({
    "output", "plot", "figure", "markdown", "plan_file", "current", "history", "record",
})  # fmt: skip


def refuse_same(written: str | None, read: Sequence[Any], option: str) -> None:
    """Refuse to write over a file that is read.

    Parameters
    ----------
    written, option
        The file to be written, and the option that names it.
    read
        Values of parameters, of which the names of files count, such as that of RUNTIME=FILE.

    Raises
    ------
    click.UsageError
        Two of the paths lead to one file.
    """
    target = Path(written or "")
    paths = [of for path in read if isinstance(path, str) for of in (path, path.partition("=")[2])]
    for path in paths if target.is_file() else ():
        try:
            same = target.samefile(path)
        except (OSError, ValueError):  # there is no such file
            continue
        if same:
            raise click.UsageError(
                f"{option} {written} would replace {path}, which is read; name another file",
                click.get_current_context(),
            )
