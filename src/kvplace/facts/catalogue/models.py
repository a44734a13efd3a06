"""The catalogue of common open models: weights and cache of each, with the source of the row."""

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.tables import gibibytes, named, number, read_tables


class KnownModel(NamedTuple):
    """A row of the catalogue.

    Parameters
    ----------
    name
        Hub id.
    weights_bytes
        One copy, in `weight_dtype`.
    weight_dtype
        Type in which it is published.
    kv_bytes_per_token
        In 16 bits, over all layers and inside every sliding window.
    kv_units
        KV heads; 1 for a latent vector, which every rank holds.
    window_tokens, kv_bytes_per_token_beyond_window
        Sliding window and what a token takes beyond it; None without a window.
    kv_bytes_per_sequence
        Fixed state; None where the model has one and the catalogue does not know it.
    attention
        Kind, in the field's words.
    context_tokens
        Longest context, None where unknown.
    loaded_bytes, loaded_source
        What an engine was measured to hold on one GPU, and by whom; None where nobody reported.
    source, note
        Where the row comes from, and what to know about it.
    """

    name: str
    weights_bytes: int
    weight_dtype: str
    kv_bytes_per_token: int
    kv_units: int
    window_tokens: int | None
    kv_bytes_per_token_beyond_window: int | None
    kv_bytes_per_sequence: int | None
    attention: str
    context_tokens: int | None
    source: str
    note: str
    loaded_bytes: int | None = None
    loaded_source: str = ""


def known_models() -> Mapping[str, KnownModel]:
    """Return all models of the catalogue by name: the shipped ones, then a user's own.

    Raises
    ------
    InputError
        The user's own table is wrong: every row at once.
    """
    return read_tables(
        "models.csv", ("name", "weights_gib", "kv_bytes_per_token", "source"), _known_model
    )


def known_model(name: str) -> KnownModel | None:
    """Return the model of that name, upper and lower case being one, or None."""
    return named(known_models(), name)


def near_model(name: str) -> str | None:
    """Return the name in the catalogue that is nearest to a name, if one is near.

    A name without its organisation is nearest to the one that it ends.
    """
    tail = f"/{name.casefold()}"
    for known in known_models():
        if known.casefold().endswith(tail):
            return known
    return next(iter(difflib.get_close_matches(name, known_models(), n=1, cutoff=0.6)), None)


def _known_model(row: Mapping[str, str]) -> KnownModel:
    """Make a model of a row."""
    kv, units = _whole(row, "kv_bytes_per_token"), _whole(row, "kv_units") or 1
    window, beyond = _whole(row, "window_tokens"), _whole(row, "kv_bytes_per_token_beyond_window")
    if (window is None) != (beyond is None):
        message = "window_tokens and kv_bytes_per_token_beyond_window go together"
        raise InputError([Fault(message, "window_tokens")])
    if kv is None or kv % units:
        raise InputError([Fault(f"{kv} is no multiple of {units} units", "kv_bytes_per_token")])
    state = _whole(row, "kv_bytes_per_sequence")
    if state is None and "hybrid" not in row.get("attention", ""):
        state = 0
    return KnownModel(
        name=row["name"].strip(),
        weights_bytes=gibibytes(row, "weights_gib"),
        weight_dtype=row.get("weight_dtype", ""),
        kv_bytes_per_token=kv,
        kv_units=units,
        window_tokens=window,
        kv_bytes_per_token_beyond_window=beyond,
        kv_bytes_per_sequence=state,
        attention=row.get("attention", ""),
        context_tokens=_whole(row, "context_tokens"),
        source=row["source"],
        note=row.get("note", ""),
        loaded_bytes=gibibytes(row, "loaded_gib")
        if (row.get("loaded_gib") or "").strip()
        else None,
        loaded_source=row.get("loaded_source", ""),
    )


def _whole(row: Mapping[str, str], column: str) -> int | None:
    """Return a whole number of a row, or None."""
    value = number(row, column)
    if value is not None and not value.is_integer():
        raise InputError([Fault(f"{row[column]!r} is no whole number", column)])
    return None if value is None else int(value)
