"""Names that nothing trips over: unique, short, and fit for where they go."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from kvplace.errors import InputError

LABEL_LIMIT = 40
"""Characters of a label; what is put before and after it keeps the whole below 63."""
_OTHER = re.compile(r"[^a-z0-9]+")


def digits_of(text: str, count: int = 8) -> str:
    """Return the first hexadecimal digits of a text's SHA-256: the same text, the same digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:count]


def labels(names: Iterable[str], limit: int = LABEL_LIMIT) -> dict[str, str]:
    """Return a DNS label for each name: lower case ASCII letters, digits and inner hyphens.

    A label starts with a letter. A name that loses more than its separators on the way, or whose
    label another name would get too, has eight digits of its hash at the end, so that its label
    depends on the other names as little as it can.
    """
    wanted = list(dict.fromkeys(names))
    plain = {name: _label(name, limit) for name in wanted}
    count = Counter(label for label, _ in plain.values())
    found: dict[str, str] = {}
    taken: set[str] = set()
    # Names that keep their label go first, so that no made-up label can take one from them.
    for name in sorted(wanted, key=lambda name: plain[name][1] or count[plain[name][0]] > 1):
        label, lossy = plain[name]
        digits = 8 if lossy or count[label] > 1 else 0
        chosen = label
        while digits or chosen in taken:
            digits = digits or 8
            chosen = f"{label[: limit - digits - 1].rstrip('-')}-{digits_of(name, digits)}"
            if chosen not in taken:
                break
            digits += 4
        taken.add(chosen)
        found[name] = chosen
    return {name: found[name] for name in wanted}


def _label(name: str, limit: int) -> tuple[str, bool]:
    """Return the label that a name would have alone, and whether it loses part of the name."""
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    label = _OTHER.sub("-", ascii_text.lower()).strip("-")
    lossy = not name.isascii() or not name.isprintable() or len(label) > limit or not label
    if not label or not label[0].isalpha():
        label = f"m-{label}".rstrip("-")
        lossy = lossy or len(label) > limit
    return label[:limit].rstrip("-"), lossy


def unique_names(wanted: Iterable[tuple[str, int]], taken: Iterable[str]) -> list[str]:
    """Return a served name per copy: the model's own for its first, ``name-r1`` and so on after.

    Parameters
    ----------
    wanted
        Pairs of model and position of the copy among its model's, from 0.
    taken
        Names of all models, which no copy of another may bear.
    """
    used = set(taken)
    names = []
    for model, position in wanted:
        name = model
        if position:
            name = f"{model}-r{position}"
            while name in used:
                name += "x"
            used.add(name)
        names.append(name)
    return names


def check_text(text: str, what: str) -> str:
    """Return a text that a command line can carry.

    Raises
    ------
    InputError
        It is empty, holds a NUL, or is not Unicode.
    """
    if not text:
        raise InputError(f"{what} is empty, which nothing can be launched under")
    if "\0" in text:
        raise InputError(f"{what}, {text!r}, holds a NUL, which no command line can carry")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{what}, {text!r}, is not Unicode text, which no file can hold") from None
    return text
