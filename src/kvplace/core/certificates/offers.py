"""Offers: priced shards and the GPUs that they go on, in whole numbers."""

from typing import NamedTuple

SCALE_BITS = 64
"""Sizes are integers in units of 2**-64 bytes: fine enough where a single byte stays free."""


class Offer(NamedTuple):
    """One way to have a shard of a model on a GPU: its price, and its size in each dimension."""

    price: int
    sizes: tuple[int, ...]


Offers = tuple[Offer, ...]
"""Those of one model, of which a GPU holds at most one."""


class Bin(NamedTuple):
    """A kind of GPU.

    Parameters
    ----------
    limits
        What the sizes of a set may sum up to, in each dimension.
    worth
        What no set may be priced above.
    name
        What it is called in a message.
    """

    limits: tuple[int, ...]
    worth: int
    name: str
