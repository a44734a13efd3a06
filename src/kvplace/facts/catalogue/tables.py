"""Tables of facts: those shipped with kvplace, and a user's own rows over them."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from kvplace.errors import Fault, InputError, UnitError
from kvplace.files import read_text
from kvplace.units import parse_bytes, parse_number

CATALOGUE_VARIABLE = "KVPLACE_CATALOGUE"
"""Environment variable: the directory of a user's own ``gpus.csv`` and ``models.csv``."""

T = TypeVar("T")

_SHIPPED = Path(__file__).parent


def user_directory() -> Path:
    """Return where a user's own tables are: `CATALOGUE_VARIABLE`, else the configuration home."""
    named = os.environ.get(CATALOGUE_VARIABLE)
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "kvplace"


def read_tables(
    name: str,
    needed: Iterable[str],
    make: Callable[[Mapping[str, str]], T],
    folder: Path = _SHIPPED,
) -> Mapping[str, T]:
    """Read the shipped table of that name, and the user's own over it.

    Parameters
    ----------
    name
        File name, such as ``gpus.csv``.
    needed
        Columns that every table must have and every row must fill.
    make
        Turns a row into a fact; raises `InputError` for a row that is wrong.
    folder
        Where the shipped table is.

    Returns
    -------
    mapping
        Facts by name, shipped ones first; a user's row takes the place of a shipped one.

    Raises
    ------
    InputError
        With every wrong row of the user's table; or the directory named for it is none.
    """
    variables = (CATALOGUE_VARIABLE, "XDG_CONFIG_HOME", "HOME")
    shipped, own = _paths(name, folder, *map(os.environ.get, variables))
    if os.environ.get(CATALOGUE_VARIABLE) and not own.parent.is_dir():
        message = f"{CATALOGUE_VARIABLE} names no directory; unset it, or name that of your tables"
        raise InputError(message, os.environ[CATALOGUE_VARIABLE])
    paths = (shipped, own) if own.is_file() else (shipped,)
    return _read(paths, tuple(needed), make)


@cache
def _paths(name: str, folder: Path, *_environment: str | None) -> tuple[Path, Path]:
    """Return where the shipped and the user's own table are, in an environment."""
    return folder / name, user_directory() / name


@cache
def _read(
    paths: tuple[Path, ...], needed: tuple[str, ...], make: Callable[[Mapping[str, str]], T]
) -> Mapping[str, T]:
    facts: dict[str, T] = {}
    for path in paths:
        facts |= _read_one(path, needed, make)
    return facts


def _read_one(
    path: Path, needed: tuple[str, ...], make: Callable[[Mapping[str, str]], T]
) -> dict[str, T]:
    """Read one table, collecting every fault."""
    facts: dict[str, T] = {}
    faults: list[Fault] = []
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="")
        missing = [column for column in needed if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(
                [Fault(f"the column {column!r} is missing") for column in missing], str(path)
            )
        for row in reader:
            empty = [column for column in needed if not row[column].strip()]
            if empty:
                faults.append(Fault(f"{', '.join(empty)} is empty", "", reader.line_num))
                continue
            try:
                facts[row["name"].strip()] = make(row)
            except InputError as error:
                faults += [Fault(f.message, f.path, reader.line_num) for f in error.faults]
    except csv.Error as error:
        raise InputError(f"this table cannot be read: {error}", str(path)) from error
    if faults:
        raise InputError(faults, str(path))
    return facts


def named(facts: Mapping[str, T], name: str) -> T | None:
    """Return the fact of a name, upper and lower case being one; None where there is none.

    Parameters
    ----------
    facts
        What `read_tables` returned.
    name
        Name as somebody wrote it.
    """
    found = facts.get(name)
    if found is None:
        if id(facts) not in _FOLDED:  # tables are kept for good, so that an id stays theirs
            _FOLDED[id(facts)] = {known.casefold(): known for known in facts}
        known = _FOLDED[id(facts)].get(name.casefold())
        found = None if known is None else facts[known]
    return found


_FOLDED: dict[int, dict[str, str]] = {}


def number(row: Mapping[str, str], column: str) -> float | None:
    """Return a number of a row, None where the cell is empty or the column absent.

    Raises
    ------
    InputError
        The cell holds no number of at least 0.
    """
    text = (row.get(column) or "").strip()
    if not text:
        return None
    value = parse_number(text)
    if value is None or not 0 <= value < float("inf"):
        raise InputError([Fault(f"{text!r} is no number of at least 0", column)])
    return value


def gibibytes(row: Mapping[str, str], column: str) -> int:
    """Return a cell of GiB that is filled, in bytes.

    Raises
    ------
    InputError
        The cell holds no amount of memory.
    """
    cell = row[column].strip()
    try:
        return parse_bytes(f"{cell}GiB")
    except UnitError as error:
        raise InputError([Fault(f"{cell!r} is no number of GiB", column)]) from error
