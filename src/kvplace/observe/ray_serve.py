"""Ray Serve: the status of all applications.

``GET /api/serve/applications/`` of the dashboard has ``applications[].deployments[]`` with
``replicas[]``: ``state`` (STARTING, UPDATING, RECOVERING, RUNNING, STOPPING, PENDING_MIGRATION),
``node_ip``, ``start_time_s`` (ray 2.60, ray/serve/schema.py, ServeInstanceDetails). Serve does not
say which GPUs a replica has.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting

__all__ = ["read_ray_serve"]

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
    for title, application in applications.items():
        deployments: Any = application.get("deployments") if isinstance(application, dict) else None
        if not isinstance(deployments, dict):
            notes.append(f"application {title!r} states no deployments")
            continue
        for name, deployment in deployments.items():
            if any(word in str(name).lower() for word in _ROUTERS):
                continue  # leads to engines and is none
            replicas: Any = deployment.get("replicas") if isinstance(deployment, dict) else None
            # Ray LLM calls the deployment of a model "LLMServer:" and the model's id.
            served = str(name).partition(":")[2] or str(name)
            listed = replicas if isinstance(replicas, list) else []
            engines += [_engine(served, replica, base) for replica in listed]
    return Seen(tuple(engines), tuple(notes))


def _engine(name: str, replica: Any, base: str) -> Sighting:
    """Return one replica."""
    about: dict[str, Any] = replica if isinstance(replica, dict) else {}
    state = _STATES.get(str(about.get("state")), "unknown")
    started = about.get("start_time_s")
    since = ""
    if isinstance(started, int | float) and 0 <= started < _LATEST:
        since = datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Sighting(name, state, "ray-serve", str(about.get("node_ip") or base), since=since)
