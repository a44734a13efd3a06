"""Exported files on disk: each one whole or not at all, scripts executable."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kvplace.errors import InputError
from kvplace.formats.files import write_atomic

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
        The directory cannot be made, or a file cannot be written.
    """
    path = Path(directory)
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
