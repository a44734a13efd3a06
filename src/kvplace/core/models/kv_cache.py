"""KV cache that a request holds: sliding windows, and blocks that are taken whole.

A layer with a sliding window of ``W`` tokens keeps the last ``W`` tokens of a request only, so a
request of ``x`` tokens holds ``min(x, W)`` there. Requests at a random time differ in ``x``, and
the mean of the minimum is less than the minimum of the mean. Lengths are taken as log-normal. With
mean ``m``, squared coefficient of variation ``v``, ``s^2 = log(1 + v)`` and ``u = log m - s^2 / 2``
the limited expected value is ::

    E[min(x, W)] = m F((log W - u - s^2) / s) + W (1 - F((log W - u) / s))

with ``F`` the normal distribution (S. A. Klugman, H. H. Panjer, G. E. Willmot, Loss Models,
appendix A).

Engines hand out cache in blocks of ``b`` tokens. A request whose length is spread over more than a
block leaves ``(b - 1) / 2`` tokens of its last block unused on average, and in a layer with a
window as much again of its first. What one request needs at most is that of vLLM's start check: its
tokens in whole blocks; in a layer with a window, ``W - 1`` tokens and those of one step, in whole
blocks, and one more block.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types

_STEPS = 2**20
"""Steps of a token, so that machines whose logarithms differ in the last bit plan alike."""


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """Layers that keep the last tokens of a request only.

    Parameters
    ----------
    tokens
        How many they keep.
    kv_bytes_per_token
        What one token takes in all of them together, in one copy.

    Raises
    ------
    InputError
        A number is below 1.
    """

    tokens: int
    kv_bytes_per_token: int

    def __post_init__(self) -> None:
        hold_types(self)
        faults = [
            Fault("it must be at least 1", name)
            for name in ("tokens", "kv_bytes_per_token")
            if getattr(self, name) < 1
        ]
        if faults:
            raise InputError(faults)


def limited_mean(mean: float, variation: float, most: float) -> float:
    """Return the mean of ``min(x, most)`` for log-normal ``x``.

    Parameters
    ----------
    mean
        Of ``x``, at least 0.
    variation
        Its squared coefficient of variation.
    most
        At least 0.
    """
    if mean <= 0 or most <= 0:
        return 0.0
    if variation <= 0:
        return min(mean, most)
    spread = math.sqrt(math.log1p(variation))
    at = (math.log(most / mean) + spread**2 / 2) / spread
    return mean * _normal(at - spread) + most * _normal(-at)


def _normal(at: float) -> float:
    """Return the normal distribution."""
    return math.erfc(-at / math.sqrt(2)) / 2


def mean_tokens_kept(
    tokens: float, variation: float, block: int, windows: Iterable[SlidingWindow]
) -> tuple[float, list[float]]:
    """Return the tokens that a request takes on average, unused ends of blocks included.

    Parameters
    ----------
    tokens
        Tokens that a request holds at a random time, on average.
    variation
        Their squared coefficient of variation.
    block
        Tokens of a block.
    windows
        Layers with a window.

    Returns
    -------
    tuple
        In layers that keep all tokens, and in those of each window.
    """
    ends = (block - 1) / 2
    kept = [limited_mean(tokens + ends, variation, w.tokens + 2 * ends) for w in windows]
    return tokens + ends, [round(one * _STEPS) / _STEPS for one in kept]


def whole_blocks(tokens: int, block: int) -> int:
    """Return the tokens of the blocks that hold some tokens."""
    return -(-tokens // block) * block


def most_tokens_kept(tokens: int, step_tokens: int, block: int, window: SlidingWindow) -> int:
    """Return the tokens that an engine reserves for one request in layers with a window.

    Parameters
    ----------
    tokens
        Of the request.
    step_tokens
        Most tokens of one step; 0 where the engine's own is not known, then the window counts as
        no limit.
    block
        Tokens of a block.
    window
        That of the layers.
    """
    whole = whole_blocks(tokens, block)
    if not step_tokens:
        return whole
    return min(whole, whole_blocks(min(tokens, window.tokens - 1 + step_tokens), block) + block)
