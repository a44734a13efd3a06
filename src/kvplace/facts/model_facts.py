"""What is known of a model: weights, cache and shape, each figure with its origin."""

from typing import NamedTuple

from kvplace.core.fact import Fact
from kvplace.core.models.architecture import Architecture
from kvplace.facts.cache import CacheLayout


class ModelFacts(NamedTuple):
    """What is known of a model, each figure with its origin.

    Parameters
    ----------
    name
        Its name: the hub id, or the directory's.
    weights_bytes
        One copy of the weights.
    layout
        What it caches; `CacheLayout` answers per token, per sequence and per rank.
    kv_origin
        How the layout was obtained, in one line.
    context_tokens
        The longest context that the config states; None where it states none.
    shape
        Layers, widths and parameters; None where they are not known.
    """

    name: str
    weights_bytes: Fact[int]
    layout: CacheLayout
    kv_origin: str
    context_tokens: int | None = None
    shape: Architecture | None = None

    def kv_bytes_per_token(self, degree: int = 1) -> Fact[int]:
        """Return the bytes of one token inside every window, on each of `degree` ranks."""
        rank = "" if degree == 1 else f", on each of {degree} ranks"
        return Fact(self.layout.bytes_per_token(degree), self.kv_origin + rank)

    def kv_bytes_per_sequence(self, degree: int = 1) -> Fact[int]:
        """Return the fixed bytes of one sequence, on each of `degree` ranks."""
        return Fact(self.layout.bytes_per_sequence(degree), self.kv_origin)
