"""Shell: a script per node that starts its engines with ``vllm serve`` and ``sglang``."""

from kvplace.export.commands import STATIC
from kvplace.export.layout import Engine, Layout
from kvplace.export.runtimes.script import script


def shell_files(layout: Layout, pool: str = STATIC) -> dict[str, str]:
    """Return ``start-LABEL.sh`` for each host.

    Parameters
    ----------
    layout
        What runs where.
    pool
        Whether each engine keeps to its bytes of KV memory or they share it by kvcached.
    """
    files = {}
    for host in layout.hosts:
        head = [
            f"Starts the engines of node {host.node.name}; Ctrl-C stops them.",
            "START_SECONDS: how long one may take to start (1800). LOGS: where logs go (./logs).",
        ]
        files[f"start-{host.label}.sh"] = script(host.waves(), head, pool, _indices, "LOGS")
    return files


def _indices(engine: Engine) -> tuple[int, ...]:
    return engine.indices
