"""Kubernetes: objects from a file, as ``kubectl get deployments,modelclaims -o json`` prints them.

Deployments that kvplace exported state their engines and GPUs in the annotation
``kvplace/placement``; ``status.readyReplicas`` says whether they serve. A ModelClaim of AIBrix
states ``spec.modelName`` and ``status.phase`` (model.aibrix.ai/v1alpha1).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kvplace.errors import InputError
from kvplace.files import read_text
from kvplace.observe.sighting import Seen, Sighting
from kvplace.scaffold.deployments.documents import documents

_PLACEMENT = "kvplace/placement"
_PHASES = {"active": "serving", "ready": "serving", "running": "serving", "sleeping": "asleep",
           "pending": "loading", "activating": "loading", "loading": "loading",
           "failed": "broken", "terminating": "stopped"}  # fmt: skip


def read_kubernetes(path: str) -> Seen:
    """Return the engines that Kubernetes objects state.

    Parameters
    ----------
    path
        JSON or YAML: one object, or a List of them.

    Raises
    ------
    InputError
        The file cannot be read, or holds no objects.
    """
    engines: list[Sighting] = []
    notes: list[str] = []
    objects = list(_objects(documents(read_text(path), path)))
    if not objects:
        raise InputError("there is no Kubernetes object in it", path)
    for one in objects:
        kind = one.get("kind")
        if kind in ("Deployment", "Pod"):
            engines.extend(_placed(one, path, notes))
        elif kind == "ModelClaim":
            engines.append(_claim(one, path))
    return Seen(tuple(engines), tuple(notes))


def _objects(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, list):
        for item in data:
            yield from _objects(item)
    elif isinstance(data, dict) and isinstance(data.get("items"), list):
        yield from _objects(data["items"])
    elif isinstance(data, dict) and "kind" in data:
        yield data


def _placed(one: dict[str, Any], path: str, notes: list[str]) -> Iterator[Sighting]:
    """Yield the engines of a Deployment that kvplace wrote."""
    about: Any = one.get("metadata") or {}
    name = str(about.get("name", "?"))
    text = (about.get("annotations") or {}).get(_PLACEMENT)
    if text is None:
        if one.get("kind") == "Deployment":
            notes.append(f"Deployment {name!r} does not state what it serves ({_PLACEMENT})")
        return
    status: Any = one.get("status") or {}
    wanted = (one.get("spec") or {}).get("replicas", 1)
    state = "serving" if (status.get("readyReplicas") or 0) >= 1 else "loading"
    state = "stopped" if wanted == 0 else state
    try:
        rows = [(str(served), tuple(map(str, gpus))) for served, gpus in json.loads(text)]
    except (ValueError, TypeError):
        notes.append(f"the annotation {_PLACEMENT} of {name!r} is none")
        return
    for served, gpus in rows:
        yield Sighting(served, state, "kubernetes", path, gpus)


def _claim(one: dict[str, Any], path: str) -> Sighting:
    """Return the engine that a ModelClaim asks for."""
    about: Any = one.get("metadata") or {}
    status: Any = one.get("status") or {}
    state = _PHASES.get(str(status.get("phase", "")).lower(), "unknown")
    return Sighting(str(about.get("name", "?")), state, "aibrix", path)
