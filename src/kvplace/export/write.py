"""Exported files on disk: each one whole or not at all, scripts executable."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kvplace.errors import InputError
from kvplace.files import write_atomic

_NAMES_OF_FILES = {".conf", ".env", ".json", ".sh", ".txt", ".yaml", ".yml"}
"""Endings that no directory of an export is expected to have."""
_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def write_files(directory: str | os.PathLike[str], files: Mapping[str, str]) -> list[str]:
    """Write files into a directory, which is made where it is not there.

    Parameters
    ----------
    directory
        Where to.
    files
        Texts by file name.

    Returns
    -------
    list of str
        Names of other files in the directory, which may belong to an earlier export.

    Raises
    ------
    InputError
        The directory cannot be made, or is named like a file, or a file cannot be written.
    """
    path = Path(directory)
    if path.suffix.lower() in _NAMES_OF_FILES and not path.is_dir():
        message = (
            "this is the name of a file, and an export is a directory of files; name one, such"
        )
        raise InputError(f"{message} as {path.with_suffix('')}", str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in files)
    except OSError as error:
        raise InputError(f"no directory can be made here: {error.strerror}", str(path)) from None
    for name, text in files.items():
        target = path / name
        write_atomic(target, text)
        if text.startswith("#!"):
            target.chmod(target.stat().st_mode | _EXECUTABLE)
    return others
