"""Questions to runtimes: read-only, with a time limit, and an answer or a note."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from kvplace.errors import InputError
from kvplace.extras import missing_extra

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


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks, and shows a token where it has one.

    Parameters
    ----------
    token
        Sent as ``Authorization: Bearer``; empty for none.
    """

    token: str = field(default="", repr=False)

    def ask(self, url: str) -> tuple[Any, str]:
        """Return the JSON at an address, and a note where there is none.

        Raises
        ------
        MissingExtraError
            ``httpx`` is not installed.
        """
        _, body, note = self._get(url)
        if body is None:
            return None, note
        try:
            return json.loads(body), ""
        except (ValueError, RecursionError):
            return None, f"{url} answers with what is no JSON"

    def status(self, url: str) -> int:
        """Return the status of an answer; 0 where there is none."""
        return self._get(url)[0]

    def _get(self, url: str) -> tuple[int, bytes | None, str]:
        """Return status, body and a note; no body where the status is not 200."""
        try:
            import httpx  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise missing_extra("asking runtimes", "prometheus") from error
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        body, ok = bytearray(), httpx.codes.OK
        try:
            with httpx.stream("GET", url, timeout=_SECONDS, headers=headers) as answer:
                status = answer.status_code
                if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                    return status, None, f"{url} wants a token: --bearer-token-file"
                if status != ok:
                    return status, None, f"{url} answers with status {status}"
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        most = f"{MOST_BYTES // 2**20} MiB"
                        return status, None, f"{url} answers with more than {most}"
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return 0, None, f"{url} does not answer: {str(error) or type(error).__name__}"
        return status, bytes(body), ""


ASKER = Asker()
"""One without a token."""
