"""Questions to runtimes: read-only, with a time limit, and an answer or a note."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from kvplace.errors import InputError, MissingExtraError

__all__ = ["MOST_BYTES", "ask", "ask_status", "base_of"]

MOST_BYTES = 64 * 2**20
"""Largest answer that is read."""
_SECONDS = 10.0


def base_of(address: str) -> str:
    """Return an address without its last slash.

    Raises
    ------
    InputError
        It is no http or https address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{address!r} is no address; write it like http://host:8000")
    return address.rstrip("/")


def ask(url: str) -> tuple[Any, str]:
    """Return the JSON at an address, and a note where there is none.

    Raises
    ------
    MissingExtraError
        ``httpx`` is not installed.
    """
    body, note = _get(url)
    if body is None:
        return None, note
    try:
        return json.loads(body), ""
    except (ValueError, RecursionError):
        return None, f"{url} answers with what is no JSON"


def ask_status(url: str) -> int:
    """Return the status of an answer; 0 where there is none."""
    body, note = _get(url)
    if body is not None:
        return 200
    return int(note.rpartition(" ")[2]) if note.rpartition(" ")[2].isdecimal() else 0


def _get(url: str) -> tuple[bytes | None, str]:
    try:
        import httpx  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtraError(
            "asking runtimes needs the extra 'prometheus': pip install 'kvplace[prometheus]'"
        ) from error
    body = bytearray()
    try:
        with httpx.stream("GET", url, timeout=_SECONDS, follow_redirects=False) as answer:
            if answer.status_code != httpx.codes.OK:
                return None, f"{url} answers with status {answer.status_code}"
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    return None, f"{url} answers with more than {MOST_BYTES // 2**20} MiB"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return None, f"{url} does not answer: {str(error) or type(error).__name__}"
    return bytes(body), ""
