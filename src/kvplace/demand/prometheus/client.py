"""A small client of the Prometheus HTTP API: retries, timeouts, authentication, plain errors.

API: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from kvplace.demand.prometheus.clocked import Clock, clocked_transport
from kvplace.errors import InputError
from kvplace.extras import missing_extra

Samples = tuple[dict[str, str], list[tuple[float, float]]]
"""Labels of a series, and its samples: time in seconds, value."""

_RETRIED = (429, 500, 502, 503, 504)
_LARGEST_ANSWER = 256 * 2**20
_LONGEST_PAUSE = 5.0  # seconds between two tries, whatever the server asks for


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach a server.

    Parameters
    ----------
    user, password
        Basic authentication; None for none.
    bearer_token
        Sent as ``Authorization: Bearer``; None for none.
    ca_file
        Certificates to trust besides none other; None for the system's.
    verify
        Whether to check the server's certificate.
    timeout_seconds
        The longest that one answer may take, from the question to its last byte.
    retries
        How often a lost connection or an answer of 429 or 5xx is tried again.
    """

    user: str | None = None
    password: str | None = None
    bearer_token: str | None = None
    ca_file: Path | None = None
    verify: bool = True
    timeout_seconds: float = 30.0
    retries: int = 3

    def __repr__(self) -> str:
        return f"Access(user={self.user!r}, verify={self.verify})"  # never a secret


