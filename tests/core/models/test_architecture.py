"""Shapes of models: numbers from which bytes and times cannot be computed are refused."""

import pytest

from kvplace.core.models.architecture import Architecture
from kvplace.errors import InputError

SHAPE = {"layers": 32, "hidden_size": 4096, "parameters": 8 * 10**9, "active_parameters": 10**9}


@pytest.mark.parametrize("name", ["layers", "hidden_size", "vocabulary_size", "parameters"])
@pytest.mark.parametrize("value", [10**16, 10**30])
def test_numbers_far_above_those_of_models_are_refused(name, value):
    most = "1,000,000,000,000,000" if name == "parameters" else "1,000,000"
    with pytest.raises(InputError, match=f"{name}: it must be at most {most}"):
        Architecture(**SHAPE | {name: value})
