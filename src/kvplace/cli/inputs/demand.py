"""``kvplace demand``: from a log or Prometheus to rates per model."""

from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.inputs.demand_source import (
    aliases_of,
    chosen_windows,
    demand_options,
    read_prometheus_options,
    read_trace_options,
)
from kvplace.cli.options import NAMED_FILE, nearest_choice, output_options
from kvplace.cli.verb import verb

if TYPE_CHECKING:
    from kvplace.demand.series import DemandSeries
    from kvplace.demand.summary import DemandSummary, ModelDemand

_EXAMPLES = """\b
Examples:
  kvplace demand trace requests.parquet --step 10min
  kvplace demand trace counts.csv --model-column service --model-column client --plot demand.svg
  kvplace demand trace requests.parquet --windows 4 --format json
  kvplace demand prometheus http://prometheus:9090 --window 7d --quantile 95%
"""


@verb("demand", epilog=_EXAMPLES)
@click.argument(
    "kind", type=nearest_choice(("trace", "prometheus"), "trace"), metavar="trace|prometheus"
)
@click.argument("source", metavar="FILE|URL")
@demand_options
@click.option("--only", multiple=True, metavar="MODEL", help="Only this model; may be given again.")
@click.option(
    "--plot",
    type=NAMED_FILE,
    metavar="FILE",
    help="Draw the rates over time into a .png, .svg or .pdf file.",
)
@click.option(
    "--windows",
    metavar="N|hour|weekday",
    help="Give the demand of N windows that stand for all: the joint peaks that matter when models "
    "share GPUs; or the means of each hour of the day, or of each weekday. With --quantile, what "
    "a group of models exceeds only in the other windows counts no more.",
)
@output_options
def command(
    kind: str,
    source: str,
    alias: tuple[str, ...],
    only: tuple[str, ...],
    plot: str | None,
    windows: str | None,
    form: str,
    output: str | None,
    quiet: bool,
    **options: Any,
) -> int:
    """Read what is asked of every model from a request log or from Prometheus.

    A log is CSV, JSON or Parquet, a row per request or per count of requests in a window.
    Prometheus is read for the metrics of vLLM, SGLang, TensorRT-LLM, text-generation-inference,
    NVIDIA Dynamo and LiteLLM. Rates are a quantile of the rates in
    windows; models that peak in the same windows are named.
    """
    from kvplace.cli.faults import say_as_notes
    from kvplace.cli.output import emit, emit_rows
    from kvplace.demand.summary import summarise
    from kvplace.report.tables.scores import rows_csv, rows_json

    aliases = aliases_of(alias)
    if kind == "trace":
        series = read_trace_options(source, options)
    else:
        series = read_prometheus_options(source, options, () if aliases else only)
    series.check_names(aliases)
    series = series.named(aliases).only(only)
    if windows is not None:
        return _print_windows(series, windows, options["quantile"], form, output, quiet=quiet)
    summary = summarise(series, options["quantile"])
    if plot is not None:
        from kvplace.report.plots.demand import draw_demand

        draw_demand(series, plot)
    if form == "table":
        emit_rows([_row(m) for m in summary.models], output, _joint(summary))
    elif form == "csv":
        emit(rows_csv([_csv(m) for m in summary.models]), output, data=True)
    else:
        emit(rows_json(_document(summary)), output, data=True)
    if not quiet:
        say_as_notes(summary.notes)
    return 0


def _print_windows(
    series: "DemandSeries", wanted: str, quantile: float, form: str, output: str | None, *,
    quiet: bool,
) -> int:  # fmt: skip
    """Print the demand of a few windows."""
    from kvplace.cli.faults import say_as_notes
    from kvplace.cli.output import emit, look
    from kvplace.report.tables.demand_windows import windows_csv, windows_json, windows_table

    found = chosen_windows(series, wanted, quantile)
    if form == "table":
        emit(windows_table(found, look(output)), output, data=False)
    else:
        emit((windows_json if form == "json" else windows_csv)(found), output, data=True)
    if not quiet:
        say_as_notes(series.notes)
    return 0


