"""Ray Serve: the status of all applications.

``GET /api/serve/applications/`` of the dashboard has ``applications[].deployments[]`` with
``replicas[]``: ``state`` (STARTING, UPDATING, RECOVERING, RUNNING, STOPPING, PENDING_MIGRATION),
``node_ip``, ``node_id``, ``start_time_s``, and ``deployed_app_config`` with the arguments that the
application was deployed with (ray 2.60, ray/serve/schema.py, ServeInstanceDetails). ``GET
/api/v0/nodes`` has ``data.result.result[]`` with ``node_id`` and ``resources_total`` (ray 2.60,
ray/util/state/common.py, NodeState): a node of an export offers a resource with its name. Serve
does not say which GPUs of its node a replica has; its part of the KV memory tells engines apart.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kvplace.export.runtimes.ray_serve import NODE_RESOURCE
from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting, plain

_STATES = {
    "RUNNING": "serving",
    "PENDING_MIGRATION": "serving",
    "STARTING": "loading",
    "UPDATING": "loading",
    "RECOVERING": "loading",
    "STOPPING": "stopped",
}
_ROUTERS = ("ingress", "router")


_LATEST = 253_402_300_800
"""The end of the year 9999 in seconds since 1970, after which there are no dates."""


def read_ray_serve(address: str, asker: Asker = ASKER) -> Seen:
    """Return the replicas of all deployments of a cluster.

    Parameters
    ----------
    address
        Of the dashboard, such as ``http://head:8265``.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    status, note = asker.ask(f"{base}/api/serve/applications/")
    applications: Any = status.get("applications") if isinstance(status, dict) else None
    if not isinstance(applications, dict):
        return Seen(notes=(note or f"{base} lists no applications of Serve",))
    engines, notes = [], []
    hosts = _hosts(asker, base)
    for title, application in applications.items():
        deployments: Any = application.get("deployments") if isinstance(application, dict) else None
        if not isinstance(deployments, dict):
            notes.append(f"application {title!r} states no deployments")
            continue
        kept = _kv_parts(application)
        for name, deployment in deployments.items():
            if any(word in str(name).lower() for word in _ROUTERS):
                continue  # leads to engines and is none
            replicas: Any = deployment.get("replicas") if isinstance(deployment, dict) else None
            # Ray LLM calls the deployment of a model "LLMServer:" and the model's id.
            served = str(name).partition(":")[2] or str(name)
            listed = replicas if isinstance(replicas, list) else []
            for one in listed:
                about: dict[str, Any] = one if isinstance(one, dict) else {}
                host = hosts.get(str(about.get("node_id")), "")
                engines.append(_engine(served, about, base, host, kept.get(plain(served), 0)))
    return Seen(tuple(engines), tuple(notes))


def _hosts(asker: Asker, base: str) -> dict[str, str]:
    """Return what exports call each node, by its id; nothing where the cluster does not say."""
    answer, _ = asker.ask(f"{base}/api/v0/nodes?limit=10000")
    rows: Any = answer
    for key in ("data", "result", "result"):
        rows = rows.get(key) if isinstance(rows, dict) else None
    found = {}
    for row in rows if isinstance(rows, list) else ():
        offered = row.get("resources_total") if isinstance(row, dict) else None
        for name in offered if isinstance(offered, dict) else ():
            if name.startswith(NODE_RESOURCE):
                found[str(row.get("node_id"))] = name.removeprefix(NODE_RESOURCE)
    return found


def _kv_parts(application: dict[str, Any]) -> dict[str, int]:
    """Return the part of the KV memory that the deployment of each model is given."""
    configs: Any = application.get("deployed_app_config")
    for key in ("args", "llm_configs"):
        configs = configs.get(key) if isinstance(configs, dict) else None
    found = {}
    for config in configs if isinstance(configs, list) else ():
        if isinstance(config, dict):
            loaded, kwargs = config.get("model_loading_config"), config.get("engine_kwargs")
            part = kwargs.get("kv_cache_memory_bytes") if isinstance(kwargs, dict) else None
            if isinstance(loaded, dict) and isinstance(part, int):
                found[plain(str(loaded.get("model_id")))] = part
    return found


def _engine(name: str, about: dict[str, Any], base: str, host: str, kv_bytes: int) -> Sighting:
    """Return one replica."""
    state = _STATES.get(str(about.get("state")), "unknown")
    started = about.get("start_time_s")
    since = ""
    if isinstance(started, int | float) and 0 <= started < _LATEST:
        since = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    address = str(about.get("node_ip") or base)
    return Sighting(name, state, "ray-serve", address, since=since, host=host, kv_bytes=kv_bytes)
