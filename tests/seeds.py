"""Seeds of sweeps: a few in every run, the others in heavy ones."""

import pytest


def seeds(few, many):
    """Return the seeds below `many`, those from `few` on for heavy runs."""
    heavy = (pytest.param(seed, marks=pytest.mark.heavy) for seed in range(few, many))
    return [*range(few), *heavy]
