"""The decorator of a verb's function, and its promise to lose no file that is read."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from kvplace.cli.options import IN_FILE

__all__ = ["refuse_same", "verb"]


class _Verb(click.Command):
    """A command that does not write over a file that it reads.

    Parameters
    ----------
    replaces
        Inputs that its answer may replace, since it is a later state of the same.
    """

    def __init__(self, *args: Any, replaces: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self._replaces = replaces

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
        for option in self.params:
            if option.name not in _WRITTEN or option.type is IN_FILE:
                continue
            for name, value in ctx.params.items():
                if name != option.name and name not in self._replaces:
                    values = value if isinstance(value, tuple) else (value,)
                    refuse_same(ctx.params[option.name], values, option.opts[0])
        return super().invoke(ctx)


_OTHERS_SAY = {"--gpus": "--nodes", "--nodes": "--gpus"}
"""Options that stand for one another in different commands."""

verb = partial(click.command, cls=_Verb)
"""Decorator of the function of a verb."""
_WRITTEN = frozenset({"output", "plot", "figure", "markdown", "plan_file", "current"})


def refuse_same(written: str | None, read: Sequence[Any], option: str) -> None:
    """Refuse to write over a file that is read.

    Parameters
    ----------
    written, option
        The file to be written, and the option that names it.
    read
        Values of parameters, of which the names of files count.

    Raises
    ------
    click.UsageError
        Two of the paths lead to one file.
    """
    target = Path(written or "")
    for path in read if target.is_file() else ():
        try:
            same = isinstance(path, str) and target.samefile(path)
        except (OSError, ValueError):  # there is no such file
            continue
        if same:
            raise click.UsageError(
                f"{option} {written} would replace {path}, which is read; name another file",
                click.get_current_context(),
            )
