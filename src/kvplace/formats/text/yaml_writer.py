"""Plain data to YAML text that reads back as the same data, by YAML 1.1 and 1.2 alike."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import Any

import yaml

_SAFE = re.compile(r"[A-Za-z][\w./+-]*|[0-9][0-9.e+-]*([GM]i)?B|[0-9][0-9.e+-]*s", re.ASCII)
"""Texts, amounts of memory and durations that are texts without quotes."""
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml where it was built in
_START, _END = yaml.StreamStartEvent(), yaml.StreamEndEvent()
_OPEN, _CLOSE = yaml.DocumentStartEvent(explicit=False), yaml.DocumentEndEvent(explicit=False)
_MAPPING: tuple[Any, Any] = yaml.MappingStartEvent, yaml.MappingEndEvent()
_LIST: tuple[Any, Any] = yaml.SequenceStartEvent, yaml.SequenceEndEvent()


def _plain(text: str) -> bool:
    """Whether a text may stand without quotes."""
    return bool(_SAFE.fullmatch(text)) and text.lower() not in _WORDS


def quoted(text: str) -> str:
    """Return a text as a scalar: as it stands where YAML 1.1 and 1.2 read it so, else in quotes."""
    return text if _plain(text) else json.dumps(text, ensure_ascii=False)


def yaml_text(data: dict[str, Any]) -> str:
    """Return plain data, mappings and lists that hold no others in one line each."""
    text: str = yaml.emit(
        [_START, _OPEN, *_events(data), _CLOSE, _END], Dumper=_Dumper, allow_unicode=True,
        width=2**31 - 1,
    )  # fmt: skip
    return text


def _events(value: Any) -> list[Any]:
    """Return the events of a value; the library would look at each scalar three times for them."""
    held: Iterable[Any]
    if isinstance(value, dict):
        held, (start, end) = chain.from_iterable(value.items()), _MAPPING
    elif isinstance(value, list | tuple):
        held, (start, end) = value, _LIST
    else:
        return [_scalar(value)]
    inner = list(map(_events, held))
    # In one line: nothing that holds others, and no text in quotes.
    flow = all(len(events) == 1 and not events[0].style for events in inner)
    return [start(None, None, implicit=True, flow_style=flow), *chain.from_iterable(inner), end]


@lru_cache(10_000, typed=True)  # keys and many values recur
def _scalar(value: Any) -> yaml.ScalarEvent:
    """Return the event of a scalar."""
    if not isinstance(value, str):
        text = yaml.safe_dump(value).partition("\n")[0]
        return yaml.ScalarEvent(None, None, (True, False), text)
    style = None if _plain(value) else '"'
    return yaml.ScalarEvent(None, None, (not style, bool(style)), value, style=style)
