"""The loss of a GPU or a node, and what a placement makes of it."""

from dataclasses import dataclass
from enum import StrEnum

from kvplace.field_types import hold_types


class Recovery(StrEnum):
    """What is known of a placement after a failure.

    ``restored``: a valid placement on what is left was found. ``impossible``: it is proved that
    there is none. ``not_found``: the search ended by itself and found none. ``not_tried``: the
    search was ended, by a limit or a person, before it had an answer.
    """

    RESTORED = "restored"
    IMPOSSIBLE = "impossible"
    NOT_FOUND = "not_found"
    NOT_TRIED = "not_tried"


@dataclass(frozen=True, slots=True)
class Failure:
    """The loss of a GPU or a node, and what a placement makes of it.

    Parameters
    ----------
    name
        The GPU or the node.
    outcome
        Whether everything is restored.
    value
        Highest pressure once everything that ran there is restored elsewhere and what pays has
        moved; ``inf`` where it was not restored.
    bound
        No placement on what is left has less; ``inf`` where it is proved that none is valid.
    moves
        Replicas that are started or moved to restore everything.
    """

    name: str
    outcome: Recovery
    value: float
    bound: float
    moves: int

    def __post_init__(self) -> None:
        hold_types(self)
