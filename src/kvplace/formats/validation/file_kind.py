"""A file of another kind is named as what it is, before anything else is said of it."""

import re

from kvplace.errors import InputError

__all__ = ["refuse_other_kind"]

_LOOKED_AT = 4096
_SCHEMA = re.compile(
    r"""^[\s{]*["']?schema["']?\s*:\s*["']?kvplace\.([a-z]{1,20})/v\d+""", re.MULTILINE
)
_KINDS = {
    "fleet": ("a fleet file", "kvplace plan makes a plan of it"),
    "plan": ("a plan", "name the file that it was made of"),
    "proposal": ("a proposal", "kvplace verify takes it"),
    "observation": ("an observation", "kvplace replan takes it as --current"),
}


def refuse_other_kind(text: str, wanted: str, source: str) -> None:
    """Refuse a text that says it is another kind of kvplace file than the one wanted.

    Kinds are ``fleet``, ``plan`` and ``proposal``; a text that names none is let pass.

    Raises
    ------
    InputError
        It names the schema of another kind.
    """
    found = _SCHEMA.search(text[:_LOOKED_AT])
    if found is None or found[1] == wanted or found[1] not in _KINDS:
        return
    what, way = _KINDS[found[1]]
    raise InputError(f"this is {what}, and {_KINDS[wanted][0]} is wanted; {way}", source)
