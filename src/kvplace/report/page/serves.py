"""What a page says of who is served: the forecast of a plan, where its facts are known."""

from typing import Any

from kvplace.core.result import Result
from kvplace.errors import InputError
from kvplace.report.page.recommendation import as_sentence
from kvplace.report.summary import forecast_sentence
from kvplace.report.text import clean
from kvplace.units import format_latency, format_percent

MOST_GPUS = 2000
"""GPUs beyond which the forecast takes longer than the page."""
SHOWN = 24
"""Models in the table, those that are served worst first."""


def serves(result: Result) -> dict[str, Any] | None:
    """Return the forecast of a plan as plain values; None where it has no meaning.

    It has one where models that are asked for have latency objectives and their lengths are known.
    """
    problem = result.problem
    asked = [model for model in problem.models if model.demand.requests_per_second]
    aims = [
        model.slo.ttft_seconds or model.slo.tpot_seconds or model.slo.latency_seconds
        for model in asked
    ]
    if not any(aims) or len(problem.fleet.gpus) > MOST_GPUS:
        return None
    from kvplace.forecast.forecast import forecast  # noqa: PLC0415 - compiled, and not always used

    try:
        found = forecast(result)
    except InputError:  # a length or the bytes of a token are not known
        return None
    busy = [one for one in found.models if one.requests]
    busy.sort(key=lambda one: (one.attainment, one.name))
    return {
        "sentence": forecast_sentence(found).removeprefix("forecast: "),
        "rows": [
            {
                "name": clean(one.name),
                "in_time": format_percent(one.attainment),
                "late": one.attainment < 0.95,
                "ttft": format_latency(one.ttft_seconds),
                "tpot": format_latency(one.tpot_seconds),
                "requests": f"{one.requests:.2f}",
                "slow": f"{one.slow_down:.2f}x",
            }
            for one in busy[:SHOWN]
        ],
        "more": max(0, len(busy) - SHOWN),
        "notes": [as_sentence(note) for note in found.notes],
    }
