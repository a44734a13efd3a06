"""Text as each format needs it: YAML that every parser reads the same, words for a shell."""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from kvplace.formats.text.yaml_writer import Dumper

_PLAIN = re.compile(r"(?:--)?[A-Za-z/][A-Za-z0-9_./=,-]*", re.ASCII)
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class _Dumper(Dumper):
    """Writes texts so that YAML 1.1 and 1.2 read the same."""


def _text(dumper: Dumper, text: str) -> Any:
    """Write a text plain where it is a plain word, as a block where it has lines, else quoted."""
    style: str | None = "'"
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = None
    elif "\n" in text and not _CONTROL.search(text):
        style = "|"
    elif not text.isprintable() or not text.isascii():
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)


def yaml_text(
    documents: Any | Sequence[Any], head: Iterable[str] = (), *, many: bool = False
) -> str:
    """Return YAML.

    Parameters
    ----------
    documents
        Plain data, or with `many` a list of such, each its own document.
    head
        Comments at the top, a line each.
    """
    text = yaml.dump_all(
        documents if many else [documents],
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=False,
        width=4096,
        explicit_start=many,
    )
    return "".join(f"{line}\n" for line in banner(head)) + text


def banner(lines: Iterable[str]) -> list[str]:
    """Return lines as comments that start with ``#``."""
    return [f"# {comment(line)}".rstrip() for line in lines]


def comment(text: str) -> str:
    """Return a text that cannot end the comment it stands in."""
    return "".join(c if c.isprintable() and c.isascii() else " " for c in " ".join(text.split()))


def shell_words(words: Iterable[str]) -> str:
    """Return words as a line for a POSIX shell."""
    return shlex.join(words)
