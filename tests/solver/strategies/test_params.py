"""Every knob is described, has a unit, and says how it was found."""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import Params, UndividedParams
from tiny import byte_problem

ROOMS = [field.default_factory for field in fields(Params) if "unit" not in field.metadata]


@pytest.mark.parametrize("room", [*ROOMS, Params])
def test_each_knob_says_what_it_is(room):
    assert is_dataclass(room)
    for field in fields(room):
        if field.default_factory in ROOMS:
            continue
        assert field.metadata["unit"]
        assert field.metadata["found"] == "by hand" or len(field.metadata["found"]) > 10
        assert any(field.name in base.__doc__ for base in room.__mro__[:-1])
        least = np.min(field.default)
        assert least >= 0


def test_a_knob_can_be_turned():
    problem = byte_problem([30, 30, 20], [(j % 6 + 1, float(j % 5)) for j in range(12)])
    few = replace(Params(), undivided=replace(UndividedParams(), start_steps=0, kicks=0))
    usual, turned = solve(problem), solve(problem, params=few)
    assert turned.value >= usual.value
    assert turned.bound <= usual.value * (1 + 1e-9)
