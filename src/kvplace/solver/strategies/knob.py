"""A knob of a strategy: its default, its unit and how it was found; and those of two strategies."""

from dataclasses import dataclass, field
from typing import Any

BY_HAND = "by hand"


def knob(default: Any, unit: str, found: str = BY_HAND) -> Any:
    """Return a field with its default, its unit and how it was found."""
    return field(default=default, metadata={"unit": unit, "found": found})


@dataclass(frozen=True, slots=True)
class ProofParams:
    """Knobs of what undivided models and clusters are proved by.

    Parameters
    ----------
    ranked
        Partial placements looked at for the best balance of a tiny fleet.
    program_rounds
        Rounds of column generation of a question, and per target in the first round; doubled every
        round.
    nodes
        Nodes of an exact decision in the first round; doubled every round.
    certificates
        Certificates of the configuration program tried, the best first, then twice as far down
        each time.
    checked_part
        Part of the time left that exact decisions leave at least for checking what they prove.
    squeezes
        Groups of GPUs refilled without gain that end a target in the first round; doubled every
        round.
    far, far_gpus, far_seconds, far_part
        Relative gap above which groups are refilled before targets are decided, GPUs from which and
        a time limit from which that pays, and part of the time left that it may take.
    """

    ranked: int = knob(
        3_000, "partial placements", "measured: 44 of 50 ADRS cases to the last rank"
    )
    program_rounds: int = knob(60, "rounds")
    nodes: int = knob(10_000, "nodes")
    certificates: int = knob(3, "certificates")
    checked_part: float = knob(0.25, "part of the time left")
    squeezes: int = knob(300, "groups")
    far: float = knob(0.1, "relative gap")
    far_gpus: int = knob(8, "GPUs")
    far_seconds: float = knob(2.0, "s")
    far_part: float = knob(0.5, "part of the time left")
