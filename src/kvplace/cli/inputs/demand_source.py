"""Where demand comes from: the options of ``demand`` and ``init``, and what they read."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from kvplace.cli.options import IN_FILE, QUANTILE, SECONDS
from kvplace.errors import InputError

if TYPE_CHECKING:
    from kvplace.demand.prometheus.client import Access
    from kvplace.demand.series import DemandSeries
    from kvplace.demand.windows import DemandWindows

_UNITS = ("s", "ms", "us", "ns")


class LogOption(click.Option):
    """An option that only a request log has a use for, which its help says."""

    def __init__(self, *names: Any, **given: Any) -> None:
        super().__init__(*names, **given | {"help": f"Log: {given['help']}"})


class PrometheusOption(click.Option):
    """An option that only Prometheus has a use for, which its help says."""

    def __init__(self, *names: Any, **given: Any) -> None:
        super().__init__(*names, **given | {"help": f"Prometheus: {given['help']}"})


_ALIAS = click.option(
    "--alias",
    multiple=True,
    metavar="NAME=MODEL",
    help="What the demand, or a deployment, calls NAME is MODEL; may be given again.",
)
_QUANTILE = click.option(
    "--quantile",
    type=QUANTILE,
    metavar="SHARE",
    default="95%",
    show_default=True,
    help="Plan for the rate that this share of the windows does not exceed; 100% is the peak.",
)
_STEP = click.option(
    "--step",
    type=SECONDS,
    metavar="SECONDS",
    help="Length of a window (10min). Default: 5min for Prometheus, 1min for a log of "
    "requests, a log of counts its own.",
)
_LOG: tuple[Callable[..., Any], ...] = (
    click.option(
        "--log-model",
        metavar="NAME",
        cls=LogOption,
        help="the model of a log without a model column. Default: the file's name.",
    ),
    click.option("--time-column", metavar="NAME", cls=LogOption, help="the column of times."),
    click.option(
        "--model-column",
        multiple=True,
        metavar="NAME",
        cls=LogOption,
        help="the column of models; given again, the values are joined by '/'.",
    ),
    click.option(
        "--prompt-column", metavar="NAME", cls=LogOption, help="the column of prompt tokens."
    ),
    click.option(
        "--output-column", metavar="NAME", cls=LogOption, help="the column of output tokens."
    ),
    click.option(
        "--count-column",
        metavar="NAME",
        cls=LogOption,
        help="the column that counts the requests of a row.",
    ),
    click.option(
        "--time-unit",
        type=click.Choice(_UNITS),
        cls=LogOption,
        help="unit of numeric times, where neither their name nor the log's form tells it.",
    ),
    click.option(
        "--skip-bad",
        is_flag=True,
        cls=LogOption,
        help="leave out rows without a usable value, and say so.",
    ),
)
_LATENCY = click.option(
    "--latency-quantile",
    type=QUANTILE,
    metavar="SHARE",
    default="90%",
    show_default=True,
    cls=PrometheusOption,
    help="quantile of the observed latencies.",
)
_PROMETHEUS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--window",
        type=SECONDS,
        metavar="SECONDS",
        default="7d",
        show_default=True,
        cls=PrometheusOption,
        help="how far back to read (12h).",
    ),
    click.option(
        "--match",
        multiple=True,
        metavar="MATCHER",
        cls=PrometheusOption,
        help="a label matcher, such as 'namespace=\"prod\"'; may be given again.",
    ),
    click.option("--user", metavar="NAME", cls=PrometheusOption, help="basic authentication."),
    click.option(
        "--password-file",
        type=IN_FILE,
        metavar="FILE",
        cls=PrometheusOption,
        help="password of --user.",
    ),
    click.option(
        "--bearer-token-file",
        type=IN_FILE,
        metavar="FILE",
        cls=PrometheusOption,
        help="bearer token.",
    ),
    click.option(
        "--ca-file",
        type=IN_FILE,
        metavar="FILE",
        cls=PrometheusOption,
        help="certificates to trust.",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        cls=PrometheusOption,
        help="do not check the server's certificate.",
    ),
    click.option(
        "--timeout",
        type=SECONDS,
        metavar="SECONDS",
        default="30s",
        show_default=True,
        cls=PrometheusOption,
        help="the longest wait for an answer.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 20),
        default=3,
        show_default=True,
        cls=PrometheusOption,
        help="how often a failed request is tried again.",
    ),
)


def _with(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    """Return what adds options to a command."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


