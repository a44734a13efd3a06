"""Names under which inference engines and gateways export what a planner needs.

Sources: vLLM, docs/usage/metrics and docs/design/metrics; SGLang, references/production_metrics;
TensorRT-LLM, tensorrt_llm/metrics; text-generation-inference, docs/reference/metrics; NVIDIA
Dynamo, reference/observability/metrics-catalog; LiteLLM, docs/proxy/prometheus; Ray,
serve_llm_dashboard_panels.py, for the prefix ``ray_``. Looked up in November 2026. vLLM and SGLang
write a colon after their name; some collectors turn it into an underscore, and some leave the
suffix ``_total`` off.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MODEL_LABELS = (
    "model_name", "model", "served_model_name", "requested_model", "model_group", "model_id",
)  # fmt: skip
"""Labels that name the model, the most specific first."""

STAND_INS = ("service", "job", "pod", "instance")
"""Labels that stand in for the model of an engine that names none, the first that is there."""

RANK_LABELS = ("tp_rank", "pp_rank")
"""SGLang: ranks that would report the same requests once more; rank 0 speaks for all."""

_PART_LABELS = (
    "role", "engine_type", "disaggregation_mode", "kv_role", "dynamo_component", "component",
    "worker_type", "llm_d_ai_role", "deployment", "job", "pod", "service",
)  # fmt: skip
_PREFILL = re.compile(r"(^|[^a-z])(prefill|prefiller|kv_producer)([^a-z]|s?$)")
_DECODE = re.compile(r"(^|[^a-z])(decode|decoder|kv_consumer)([^a-z]|s?$)")


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of one engine, by all its names, the newest first.

    Parameters
    ----------
    engine
        Prefix before the mark.
    names
        The rest of the name, without ``_total``.
    marks
        What stands between the two.
    """

    engine: str
    names: tuple[str, ...]
    marks: tuple[str, ...] = (":", "_")

    def spellings(self, *suffixes: str) -> tuple[str, ...]:
        """Return every full name, in order of preference, each with one of the suffixes."""
        return tuple(
            f"{before}{self.engine}{mark}{name}{suffix}"
            for name in self.names
            for before in ("", "ray_")
            for mark in self.marks
            for suffix in suffixes
        )


@dataclass(frozen=True, slots=True)
class Family:
    """What the engines, or the gateways before them, export.

    Parameters
    ----------
    roles
        Counters, by what they count.
    ttft, tpot
        Histograms of the time to the first token, and per output token.
    """

    roles: Mapping[str, tuple[Metric, ...]]
    ttft: tuple[Metric, ...]
    tpot: tuple[Metric, ...]


ENGINES = Family(
    roles={
        "requests": (
            Metric("vllm", ("request_success",)),
            Metric("sglang", ("num_requests",)),
            Metric("trtllm", ("request_success",)),
            Metric("tgi", ("request_success",), ("_",)),
        ),
        "prompt_tokens": (
            Metric("vllm", ("prompt_tokens",)),
            Metric("sglang", ("prompt_tokens",)),
            Metric("trtllm", ("prompt_tokens",)),
            Metric("tgi", ("request_input_length_sum",), ("_",)),
        ),
        "output_tokens": (
            Metric("vllm", ("generation_tokens",)),
            Metric("sglang", ("generation_tokens",)),
            Metric("trtllm", ("generation_tokens",)),
            Metric("tgi", ("request_generated_tokens_sum",), ("_",)),
        ),
        "cached_tokens": (
            # vLLM exported both names for a while, and then a third for the same tokens.
            Metric("vllm", ("prefix_cache_hits", "gpu_prefix_cache_hits", "prompt_tokens_cached")),
            Metric("sglang", ("cached_tokens",)),
        ),
    },
    ttft=(
        Metric("vllm", ("time_to_first_token_seconds",)),
        Metric("sglang", ("time_to_first_token_seconds",)),
        Metric("trtllm", ("time_to_first_token_seconds",)),
    ),
    tpot=(
        Metric(
            "vllm",
            (
                "request_time_per_output_token_seconds",
                "inter_token_latency_seconds",
                "time_per_output_token_seconds",
            ),
        ),
        Metric("sglang", ("inter_token_latency_seconds", "time_per_output_token_seconds")),
        Metric("trtllm", ("time_per_output_token_seconds",)),
    ),
)
"""What engines export of themselves."""

GATEWAYS = Family(
    roles={
        "requests": (
            Metric("dynamo_frontend", ("requests",), ("_",)),
            Metric("litellm", ("proxy_total_requests_metric",), ("_",)),
        ),
        "prompt_tokens": (
            Metric("dynamo_frontend", ("input_sequence_tokens_sum",), ("_",)),
            Metric("litellm", ("input_tokens_metric",), ("_",)),
        ),
        "output_tokens": (
            Metric("dynamo_frontend", ("output_sequence_tokens_sum",), ("_",)),
            Metric("litellm", ("output_tokens_metric",), ("_",)),
        ),
        "cached_tokens": (),
    },
    ttft=(Metric("dynamo_frontend", ("time_to_first_token_seconds",), ("_",)),),
    tpot=(Metric("dynamo_frontend", ("inter_token_latency_seconds",), ("_",)),),
)
"""What gateways export of the same requests: read only where no engine is seen."""

UNREADABLE = Metric("llamacpp", ("prompt_tokens", "tokens_predicted"))
"""llama.cpp counts tokens and no requests, so its demand needs a log."""


def part_of(labels: Mapping[str, str]) -> str:
    """Return ``prefill`` or ``decode`` for a worker that does only that part, else empty.

    Both workers of a request count it, and decode workers count its prompt once more.
    """
    for name in _PART_LABELS:
        value = labels.get(name, "").casefold()
        prefill, decode = bool(_PREFILL.search(value)), bool(_DECODE.search(value))
        if prefill != decode:
            return "prefill" if prefill else "decode"
    return ""
