"""A bound on the time of a whole answer: httpx bounds each read, and a server can drip."""

import threading
from collections.abc import Callable
from typing import Any, Self


class Clock:
    """Calls a function when too much time has passed within it; `late` says that it did."""

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._event, self._end = threading.Event(), end
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True

    @property
    def late(self) -> bool:
        """Whether the time has passed."""
        return self._event.is_set()

    def _ring(self) -> None:
        self._event.set()
        self._end()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._timer.cancel()


def clocked_transport(httpx: Any, verify: Any, seconds: float) -> Any:
    """Return a transport that gives each try so many seconds to its headers.

    Parameters
    ----------
    httpx
        The module, which is an optional extra.
    verify
        What certificates are checked against, as httpx takes it.
    seconds
        The longest that the headers of an answer may take.
    """
    inner = httpx.HTTPTransport(verify=verify)

    class Clocked(httpx.BaseTransport):  # type: ignore[misc]  # an optional extra
        def handle_request(self, request: Any) -> Any:
            with Clock(seconds, inner.close) as clock:
                try:
                    return inner.handle_request(request)
                except (httpx.TransportError, RuntimeError, OSError) as error:
                    if clock.late:
                        raise httpx.ReadTimeout("the headers take too long") from error
                    raise

        def close(self) -> None:
            inner.close()

    return Clocked()
