"""Facts about a model by whatever a user calls it: a directory, a known name, a hub id."""

from pathlib import Path

from kvplace.errors import InputError
from kvplace.facts.catalogue.known_facts import facts_of
from kvplace.facts.catalogue.models import known_model, near_model
from kvplace.facts.checkpoint.huggingface import (
    facts_from_directory,
    facts_from_gguf,
    facts_from_hub,
)
from kvplace.facts.checkpoint.paths import is_directory, is_file
from kvplace.facts.model_facts import ModelFacts

SOURCES = ("auto", "catalogue", "hub")
"""Where to look: ``auto`` is a directory, then the catalogue, then the hub."""


def find_facts(
    name: str, source: str = "auto", kv_dtype: str = "auto", engine: str = "vllm"
) -> ModelFacts:
    """Find the facts of a model.

    Parameters
    ----------
    name
        A checkpoint's directory, a GGUF file, or a hub id.
    source
        Where to look: ``catalogue``, ``hub``, or ``auto`` for a directory, then the catalogue, then
        the hub.
    kv_dtype
        Type of the KV cache; ``auto`` for what the files say.
    engine
        Whose layout of the cache it is: ``vllm``, ``sglang`` or ``trtllm``.

    Raises
    ------
    InputError
        The model is not found, or a figure of it cannot be known.
    MissingExtraError
        It is on the hub only, and the hub's client is not installed.
    """
    if not name.strip():
        raise InputError("a model's name is empty; give a directory, a GGUF file or a hub id")
    if source == "auto" and is_directory(name):
        return facts_from_directory(Path(name), kv_dtype, engine)
    if source == "auto" and name.casefold().endswith(".gguf") and is_file(name):
        return facts_from_gguf([Path(name)], Path(name).stem, kv_dtype, engine)
    if source == "auto" and is_file(name):
        message = "this is a file; give the directory of a checkpoint, a GGUF file or a hub id"
        raise InputError(message, name)
    if source == "auto" and name.startswith(("/", "./", "../", "~")):
        raise InputError("there is no such directory", name)
    known = known_model(name) if source != "hub" else None
    if known is not None:
        return facts_of(known, kv_dtype)
    near = near_model(name)
    if source == "catalogue" or (
        source == "auto" and near and near.casefold().endswith(f"/{name.casefold()}")
    ):
        hint = f"did you mean {near!r}?" if near else "kvplace catalogue models lists them"
        raise InputError(f"the catalogue has no such model; {hint}", name)
    return facts_from_hub(name, kv_dtype, engine=engine)
