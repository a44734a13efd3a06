"""Launch: how the engine of a model is started. Decides nothing about where it runs."""

from dataclasses import dataclass
from typing import NamedTuple

from kvplace.field_types import hold_types

ENGINES = ("vllm", "sglang")
"""Engines that can be launched; the first is the default."""


class EngineName(NamedTuple):
    """What tells an engine that runs from others.

    Parameters
    ----------
    label
        A DNS label, unique in the fleet.
    port
        Where it listens, with ports counted from 20000 whatever they are counted from in the end;
        unique on its node.
    """

    label: str
    port: int


@dataclass(frozen=True, slots=True)
class Launch:
    """How the engine of a model is started.

    Parameters
    ----------
    engine
        One of `ENGINES`.
    source
        Hub id, directory or URL of the checkpoint; the model's name where it is empty.
    image
        Container image; that of the export where it is empty.
    venv
        Directory of a virtual environment that holds the engine; empty where it is on the path.
    args
        Further arguments of the engine, one word each.
    env
        Environment variables and their values, which are written into files as they stand.
    max_num_batched_tokens, max_num_seqs
        Most tokens and most sequences of one step, which the engine's memory was estimated for;
        0 leaves them to the engine.
    secrets
        Names of environment variables whose values are taken where the engine starts, and
        written nowhere.
    """

    engine: str = ENGINES[0]
    source: str = ""
    image: str = ""
    venv: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    max_num_batched_tokens: int = 0
    max_num_seqs: int = 0

    def __post_init__(self) -> None:
        hold_types(self)
