"""The command of an engine inside a shell script: ``bash -c``, with assignments and ``exec``."""

import re
import shlex
from collections.abc import Mapping, Sequence

__all__ = ["engine_words"]

_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|z|a)?sh")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^{}]*))?\}|([A-Za-z_]\w*))", re.ASCII)
_ENDS = frozenset((";", "&&", "||", "|", "&", "(", ")", "\n", ";;", "{", "}"))
_BEFORE = frozenset(("exec", "env", "nohup", "time", "sudo", "numactl", "then", "do", "else"))
_LONGEST = 2**17


def engine_words(
    words: Sequence[str], environment: Mapping[str, str], is_engine: "re.Pattern[str]"
) -> tuple[list[str], dict[str, str]]:
    """Return the words that start an engine, and the environment that they are started in.

    Words that call no shell come back as they are. Of a script, the first simple command that
    names an engine is taken; variables that the script or the environment sets are put in.

    Parameters
    ----------
    words
        Entrypoint and command.
    environment
        What the container sets.
    is_engine
        What the words of an engine's command hold.

    Raises
    ------
    ValueError
        Quotes of the script do not close.
    """
    script = _script(words)
    if script is None:
        return list(words), dict(environment)
    known = dict(environment)
    chosen: list[str] = []
    for command in _commands(script):
        filled = [_filled(word, known) for word in command]
        own = dict(known)
        while filled:
            match = _ASSIGNMENT.fullmatch(filled[0])
            if match:
                own[match[1]] = match[2]
            elif filled[0] == "export":
                for word in filled[1:]:
                    pair = _ASSIGNMENT.fullmatch(word)
                    if pair:
                        own[pair[1]] = pair[2]
                filled = [""]
            elif filled[0] not in _BEFORE:
                break
            filled = filled[1:]
        if not filled:
            known = own  # assignments alone stay
        elif not chosen and is_engine.search(" ".join(filled)):
            chosen, result = filled, own
    return (chosen, result) if chosen else ([], known)


def _script(words: Sequence[str]) -> str | None:
    """Return the script of ``bash -c SCRIPT``; None where no shell is called so."""
    for place, word in enumerate(words[:4]):
        if _SHELLS.fullmatch(word):
            for flag_at in range(place + 1, min(place + 5, len(words))):
                flag = words[flag_at]
                if flag.startswith("-") and "c" in flag.lstrip("-"):
                    return words[flag_at + 1] if flag_at + 1 < len(words) else ""
            return None
    return None


def _commands(script: str) -> list[list[str]]:
    """Return the simple commands of a script."""
    if len(script) > _LONGEST:
        raise ValueError("the script is too long")
    joined = re.sub(r"\\\r?\n", " ", script)
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = "#"
    commands: list[list[str]] = [[]]
    for word in lexer:
        if word in _ENDS or set(word) <= {";", "&", "|", "(", ")", "\n"}:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _filled(word: str, known: Mapping[str, str]) -> str:
    """Put in the variables that are known; others stay as they are written."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[3]
        found = known.get(name) or match[2]
        return match[0] if found is None else found

    return _VARIABLE.sub(value, word)
