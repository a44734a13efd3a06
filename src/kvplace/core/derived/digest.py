"""The digest of a problem: what decides the worth of a placement, as one hash."""

import json
from collections.abc import Iterable, Sequence

from kvplace.core.hardware import GPU, Fleet
from kvplace.core.models.model_columns import ModelColumns, stated
from kvplace.core.rules.rule import Rule

AT_ONCE = 10_000
"""Models whose rows are hashed together."""


def digest_of(
    goal: str,
    models: ModelColumns,
    loads: Sequence[float],
    fleet: Fleet,
    rules: tuple[Rule, ...],
    pressed: Iterable[object] = (),
) -> str:
    """Return the SHA-256 over everything that decides what a placement is worth.

    The order of models, nodes and rules does not enter it.

    Parameters
    ----------
    goal
        Name of the objective.
    models, loads
        The models, and the load of each.
    fleet
        What there is to place on.
    rules
        What is demanded besides.
    pressed
        What of windows and times decides the pressure, in any order; nothing under the other
        objectives.
    """
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL, and few commands need it

    nodes = sorted(
        [
            n.name, sorted(n.labels.items()),
            list(map(_gpu, n.gpus)),
            *stated(resources=sorted(n.resources.items())),
        ]
        for n in fleet.nodes
    )  # fmt: skip
    # The JSON of [goal, [model, ...], nodes, ...], piece by piece: a million models would
    # otherwise be in memory twice more.
    hashed = sha256(f"[{_json(goal)},[".encode())
    names = models.names
    order = sorted(range(len(names)), key=names.__getitem__)
    for first in range(0, len(order), AT_ONCE):
        rows = models.digest_text(order[first : first + AT_ONCE], loads)
        hashed.update(("," if first else "").encode())
        hashed.update(rows.encode("utf-8", "surrogatepass"))
    hashes = sorted(sha256(_json(row).encode()).digest() for row in pressed)
    together = sha256(b"".join(hashes)).hexdigest() if hashes else ""
    ruled = sorted(rule.digest_text() for rule in rules)
    rest = [nodes, *stated(rules=ruled, pressures=together)]
    hashed.update(f"],{_json(rest)[1:-1]}]".encode("utf-8", "surrogatepass"))
    return f"sha256:{hashed.hexdigest()}"


def _gpu(gpu: GPU) -> list[object]:
    """Return what of a GPU enters the digest."""
    row: list[object] = [gpu.id, gpu.type, gpu.usable_bytes]
    if gpu.link or gpu.resources:
        row += stated(link=gpu.link, resources=sorted(gpu.resources.items()))
    return row


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
