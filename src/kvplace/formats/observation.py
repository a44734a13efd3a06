"""The observation file, kvplace.observation/v1: what runs on a fleet, as far as it was seen."""

import os
from typing import Annotated

from pydantic import ConfigDict, Field

from kvplace.core.placement import Placement, Replica
from kvplace.files import kept
from kvplace.formats.validation.fields import Name, Text, word
from kvplace.formats.validation.json_text import json_text
from kvplace.formats.validation.models import read_part
from kvplace.formats.validation.parts import Part

OBSERVATION_SCHEMA = "kvplace.observation/v1"
"""Name and version of the observation file's format."""
STATES = ("serving", "loading", "asleep", "stopped", "broken", "unknown")
"""What an engine may be seen to do."""


class EnginePart(Part):
    """One engine as it was seen."""

    model: Name
    """Name of the model, as in the fleet file where that is known."""
    gpus: tuple[Name, ...] = ()
    """GPUs in rank order; empty: not known."""
    state: Annotated[str, *word(*STATES)] = "serving"
    runtime: Text = ""
    address: Text = ""
    """Where it was asked."""
    since: Text = ""
    """UTC time at which it began to serve."""


class Observation(Part):
    """An observation file."""

    model_config = ConfigDict(title=OBSERVATION_SCHEMA)

    schema_: Annotated[str, *word(OBSERVATION_SCHEMA)] = Field(alias="schema")
    observed: Text = ""
    """UTC, as in 2026-08-13T12:00:00Z."""
    engines: tuple[EnginePart, ...]
    notes: tuple[str, ...] = ()
    """What was not understood or not seen."""


def write_observation(observation: Observation, path: str | os.PathLike[str] | None = None) -> str:
    """Return the JSON of an observation; where there is a path, write it there as well.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    return kept(json_text(Observation, observation), path)


def read_observation(path: str | os.PathLike[str]) -> Observation:
    """Read an observation.

    Raises
    ------
    InputError
        With everything that is wrong with the file, each fault with its path and line.
    """
    return read_part(Observation, path, "observation")


def observed_placement(observation: Observation) -> Placement:
    """Return what takes memory of GPUs that are known: engines that serve, load or sleep.

    Numbers of copies follow the order of their GPUs.
    """
    seen: dict[str, set[tuple[str, ...]]] = {}
    for engine in observation.engines:
        if engine.gpus and engine.state in {"serving", "loading", "asleep"}:
            seen.setdefault(engine.model, set()).add(engine.gpus)
    return Placement(
        tuple(
            Replica(model, number, gpus)
            for model, places in seen.items()
            for number, gpus in enumerate(sorted(places))
        )
    )
