"""JSON text to plain data. Lines are computed only when something is wrong."""

import json
import re
from functools import cache
from itertools import islice
from typing import Any

from kvplace.formats.diagnostics import Report
from kvplace.formats.text.tree import MAX_DEPTH, MAX_VALUES, Builder

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]|\n|[^\s\[\]{},:"]+')
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_LONGEST_INT = 300  # digits; longer ones are far beyond every limit and become floats


def parse_json(text: str, report: Report) -> Any:
    """Return the plain data of JSON; what is wrong is noted in a report, which gets the lines.

    Raises
    ------
    InputError
        The text is not JSON, or not one that a file can hold.
    """
    doubled = False

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal doubled
        data = dict(pairs)
        if len(data) < len(pairs):  # the first of a key counts
            doubled, data = True, {}
            for key, value in pairs:
                data.setdefault(key, value)
        return data

    try:
        try:
            data = json.loads(text, object_pairs_hook=mapping)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer of thousands of digits
            data = json.loads(text, object_pairs_hook=mapping, parse_int=_integer)
    except json.JSONDecodeError as error:
        said = error.msg
        if text[error.pos : error.pos + 1] in ("}", "]") and text[: error.pos].rstrip()[-1:] == ",":
            said = "Illegal trailing comma"  # as Python 3.13 says
        words = f"{said[:1].lower()}{said[1:]} (column {error.colno})"
        report.stop((), f"not valid JSON: {words}", error.lineno)
    except RecursionError:
        _scan(text, report)  # tells where it is nested too deep
        report.refuse()
        report.stop((), f"nested deeper than {MAX_DEPTH} levels")
    broken = bool(_SURROGATE.search(text)) and _broken(data)
    if doubled or broken:
        _scan(text, report)
        if not report:  # they come after what is looked at one by one
            report.add((), "a key is given twice, or half of a surrogate pair is given")
        if broken:
            report.refuse()
    lines = cache(lambda: _scan(text, Report("")))
    report.line_of = lambda path: lines().line_of(path)
    return data


def _integer(text: str) -> int | float:
    """Read an integer; one beyond every limit of the formats becomes a float."""
    return int(text) if len(text) <= _LONGEST_INT else float(text)


def _broken(data: Any) -> bool:
    """Whether some text holds half of a surrogate pair, which no file can hold."""
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return True
    return False


def _scan(text: str, report: Report) -> Builder:
    """Note doubled keys and broken characters of a valid JSON text; return what has its lines.

    Values after the first `MAX_VALUES` tokens are given the line of what holds them.
    """
    builder = Builder(report)
    line = 1
    for match in islice(_TOKEN.finditer(text), MAX_VALUES):
        part = match[0]
        start = part[0]
        if start == "\n":
            line += 1
        elif start in "{[":
            builder.open({} if start == "{" else [], line)
            if not builder.wants_more:
                break
        elif start in "}]":
            builder.close()
        elif start not in ",:":
            content = json.loads(part) if start == '"' else part
            if builder.wants_key:
                builder.key(content, line)
                _refuse_surrogates(builder, content, line)
            else:
                _refuse_surrogates(builder, content, line)
                builder.scalar(content, line)
    return builder


def _refuse_surrogates(builder: Builder, content: str, line: int) -> None:
    if any("\ud800" <= character <= "\udfff" for character in content):
        builder.fault("half of a surrogate pair is no character", line)
