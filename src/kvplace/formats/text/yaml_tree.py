"""YAML text to plain data with the line of each value, by the YAML 1.2 core rules, nothing clever.

The text is taken event by event, so that anchors, aliases, tags, duplicate keys, further
documents and deep nesting are refused where they stand and never expanded.
"""

import re
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from kvplace.formats.diagnostics import Path, Report, shown
from kvplace.formats.text.tree import MAX_VALUES, Builder

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml where it was built in

_INT = re.compile(r"[-+]?[0-9]+")
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS = frozenset("0123456789+-.")
_STARTED: dict[Any, Any] = {MappingStartEvent: dict, SequenceStartEvent: list}
_Reference = tuple[Path, str, int]
"""Where an anchor or an alias is, its name, and its line."""
_LONGEST_INT = 64  # digits; longer ones are far beyond every limit and become floats


def parse_yaml(text: str, report: Report) -> Any:
    """Return the plain data of YAML; what is wrong is noted in a report, which gets the lines.

    Raises
    ------
    InputError
        The text could not be read to its end.
    """
    builder = Builder(report)
    references: list[_Reference] = []
    documents, taken, readable = 0, 0, False
    try:
        loader = _Loader(text)
        while builder.wants_more and (event := loader.get_event()) is not None:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    line = _line(event)
                    builder.fault("a second document starts here; keep one", line, last=True)
            else:
                _take(builder, event, references)
            taken += 1
            if taken > MAX_VALUES:
                message = f"more than {MAX_VALUES:,} keys and values; write so large a file as JSON"
                builder.fault(message, _line(event), last=True)
        readable = builder.depth == 0 and taken <= MAX_VALUES
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = " ".join(part for part in (error.problem, error.context) if part)
        place = mark.line + 1 if mark else None
        rest = text.split("\n")[mark.line : mark.line + 1] if mark else []  # none at the text's end
        if mark and "\t" in "".join(rest)[: mark.column + 1]:
            detail = "a tab cannot indent a line; use spaces"
        report.add((), f"not valid YAML: {detail}", place)
    except ReaderError as error:
        line = text.encode("utf-8", "replace")[: error.position].count(b"\n") + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        message = f"not valid YAML: the character U+{code:04X} is not allowed"
        report.add((), message, line)
    except UnicodeEncodeError as error:
        line = text[: error.start].count("\n") + 1
        builder.fault("half of a surrogate pair is no character", line)
    _note(references, report)
    if not readable:
        report.refuse()
    report.line_of = builder.line_of
    return builder.root


def plain_value(text: str) -> Any:
    """Return what an unquoted scalar means by the core rules of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    value: Any = text
    if _INT.fullmatch(text):
        value = int(text) if len(text) <= _LONGEST_INT else float(text)
    elif _FLOAT.fullmatch(text):
        value = float(text)
    elif _OTHER_INT.fullmatch(text):
        value = int(text, 0) if len(text) <= _LONGEST_INT else float("inf")
    elif special := _SPECIAL.fullmatch(text):
        value = float(special[1] + ("inf" if special[2] else "nan"))
    return value


def _take(builder: Builder, event: Any, references: list[_Reference]) -> None:
    """Hand one event to the builder; anchors and aliases are noted among `references`."""
    kind, line = type(event), _line(event)
    if kind is AliasEvent or getattr(event, "anchor", None):
        what = "alias *" if kind is AliasEvent else "anchor &"
        name = what + shown(event.anchor)[1:-1]
        references.append((builder.path, name, line))
    if (kind is ScalarEvent or kind in _STARTED) and event.tag:
        builder.fault(f"the tag {shown(event.tag)} is not accepted; remove it", line)
    if kind is ScalarEvent:
        if builder.wants_key:
            builder.key(event.value, line)
        else:
            builder.scalar(plain_value(event.value) if event.implicit[0] else event.value, line)
    elif kind in _STARTED:
        builder.open(_STARTED[kind](), line)
    elif isinstance(event, CollectionEndEvent):
        builder.close()
    elif kind is AliasEvent and builder.wants_key:
        builder.wants_more = False
    elif kind is AliasEvent:
        builder.scalar(None, line)


def _note(references: list[_Reference], report: Report) -> None:
    """Note anchors and aliases: the first tells of all."""
    others = len(references) - 1
    more = f" (and {others} more anchors or aliases)" * bool(others)
    way = "write the values out, as yq 'explode(.)' does"
    for at, (path, what, line) in enumerate(references):
        report.add(path, "" if at else f"the {what} is not accepted{more}; {way}", line)


def _line(event: Any) -> int:
    """Return the line where an event starts, from 1."""
    return int(event.start_mark.line) + 1
