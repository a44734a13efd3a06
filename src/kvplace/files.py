"""Text files in and out: a size limit and clean refusals in, all or nothing out."""

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePath

from kvplace.errors import Fault, InputError
from kvplace.waiting import content_of, waited

MAX_FILE_BYTES = 64 * 2**20
"""Largest file that is read, if it is no table and no plan: 64 MiB."""
MAX_ROWS_BYTES = 2**30
"""Largest table or plan that is read as text: millions of models."""
_Content = bytes | Callable[[], Iterable[str]]
_NO_TEXT = (
    # How files begin that are no text, and what they are.
    (b"PK\x03\x04", "this is a zip archive or an Excel workbook; save the sheet as CSV"),
    (b"\x1f\x8b", "this is compressed with gzip; unpack it first"),
    (b"PAR1", "this is a Parquet file; let its name end in .parquet"),
    (b"GGUF", "this is a GGUF checkpoint; kvplace model reads the directory that it is in"),
    (b"%PDF", "this is a PDF"),
    (b"\xff\xfe\0\0", "this is UTF-32; save the file as UTF-8"),
    (b"\xff\xfe", "this is UTF-16; save the file as UTF-8"),
    (b"\xfe\xff", "this is UTF-16; save the file as UTF-8"),
)


def is_parquet(path: str) -> bool:
    """Whether a name is that of a Parquet file."""
    return PurePath(path).suffix.lower() == ".parquet"


def is_csv(path: str) -> bool:
    """Whether a name is that of a CSV file."""
    return PurePath(path).suffix.lower() == ".csv"


def read_text(path: str | os.PathLike[str], most: int | None = None) -> str:
    """Read a UTF-8 text file whole.

    Parameters
    ----------
    path
        The file.
    most
        Bytes that it may have; by default `MAX_FILE_BYTES`.

    Raises
    ------
    InputError
        The file is missing, a directory, not readable, too large, empty, or not UTF-8.
    """
    name, most = os.fspath(path), most or MAX_FILE_BYTES
    try:
        content = content_of(name, most + 1)
    except FileNotFoundError:
        raise InputError("there is no such file", name) from None
    except IsADirectoryError:
        raise InputError("this is a directory; name a file in it", name) from None
    except PermissionError:
        raise InputError("this file may not be read; check its permissions", name) from None
    except (OSError, ValueError) as error:
        raise InputError(f"this file cannot be read: {_reason(error)}", name) from None
    if len(content) > most:
        limit = f"{most // 2**20} MiB"
        raise InputError(f"this file is larger than {limit}, the most that is read", name)
    for begin, message in _NO_TEXT:
        if content.startswith(begin):
            raise InputError(message, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        byte = content[error.start]
        message = f"the byte 0x{byte:02X} is not UTF-8; save the file as UTF-8"
        raise InputError([Fault(message, line=line)], name) from None
    first = text[:64]
    if first.count("\0") * 3 > len(first):  # a few are a damaged text, which its reader locates
        raise InputError("every other byte is zero, as of UTF-16; save the file as UTF-8", name)
    if not text.strip():
        raise InputError("this file is empty", name)
    return text


def target_of(path: str | os.PathLike[str]) -> Path:
    """Return where a file is to be written, symbolic links followed.

    Raises
    ------
    InputError
        No file can be written there, as far as can be known beforehand.
    """
    name = os.fspath(path)
    try:
        target = Path(os.path.realpath(name))
        # Others were followed; a pipe or a device leads to a name that is none.
        if target.is_symlink():
            raise InputError("this is a symbolic link that leads to itself", name)
        if target.is_dir():
            raise InputError("this is a directory; name a file in it", name)
        if not target.parent.is_dir() and not Path(name).exists():
            message = f"this file cannot be written: there is no directory {target.parent}"
            raise InputError(message, name)
    except (OSError, ValueError) as error:  # such as a working directory that is gone
        raise InputError(f"this file cannot be written: {_reason(error)}", name) from None
    if not os.access(target.parent, os.W_OK) and (target.is_file() or not Path(name).exists()):
        raise InputError(f"this file cannot be written: {target.parent} is read-only", name)
    return target


def write_atomic(
    path: str | os.PathLike[str], content: str | bytes | Callable[[], Iterable[str]]
) -> None:
    """Write a file, text as UTF-8: afterwards it is there whole or as it was before.

    The content goes to a new file in the same directory, which then takes the place of the old
    one and its permissions. Where the system can, the new file has no name before it is whole, so
    that a process that is killed leaves none behind. A symbolic link is followed.

    Parameters
    ----------
    path
        Where.
    content
        What; or what yields it piece by piece, so that it is never in memory as a whole.

    Raises
    ------
    InputError
        The path is a directory, or the file cannot be written; an earlier file is as it was.
    """
    name, target = os.fspath(path), target_of(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    # Of a long name only the begin: what is added must not make it longer than names may be.
    temporary = target.with_name(f".{target.name[:40]}.{os.urandom(4).hex()}")
    try:
        # A pipe or a device is written straight to; /dev/stdout leads to a name that is none.
        if Path(name).exists() and not Path(name).is_file():
            with waited(lambda: Path(name).open("wb"), "no program reads this pipe") as file:
                file.writelines(_pieces(data))
            return
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask()
        if not _written_without_a_name(temporary, data, mode):
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                _fill(handle, data, mode)
            finally:
                os.close(handle)
        temporary.replace(target)
    except (OSError, ValueError) as error:
        raise InputError(f"this file cannot be written: {_reason(error)}", name) from None
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink()


def kept(text: str, path: str | os.PathLike[str] | None) -> str:
    """Return a text; where there is a path, write it there as well, as `write_atomic` does."""
    if path is not None:
        write_atomic(path, text)
    return text


def _written_without_a_name(path: Path, data: _Content, mode: int) -> bool:
    """Write a file that gets its name when it is whole; return whether this system has such files.

    A process that is killed before leaves nothing behind.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        handle = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE, 0o600)
    except OSError:  # not on every file system
        return False
    try:
        _fill(handle, data, mode)
        try:
            # With a directory given, although the path needs none, the link is followed.
            os.link(f"/proc/self/fd/{handle}", path, src_dir_fd=handle)
        except OSError:
            return False
    finally:
        os.close(handle)
    return True


def _fill(handle: int, data: _Content, mode: int) -> None:
    """Write a file to the disk."""
    with os.fdopen(handle, "wb", closefd=False) as file:
        file.writelines(_pieces(data))
        file.flush()
        os.fsync(handle)
        os.chmod(handle, mode)


def _pieces(data: _Content) -> Iterable[bytes]:
    """Return what is written, piece by piece."""
    return [data] if isinstance(data, bytes) else (piece.encode("utf-8") for piece in data())


def _reason(error: Exception) -> str:
    """Return the system's words for an error, without the path."""
    words = error.strerror if isinstance(error, OSError) else None
    return (words or str(error)).lower()


def _umask() -> int:
    """Return the permissions that the process takes off new files."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
