"""All exports by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.commands import STATIC
from kvplace.export.layout import Layout, lay_out
from kvplace.export.naming import BASE_PORT
from kvplace.export.runtimes.aibrix import aibrix_files
from kvplace.export.runtimes.compose import compose_files
from kvplace.export.runtimes.kubernetes import kubernetes_files
from kvplace.export.runtimes.kvcached import DEFAULT_VENV, kvcached_files
from kvplace.export.runtimes.llama_swap import llama_swap_files
from kvplace.export.runtimes.prism import prism_files
from kvplace.export.runtimes.prometheus import prometheus_files
from kvplace.export.runtimes.ray_serve import ray_serve_files
from kvplace.export.runtimes.shell import shell_files


@dataclass(frozen=True, slots=True)
class Options:
    """What a plan does not say and an export may need.

    Parameters
    ----------
    base_port
        First port of the engines of each host.
    pool
        ``static`` or ``kvcached``: how engines that share a GPU share its KV memory, for runtimes
        that leave the choice.
    addresses
        Address of a node by its name, for kvcached.
    venv
        Virtual environment of models that name none, for kvcached.
    kept
        KV bytes that engines have now, by model and number of the copy, as `lay_out` takes them.
    names
        Labels and ports that engines have now, in the same way.
    """

    base_port: int = BASE_PORT
    pool: str = STATIC
    addresses: Mapping[str, str] = field(default_factory=dict)
    venv: str = DEFAULT_VENV
    kept: Mapping[tuple[str, int], int] = field(default_factory=dict)
    names: Mapping[tuple[str, int], EngineName] = field(default_factory=dict)


EXPORTS: dict[str, Callable[[Layout, Options], dict[str, str]]] = {
    "kvcached": lambda layout, o: kvcached_files(layout, o.addresses, o.venv),
    "aibrix": lambda layout, _: aibrix_files(layout),
    "compose": lambda layout, o: compose_files(layout, o.pool),
    "shell": lambda layout, o: shell_files(layout, o.pool),
    "kubernetes": lambda layout, o: kubernetes_files(layout, o.pool),
    "ray-serve": lambda layout, _: ray_serve_files(layout),
    "llama-swap": lambda layout, _: llama_swap_files(layout),
    "prism": lambda layout, _: prism_files(layout),
    "prometheus": lambda layout, _: prometheus_files(layout),
}
"""Every export: from a layout to texts by file name."""


def files_for(
    problem: Problem, placement: Placement, to: str, options: Options | None = None
) -> dict[str, str]:
    """Return the files that put a placement into effect, by name.

    Raises
    ------
    InputError
        There is no such runtime, the placement is not valid, or the runtime cannot do what it
        asks.
    """
    if to not in EXPORTS:
        raise InputError(f"there is no export to {to!r}; known: {', '.join(EXPORTS)}")
    options = options or Options()
    layout = lay_out(problem, placement, options.base_port, options.kept, options.names)
    return EXPORTS[to](layout, options)
