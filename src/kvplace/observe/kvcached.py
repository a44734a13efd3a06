"""kvcached: the front end of its controller.

``GET /models`` answers ``{"models": {name: {"endpoint": base URL}}}``, ``GET /health/{name}``
``{"model", "health": {base URL: true or false}}``, ``GET /sleep/status`` has ``sleeping_models``
(controller/frontend.py and router.py of github.com/ovg-project/kvcached, November 2026).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting, port_of


def read_kvcached(address: str, asker: Asker = ASKER) -> Seen:
    """Return what the controller at an address routes to.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    listed, note = asker.ask(f"{base}/models")
    models: Any = listed.get("models") if isinstance(listed, dict) else None
    if not isinstance(models, dict):
        return Seen(notes=(note or f"{base}/models lists no models",))
    sleeping, _ = asker.ask(f"{base}/sleep/status")
    asleep: Any = sleeping.get("sleeping_models") if isinstance(sleeping, dict) else None
    names = {str(name) for name in asleep} if isinstance(asleep, dict | list) else set()
    engines, notes = [], []
    for name, entry in models.items():
        endpoint = entry.get("endpoint") if isinstance(entry, dict) else None
        endpoint = endpoint if isinstance(endpoint, str) else ""
        state = "asleep" if name in names else _health(asker, base, name)
        if state == "unknown":
            notes.append(f"{base} does not say whether {name!r} is healthy")
        port = port_of(endpoint)
        engines.append(Sighting(str(name), state, "kvcached", endpoint or base, port=port))
    return Seen(tuple(engines), tuple(notes))


def _health(asker: Asker, base: str, name: str) -> str:
    """Return the state of a model that is awake."""
    answer, _ = asker.ask(f"{base}/health/{quote(name, safe='')}")
    health: Any = answer.get("health") if isinstance(answer, dict) else None
    if not isinstance(health, dict) or not health:
        return "unknown"
    return "serving" if all(value is True for value in health.values()) else "broken"
