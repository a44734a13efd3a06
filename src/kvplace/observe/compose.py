"""docker compose: a compose file, and what ``docker compose ps --format json`` prints beside it.

The file says which GPUs of its host a service gets (``device_ids``) and what it serves; without
``ps`` it is not known whether it runs. ``ps`` prints an object per line, or a list, with
``Service``, ``State`` and ``Health`` (https://docs.docker.com/reference/cli/docker/compose/ps/).
"""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any

from kvplace.errors import InputError
from kvplace.files import read_text
from kvplace.observe.sighting import Seen, Sighting
from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.devices import devices_of
from kvplace.scaffold.deployments.documents import documents


def read_compose(path: str, node: str = "") -> Seen:
    """Return the engines of a compose file.

    Parameters
    ----------
    path
        The compose file. What ``docker compose ps --format json`` prints is looked for beside it,
        under its name with ``.ps.json`` for its suffix.
    node
        The host; GPUs are then known. Empty where that is not known.

    Raises
    ------
    InputError
        The file cannot be read, or has no services.
    """
    (data, *_) = documents(read_text(path), path) or [None]
    services: Any = data.get("services") if isinstance(data, dict) else None
    if not isinstance(services, dict):
        raise InputError("there are no services in it", path)
    beside = PurePath(path).with_suffix(".ps.json")
    states = _states(str(beside)) if Path(beside).exists() else None
    engines, notes = [], []
    if states is None:
        notes.append(f"{path}: whether its services run is not known: there is no {beside.name}")
    for name, service in services.items():
        stated = service if isinstance(service, dict) else {}
        devices = devices_of(stated, environment_of(stated.get("environment")))
        if not devices.any:
            continue
        if devices.gpus is None:
            notes.append(f"{path}: which GPUs {name!r} has is not known: it names none by number")
        gpus = tuple(f"{node}/{number}" for number in devices.gpus or ()) if node else ()
        state = "unknown" if states is None else states.get(str(name), "stopped")
        engines.append(Sighting(str(name), state, "compose", path, gpus))
    engines += [
        Sighting(name, state, "compose", path, stray=True)
        for name, state in (states or {}).items()
        if name not in services and state != "stopped"
    ]
    return Seen(tuple(engines), tuple(notes))


def _states(path: str) -> dict[str, str]:
    """Return the state of each service that is listed; ``ps`` prints nothing where none runs."""
    if not Path(path).stat().st_size:
        return {}
    text = read_text(path)
    try:
        whole = json.loads(text)
        rows = whole if isinstance(whole, list) else [whole]
    except ValueError:
        try:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise InputError(
                "this is not what docker compose ps --format json prints", path
            ) from None
    found = {}
    for row in rows:
        if isinstance(row, dict) and row.get("Service"):
            running = str(row.get("State")) == "running"
            health = str(row.get("Health") or "")
            state = {"starting": "loading", "unhealthy": "broken"}.get(health, "serving")
            found[str(row["Service"])] = state if running else "stopped"
    return found
