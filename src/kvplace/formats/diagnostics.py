"""Report: every fault of one file, with path and line, raised together."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from kvplace.errors import Fault, InputError

MAX_FAULTS = 50
"""Faults listed of one file; the rest are counted."""

Path = tuple[str | int, ...]
"""Keys and positions from the root of a file to a value."""

MOST_NOTED = 1000
"""Faults noted of one file, after which no more are looked for."""
_PLAIN_KEY = re.compile(r"[\w/-]{1,64}")
_LONGEST = 60


def path_text(path: Path) -> str:
    """Return a path as people write it, such as ``models[3].slo.ttft``."""
    parts: list[str] = []
    for step in path:
        if isinstance(step, int):
            parts.append(f"[{step}]")
        elif _PLAIN_KEY.fullmatch(step):
            parts.append(f".{step}" if parts else step)
        else:
            parts.append(f"[{shown(step)}]")
    return "".join(parts)


@dataclass
class Report:
    """Collects what is wrong with one file, then raises all of it in the order of the file.

    Parameters
    ----------
    source
        Name of the file.
    line_of
        Returns the line of a path, or None.
    text_of
        Turns a path into text; `path_text` where not given.
    """

    source: str
    line_of: Callable[[Path], int | None] = lambda _: None
    text_of: Callable[[Path], str] = path_text
    _faults: list[tuple[Path, str, int | None]] = field(default_factory=list)
    _faulty: set[Path] = field(default_factory=set)

    def add(self, path: Path, message: str, line: int | None = None) -> None:
        """Note one fault at a path; `line` where it is not the path's own.

        Without a message it is one that another fault tells of.
        """
        if message:
            self._faults.append((path, message, line))
        self._faulty.add(path)

    def __bool__(self) -> bool:
        return bool(self._faults)

    @property
    def full(self) -> bool:
        """Whether there are so many faults that looking for more is of no use."""
        return len(self._faults) >= MOST_NOTED

    def covers(self, path: Path) -> bool:
        """Whether a fault is already noted at or above `path`, the whole file apart."""
        return any(path[:steps] in self._faulty for steps in range(1, len(path) + 1))

    def refuse(self) -> None:
        """Raise everything noted, if anything.

        Raises
        ------
        InputError
            With the first `MAX_FAULTS` faults in the order of the file and, where there are
            more, how many.
        """
        if not self._faults:
            return
        placed = [
            Fault(message, self.text_of(path), line or self.line_of(path))
            for path, message, line in self._faults
        ]
        placed.sort(key=lambda fault: fault.line or math.inf)
        faults = list(dict.fromkeys(placed))
        if len(faults) > MAX_FAULTS:
            least = "at least " if self.full else ""
            more = Fault(f"and {least}{len(faults) - MAX_FAULTS} more faults")
            faults = [*faults[:MAX_FAULTS], more]
        raise InputError(faults, self.source)

    def stop(self, path: Path, message: str, line: int | None = None) -> NoReturn:
        """Note one fault and raise everything now."""
        self.add(path, message, line)
        self.refuse()
        raise AssertionError  # pragma: no cover - refuse raises where a fault is noted


def path_of(text: str) -> Path:
    """Return the path that a text such as ``models[3].slo.ttft`` stands for."""
    steps = re.findall(r"\[(\d+)\]|([^.\[\]]+)", text)
    return tuple(int(index) if index else key for index, key in steps)


def shown(value: object) -> str:
    """Return a value as a message shows it: short, and with nothing unprintable."""
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…")
    if value is None or isinstance(value, bool | int | float):
        digits = str(value)
        return digits if len(digits) <= _LONGEST else digits[: _LONGEST // 2] + "…"
    return kind_of(value)


def kind_of(value: object) -> str:
    """Say what kind of value a file holds, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"of the type {type(value).__name__}"


_OTHERS_SAY = {
    "name": ("model", "modelname", "modelid", "service"),
    "weights": ("size", "weightsgib", "weightsgb", "memory"),
    "weights_gib": ("size", "sizegb", "sizegib", "weights", "weightsgb", "memory"),
    "requests_per_second": ("rps", "qps", "rate", "requestrate", "reqs"),
    "demand": ("rps", "qps", "rate", "requestspersecond", "prompttokens", "outputtokens"),
    "tensor_parallel": ("tp", "tensorparallelsize", "tpsize", "gpuspermodel"),
    "replicas": ("copies", "instances", "count"),
    "slo": ("ttft", "tpot", "latency", "objectives"),
    "slo_seconds": ("latency", "latencys", "slo", "latencyseconds"),
    "prompt_tokens": ("inputtokens", "isl"),
    "output_tokens": ("completiontokens", "osl"),
    "kv_heads": ("numkeyvalueheads",),
}
"""What other tools and people call a field, in small letters without marks."""
_INSIDE = {
    "demand": ("requests_per_second", "prompt_tokens", "output_tokens"),
    "slo": ("ttft", "tpot", "latency"),
}
"""Keys that people look for one level too high."""


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` is most likely meant to be, if any is near."""
    words = list(known)
    plain = "".join(filter(str.isalnum, word[:_LONGEST].casefold()))
    for name in words:
        whole, base = name.replace("_", ""), name.rpartition("_")[0].replace("_", "")
        if plain in (whole, base, *_OTHERS_SAY.get(name, ())) and plain:
            return name
    import difflib  # noqa: PLC0415 - only for an error

    close = difflib.get_close_matches(word[:_LONGEST], words, n=1, cutoff=0.6)
    return close[0] if close else None


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'weights'?`` or, with nothing near, the known words."""
    words = list(known)
    close = closest(word, words)
    inner = closest(word, _INSIDE[close]) if close in _INSIDE else None
    if inner and close:
        return f"; did you mean {close}: {{{inner}: ...}}?"
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(words)}"
