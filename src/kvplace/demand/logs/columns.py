"""Which column of a log means what."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

from kvplace.errors import Fault, InputError

_TIME = (
    "t_s", "t", "time_s", "time", "timestamp", "timestamp_s", "timestamp_ms", "ts", "start_time",
    "start_time_iso", "date", "datetime", "created_at", "created", "request_created_at",
    "arrival_time", "arrived_at", "window_start", "bucket_start", "bucket", "day", "hour",
    "timestamp_utc", "time_utc", "datetime_utc", "start_time_unix_nano", "time_unix_nano",
    "start_timestamp", "started_at", "start",
)  # fmt: skip
_END = ("end_time", "window_end", "bucket_end")
_MODEL = (
    "model", "model_name", "model_id", "served_model_name", "model_permaslug", "model_slug",
    "request_model", "response_model", "model_group", "provided_model_name", "llm_model",
    "deployment", "service",
)  # fmt: skip
_PROMPT = (
    "native_tokens_prompt", "prompt_tokens", "input_tokens", "tokens_prompt", "tokens_input",
    "context_tokens", "num_prefill_tokens", "n_input_tokens", "request_tokens", "input_length",
    "prompt_length", "input_len", "prompt_len", "prompt_token_count", "input_token_count",
    "num_prompt_tokens", "num_input_tokens", "usage_input", "input_usage", "tokens_in",
    "total_prompt_tokens", "total_input_tokens",
)  # fmt: skip
_OUTPUT = (
    "native_tokens_completion", "completion_tokens", "output_tokens", "tokens_completion",
    "tokens_output", "generation_tokens", "generated_tokens", "num_decode_tokens",
    "n_output_tokens", "response_tokens", "output_length", "response_length", "output_len",
    "completion_length", "completion_token_count", "output_token_count", "candidates_token_count",
    "num_output_tokens", "num_completion_tokens", "usage_output", "output_usage", "tokens_out",
    "total_completion_tokens", "total_output_tokens",
)  # fmt: skip
_COUNT = (
    "requests", "request_count", "requests_count", "num_requests", "num_model_requests",
    "total_requests", "number_of_requests", "count", "calls", "call_count",
)  # fmt: skip


_OUTCOME = ("status", "status_code", "http_status", "success", "error", "is_error", "error_code")
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns to read.

    Parameters
    ----------
    time
        Time of the request, or begin of the window that a row counts.
    end
        End of that window; None where absent.
    model
        Columns whose values together, joined by ``/``, name the model; empty for a log of one.
    prompt, output
        Tokens of the request, or of all requests of the row's window; None where absent.
    count
        Requests in the row's window; None where every row is one request.
    unread
        Columns that say more of a request than is taken from them: whether it failed, and prompt
        tokens that a cache had.
    """

    time: str
    model: tuple[str, ...]
    prompt: str | None
    output: str | None
    count: str | None
    end: str | None = None
    unread: tuple[str, ...] = ()


class Named(TypedDict, total=False):
    """What the caller of a reader says of a log's columns, where their names do not tell."""

    time_column: str | None
    model_columns: Sequence[str]
    prompt_column: str | None
    output_column: str | None
    count_column: str | None
    time_unit: str | None


def find_columns(names: Sequence[str], source: str, **named: Unpack[Named]) -> Columns:
    """Find the columns of a log by their names; those that the caller names go first.

    Names are compared without case, blanks and marks, so ``Prompt Tokens``, ``promptTokens`` and
    ``prompt_tokens`` are one; of a nested name, such as ``usage.prompt_tokens``, the last part
    counts where no column has the whole name.

    Parameters
    ----------
    names
        All columns of the log.
    source
        Name of the log, for messages.
    named
        Columns named by the caller.

    Raises
    ------
    InputError
        A named column is absent, or there is no time column: every fault at once.
    """
    model = tuple(named.get("model_columns", ()))
    time, prompt, output, count = (
        named.get("time_column"), named.get("prompt_column"), named.get("output_column"),
        named.get("count_column"),
    )  # fmt: skip
    known = {normal(name): name for name in reversed(names)}
    nested = {normal(name.rpartition(".")[2]): name for name in reversed(names) if "." in name}
    known = {**nested, **known}
    faults = [
        Fault(f"there is no column {asked!r}; there are {_shown(names)}")
        for asked in (time, *model, prompt, output, count)
        if asked is not None and asked not in names
    ]
    found_time = time or _first(_TIME, known) or _timed(known)
    if found_time is None:
        faults.append(Fault(f"no column is a time ({_shown(names)}); name it with --time-column"))
    if faults:
        raise InputError(faults, source)
    assert found_time is not None
    single = _first(_MODEL, known)
    count = count or _first(_COUNT, known)
    return Columns(
        time=found_time,
        model=model or ((single,) if single else ()),
        prompt=prompt or _first(_PROMPT, known),
        output=output or _first(_OUTPUT, known),
        count=count,
        end=_first(_END, known) if count else None,
        unread=tuple(found for name in (_OUTCOME, _CACHED) if (found := _first(name, known))),
    )


def normal(name: str) -> str:
    """Return a name without case, blanks and marks."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _timed(known: dict[str, str]) -> str | None:
    """Return a column whose name is a time's with a unit behind, such as ``created_at_ms``."""
    units = ("s", "ms", "us", "ns", "sec", "secs", "seconds", "millis", "milliseconds")
    return _first([f"{name}{unit}" for name in _TIME for unit in units], known)


def _first(wanted: Iterable[str], known: dict[str, str]) -> str | None:
    return next((known[normal(name)] for name in wanted if normal(name) in known), None)


def _shown(names: Sequence[str]) -> str:
    """Return names for a message, the first of many."""
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    return ", ".join(str(name)[:60] for name in names[:40]) + more
