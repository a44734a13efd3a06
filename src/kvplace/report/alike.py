"""Names that a person cannot tell apart."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

_LIKE = {
    "a": "\u0430\u0251\u03b1", "b": "\u042c\u15af", "c": "\u0441\u03f2", "d": "\u0501",
    "e": "\u0435\u04bd", "g": "\u0261", "h": "\u04bb", "i": "\u0456\u0269\u03b9",
    "j": "\u0458\u03f3", "k": "\u03ba\u043a", "l": "\u04cf\u01c0", "n": "\u0578",
    "o": "\u043e\u03bf\u0585", "p": "\u0440\u03c1", "q": "\u051b", "s": "\u0455",
    "u": "\u03c5\u057d", "v": "\u03bd\u0475", "w": "\u051d", "x": "\u0445\u03c7",
    "y": "\u0443\u03b3\u04af", "A": "\u0410\u0391", "B": "\u0412\u0392", "C": "\u0421\u03f9",
    "E": "\u0415\u0395", "F": "\u03dc", "G": "\u050c", "H": "\u041d\u0397",
    "I": "\u0406\u0399\u04c0", "J": "\u0408\u037f", "K": "\u041a\u039a", "M": "\u041c\u039c",
    "N": "\u039d", "O": "\u041e\u039f\u0555", "P": "\u0420\u03a1", "Q": "\u051a",
    "S": "\u0405\u054f", "T": "\u0422\u03a4", "V": "\u0474", "W": "\u051c", "X": "\u0425\u03a7",
    "Y": "\u0423\u03a5\u04ae", "Z": "\u0396",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "/": "\u2215\u2044", ".": "\u2024",
    ":": "\u0589\ua789\u2236", "_": "\u02cd", "'": "\u2019\u02bc\u2018",
}  # fmt: skip
"""Latin letters and marks, with Cyrillic, Greek, Armenian and others that fonts draw the same way:
the most common of Unicode's confusables (Unicode Technical Standard 39)."""

_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0"
_INVISIBLE += "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # selectors of variants

_DRAWN = {other: latin for latin, others in _LIKE.items() for other in others}
_SEEN_OTHERWISE = re.compile(f"[{''.join(_DRAWN)}{_INVISIBLE}]")


def look_alikes(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield positions of two names, the first one first, that differ only in how they are coded.

    They hold letters of other scripts that fonts draw alike, characters that nobody sees, or one
    character in two forms of Unicode. Names of plain ASCII are told apart.
    """
    if all(map(str.isascii, names)):
        return
    drawn = [name if name.isascii() else _drawn(name) for name in names]
    among = {one for one, name in zip(drawn, names, strict=True) if one is not name}
    first: dict[str, int] = {}
    for at, one in enumerate(drawn):
        if one in among and first.setdefault(one, at) != at:
            yield first[one], at


def _drawn(name: str) -> str:
    """Return what of a name a reader sees."""
    plain = unicodedata.normalize("NFKC", name)
    seen = _SEEN_OTHERWISE.sub(lambda found: _DRAWN.get(found.group(), ""), plain)
    return unicodedata.normalize("NFKC", seen)
