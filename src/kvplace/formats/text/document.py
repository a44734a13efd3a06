"""The text of a file as a mapping: of which kind it is, its keys, and a report with their lines."""

import re
from pathlib import PurePath
from typing import Any

from kvplace.errors import InputError
from kvplace.formats.diagnostics import Report, kind_of

_LOOKED_AT = 4096
_SCHEMA = re.compile(
    r"""^[\s{]*["']?schema["']?\s*:\s*["']?kvplace\.([a-z]{1,20})/v\d+""", re.MULTILINE
)
_KINDS = {
    "fleet": ("a fleet file", "kvplace plan makes a plan of it", "keys"),
    "plan": ("a plan", "name the file that it was made of", "keys"),
    "proposal": ("a proposal", "kvplace verify takes it", "keys"),
    "observation": ("an observation", "kvplace replan takes it as --current", "keys"),
    "prices": ("a file of prices", "--prices takes it", "GPU types to numbers"),
}
"""What a file is, what is done with it, and what it maps; prices do not say that they are."""


def mapping_of(text: str, source: str, kind: str) -> tuple[dict[str, Any], Report]:
    """Return the mapping that a text is, and the report for what is wrong with it.

    Parameters
    ----------
    text, source
        The text, and the name of its file. Kinds that people write may be YAML, unless the name
        ends in ``.json``; all others are JSON.
    kind
        One of ``fleet``, ``plan``, ``proposal``, ``observation`` and ``prices``.

    Raises
    ------
    InputError
        The text cannot be read, is a file of another kind, or no mapping.
    """
    refuse_other_kind(text, kind, source)
    report = Report(source)
    if kind not in ("fleet", "prices") or PurePath(source).suffix.lower() == ".json":
        from kvplace.formats.text.json_tree import parse_json as parse  # noqa: PLC0415 - only for JSON
    else:
        from kvplace.formats.text.yaml_tree import parse_yaml as parse  # noqa: PLC0415 - only for YAML
    data = parse(text, report)
    if not isinstance(data, dict):
        what, _, mapped = _KINDS[kind]
        report.stop((), f"{what} is a mapping of {mapped}, not {kind_of(data)}")
    return data, report


def refuse_other_kind(text: str, wanted: str, source: str) -> None:
    """Refuse a text that says it is another kind of kvplace file than the one wanted.

    A text that names no kind is let pass.

    Raises
    ------
    InputError
        It names the schema of another kind.
    """
    found = _SCHEMA.search(text[:_LOOKED_AT])
    if found is None or found[1] == wanted or found[1] not in _KINDS:
        return
    what, way, _ = _KINDS[found[1]]
    raise InputError(f"this is {what}, and {_KINDS[wanted][0]} is wanted; {way}", source)
