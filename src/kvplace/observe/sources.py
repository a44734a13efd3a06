"""All runtimes by name: where each is read from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kvplace.observe.aibrix import read_aibrix
from kvplace.observe.answers import ASKER, Asker
from kvplace.observe.compose import read_compose
from kvplace.observe.engines import read_engine
from kvplace.observe.kubernetes import read_kubernetes
from kvplace.observe.kvcached import read_kvcached
from kvplace.observe.llama_swap import read_llama_swap
from kvplace.observe.prometheus import read_prometheus_labels
from kvplace.observe.ray_serve import read_ray_serve
from kvplace.observe.sighting import Seen

ASKED: dict[str, Callable[[str, Asker], Seen]] = {
    "vllm": read_engine,
    "sglang": partial(read_engine, runtime="sglang"),
    "kvcached": read_kvcached,
    "aibrix": read_aibrix,
    "ray-serve": read_ray_serve,
    "llama-swap": read_llama_swap,
    "prometheus": read_prometheus_labels,
}
"""Readers of what is asked over HTTP."""
FILES: dict[str, Callable[[str], Seen]] = {
    "kubernetes": read_kubernetes,
    "compose": read_compose,
}
"""Readers of files."""
SOURCES = (*ASKED, *FILES)


def read_source(runtime: str, place: str, asker: Asker = ASKER) -> Seen:
    """Return what is seen at a place: an address, or a file.

    Parameters
    ----------
    runtime
        One of `SOURCES`.
    place
        Where.
    asker
        Who asks.

    Raises
    ------
    InputError
        The address is none, or the file is not what it should be.
    MissingExtraError
        ``httpx`` is not installed.
    """
    return FILES[runtime](place) if runtime in FILES else ASKED[runtime](place, asker)
