"""Plain data to YAML text that reads back as the same data, by YAML 1.1 and 1.2 alike."""

import json
import re
from typing import Any

import yaml

_SAFE = re.compile(r"[A-Za-z][\w./+-]*|[0-9][0-9.e+-]*([GM]i)?B|[0-9][0-9.e+-]*s", re.ASCII)
"""Texts, amounts of memory and durations that are texts without quotes."""
_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))

_Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml where it was built in


class Dumper(_Emitter):  # type: ignore[misc]  # PyYAML has no types
    """Writes plain data, and never an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of PyYAML
        """Return True: what is there twice is written twice."""
        return True


class _FleetDumper(Dumper):
    """Writes texts plain where they may be, else in quotes."""


def _plain(text: str) -> bool:
    """Whether a text may stand without quotes."""
    return bool(_SAFE.fullmatch(text)) and text.lower() not in _WORDS


def _text(dumper: Dumper, text: str) -> Any:
    """Write a text."""
    style = None if _plain(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_FleetDumper.add_representer(str, _text)


def quoted(text: str) -> str:
    """Return a text as a scalar: as it stands where YAML 1.1 and 1.2 read it so, else in quotes."""
    return text if _plain(text) else json.dumps(text, ensure_ascii=False)


def yaml_text(data: dict[str, Any]) -> str:
    """Return plain data, mappings and lists that hold no others and no quotes in one line each."""
    text: str = yaml.dump(
        data, Dumper=_FleetDumper, sort_keys=False, default_flow_style=None, allow_unicode=True,
        width=2**31 - 1,
    )  # fmt: skip
    return text
