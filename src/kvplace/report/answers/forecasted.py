"""A forecast for people, as JSON and as CSV."""

from collections.abc import Sequence

from kvplace.forecast.outcome import Forecast, GPUForecast
from kvplace.forecast.search import Refined
from kvplace.report.summary import forecast_sentence, format_kvpr
from kvplace.report.tables.plan import Look
from kvplace.report.tables.scores import Cell, rows_csv, rows_json, rows_table
from kvplace.report.text import clean, shorten
from kvplace.units import format_count, format_latency, format_percent

_COLUMNS = (
    "in time: requests that keep their objectives; requests: in the system at a time; slower: than "
    "alone on the GPUs; busy: part of the time in which a step runs; overflow: part in which "
    "the pool is too small; worst ratio: the largest of latency over objective and pool used"
)
_SHOWN = 32
_NAME = 44


def forecast_table(found: Forecast, look: Look | None = None, *, every: bool = False) -> str:
    """Return a table of models, one of GPUs, and a closing sentence; the worst come first."""
    look = look or Look()
    models = sorted(found.models, key=lambda one: (one.attainment, one.name))
    gpus = sorted((one for one in found.gpus if one.busy), key=lambda one: (-one.pressure, one.id))
    idle = len(found.gpus) - len(gpus)
    shown = max(len(models), len(gpus)) if every else _SHOWN
    lines = [
        rows_table(
            [
                {
                    "model": clean(shorten(one.name, _NAME)),
                    "in time": format_percent(one.attainment),
                    "TTFT": format_latency(one.ttft_seconds),
                    "per token": format_latency(one.tpot_seconds),
                    "requests": f"{one.requests:.2f}",
                    "slower": f"{one.slow_down:.2f}x",
                }
                for one in models[:shown]
            ],
            colour=look.colour,
            width=look.longest,
        ),
        *_more(len(models), shown, "models"),
        "",
        *_gpu_rows(gpus[:shown], look),
        *_more(len(gpus), shown, "GPUs"),
        *([f"{format_count(idle, 'GPU')} without requests"] if idle else []),
        "",
        _COLUMNS,
        forecast_sentence(found),
        *(f"note: {clean(note)}" for note in found.notes),
    ]
    return "\n".join(lines)


def _gpu_rows(gpus: Sequence[GPUForecast], look: Look) -> list[str]:
    """Return the table of GPUs; none where no GPU has requests."""
    rows = [
        {
            "GPU": clean(one.id),
            "in time": format_percent(one.attainment),
            "busy": format_percent(one.busy),
            "pool used": format_percent(one.pool_used),
            "overflow": format_percent(one.pool_overflow),
            "worst ratio": format_kvpr(one.pressure),
        }
        for one in gpus
    ]
    return [rows_table(rows, colour=look.colour, width=look.longest)] if rows else []


def _more(count: int, shown: int, what: str) -> list[str]:
    """Return the line that says what is not shown."""
    return [f"and {count - shown:,} more {what} (--all)"] if count > shown else []


def forecast_gain(found: Refined) -> str:
    """Return what a search on the forecast has brought."""
    before, after = found.load_before, found.load_after
    return (
        f"forecast to serve {after:.3g} times the stated demand at 95 % of the requests in time, "
        f"{before:.3g} times before, by {found.steps:,} moves and swaps; an expectation without a "
        "bound, so nothing is proved about it"
    )


def forecast_json(found: Forecast) -> str:
    """Return the forecast as an object with `models` and `gpus`."""
    return rows_json(
        {
            "load": found.load,
            "attainment": found.attainment,
            "mean_attainment": found.mean_attainment,
            "pressure": found.pressure,
            "settled": found.settled,
            "models": _model_rows(found),
            "gpus": [
                {
                    "id": one.id,
                    "attainment": one.attainment,
                    "busy": one.busy,
                    "pool_used": one.pool_used,
                    "pool_overflow": one.pool_overflow,
                    "pressure": one.pressure,
                }
                for one in found.gpus
            ],
            "notes": list(found.notes),
        }
    )


def forecast_csv(found: Forecast) -> str:
    """Return one row per model."""
    return rows_csv(_model_rows(found))


def _model_rows(found: Forecast) -> list[dict[str, Cell]]:
    return [
        {
            "model": one.name,
            "requests_per_second": rate,
            "attainment": one.attainment,
            "ttft_seconds": one.ttft_seconds,
            "tpot_seconds": one.tpot_seconds,
            "requests_in_system": one.requests,
            "slow_down": one.slow_down,
        }
        for one, rate in zip(found.models, found.rates, strict=True)
    ]
