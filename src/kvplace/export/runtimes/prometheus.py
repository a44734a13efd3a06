"""Prometheus: rules that compute the pressure observed on each GPU beside the planned one.

An engine says which share of its KV memory is in use: ``vllm:kv_cache_usage_perc`` of vLLM (before
0.10 ``vllm:gpu_cache_usage_perc``) and ``sglang:token_usage`` of SGLang, looked up in November
2026 in the engines' own sources (vllm/v1/metrics/loggers.py, sglang's metrics collector). Weighted
by the KV memory that the plan gives each engine, the shares add up to that of the GPU's pool.
"""

from typing import Any

from kvplace.core.models.objective import Objective
from kvplace.export.layout import Engine, Group, Layout
from kvplace.export.text import yaml_text

_USAGE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
ABOVE_PLAN = 1.25
"""Observed over planned pressure from which an alert says that demand has outgrown the plan."""


def prometheus_files(layout: Layout) -> dict[str, str]:
    """Return ``kvplace-rules.yaml``: recording rules and alerts for every busy GPU."""
    usage = {
        "record": "kvplace:engine_kv_used",
        "expr": " or ".join(f"max by (model_name) ({name})" for name in _USAGE),
    }
    planned = [_planned(layout, group) for host in layout.hosts for group in host.groups]
    observed = [
        _observed(gpu.id, at, group)
        for host in layout.hosts
        for group in host.groups
        for at, gpu in enumerate(group.gpus)
    ]
    rules: list[dict[str, Any]] = [usage, *(rule for rules in planned for rule in rules)]
    rules += [rule for rule in observed if rule is not None]
    data = {
        "groups": [
            {"name": "kvplace", "interval": "30s", "rules": rules},
            {"name": "kvplace-alerts", "rules": _alerts()},
        ]
    }
    head = [
        "Pressure of every GPU: kvplace:planned_kv_used beside kvplace:observed_kv_used.",
        "An engine is known by the model_name of its metrics, the name it is served under.",
        "Check with: promtool check rules kvplace-rules.yaml",
    ]
    return {"kvplace-rules.yaml": yaml_text(data, head)}


def _planned(layout: Layout, group: Group) -> list[dict[str, Any]]:
    """Return what the plan says of each GPU of a group; nothing where it is no share of a pool."""
    if layout.problem.goal not in (Objective.OCCUPANCY, Objective.PRESSURE):
        return []
    return [
        {
            "record": "kvplace:planned_kv_used",
            "expr": f"vector({gpu.load / gpu.free_bytes:.6g})",
            "labels": {"gpu": gpu.id},
        }
        for gpu in group.gpus
    ]


def _observed(gpu: str, at: int, group: Group) -> dict[str, Any] | None:
    """Return the share of a GPU's KV pool that its engines report as used."""
    here = [engine for engine in group.engines if group.indices[at] in engine.indices]
    pool = sum(engine.kv_bytes for engine in here)
    if not pool:
        return None
    parts = (_part(engine, pool) for engine in here if engine.kv_bytes)
    return {
        "record": "kvplace:observed_kv_used",
        "expr": f"sum({' or '.join(parts)})",
        "labels": {"gpu": gpu},
    }


def _part(engine: Engine, pool: int) -> str:
    """Return what one engine adds, labelled apart so that engines do not hide each other."""
    share = engine.kv_bytes / pool
    return f"{share:.6g} * kvplace:engine_kv_used{{model_name={_quoted(engine.served_name)}}}"


def _alerts() -> list[dict[str, Any]]:
    """Return the alerts, which hold for every GPU."""
    full = "The KV pool of {{ $labels.gpu }} is {{ $value | humanizePercentage }} full"
    above = "{{ $labels.gpu }} uses more of its KV pool than planned; plan again"
    return [
        {
            "alert": "KVPoolNearlyFull",
            "expr": "kvplace:observed_kv_used > 0.9",
            "for": "5m",
            "annotations": {"summary": full},
        },
        {
            "alert": "DemandAbovePlan",
            "expr": f"kvplace:observed_kv_used > {ABOVE_PLAN} * kvplace:planned_kv_used > 0.1",
            "for": "30m",
            "annotations": {"summary": above},
        },
    ]


def _quoted(text: str) -> str:
    """Return a text as a string of PromQL, which escapes as Go does."""
    escaped = "".join(
        c if c.isprintable() and c.isascii() and c not in '"\\' else _escape(c) for c in text
    )
    return f'"{escaped}"'


def _escape(char: str) -> str:
    """Return a character as Go writes it."""
    if char in '"\\':
        return "\\" + char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
