"""Prometheus: which engines were scraped last, by the labels of their metrics.

``vllm:num_requests_running`` and ``sglang:num_running_reqs`` are gauges of every engine; the label
``model_name`` is what is served, ``instance`` where it was scraped
(https://prometheus.io/docs/prometheus/latest/querying/api/).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting

_GAUGES = {"vllm:num_requests_running": "vllm", "sglang:num_running_reqs": "sglang"}


def read_prometheus_labels(address: str, asker: Asker = ASKER) -> Seen:
    """Return the engines that a Prometheus server sees.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    engines: dict[tuple[str, str], Sighting] = {}
    notes = []
    for gauge, runtime in _GAUGES.items():
        answer, note = asker.ask(f"{base}/api/v1/query?query={quote(gauge)}")
        data: Any = answer.get("data") if isinstance(answer, dict) else None
        result: Any = data.get("result") if isinstance(data, dict) else None
        if not isinstance(result, list):
            notes.append(note or f"{base} does not answer the query {gauge}")
            continue
        for series in result:
            labels: Any = series.get("metric") if isinstance(series, dict) else None
            if not isinstance(labels, dict) or not labels.get("model_name"):
                notes.append(f"a series of {gauge} has no label model_name")
                continue
            name, where = str(labels["model_name"]), str(labels.get("instance") or base)
            end = where.rpartition(":")[2]
            port = int(end) if end.isdecimal() and len(end) < 6 else 0
            engines[name, where] = Sighting(name, "serving", runtime, where, port=port)
    return Seen(tuple(engines.values()), tuple(notes))
