"""A fleet file written for a person: every number with its origin as a comment."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvplace.core.fact import Fact
from kvplace.core.models.architecture import Architecture
from kvplace.core.models.demand import Demand
from kvplace.core.models.kv_cache import SlidingWindow
from kvplace.formats.fleet.shape import ShapePart
from kvplace.formats.text.yaml_writer import quoted
from kvplace.formats.validation.json_text import stated
from kvplace.units import GIB

_OVERHEAD = (
    "What an engine takes besides KV cache is estimated; `kvplace measure LOG --fleet FILE` writes",
    "what its start-up log says instead. Exports limit a request to four times the mean tokens;",
    "max_model_len: TOKENS of a model serves longer ones, and leaves room for them.",
)
_TOKENS = (
    "      # prompt_tokens: 800  # with a rate, the tokens of its mean prompt",
    "      # output_tokens: 200  # and of its mean answer",
)
_OBJECTIVES = ("    # slo: {ttft: 1s, tpot: 50ms}  # with a rate, its objectives",)
"""What a standby needs once it has a rate, to be uncommented."""


@dataclass(frozen=True, slots=True)
class InitNodes:
    """Hosts alike.

    Parameters
    ----------
    name, count, gpus
        Name, number of hosts, GPUs in each.
    gpu_type
        Name of the hardware.
    memory_bytes
        What a process can allocate on one of the GPUs.
    """

    name: str
    count: int
    gpus: int
    gpu_type: str
    memory_bytes: Fact[int]


@dataclass(frozen=True, slots=True)
class InitModel:
    """A model as it goes into the file; None leaves a line out.

    Parameters
    ----------
    name
        Unique in the file.
    weights_bytes, kv_bytes_per_token, kv_bytes_per_sequence
        What it takes.
    sliding_windows, kv_block_tokens
        What of it is kept of the last tokens only, and tokens of a block of cache.
    tensor_parallel, replicas
        What the planner may choose; one number, or the lowest and the highest.
    split
        Key and value that say how ranks divide the cache.
    requests_per_second, prompt_tokens, output_tokens, cached_tokens, dispersion
        What is asked of it.
    ttft_seconds, tpot_seconds, latency_seconds
        Its objectives.
    notes
        Further comments, a line each.
    shape
        Layers, widths and parameters, where kvplace would not know them by the name.
    windows
        Names of windows, each with the demand in it, in place of one rate; empty without.
    source
        Where engines find the checkpoint, where that is not the name.
    max_model_len
        Most tokens of a request.
    engine, kv_dtype
        How engines are started: empty and ``auto`` for what exports do by themselves.
    """

    name: str
    weights_bytes: Fact[int]
    kv_bytes_per_token: Fact[int]
    kv_bytes_per_sequence: Fact[int] | None
    tensor_parallel: Fact[int]
    replicas: Fact[tuple[int, int]]
    requests_per_second: Fact[float]
    split: tuple[str, Fact[int] | Fact[str]] | None = None
    prompt_tokens: Fact[float] | None = None
    output_tokens: Fact[float] | None = None
    cached_tokens: Fact[float] | None = None
    dispersion: Fact[float] | None = None
    ttft_seconds: Fact[float] | None = None
    tpot_seconds: Fact[float] | None = None
    latency_seconds: Fact[float] | None = None
    notes: tuple[str, ...] = ()
    shape: Architecture | None = None
    windows: tuple[tuple[str, Demand], ...] = ()
    sliding_windows: tuple[SlidingWindow, ...] = ()
    kv_block_tokens: Fact[int] | None = None
    source: Fact[str] | None = None
    max_model_len: Fact[int] | None = None
    engine: str = ""
    kv_dtype: str = "auto"


def fleet_text(
    nodes: Sequence[InitNodes],
    models: Sequence[InitModel],
    head: Sequence[str],
    kept: Sequence[str] = (),
    kept_for: Sequence[str] = (),
    windows: Sequence[tuple[str, float]] = (),
) -> str:
    """Return a kvplace.fleet/v1 file.

    Parameters
    ----------
    nodes, models
        What is in it.
    head
        Comments at its top, a line each.
    kept
        Ids of GPUs that no model of the file may use.
    kept_for
        Comments beside them: what holds them.
    windows
        Names of the windows of demand, each with its weight.
    """
    lines = [f"# {_comment(line)}".rstrip() for line in head]
    lines += ["schema: kvplace.fleet/v1", "", "nodes:"]
    for group in nodes:
        memory = group.memory_bytes
        lines += [
            f"  - name: {quoted(group.name)}",
            f"    count: {group.count}",
            f"    gpus: {group.gpus}",
            "    gpu:",
            f"      type: {quoted(group.gpu_type)}",
            f"      memory: {_bytes(memory)}",
        ]
    if windows:
        lines += ["", "windows:  # weights are shares of the observed time"]
        lines += [f"  - {{name: {quoted(n)}, weight: {w:.4g}}}" for n, w in windows]
    lines += [
        "",
        *(f"# {line}" for line in _OVERHEAD),
        "models:",
    ]
    for model in models:
        lines += _model(model)
    if kept:
        lines += ["", "rules:", *(f"  # {_comment(line)}" for line in kept_for)]
        lines += ["  - rule: reserve", "    places:", "      gpus:"]
        lines += [f"        - {quoted(gpu)}" for gpu in kept]
    return "\n".join(lines) + "\n"


def _model(model: InitModel) -> list[str]:
    """Return the lines of one model."""
    weights, state = model.weights_bytes, model.kv_bytes_per_sequence
    lines = [
        f"  - name: {quoted(model.name)}",
        *(f"    # {_comment(note)}" for note in model.notes),
        f"    weights: {_bytes(weights)}",
        _line(4, "kv_bytes_per_token", model.kv_bytes_per_token),
    ]
    if model.shape is not None:
        lines.append("    architecture:  # from the model's config")
        for key, value in stated(ShapePart, model.shape).items():
            lines.append(f"      {key}: {str(value).lower() if isinstance(value, bool) else value}")
    if model.sliding_windows:
        lines.append(
            "    sliding_windows:  # of kv_bytes_per_token, what the last tokens take only"
        )
        lines += [
            f"      - {{tokens: {w.tokens}, kv_bytes_per_token: {w.kv_bytes_per_token}}}"
            for w in model.sliding_windows
        ]
    if model.kv_block_tokens is not None:
        lines.append(_line(4, "kv_block_tokens", model.kv_block_tokens))
    if state is not None and state.value:
        lines.append(_line(4, "kv_bytes_per_sequence", state))
    if model.split is not None:
        lines.append(_line(4, *model.split))
    if model.max_model_len is not None:
        lines.append(_line(4, "max_model_len", model.max_model_len))
    lines += _launch(model)
    low, high = model.replicas.value
    copies = str(low) if low == high else f"{{min: {low}, max: {high}}}"
    lines += [
        _line(4, "tensor_parallel", model.tensor_parallel),
        f"    replicas: {copies}  # {_comment(model.replicas.origin)}",
        "    demand:",
    ]
    if model.windows:
        lines += [_in_window(name, demand) for name, demand in model.windows]
        lines[-len(model.windows) - 1] += f"  # {_comment(model.requests_per_second.origin)}"
    else:
        lines.append(_line(6, "requests_per_second", model.requests_per_second))
    for name, tokens in (
        ()
        if model.windows
        else (
            ("prompt_tokens", model.prompt_tokens),
            ("output_tokens", model.output_tokens),
            ("cached_tokens", model.cached_tokens),
            ("dispersion", model.dispersion),
        )
    ):
        if tokens is not None:
            lines.append(_line(6, name, tokens))
    times = {
        "ttft": model.ttft_seconds,
        "tpot": model.tpot_seconds,
        "latency": model.latency_seconds,
    }
    given = {name: time for name, time in times.items() if time is not None}
    if not model.windows and not model.requests_per_second.value:
        lines += _TOKENS if model.prompt_tokens is None else ()
        lines += () if given else _OBJECTIVES
    if given:
        lines.append("    slo:")
    for name, time in given.items():
        lines.append(f"      {name}: {_digits(1000 * time.value)}ms  # {_comment(time.origin)}")
    return lines


def _launch(model: InitModel) -> list[str]:
    """Return the line of how engines are started; none where exports need not be told."""
    parts, source = [], model.source
    if model.engine:
        parts.append(f"engine: {model.engine}")
    if source is not None:
        parts.append(f"source: {quoted(source.value)}")
    if model.kv_dtype.startswith("fp8"):  # SGLang wants to be told which
        kind = "fp8_e4m3" if (model.engine, model.kv_dtype) == ("sglang", "fp8") else model.kv_dtype
        parts.append(f"args: [--kv-cache-dtype, {kind}]")
    origin = "how its engine is started" if source is None else _comment(source.origin)
    return [f"    launch: {{{', '.join(parts)}}}  # {origin}"] if parts else []


def _bytes(fact: Fact[int]) -> str:
    """Return an exact number of bytes, with GiB and the origin as a comment."""
    return f"{fact.value}B  # {fact.value / GIB:.2f} GiB, {_comment(fact.origin)}"


def _line(indent: int, name: str, fact: Fact[int] | Fact[float] | Fact[str]) -> str:
    value = _digits(fact.value) if isinstance(fact.value, float) else fact.value
    return f"{' ' * indent}{name}: {value}  # {_comment(fact.origin)}"


def _digits(value: float) -> str:
    """Return a number to six digits, without an exponent: no one edits 1.2e-05 with ease."""
    text = f"{value:.6g}"
    if "e" in text:
        text = f"{value:.12f}".rstrip("0").rstrip(".") if value < 1 else f"{value:.0f}"
    return text


def _comment(text: str) -> str:
    """Return a text for a comment: one line without control characters."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def _in_window(name: str, demand: Demand) -> str:
    """Return the line of a model's demand in one window."""
    tokens = {"prompt_tokens": demand.prompt_tokens, "output_tokens": demand.output_tokens}
    told = "".join(f", {key}: {_digits(n)}" for key, n in tokens.items() if n is not None)
    rate = _digits(demand.requests_per_second)
    return f"      - {{window: {quoted(name)}, requests_per_second: {rate}{told}}}"
