"""llama-swap: what its proxy has running.

``GET /running`` answers ``{"running": [{"model", "state", ...}]}`` with the states ``stopped``,
``starting``, ``ready``, ``stopping`` and ``shutdown``; ``proxy`` and ``cmd`` in later versions
(proxy/proxymanager.go of github.com/mostlygeek/llama-swap, looked up in November 2026). Models that
are not running are not listed.
"""

from __future__ import annotations

from typing import Any

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting, port_of

_STATES = {"ready": "serving", "starting": "loading", "stopped": "stopped", "shutdown": "stopped",
           "stopping": "stopped"}  # fmt: skip


def read_llama_swap(address: str, asker: Asker = ASKER) -> Seen:
    """Return what the proxy at an address runs.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    listed, note = asker.ask(f"{base}/running")
    running: Any = listed.get("running") if isinstance(listed, dict) else None
    if not isinstance(running, list):
        return Seen(notes=(note or f"{base}/running lists nothing",))
    engines = []
    for entry in running:
        if isinstance(entry, dict) and entry.get("model"):
            port = port_of(str(entry.get("proxy") or ""))
            state = _STATES.get(str(entry.get("state")), "unknown")
            engines.append(Sighting(str(entry["model"]), state, "llama-swap", base, port=port))
    return Seen(tuple(engines))
