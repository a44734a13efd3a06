"""Names under which inference engines export what a planner needs.

Sources: vLLM, docs/usage/metrics and docs/design/metrics; SGLang, references/production_metrics.
Both write a colon after their name; some collectors turn it into an underscore, and some leave
the suffix ``_total`` off.
"""

from dataclasses import dataclass

__all__ = ["MODEL_LABELS", "RANK_LABELS", "ROLES", "TPOT", "TTFT", "Metric", "all_names"]

MODEL_LABELS = ("model_name", "model", "served_model_name")
"""Labels that name the model, the most specific first."""

RANK_LABELS = ("tp_rank", "pp_rank")
"""SGLang: ranks that would report the same requests once more; rank 0 speaks for all."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one engine, by all its names, the newest first.

    Parameters
    ----------
    engine
        Prefix before the colon.
    names
        The rest of the name, without ``_total``.
    """

    engine: str
    names: tuple[str, ...]

    def spellings(self, *suffixes: str) -> tuple[str, ...]:
        """Return every full name, in order of preference, each with one of the suffixes."""
        return tuple(
            f"{self.engine}{mark}{name}{suffix}"
            for name in self.names
            for mark in (":", "_")
            for suffix in suffixes
        )


ROLES: dict[str, tuple[Metric, ...]] = {
    "requests": (
        Metric("vllm", ("request_success",)),
        Metric("sglang", ("num_requests",)),
    ),
    "prompt_tokens": (Metric("vllm", ("prompt_tokens",)), Metric("sglang", ("prompt_tokens",))),
    "output_tokens": (
        Metric("vllm", ("generation_tokens",)),
        Metric("sglang", ("generation_tokens",)),
    ),
    "cached_tokens": (
        # vLLM exported both names for a while, and then a third for the same tokens.
        Metric("vllm", ("prefix_cache_hits", "gpu_prefix_cache_hits", "prompt_tokens_cached")),
        Metric("sglang", ("cached_tokens",)),
    ),
}
"""Counters, by what they count."""

TTFT = (
    Metric("vllm", ("time_to_first_token_seconds",)),
    Metric("sglang", ("time_to_first_token_seconds",)),
)
"""Histograms of the time to the first token."""

TPOT = (
    Metric(
        "vllm",
        (
            "request_time_per_output_token_seconds",
            "inter_token_latency_seconds",
            "time_per_output_token_seconds",
        ),
    ),
    Metric("sglang", ("inter_token_latency_seconds", "time_per_output_token_seconds")),
)
"""Histograms of the time per output token."""


def all_names(metrics: tuple[Metric, ...], *suffixes: str) -> tuple[str, ...]:
    """Return every spelling of the metrics, in order of preference."""
    return tuple(name for metric in metrics for name in metric.spellings(*suffixes))
