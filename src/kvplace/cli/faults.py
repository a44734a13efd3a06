"""What is said on stderr: one harmless line per fault."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable

import click

from kvplace.errors import InternalError, KvplaceError

_LONGEST = 500
_NARROWEST = 40


def say(line: str) -> None:
    """Write one line to stderr: control characters in it are escaped, on a terminal it is wrapped.

    What is broken off is set in, so that each fault still begins at the left edge.
    """
    try:
        from kvplace.report.text import clean
    except (MemoryError, OSError, ImportError):  # none is left for what makes it harmless
        os.write(2, ascii(line)[1:-1].encode() + b"\n")
        return
    text = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
    # ASCII with escapes where the terminal's encoding lacks a character, and not a traceback.
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    shown = clean(text).encode(encoding, "backslashreplace").decode(encoding)
    try:
        if sys.stderr.isatty():
            kept = re.sub(r"(?<=\d) %", "\0%", shown)  # a number and its sign are not parted
            shown = textwrap.fill(
                kept, _terminal_width(), subsequent_indent="  ", replace_whitespace=False,
                break_long_words=False, break_on_hyphens=False,
            ).replace("\0", " ")  # fmt: skip
        sys.stderr.write(shown + "\n")
        sys.stderr.flush()
    except OSError:
        pass  # nobody reads stderr; the exit code still tells


def say_as_notes(notes: Iterable[str]) -> None:
    """Write notes to stderr, each on a line of its own."""
    for note in notes:
        say(f"kvplace: note: {note}")


def _terminal_width() -> int:
    """Return the width of the terminal that stderr is."""
    try:
        own = os.get_terminal_size(sys.stderr.fileno())
    except (OSError, ValueError):
        own = os.terminal_size((80, 24))
    return max(shutil.get_terminal_size(own).columns, _NARROWEST)


def fault_lines(error: Exception) -> list[str]:
    """Return the lines that tell the user what is wrong with the input.

    Returns
    -------
    list of str
        Empty where the error is no fault of the user's but a bug.
    """
    if isinstance(error, InternalError):
        return []
    if isinstance(error, KvplaceError):
        texts = getattr(error, "lines", lambda: [str(error)])()
        return [f"kvplace: {text}" for text in texts]
    if isinstance(error, click.UsageError):
        verb = error.ctx.command_path.partition(" ")[2] if error.ctx else ""
        message = error.format_message().rstrip(".")
        message = " ".join(message.split())
        form = ""
        if error.ctx and ("Missing argument" in message or "extra argument" in message):
            pieces = error.ctx.command.collect_usage_pieces(error.ctx)
            form = f"; write kvplace {verb} {' '.join(pieces[1:])}"
            if not "".join(pieces[1:]):
                form = f"; {verb} takes options alone"
        return [f"kvplace: {verb}{': ' if verb else ''}{_lower(message)}{form}; see --help"]
    if isinstance(error, click.ClickException):
        return [f"kvplace: {error.format_message()}"]
    if isinstance(error, OSError) and error.strerror:
        return [f"kvplace: {error.filename or 'output'}: {error.strerror}"]
    return []


def _lower(message: str) -> str:
    """Return the message without the capital of a sentence, for after a colon."""
    return message[:1].lower() + message[1:]