class PrometheusClient:
    """Asks a Prometheus server, or one that speaks its API (Thanos, Mimir, VictoriaMetrics).

    Parameters
    ----------
    url
        Address before ``/api/v1``.
    access
        Authentication, TLS, timeout and retries.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` or ``httpx-retries`` is not installed.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        try:
            import httpx  # noqa: PLC0415 - an optional extra
            import httpx_retries  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise missing_extra("reading Prometheus", "prometheus") from error
        self.source = _checked(url)
        self._httpx = httpx
        self._access = access = access or Access()
        retry = httpx_retries.Retry(
            total=access.retries,
            backoff_factor=0.2,
            status_forcelist=_RETRIED,
            allowed_methods=("GET", "POST"),
            max_backoff_wait=_LONGEST_PAUSE,
            total_timeout=3 * _LONGEST_PAUSE,
            retry_on_exceptions=(httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError),
        )
        auth = (access.user, access.password or "") if access.user is not None else None
        headers = {"Authorization": f"Bearer {access.bearer_token}"} if access.bearer_token else {}
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/api/v1/",
            auth=auth,
            headers=headers,
            timeout=access.timeout_seconds,
            transport=httpx_retries.RetryTransport(
                clocked_transport(httpx, self._trust(access), access.timeout_seconds), retry=retry
            ),
        )

    def _trust(self, access: Access) -> Any:
        """Return what certificates are checked against."""
        if not access.verify:
            return False
        if access.ca_file is None:
            return True
        import ssl  # noqa: PLC0415 - slow to load

        try:
            return ssl.create_default_context(cafile=str(access.ca_file))
        except OSError as error:
            reason = error.strerror or "it holds no certificate"
            raise InputError(reason, str(access.ca_file)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def names(self, selector: str, start: float, end: float) -> frozenset[str]:
        """Return the metric names that match a selector between two times."""
        data = self._ask(
            "label/__name__/values", {"match[]": selector, "start": start, "end": end}, post=False
        )
        if not isinstance(data, list):
            raise self._no_answer("a list of names is missing")
        return frozenset(str(name) for name in data)

    def range(self, query: str, start: float, end: float, step: float) -> Iterator[Samples]:
        """Yield the series of a range query."""
        data = self._ask("query_range", {"query": query, "start": start, "end": end, "step": step})
        yield from self._series(data, "matrix", "values")

    def instant(self, query: str, time: float) -> Iterator[Samples]:
        """Yield the series of an instant query, each with one sample."""
        data = self._ask("query", {"query": query, "time": time})
        yield from self._series(data, "vector", "value")

    def _series(self, data: Any, kind: str, field: str) -> Iterator[Samples]:
        """Check and convert the result of a query."""
        try:
            if data["resultType"] != kind:
                raise self._no_answer(f"a {kind} was asked for")
            for series in data["result"]:
                pairs = [series[field]] if kind == "vector" else series[field]
                labels = {str(k): str(v) for k, v in series["metric"].items()}
                samples = [(float(time), float(value)) for time, value in pairs]
                if not all(math.isfinite(time) for time, _ in samples):
                    raise self._no_answer("a time that is none")
                yield labels, samples
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self._no_answer(f"{type(error).__name__} in its result") from error

    def _ask(self, path: str, fields: Mapping[str, Any], *, post: bool = True) -> Any:
        """Send one request and return the data of its answer."""
        httpx = self._httpx
        late = False
        try:
            if post:
                question = self._client.build_request("POST", path, data=dict(fields))
            else:
                question = self._client.build_request("GET", path, params=dict(fields))
            answer = self._client.send(question, stream=True)
            with Clock(self._access.timeout_seconds, self._client.close) as clock:
                try:
                    body = self._body(answer)
                finally:
                    late = clock.late
                    answer.close()
        except (httpx.HTTPError, RuntimeError, OSError) as error:
            raise self._failed(error, late=late) from error
        return self._data(answer, body)

    def _body(self, answer: Any) -> bytes:
        """Read an answer up to the largest that is taken."""
        parts, size = [], 0
        for part in answer.iter_bytes(65536):
            size += len(part)
            if size > _LARGEST_ANSWER:
                raise InputError(
                    f"the answer is longer than {_LARGEST_ANSWER // 2**20} MiB; shorten --window, "
                    "take a longer --step or narrow it with --match",
                    self.source,
                )
            parts.append(part)
        return b"".join(parts)

    def _failed(self, error: Exception, *, late: bool) -> InputError:
        """Return one line about a request without an answer."""
        httpx = self._httpx
        if late or isinstance(error, httpx.TimeoutException):
            return InputError(
                f"no answer within {self._access.timeout_seconds:g} s; raise --timeout, shorten "
                "--window or take a longer --step",
                self.source,
            )
        if isinstance(error, httpx.ConnectError):
            return InputError(
                f"cannot be reached ({_first_line(error)}); check the address", self.source
            )
        return InputError(f"the answer broke off ({_first_line(error)})", self.source)

    def _data(self, answer: Any, text: bytes) -> Any:
        """Return the data of an answer, or raise one line about what is wrong with it."""
        status = int(answer.status_code)
        if status in (401, 403):
            raise InputError(
                f"access is refused ({status}); pass --bearer-token-file, or --user with "
                "--password-file",
                self.source,
            )
        if 300 <= status < 400:
            place = answer.headers.get("location", "elsewhere")
            raise InputError(f"it redirects to {place}; pass that address", self.source)
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = None
        told = body.get("error") if isinstance(body, dict) else None
        if status == 404 and not told:
            raise InputError(
                "there is no Prometheus API (404); give the address before /api/v1", self.source
            )
        if status >= 400:
            retried = f" after {self._access.retries} retries" if status in _RETRIED else ""
            reason = f": {_first_line(told)}" if told else ""
            raise InputError(f"it fails with {status}{retried}{reason}", self.source)
        if not isinstance(body, dict) or body.get("status") != "success" or "data" not in body:
            raise self._no_answer(_first_line(told) if told else "it is no such JSON")
        warnings = body.get("warnings")
        if warnings:
            told = warnings[0] if isinstance(warnings, list) else warnings
            raise InputError(f"it answers only in part: {_first_line(told)}", self.source)
        return body["data"]

    def _no_answer(self, why: str) -> InputError:
        return InputError(f"this is not an answer of the Prometheus API ({why})", self.source)


def _checked(url: str) -> str:
    """Return an address without a password, for messages; refuse what is none."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        valid = parts.scheme in ("http", "https") and bool(host) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:  # a port, an IPv6 address or a name of a host that is none
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise InputError(
            f"{url.rpartition('@')[2]!r} is no address; write it like http://prometheus:9090",
            "Prometheus",
        )
    return f"{parts.scheme}://{host}{parts.path}"


def _first_line(text: object) -> str:
    """Return the first line of a message, shortened."""
    lines = str(text).strip().splitlines()
    return (lines[0] if lines else type(text).__name__)[:200]
