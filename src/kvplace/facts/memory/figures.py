"""What a fleet file says of a model's cache: bytes, sliding windows, and how ranks split them."""

from collections.abc import Iterator
from typing import NamedTuple

from kvplace.core.fact import Fact
from kvplace.core.models.kv_cache import SlidingWindow
from kvplace.errors import InputError
from kvplace.facts.cache import CacheLayout
from kvplace.facts.memory.blocks import block_tokens
from kvplace.facts.memory.degree import DEGREES
from kvplace.facts.model_facts import ModelFacts

Split = tuple[str, Fact[int] | Fact[str]]
"""A key of a model in a fleet file, ``kv_heads`` or ``attention``, and its value."""


class CacheFigures(NamedTuple):
    """The figures of one model.

    Parameters
    ----------
    bytes_per_token, bytes_per_sequence
        Of the undivided model where `split` says how ranks divide it, else the sum over ranks.
    windows
        What of it is kept of the last tokens only, each window once.
    block_tokens
        Tokens of a block of cache.
    split
        How the ranks of a copy divide them; None where they do so evenly.
    notes
        What a reader of the file should know.
    """

    bytes_per_token: Fact[int]
    bytes_per_sequence: Fact[int] | None
    windows: tuple[SlidingWindow, ...]
    block_tokens: Fact[int]
    split: Split | None
    notes: tuple[str, ...]


def cache_figures(facts: ModelFacts, degree: int) -> CacheFigures:
    """Return the figures.

    Where a fleet file has no word for the way in which the ranks divide the cache (heads and
    states that split otherwise), the figures are sums over `degree` ranks, so that a load that
    is divided by the degree is right on each of them.

    Parameters
    ----------
    facts
        What is known of the model.
    degree
        Tensor parallel degree.
    """
    layout = facts.layout
    notes = []
    split = _split(layout)
    if split is not None:
        kept = _on_rank(layout, 1)
    else:
        kept = tuple(degree * figure for figure in _on_rank(layout, degree))
        if kept != _on_rank(layout, 1):
            notes.append(
                f"the cache is the sum over {degree} ranks, some of which hold the same: "
                f"{layout.bytes_per_token():,} B per token without the split"
            )
    state, unlimited, *in_windows = kept
    pairs = zip(layout.windows, in_windows, strict=True)
    return CacheFigures(
        Fact(unlimited + sum(in_windows), facts.kv_origin),
        Fact(state, "state of each sequence") if state else None,
        tuple(SlidingWindow(tokens, size) for tokens, size in pairs if size),
        block_tokens(layout, degree),
        split,
        tuple(notes),
    )


def _on_rank(layout: CacheLayout, degree: int) -> tuple[int, ...]:
    """Return what one of `degree` ranks holds.

    The state of a sequence; what a token takes in layers that keep all tokens; in each window.
    """
    in_windows = [
        sum(g.bytes_per_rank(degree) for g in layout.groups if g.window == window)
        for window in layout.windows
    ]
    unlimited = layout.bytes_per_token_beyond_window(degree)
    return (layout.bytes_per_sequence(degree), unlimited, *in_windows)


def _split(layout: CacheLayout) -> Split | None:
    """Return what a fleet file says of the split, where it is exact for every degree."""
    whole = _on_rank(layout, 1)
    for key, value, heads in _candidates(layout):
        exact = True
        for degree in DEGREES:
            try:
                part = _on_rank(layout, degree)
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