def _row(model: "ModelDemand") -> dict[str, str]:
    """Return one line of the table."""
    prompt, output = model.prompt_tokens, model.output_tokens
    ttft, tpot = model.latency.ttft_seconds, model.latency.tpot_seconds
    row = {
        "model": model.model,
        "requests/s": f"{model.requests_per_second.value:.4g}",
        "mean": f"{model.mean_rate:.4g}",
        "peak": f"{model.peak_rate:.4g}",
        "at joint peak": f"{model.joint_peak_rate:.4g}",
        "prompt": f"{prompt.value:,.0f}" if prompt else "?",
        "output": f"{output.value:,.0f}" if output else "?",
    }
    if ttft or tpot:
        row["TTFT"] = f"{1000 * ttft.value:.0f} ms" if ttft else "?"
        row["TPOT"] = f"{1000 * tpot.value:.1f} ms" if tpot else "?"
    return row | {"peaks with": _peers(model)}


def _peers(model: "ModelDemand") -> str:
    """Return the models that peak with one: the first, and how many more."""
    if not model.peaks_with:
        return "-"
    more = f" +{len(model.peaks_with) - 1}" if len(model.peaks_with) > 1 else ""
    return model.peaks_with[0] + more


def _joint(summary: "DemandSummary") -> str:
    """Return the closing line: what all models ask for together."""
    joint = summary.joint
    models = f"{len(summary.models)} model{'s' * (len(summary.models) > 1)}"
    return (
        f"{models}: {joint.quantile_of_sum:.4g} requests/s together, {100 * joint.share:.0f} % of "
        f"the sum of each model's own ({joint.sum_of_quantiles:.4g}); {summary.origin}"
    )


def _csv(model: "ModelDemand") -> dict[str, Any]:
    """Return one row of the CSV; names are those of the models table."""
    prompt, output = model.prompt_tokens, model.output_tokens
    ttft, tpot = model.latency.ttft_seconds, model.latency.tpot_seconds
    return {
        "name": model.model,
        "requests_per_second": model.requests_per_second.value,
        "prompt_tokens": prompt.value if prompt else None,
        "output_tokens": output.value if output else None,
        "ttft_seconds": ttft.value if ttft else None,
        "tpot_seconds": tpot.value if tpot else None,
        "mean_requests_per_second": model.mean_rate,
        "peak_requests_per_second": model.peak_rate,
        "joint_peak_requests_per_second": model.joint_peak_rate,
        "peaks_with": " ".join(model.peaks_with),
        "dispersion": model.dispersion.value if model.dispersion else None,
    }


def _document(summary: "DemandSummary") -> dict[str, object]:
    """Return the JSON form, with the origin of every figure."""
    models = []
    for model in summary.models:
        origins = {
            "requests_per_second": model.requests_per_second,
            "prompt_tokens": model.prompt_tokens,
            "output_tokens": model.output_tokens,
            "cached_tokens": model.cached_tokens,
            "dispersion": model.dispersion,
            "ttft_seconds": model.latency.ttft_seconds,
            "tpot_seconds": model.latency.tpot_seconds,
        }
        row = _csv(model) | {"peaks_with": list(model.peaks_with)}
        row["cached_tokens"] = model.cached_tokens.value if model.cached_tokens else None
        models.append(row | {"origins": {k: f.origin for k, f in origins.items() if f}})
    return {
        "source": summary.origin,
        "quantile": summary.quantile,
        "models": models,
        "joint_peak": {
            "quantile_of_sum": summary.joint.quantile_of_sum,
            "sum_of_quantiles": summary.joint.sum_of_quantiles,
            "share": summary.joint.share,
            "window_starts": list(summary.joint.starts[:10]),
        },
        "notes": list(summary.notes),
    }
