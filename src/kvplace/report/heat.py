"""How full is too full: the one set of levels and colours of tables and pages."""

__all__ = ["FULL", "TIGHT", "heat"]

TIGHT = 0.8
"""Share from which little room is left for what is not average: bursts, long prompts."""
FULL = 1.0
"""Share from which there is not enough for the stated demand."""


def heat(share: float) -> str:
    """Return the colour of a share: green, yellow from `TIGHT` on, red from `FULL` on."""
    return "red" if share >= FULL else "yellow" if share >= TIGHT else "green"
