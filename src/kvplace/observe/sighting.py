"""What a runtime says of its engines, and which engines of a known plan these are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit


def port_of(address: str) -> int:
    """Return the port of an address; 0 where it names none, or is no address."""
    try:
        return (urlsplit(address).port or 0) if "//" in address else 0
    except ValueError:
        return 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """One engine as its runtime describes it.

    Parameters
    ----------
    name
        What it is served as, or the name of its service.
    state
        One of `kvplace.formats.observation.STATES`.
    runtime, address
        Who was asked, and where.
    gpus
        Ids of its GPUs; empty where the runtime does not say.
    port
        Where it listens; 0 where that is not known.
    since
        UTC time from which on it is in that state; empty where that is not known.
    stray
        Whether what describes the engines does not speak of it, so that it may be none.
    host
        Label of its node in exports; empty where the runtime does not say.
    kv_bytes
        Its part of each GPU's KV memory; 0 where the runtime does not say.
    """

    name: str
    state: str
    runtime: str
    address: str
    gpus: tuple[str, ...] = ()
    port: int = 0
    since: str = ""
    stray: bool = False
    host: str = ""
    kv_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one source says.

    Parameters
    ----------
    engines
        What runs, or should.
    notes
        What was not understood, or not answered.
    """

    engines: tuple[Sighting, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """An engine of the plan that is thought to run.

    Parameters
    ----------
    model
        Name of the model in the fleet file.
    names
        What the engine goes by: served name, label, names of services.
    port
        Where it listens.
    gpus
        Ids in rank order.
    host
        Label of its node.
    kv_bytes
        Its part of each GPU's KV memory; 0 where that is not known.
    """

    model: str
    names: tuple[str, ...]
    port: int
    gpus: tuple[str, ...]
    host: str = ""
    kv_bytes: int = 0


def plain(name: str) -> str:
    """Return a name without what runtimes change in it: case and everything but letters, digits."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def identify(
    sightings: Iterable[Sighting],
    known: Sequence[Known],
    placed: Mapping[str, tuple[str, ...]] | None = None,
) -> list[tuple[Sighting, str]]:
    """Return each sighting with the model that it is of, and its GPUs where they are known.

    A sighting is the engine of the plan that goes by its name, on its node where that is known; of
    several, that at its port, with its part of the KV memory or under its label, and then each is
    taken once. GPUs that the runtime or the user states count
    before the plan's.

    Parameters
    ----------
    sightings
        What was seen.
    known
        Engines of the plan.
    placed
        GPUs by address, as the user states them.
    """
    free = list(known)
    found = []
    for one in sightings:
        gpus = one.gpus or (placed or {}).get(one.address, ())
        match = _match(one, free, gpus)
        if match is not None:
            free.remove(match)
            found.append((replace(one, gpus=gpus or match.gpus), match.model))
            continue
        if one.runtime == "compose" and any(one.name in k.names[1:] for k in known):
            continue  # a service of two files, one of before and one of after a change
        models = {plain(k.model): k.model for k in known}
        found.append((replace(one, gpus=gpus), models.get(plain(one.name), one.name)))
    return found


def _match(one: Sighting, known: Sequence[Known], gpus: tuple[str, ...]) -> Known | None:
    """Return the engine of the plan that a sighting is of, if any."""
    mine = [
        k
        for k in known
        if plain(one.name) in {plain(n) for n in (*k.names, k.model)}
        and (not one.host or not k.host or k.host == one.host)
    ]
    port = one.port or port_of(one.address)
    for test in (
        lambda k: bool(gpus) and k.gpus == gpus,
        lambda k: bool(port) and k.port == port,
        lambda k: bool(one.kv_bytes) and k.kv_bytes == one.kv_bytes,
        lambda k: one.name in k.names[1:],
        lambda k: plain(one.name) == plain(k.names[0]),
    ):
        fitting = [k for k in mine if test(k)]
        if fitting:
            return fitting[0]
    if gpus:
        return None  # its GPUs are known and no engine of the plan is there
    return mine[0] if mine else None
