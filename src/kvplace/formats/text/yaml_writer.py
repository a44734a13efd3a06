"""Plain data to YAML text that reads back as the same data, by YAML 1.1 and 1.2 alike."""

import json
import re
from typing import Any

import yaml

__all__ = ["quoted", "yaml_text"]

_SAFE = re.compile(r"[A-Za-z][\w./+-]*|[0-9][0-9.e+-]*([GM]i)?B|[0-9][0-9.e+-]*s", re.ASCII)
"""Texts, amounts of memory and durations that are texts without quotes."""
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def _plain(text: str) -> bool:
    """Whether a text may stand without quotes."""
    return bool(_SAFE.fullmatch(text)) and text.lower() not in _WORDS


def quoted(text: str) -> str:
    """Return a text as a scalar: as it stands where YAML 1.1 and 1.2 read it so, else in quotes."""
    return text if _plain(text) else json.dumps(text, ensure_ascii=False)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml where it was built in
    """Writes texts in quotes where they may be read as something else."""


def _represented(dumper: Any, text: str) -> Any:
    style = None if _plain(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represented)
_Dumper.ignore_aliases = lambda *_: True  # each value is written out


def yaml_text(data: dict[str, Any]) -> str:
    """Return plain data, mappings and lists that hold no others in one line each."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None,
        width=2**31 - 1,
    )  # fmt: skip
    return text
