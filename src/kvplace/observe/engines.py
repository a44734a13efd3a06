"""vLLM and SGLang, asked directly: the list of models and the health of the server.

``GET /v1/models`` lists what is served as ``data[].id``; entries of vLLM with a ``parent`` are LoRA
adapters of another entry (vllm/entrypoints/openai/protocol.py, ModelCard). ``GET /health`` answers
200 once an engine serves (both engines). vLLM in its development mode answers ``GET /is_sleeping``
with ``{"is_sleeping": ...}``. Looked up in November 2026; vLLM 0.32, SGLang 0.5.
"""

from __future__ import annotations

from typing import Any

from kvplace.observe.answers import ASKER, Asker, base_of
from kvplace.observe.sighting import Seen, Sighting


def read_engine(address: str, asker: Asker = ASKER, *, runtime: str = "vllm") -> Seen:
    """Return what an engine at an address serves.

    Parameters
    ----------
    address
        Such as ``http://h100-0:20001``.
    runtime
        ``vllm`` or ``sglang``.

    Raises
    ------
    InputError
        The address is none.
    MissingExtraError
        ``httpx`` is not installed.
    """
    base = base_of(address)
    listed, note = asker.ask(f"{base}/v1/models")
    entries: Any = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list):
        return Seen(notes=(note or f"{base}/v1/models lists no models",))
    state = "serving" if asker.status(f"{base}/health") == 200 else "broken"
    if runtime == "vllm" and state == "serving":
        asleep, _ = asker.ask(f"{base}/is_sleeping")
        if isinstance(asleep, dict) and asleep.get("is_sleeping") is True:
            state = "asleep"
    names = [
        str(entry["id"])
        for entry in entries
        if isinstance(entry, dict) and entry.get("id") and not entry.get("parent")
    ]
    if not names:
        return Seen(notes=(f"{base}/v1/models lists no model of its own",))
    # All names of one server are one engine; the first is what it is known by.
    notes = tuple(f"{base} also goes by {name!r}" for name in names[1:])
    return Seen((Sighting(names[0], state, runtime, base),), notes)
