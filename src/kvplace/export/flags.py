"""Arguments of an engine as keys and values, for runtimes that take no command line."""

import json
from collections.abc import Sequence

from kvplace.errors import InputError


def flag_pairs(args: Sequence[str], model: str) -> dict[str, str]:
    """Return each flag with its value, an empty one for a bare flag.

    Raises
    ------
    InputError
        A word belongs to no flag, or a flag is given twice.
    """
    pairs: dict[str, str] = {}
    current = ""
    for word in args:
        if word.startswith("--"):
            current, _, value = word.partition("=")
            if current in pairs:
                raise InputError(f"{current} is given twice", f"{model}.launch.args")
            pairs[current] = value
        elif current and not pairs[current]:
            pairs[current] = word
        else:
            raise InputError(f"{word!r} belongs to no flag", f"{model}.launch.args")
    return pairs


def keyword_values(args: Sequence[str], model: str) -> dict[str, object]:
    """Return flags as keyword arguments: ``--max-model-len 8192`` is ``max_model_len: 8192``."""
    values: dict[str, object] = {}
    for flag, text in flag_pairs(args, model).items():
        name = flag.removeprefix("--").replace("-", "_")
        if text:
            values[name] = _value(text)
        elif name.startswith("no_"):
            values[name.removeprefix("no_")] = False
        else:
            values[name] = True
    return values


def stated_length(args: Sequence[str]) -> int:
    """Return the tokens of the longest request that vLLM is told to serve; 0 where it is not."""
    try:
        text = flag_pairs(args, "").get("--max-model-len", "")
    except InputError:  # arguments that are no flags are the engine's to judge
        return 0
    return int(text) if text.isdecimal() and text.isascii() else 0


def _value(text: str) -> object:
    """Return what a text says where it is a number, a truth value or JSON; else the text."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text
