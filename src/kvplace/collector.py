"""The garbage collector, kept from going through objects again and again that are all kept."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 100_000
"""Objects made from which looking at all of them takes a hundredth of a second or more."""


@contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the cyclic garbage collector while many objects are made that stay.

    It would look at all of them each time their number has grown by a quarter, which takes as long
    as making them. What no longer has a reference is given back as ever. Afterwards, where they are
    many, they count as old, so that the collector does not look at all of them at once either.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            # What is frozen is counted one by one; a program keeps its own from the collector so.
            if gc.get_count()[0] >= _MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()
