"""What a model keeps in memory per token and per sequence, whole and per tensor-parallel rank.

Everything a layer caches is some number of equal units: KV heads, one latent vector, state
heads. Tensor parallel deals the units out over the ranks, and a rank that would get less than
one unit holds a whole one. Both well-known surprises follow from this one rule: KV heads are
replicated when there are more ranks than heads, and the single latent vector of multi-head
latent attention (MLA) is held by every rank.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kvplace.errors import InputError

Kind = Literal["full", "window", "latent", "indexer", "state"]
"""How layers cache: all tokens, the last tokens only, a latent vector per token, the keys of a
sparse-attention indexer, or a state of fixed size per sequence."""


@dataclass(frozen=True, slots=True)
class Units:
    """Equal parts that tensor parallel deals out over ranks.

    Parameters
    ----------
    count
        How many there are in one layer.
    size_bytes
        Size of each: per token, or per sequence for a state.
    name
        What they are, for messages, such as ``KV heads``.
    """

    count: int
    size_bytes: int
    name: str

    def bytes_per_rank(self, degree: int) -> int:
        """Return what each of `degree` ranks holds of one layer.

        Raises
        ------
        InputError
            There are more units than ranks and they do not divide evenly; engines refuse it.
        """
        if self.count > degree and self.count % degree:
            raise InputError(
                f"{self.count} {self.name} do not split over {degree} ranks; use a tensor "
                f"parallel degree that divides {self.count} or is a multiple of it"
            )
        return -(-self.count // degree) * self.size_bytes


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Layers that cache in the same way.

    Parameters
    ----------
    kind
        How they cache.
    layers
        How many layers.
    units
        What each of them keeps, per token; per sequence where the kind is ``state``.
    window
        The most tokens kept, for the kind ``window``.
    """

    kind: Kind
    layers: int
    units: tuple[Units, ...]
    window: int | None = None

    def bytes_per_rank(self, degree: int) -> int:
        """Return what each of `degree` ranks holds over all layers of the group."""
        return self.layers * sum(units.bytes_per_rank(degree) for units in self.units)

    def describe(self) -> str:
        """Say in a few words what the group is, such as ``32 full x (8 KV heads x 512 B)``."""
        held = " + ".join(f"{u.count} {u.name} x {u.size_bytes} B" for u in self.units)
        kept = f"window of {self.window}" if self.window else self.kind
        return f"{self.layers} {kept} x ({held})"


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """Everything a model caches.

    Every method takes the tensor parallel `degree` and answers for one rank; degree 1 is the
    whole model.

    Parameters
    ----------
    groups
        Its layers by how they cache.
    """

    groups: tuple[CacheGroup, ...]

    def bytes_per_token(self, degree: int = 1) -> int:
        """Return the bytes of one more token while the sequence is inside every window."""
        return _total((g for g in self.groups if g.kind != "state"), degree)

    def bytes_per_token_beyond_window(self, degree: int = 1) -> int:
        """Return the bytes of one more token once the sequence is longer than every window."""
        return _total((g for g in self.groups if g.kind not in ("state", "window")), degree)

    def bytes_per_sequence(self, degree: int = 1) -> int:
        """Return the bytes that a sequence takes whatever its length: recurrent state."""
        return _total((g for g in self.groups if g.kind == "state"), degree)

    def bytes_held(self, tokens: float, degree: int = 1) -> float:
        """Return the bytes that a sequence of `tokens` takes, state included."""
        held = 0.0
        for group in self.groups:
            size = group.bytes_per_rank(degree)
            if group.kind == "state":
                held += size
            else:
                held += size * (tokens if group.window is None else min(tokens, group.window))
        return held

    @property
    def windows(self) -> tuple[int, ...]:
        """Sizes of the sliding windows, ascending, each once."""
        return tuple(sorted({g.window for g in self.groups if g.window is not None}))

    def describe(self) -> str:
        """Say in one line what is cached."""
        return "; ".join(group.describe() for group in self.groups)


def _total(groups: Iterable[CacheGroup], degree: int) -> int:
    return sum(group.bytes_per_rank(degree) for group in groups)
