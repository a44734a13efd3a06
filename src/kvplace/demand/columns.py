"""Which column of a log means what, and in which unit its times are."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.errors import Fault, InputError

__all__ = ["TIME_UNITS", "Columns", "find_columns"]

TIME_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

_TIME = (
    "t_s", "t", "time_s", "time", "timestamp", "timestamp_s", "timestamp_ms", "ts", "date",
    "datetime", "created_at", "created", "arrival_time", "arrived_at", "start_time",
)  # fmt: skip
_TIMES_WITH_UNITS = tuple(f"{name}_{unit}" for name in _TIME for unit in TIME_UNITS)
_MODEL = ("model", "model_name", "model_id", "served_model_name", "service")
_PROMPT = (
    "prompt_tokens", "input_tokens", "contexttokens", "context_tokens", "input_length",
    "num_prefill_tokens", "n_input_tokens", "prompt_len",
)  # fmt: skip
_OUTPUT = (
    "output_tokens", "completion_tokens", "generation_tokens", "generatedtokens",
    "generated_tokens", "output_length", "num_decode_tokens", "n_output_tokens", "output_len",
)  # fmt: skip
_COUNT = ("requests", "request_count", "num_requests", "count")

_SECONDS_BY_NAME = {"t", "t_s", "time_s", "timestamp_s", "arrived_at"}
"""Numeric times of these names are seconds: the shared traces' and vidur's convention."""
_MOONCAKE = {"timestamp", "input_length", "output_length"}
"""Mooncake's published logs: their numeric ``timestamp`` is in milliseconds."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns to read.

    Parameters
    ----------
    time
        Time of the request, or begin of the window that a row counts.
    model
        Columns whose values together, joined by ``/``, name the model; empty for a log of one.
    prompt, output
        Tokens of the request, or of all requests of the row's window; None where absent.
    count
        Requests in the row's window; None where every row is one request.
    time_unit
        Unit of a numeric time; None where the name does not tell.
    """

    time: str
    model: tuple[str, ...]
    prompt: str | None
    output: str | None
    count: str | None
    time_unit: str | None


def find_columns(
    names: Sequence[str],
    source: str,
    *,
    time: str | None = None,
    model: Sequence[str] = (),
    prompt: str | None = None,
    output: str | None = None,
    time_unit: str | None = None,
) -> Columns:
    """Find the columns of a log by their names; those that the caller names go first.

    Parameters
    ----------
    names
        All columns of the log.
    source
        Name of the log, for messages.
    time, model, prompt, output
        Columns named by the caller.
    time_unit
        One of `TIME_UNITS`, for a numeric time.

    Raises
    ------
    InputError
        A named column is absent, or there is no time column: every fault at once.
    """
    lower = {name.lower(): name for name in reversed(names)}
    faults = [
        Fault(f"there is no column {asked!r}; there are {', '.join(names)}")
        for asked in (time, *model, prompt, output)
        if asked is not None and asked not in names
    ]
    found_time = time or _first(_TIME, lower) or _first(_TIMES_WITH_UNITS, lower)
    if found_time is None:
        faults.append(
            Fault(f"no column is a time ({', '.join(names)}); name it with --time-column")
        )
    if faults:
        raise InputError(faults, source)
    assert found_time is not None
    single = _first(_MODEL, lower)
    return Columns(
        time=found_time,
        model=tuple(model) or ((single,) if single else ()),
        prompt=prompt or _first(_PROMPT, lower),
        output=output or _first(_OUTPUT, lower),
        count=_first(_COUNT, lower),
        time_unit=time_unit or _unit(found_time.lower(), set(lower)),
    )


def _first(wanted: Sequence[str], lower: dict[str, str]) -> str | None:
    return next((lower[name] for name in wanted if name in lower), None)


def _unit(time: str, names: set[str]) -> str | None:
    """Return the unit that the name of a numeric time column tells, if any."""
    if names >= _MOONCAKE and time == "timestamp":
        return "ms"
    if time in _SECONDS_BY_NAME:
        return "s"
    suffix = time.rpartition("_")[2]
    return suffix if suffix in TIME_UNITS and suffix != time else None
