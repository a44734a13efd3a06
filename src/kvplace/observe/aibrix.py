"""AIBrix: the snapshot of a pool's runtime.

``GET /v1/runtime/snapshot`` has ``observed_at``, ``accelerators`` and ``models`` with
``model_name``, ``port``, ``phase``, ``ready``, ``alive``, ``last_error``, ``last_transition`` and
``claim_ref`` (aibrix 0.8.0, aibrix/openapi/protocol.py, RuntimeSnapshotResponse).
"""

from __future__ import annotations

from typing import Any

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting


def read_aibrix(address: str, asker: Asker = ASKER) -> Seen:
    """Return what the runtime at an address manages.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    snapshot, note = asker.ask(f"{base}/v1/runtime/snapshot")
    models: Any = snapshot.get("models") if isinstance(snapshot, dict) else None
    if not isinstance(models, list):
        return Seen(notes=(note or f"{base}/v1/runtime/snapshot has no models",))
    engines, notes = [], []
    for entry in models:
        if not isinstance(entry, dict) or not entry.get("model_name"):
            notes.append(f"{base} lists a model without a name")
            continue
        name, state = str(entry["model_name"]), _state(entry)
        if entry.get("last_error"):
            notes.append(f"{name!r} at {base}: {str(entry['last_error'])[:200]}")
        claim: Any = entry.get("claim_ref")
        known = str(claim["name"]) if isinstance(claim, dict) and claim.get("name") else name
        port = entry.get("port")
        engines.append(
            Sighting(
                known,
                state,
                "aibrix",
                base,
                port=port if isinstance(port, int) else 0,
                since=str(entry.get("last_transition") or ""),
            )
        )
    return Seen(tuple(engines), tuple(notes))


def _state(entry: dict[str, Any]) -> str:
    """Return the state of a model: asleep, serving, loading, or broken."""
    if str(entry.get("phase", "")).lower() in ("sleeping", "asleep"):
        return "asleep"
    if entry.get("ready") is True:
        return "serving"
    return "loading" if entry.get("alive", True) is True else "broken"
