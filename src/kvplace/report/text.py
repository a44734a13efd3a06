"""Text for a terminal: harmless, measured in columns, shortened where it does not fit."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size

_CODES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "green": "32", "cyan": "36"}
_ORGANISED = re.compile(r"[\w.-]+/[^/]+")
_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_LAST_COLUMN = re.compile(r".*\S {2,}(?=\S)|^ +")
_LONGEST = 400
"""Characters of one name looked at; no table is wider."""


class Paint:
    """Colour, or none where the output is no terminal.

    Parameters
    ----------
    colour
        Whether to write escape sequences at all.
    """

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, style: str) -> str:
        """Return the text in a style: bold, dim, red, yellow, green or cyan."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self._colour and text else text


def clean(text: str) -> str:
    """Return the text with whatever is not printable written as its escape sequence.

    Control characters, line ends, marks that turn the writing direction and lone surrogates can
    neither move the cursor nor forge a line.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def shorten(text: str, width: int) -> str:
    """Return the text, its middle left out where it is wider than `width` columns."""
    text = clean(text[:_LONGEST])
    if cell_len(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    tail = (width - 1) // 3
    end = ""
    for char in reversed(text):
        if cell_len(char + end) > tail:
            break
        end = char + end
    return set_cell_size(text, width - 1 - cell_len(end)).rstrip() + "…" + end


def shorten_start(text: str, width: int) -> str:
    """Return the text, its start left out where it is wider than `width` columns.

    For ids of GPUs, whose end tells one from the other.
    """
    text = clean(text[-_LONGEST:])
    if cell_len(text) <= width:
        return text
    end = ""
    for char in reversed(text):
        if cell_len(char + end) > width - 1:
            break
        end = char + end
    return f"…{end}"[:width]


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return the text in exactly `width` columns: shortened, or padded on its free side."""
    text = shorten(text, width)
    padding = " " * (width - cell_len(text))
    return padding + text if right else text + padding


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return each name without its ``organisation/`` where that leaves it unique."""
    names = list(names)
    tails = {name: name.partition("/")[2] if _ORGANISED.fullmatch(name) else name for name in names}
    count = Counter(tails[name] for name in names)
    return {name: tail if count[tail] == 1 else name for name, tail in tails.items()}


def gpus_text(gpus: Sequence[str], joint: str = "+") -> str:
    """Return GPUs in the order given, short where they are of one node.

    ``h100/0-3`` stands for four in a row and ``h100/1+5`` for two that are not; ids that do not
    end in ``/`` and a number, or are of different nodes, are joined whole.

    Parameters
    ----------
    gpus
        Ids: those of a replica in rank order, or any others.
    joint
        What stands between them: ``+`` for the GPUs that one replica ties together.
    """
    parts = [gpu.rpartition("/") for gpu in gpus]
    node = parts[0][0] if parts else ""
    if len(gpus) < 2 or any(p[0] != node or not p[1] or not p[2].isdecimal() for p in parts):
        return joint.join(gpus)
    runs: list[list[int]] = []
    for number in (int(tail) for _, _, tail in parts):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{r[0]}-{r[-1]}" if len(r) > 2 else joint.join(map(str, r)) for r in runs]
    return f"{node}/{joint.join(texts)}"


def places_text(gpus: Iterable[str]) -> list[str]:
    """Return GPUs node by node, such as ``["a/0-3", "b/1,4"]``, in the order given."""
    nodes: dict[str, list[str]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu.rpartition("/")[0], []).append(gpu)
    return [gpus_text(held, ",") for held in nodes.values()]


def copies_text(copies: Sequence[Sequence[str]]) -> list[str]:
    """Return where the copies of a model are.

    Copies on single GPUs stand node by node (``a/2,3`` are two), a copy over several GPUs by
    itself (``a/2+3`` is one).
    """
    if all(len(gpus) == 1 for gpus in copies):
        return places_text(gpu for gpus in copies for gpu in gpus)
    return [gpus_text(gpus) for gpus in copies]


def names_text(names: Iterable[str]) -> str:
    """Return names, those that only count on as ``h100-3 to h100-9``."""
    runs: list[list[str]] = []
    last: tuple[str, int] | None = None
    for name in names:
        stem = name.rstrip("0123456789")
        digits = name[len(stem) :]
        counted = (stem, int(digits)) if digits.isascii() and 0 < len(digits) < 10 else None
        if counted and last and counted == (last[0], last[1] + 1) and str(counted[1]) == digits:
            runs[-1].append(name)
        else:
            runs.append([name])
        last = counted
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def flow(items: Sequence[str], width: int, lines: int | None) -> list[str]:
    """Set items one after the other in lines of `width` columns.

    Parameters
    ----------
    items
        Kept whole where they fit in one line, shortened where they do not.
    width
        Columns.
    lines
        Lines to use; None for as many as it takes. What does not fit becomes ``+3 more``.
    """
    filled: list[str] = []
    for position, item in enumerate(items):
        last = position == len(items) - 1
        word = shorten(item, width - (0 if last else 1)) + ("" if last else ",")
        left = len(items) - position
        more = f"+{left} more"
        if filled and cell_len(filled[-1]) + 1 + cell_len(word) <= width:
            full = lines is not None and len(filled) == lines and not last
            rest = f"{filled[-1]} {word} +{left - 1} more"
            if full and cell_len(rest) > width:
                return [*filled[:-1], _with_more(filled[-1], more, width)]
            filled[-1] = f"{filled[-1]} {word}"
        elif lines is not None and len(filled) == lines:
            return [*filled[:-1], _with_more(filled[-1], more, width)]
        else:
            filled.append(word)
    return filled or [""]


def _with_more(line: str, more: str, width: int) -> str:
    """Return the last line with its count of what is left out, within `width` columns."""
    room = width - cell_len(more) - 1
    return f"{shorten(line, room)} {more}" if room > 0 else shorten(more, width)


def wrap_lines(text: str, width: int) -> str:
    """Break lines that are wider than a terminal at words.

    What is broken off stands below the last column of its line, or below its first word, there too
    where a word is wider than the last column. A line whose last column begins in the right half is
    left as it is: it is a row of a table.

    Parameters
    ----------
    text
        Lines, which may have escape sequences for colours.
    width
        Columns of the terminal.
    """
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line: str, width: int) -> str:
    """Return one line in as many as it takes."""
    if _columns(line) <= width:
        return line
    column = _LAST_COLUMN.match(line)
    start = column.end() if column else 0
    indent = _columns(line[:start])
    if 2 * indent > width:
        return line
    words = _words(line[start:])
    if width - indent < max(map(_columns, words)) <= width:
        start, indent, words = 0, 0, _words(line)
    filled = [line[:start]]
    left = width - indent
    for word in words:
        taken = _columns(word)
        if left < width - indent and taken + 1 > left:
            filled.append(" " * indent + word)
            left = width - indent - taken
        else:
            gap = "" if left == width - indent else " "
            filled[-1] += gap + word
            left -= taken + len(gap)
    return "\n".join(filled)


def _words(text: str) -> list[str]:
    """Return the words of a text; a number and its percent sign are one."""
    return re.split(r" (?!%)", text)


def _columns(text: str) -> int:
    """Return the columns of a text, without its escape sequences."""
    return cell_len(_ESCAPE.sub("", text))
