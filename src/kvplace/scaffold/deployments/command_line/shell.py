"""The command of an engine inside a shell script or a ``docker run``."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kvplace.scaffold.deployments.command_line.variables import ABSENT, fill

_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|z|a)?sh")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.ASCII | re.DOTALL)
_ALL_ARGUMENTS = ("$@", "${@}", "$*")
_NOTHING = re.compile(f"{ABSENT[0]}[^{ABSENT[1]}]*{ABSENT[1]}")
"""A word that is one variable without a value."""
_ENDS = frozenset((";", "&&", "||", "|", "&", "(", ")", "\n", ";;", "{", "}"))
_BEFORE = frozenset(("exec", "env", "nohup", "time", "sudo", "numactl", "then", "do", "else"))
_LONGEST = 2**17
_RUNNERS = ("docker", "podman", "nerdctl")
_ALONE = re.compile(
    r"-[dPitq]+|--(rm|init|privileged|detach|interactive|tty|read-only|no-healthcheck|publish-all|"
    r"oom-kill-disable|disable-content-trust|quiet|replace)"
)
"""Flags of ``docker run`` that take no value."""


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
    called = _script(words)
    if called is None:
        return list(words), dict(environment)
    script, arguments = called
    known = dict(environment)
    chosen: list[str] = []
    for command in _commands(script):
        filled = _filled(command, known, arguments)
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


def _script(words: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """Return the script of ``bash -c SCRIPT NAME ...`` and its arguments; None without a shell."""
    for place, word in enumerate(words[:4]):
        if _SHELLS.fullmatch(word):
            for flag_at in range(place + 1, min(place + 5, len(words))):
                flag = words[flag_at]
                if flag.startswith("-") and "c" in flag.lstrip("-"):
                    rest = words[flag_at + 1 :]
                    return (rest[0], rest[2:]) if rest else ("", ())
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


def _filled(
    command: Sequence[str], known: Mapping[str, str], arguments: Sequence[str]
) -> list[str]:
    """Put in variables and the script's arguments; what is nothing in a shell is left out."""
    filled: list[str] = []
    for word in command:
        if word in _ALL_ARGUMENTS:
            filled += arguments
            continue
        text = fill(word, known, lambda _: None)
        if text and not _NOTHING.fullmatch(text):
            filled.append(text)
    return filled


def container_of(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the container of ``docker run`` as a compose service; None for other commands."""
    start = next((place for place, word in enumerate(words[:4]) if word in _RUNNERS), None)
    if start is None or list(words[start + 1 : start + 2]) != ["run"]:
        return None
    service: dict[str, Any] = {"environment": [], "devices": [], "volumes": []}
    place = start + 2
    while place < len(words) and words[place].startswith("-"):
        flag, mark, value = words[place].partition("=")
        if not mark and not _ALONE.fullmatch(flag):
            place += 1
            value = words[place] if place < len(words) else ""
        place += 1
        if flag in ("-e", "--env"):
            service["environment"].append(value)
        elif flag in ("-v", "--volume"):
            service["volumes"].append(value)
        elif flag == "--device":
            service["devices"].append(value)
        elif flag == "--gpus":
            service["gpus"] = _gpus(value)
        elif flag == "--runtime":
            service["runtime"] = value
        elif flag == "--entrypoint":
            service["entrypoint"] = value
    service["image"] = words[place] if place < len(words) else ""
    service["command"] = list(words[place + 1 :])
    return service


def _gpus(value: str) -> Any:
    """Return the value of ``--gpus`` as compose writes it."""
    text = value.strip("'\"")
    ids = re.search(r"device=([^\"']+)", text)
    if ids:
        return [{"device_ids": ids[1].split(",")}]
    count = re.search(r"\d+", text)
    return [{"count": int(count[0])}] if count and len(count[0]) < 5 else "all"
