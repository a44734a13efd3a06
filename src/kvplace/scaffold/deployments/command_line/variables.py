"""Variables in compose files, put in as compose does.

Rules: https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kvplace.errors import InputError
from kvplace.scaffold.deployments.documents import named_file

ABSENT = ("\ue000", "\ue001")
"""Marks around the name of a variable without a value: compose puts nothing there and warns.
What does not matter here may stay so; what matters is refused by `unset_in`."""

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ENV_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][\w.]*)\s*=\s*(.*?)\s*", re.ASCII)
_DEEPEST = 20
_LONGEST = 2**20


def fill(value: Any, variables: Mapping[str, str], refuse: Callable[[str], None]) -> Any:
    """Return data with variables put into every text of it.

    Parameters
    ----------
    value
        Parsed data, within bounds.
    variables
        Their values.
    refuse
        Called with a sentence for each variable that must have a value and has none.
    """
    if isinstance(value, str):
        return _text(value, variables, refuse, 0)[0] if "$" in value else value
    if isinstance(value, dict):
        return {key: fill(entry, variables, refuse) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, variables, refuse) for entry in value]
    return value


def unset_in(text: str) -> str | None:
    """Return the name of the first variable without a value in a text, or None."""
    begin, end = text.find(ABSENT[0]), text.find(ABSENT[1])
    return text[begin + 1 : end] if 0 <= begin < end else None


def _text(
    text: str, variables: Mapping[str, str], refuse: Callable[[str], None], depth: int
) -> tuple[str, int]:
    """Put variables into a text; inside braces, up to the brace that closes them.

    Returns the text and the place behind what was taken.
    """
    out: list[str] = []
    place = 0
    while place < len(text):
        letter = text[place]
        if depth and letter == "}":
            return "".join(out), place + 1
        if letter != "$" or place + 1 == len(text):
            out.append(letter)
            place += 1
            continue
        after = text[place + 1]
        name = _NAME.match(text, place + 1)
        if after == "$":
            out.append("$")
            place += 2
        elif after == "{":
            found, place = _braced(text, place + 2, variables, refuse, depth)
            out.append(found)
        elif name:
            out.append(variables.get(name[0], f"{ABSENT[0]}{name[0]}{ABSENT[1]}"))
            place = name.end()
        else:
            out.append("$")
            place += 1
    return "".join(out), place


def _braced(
    text: str, place: int, variables: Mapping[str, str], refuse: Callable[[str], None], depth: int
) -> tuple[str, int]:
    """Read ``NAME}``, or a name with a mark (``:-``, ``-``, ``:?``, ``?``, ``:+``, ``+``)."""
    name = _NAME.match(text, place)
    if name is None or depth > _DEEPEST:
        return "${", place
    place, value = name.end(), variables.get(name[0])
    if text[place : place + 1] == "}":
        absent = f"{ABSENT[0]}{name[0]}{ABSENT[1]}"
        return (absent if value is None else value), place + 1
    mark = text[place : place + 2] if text[place : place + 1] == ":" else text[place : place + 1]
    if mark not in (":-", "-", ":?", "?", ":+", "+"):
        return "${" + name[0], place

    def quiet(_sentence: str) -> None:
        """Say nothing about a default that is not used."""

    given = bool(value) if mark[0] == ":" else value is not None
    used = not given if mark[-1] in "-?" else given
    inner = text[place + len(mark) :]
    rest, taken = _text(inner, variables, refuse if used else quiet, depth + 1)
    place += len(mark) + taken
    if mark[-1] == "+":
        return rest if given else "", place
    if given or mark[-1] == "-":
        return (value or "") if given else rest, place
    refuse(f"the variable {name[0]} has no value" + (f" ({rest})" if rest else ""))
    return f"{ABSENT[0]}{name[0]}{ABSENT[1]}", place


def read_env(path: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file; none where there is no such file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        text = named_file(path, _LONGEST).decode("utf-8-sig", "replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InputError(getattr(error, "strerror", None) or str(error), str(path)) from error
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = _ENV_LINE.fullmatch(line)
        if match is None or line.lstrip().startswith("#"):
            continue
        value = match[2]
        closing = value.find(value[0], 1) if value[:1] in ("'", '"') else -1
        bare = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
        text = value[1:closing] if closing > 0 else bare
        literal = closing > 0 and value[0] == "'"  # as compose: quotes of this kind keep it so
        found[match[1]] = text if literal else fill(text, found, lambda _: None)
    return found
