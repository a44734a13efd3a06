"""Results of programs that are not run here: only their figures are public or kept."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A score on the 50 ADRS cases, as it was published.

    Parameters
    ----------
    program
        Who reached it.
    score
        1 / mean max KVPR + share of cases solved.
    source
        Where the figure is from.
    valid
        Whether the program places every model in every case; where it does not, its score
        compares with no other.
    """

    program: str
    score: float
    source: str
    valid: bool = True


_COLLECTED = "collected from the programs published for the benchmark's task `prism`; not run here"

ADRS = (
    Published("Prism's greedy, the benchmark's first program", 21.892, "run here as well"),
    Published("evolved programs, the lowest score", 26.19, _COLLECTED),
    Published("evolved programs, the highest valid score", 26.256, _COLLECTED),
    Published("an evolved program that loses models on hard cases", 26.37, _COLLECTED, valid=False),
    Published("an evolved program that fails on hard cases", 30.52, _COLLECTED, valid=False),
)
"""What was published on ADRS; the optimum of all 50 cases is a score of 26.255971749535."""

STRESS_7_BEST = (
    0.3333333333333333, 1.0666666666666667, 2.672794117647059, 1.2805555555555557,
    2.964726631393298, 0.7125, 0.805672268907563, 6.125320020481309, 0.25,
    0.27607709750566894, 1.3257575757575757, 1.7017543859649122,
)  # fmt: skip
"""Max KVPR per case of ``stress`` at seed 7: the lowest of the best published evolved programs.

Those take 0.8 to 12 s for the 12 cases.
"""
