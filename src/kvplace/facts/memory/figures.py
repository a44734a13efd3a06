"""What a fleet file says of a model's cache: two figures, and how ranks split them.

A request holds ``prompt + output / 2`` tokens on average. Layers whose window is shorter than
that hold a full window, which is a constant, so they count per sequence; the others count per
token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.cache import CacheLayout
from kvplace.facts.memory.degree import DEGREES
from kvplace.facts.model_facts import ModelFacts

__all__ = ["CacheFigures", "cache_figures"]

Split = tuple[str, Fact[int] | Fact[str]]
"""A key of a model in a fleet file, ``kv_heads`` or ``attention``, and its value."""


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """The figures of one model.

    Parameters
    ----------
    bytes_per_token, bytes_per_sequence
        Of the undivided model where `split` says how ranks divide it, else the sum over ranks.
    split
        How the ranks of a copy divide them; None where they do so evenly.
    notes
        What a reader of the file should know.
    """

    bytes_per_token: Fact[int]
    bytes_per_sequence: Fact[int] | None
    split: Split | None
    notes: tuple[str, ...]


def cache_figures(facts: ModelFacts, degree: int, tokens: float | None) -> CacheFigures:
    """Return the figures that hold at the mean length of a request.

    Where a fleet file has no word for the way in which the ranks divide the cache (heads and
    states that split otherwise), the figures are sums over `degree` ranks, so that a load that
    is divided by the degree is right on each of them.

    Parameters
    ----------
    facts
        What is known of the model.
    degree
        Tensor parallel degree.
    tokens
        Tokens that a request holds on average; None for the upper bound inside every window.
    """
    layout = facts.layout
    notes = list(_window_notes(layout, tokens))
    split = _split(layout, tokens)
    if split is not None:
        per_token, fixed = _on_rank(layout, tokens, 1)
    else:
        per_token, fixed = (degree * figure for figure in _on_rank(layout, tokens, degree))
        if (per_token, fixed) != _on_rank(layout, tokens, 1):
            notes.insert(
                0,
                f"the cache is the sum over {degree} ranks, some of which hold the same: "
                f"{layout.bytes_per_token():,} B per token without the split",
            )
    state = Fact(fixed, "state, and windows that are full") if fixed else None
    return CacheFigures(Fact(per_token, facts.kv_origin), state, split, tuple(notes))


def _on_rank(layout: CacheLayout, tokens: float | None, degree: int) -> tuple[int, int]:
    """Return the bytes per token and per sequence that one of `degree` ranks holds."""
    per_token, fixed = 0, layout.bytes_per_sequence(degree)
    for group in layout.groups:
        if group.kind == "state":
            continue
        size = group.bytes_per_rank(degree)
        if group.window is not None and tokens is not None and tokens > group.window:
            fixed += group.window * size
        else:
            per_token += size
    return per_token, fixed


def _split(layout: CacheLayout, tokens: float | None) -> Split | None:
    """Return what a fleet file says of the split, where it is exact for every degree."""
    whole = _on_rank(layout, tokens, 1)
    for key, value, heads in _candidates(layout):
        exact = True
        for degree in DEGREES:
            try:
                part = _on_rank(layout, tokens, degree)
            except InputError:  # a degree that engines refuse
                continue
            share = -(-heads // degree)
            exact = exact and all(p * heads == w * share for p, w in zip(part, whole, strict=True))
        if exact:
            return key, value
    return None


def _candidates(layout: CacheLayout) -> Iterator[tuple[str, Fact[int] | Fact[str], int]]:
    """Yield ways to put the split, each with the equal parts that ranks share."""
    if any(group.kind == "latent" for group in layout.groups):
        yield "attention", Fact("mla", "every rank holds the whole latent vector"), 1
    attending = (group for group in layout.groups if group.kind in ("full", "window"))
    for heads in sorted({u.count for group in attending for u in group.units if u.count}):
        yield "kv_heads", Fact(heads, "ranks share them; with more ranks each holds one"), heads


def _window_notes(layout: CacheLayout, tokens: float | None) -> Iterator[str]:
    """Yield what the figures leave unsaid of a model with sliding windows."""
    full = [window for window in layout.windows if tokens is not None and tokens > window]
    if full:
        yield (
            f"a request holds {tokens:,.0f} tokens on average, more than the window of "
            f"{', '.join(map(str, full))}: kv_bytes_per_token is the growth beyond the window, and "
            "the full window counts in kv_bytes_per_sequence; inside the window a token takes "
            f"{layout.bytes_per_token():,} B"
        )
    elif layout.windows:
        why = (
            "no demand is known, so this is the upper bound inside the window of "
            if tokens is None
            else f"a request holds {tokens:,.0f} tokens on average, within the window of "
        )
        beyond = layout.bytes_per_token_beyond_window()
        windows = ", ".join(map(str, layout.windows))
        yield f"{why}{windows}; beyond it a token takes {beyond:,} B"
