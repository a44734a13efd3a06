"""Whether something is there: no, where the name is one that no file system can hold."""

import os


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file; not where the name is too long or holds what no name can."""
    return os.path.isfile(path)  # noqa: PTH113 - Path raises where a name is too long


def is_directory(path: str | os.PathLike[str]) -> bool:
    """Whether there is a directory; not where the name is too long or holds what no name can."""
    return os.path.isdir(path)  # noqa: PTH112 - Path raises where a name is too long


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is anything; not where the name is too long or holds what no name can."""
    return os.path.exists(path)  # noqa: PTH110 - Path raises where a name is too long
