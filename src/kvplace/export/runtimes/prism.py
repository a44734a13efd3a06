"""prism-research: its list of models with their first placements, one file per node."""

import json

from kvplace.export.layout import Engine, Host, Layout
from kvplace.units import GIB


def prism_files(layout: Layout) -> dict[str, str]:
    """Return ``models-LABEL.json`` for each host."""
    return {f"models-{host.label}.json": _models(host) for host in layout.hosts}


def _models(host: Host) -> str:
    """Return the models of one host, each with its copies on it.

    ``max_memory_pool_size`` is in GB and caps the elastic pool: what the model's GPUs have left
    for KV, in whole GiB, at least 1.
    """
    free = {gpu.id: gpu.free_bytes for group in host.groups for gpu in group.gpus}
    copies: dict[tuple[str, int], list[Engine]] = {}
    for engine in sorted(host.engines, key=lambda engine: engine.replica):
        copies.setdefault((engine.model.name, engine.degree), []).append(engine)
    data = []
    seen: set[str] = set()
    for (name, degree), engines in copies.items():
        # One entry has one degree; copies of another degree go by their own name.
        served = name if name not in seen else engines[0].served_name
        seen.add(served)
        data.append(
            {
                "model_name": served,
                "model_path": engines[0].source,
                "tokenizer_path": engines[0].source,
                "tp_size": degree,
                "init_placements": [
                    {
                        "gpu_ids": list(engine.indices),
                        "on": True,
                        "max_memory_pool_size": max(
                            1, min(free[gpu] for gpu in engine.gpus) // GIB
                        ),
                    }
                    for engine in engines
                ],
            }
        )
    return json.dumps(data, indent=2) + "\n"
