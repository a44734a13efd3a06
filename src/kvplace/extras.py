"""How to install an optional part of kvplace in the environment that runs.

The same words do not work everywhere: a clone is installed from its directory, a wheel from its
file, and an environment that uv made may have no pip.
"""

import json
import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kvplace.errors import MissingExtraError

_NAMED = "kvplace{}"


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """Return the error that says what needs an extra, and the command that installs it here.

    Parameters
    ----------
    what
        What cannot be done, such as ``a report``.
    extra
        Name of the extra in ``pyproject.toml``.
    """
    return MissingExtraError(f"{what} needs the extra {extra!r}: {install_command(extra)}")


def install_command(extra: str) -> str:
    """Return the command that installs an extra into the Python that runs."""
    python = _short(Path(sys.executable))
    if "UV" in os.environ and _is_project(Path.cwd()):  # what `uv run` starts
        return f"uv run --extra {extra} kvplace ..., or for good: uv sync --extra {extra}"
    by = (
        f"{shlex.quote(python)} -m pip install"
        if find_spec("pip") is not None
        else f"uv pip install --python {shlex.quote(python)}"
    )
    source, editable = _source()
    target = shlex.quote(source.format(f"[{extra}]"))
    return f"{by} {'-e ' if editable else ''}{target}"


def _source() -> tuple[str, bool]:
    """Return what kvplace was installed from, with a place for extras, and whether in place."""
    from importlib.metadata import (  # noqa: PLC0415 - slow to import, and seldom needed
        PackageNotFoundError,
        distribution,
    )

    root = Path(__file__).resolve().parents[2]
    try:
        stated = distribution("kvplace").read_text("direct_url.json")
    except PackageNotFoundError:  # run from its sources, not installed
        return (_literal(_short(root)) + "{}", True) if _is_project(root) else (_NAMED, False)
    if not stated:
        return _NAMED, False  # from an index
    origin = json.loads(stated)
    parts = urlsplit(origin["url"])
    if parts.scheme != "file":
        scheme = "git+" if "vcs_info" in origin else ""
        return f"{_NAMED} @ {scheme}{_literal(origin['url'])}", False
    path = Path(unquote(parts.path))
    if not path.exists():
        return _NAMED, False
    return _literal(_short(path)) + "{}", bool(origin.get("dir_info", {}).get("editable"))


def _is_project(directory: Path) -> bool:
    """Whether a directory is a clone of kvplace."""
    try:
        text = (directory / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return False
    return 'name = "kvplace"' in text


def _short(path: Path) -> str:
    """Return a path as a person would write it: from here where it is below here."""
    try:
        inside = path.relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return "." if not inside.parts else f"./{inside}"


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