log_options = _with((_ALIAS, _STEP, *_LOG))
"""Adds the options that say how a log is read, window by window."""
series_options = _with((_ALIAS, _STEP, *_LOG, *_PROMETHEUS))
"""Adds those of a log and of Prometheus."""
demand_options = _with((_ALIAS, _QUANTILE, _STEP, *_LOG, _LATENCY, *_PROMETHEUS))
"""Adds these, which rate of all windows a plan is made for, and which of the latencies."""


def read_trace_options(path: str, options: Mapping[str, Any]) -> "DemandSeries":
    """Read a log as the options say."""
    _refuse_options(PrometheusOption, "a log")
    from kvplace.demand.logs.traces import read_trace

    return read_trace(
        "/dev/stdin" if path == "-" else path,
        step_seconds=options["step"],
        model=options["log_model"],
        time_column=options["time_column"],
        model_columns=options["model_column"],
        prompt_column=options["prompt_column"],
        output_column=options["output_column"],
        count_column=options["count_column"],
        time_unit=options["time_unit"],
        skip_bad=options["skip_bad"],
    )


def read_prometheus_options(
    url: str, options: Mapping[str, Any], models: tuple[str, ...] = ()
) -> "DemandSeries":
    """Read Prometheus as the options say."""
    _refuse_options(LogOption, "Prometheus")
    from kvplace.demand.prometheus.prometheus import (
        DEFAULT_LATENCY_QUANTILE,
        DEFAULT_STEP_SECONDS,
        read_prometheus,
    )

    return read_prometheus(
        url,
        end=time.time(),
        window_seconds=options["window"],
        step_seconds=options["step"] or DEFAULT_STEP_SECONDS,
        matchers=options["match"],
        models=models,
        latency_quantile=options.get("latency_quantile", DEFAULT_LATENCY_QUANTILE),
        access=access_of(options),
    )


def _refuse_options(other: type[click.Option], source: str) -> None:
    """Refuse options that are given and belong to the other source."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and isinstance(option, other):
            raise click.UsageError(f"{option.opts[0]} does nothing for {source}")


def access_of(options: Mapping[str, Any]) -> "Access":
    """Return how to reach the server; secrets come from files, never from the command line."""
    from kvplace.demand.prometheus.client import Access

    if options["password_file"] and not options["user"]:
        raise click.UsageError("--password-file needs --user")
    return Access(
        user=options["user"],
        password=_secret(options["password_file"]),
        bearer_token=_secret(options["bearer_token_file"]),
        ca_file=Path(options["ca_file"]) if options["ca_file"] else None,
        verify=not options["insecure"],
        timeout_seconds=options["timeout"],
        retries=options["retries"],
    )


def aliases_of(pairs: Sequence[str]) -> dict[str, str]:
    """Return the model of each name in the demand, as ``--alias`` says it."""
    aliases: dict[str, str] = {}
    for pair in pairs:
        name, mark, model = pair.partition("=")
        if not (name and mark and model):
            raise click.UsageError(f"--alias {pair!r} must be NAME=MODEL")
        if aliases.setdefault(name, model) != model:
            raise click.UsageError(f"--alias names two models for {name!r}")
    return aliases


def _secret(path: str | None) -> str | None:
    """Return the first line of a file, or None where none is named."""
    if path is None:
        return None
    from kvplace.files import read_text

    secret = read_text(path).splitlines()[0].strip()
    if not secret:
        raise InputError("its first line is empty", path)
    return secret


def chosen_windows(series: "DemandSeries", wanted: str, quantile: float) -> "DemandWindows":
    """Return the windows that ``--windows`` asks for.

    Raises
    ------
    InputError
        It is neither a number nor a calendar.
    """
    from kvplace.demand.windows import Calendar, choose_windows

    message = f"--windows {wanted!r} must be a whole number, hour or weekday"
    if wanted not in set(Calendar) and not wanted.isascii():
        raise InputError(message)
    try:
        number = Calendar(wanted) if wanted in set(Calendar) else int(wanted)
    except ValueError:
        raise InputError(message) from None
    return choose_windows(series, number, quantile)
