"""Pressure by name for models whose shape is not known: guesses are made, and said."""

import pytest

from kvplace.core.models.objective import Objective
from kvplace.errors import InputError
from kvplace.forecast.times import dense_shape
from kvplace.formats.read import parse_fleet
from kvplace.report.notes import notes
from kvplace.solver.solve import solve

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79GiB}}]
models:
  - {name: mine, weights: 15GiB, kv_bytes_per_token: 131072,
     demand: {requests_per_second: 2, prompt_tokens: 900, output_tokens: 100},
     slo: {ttft: 1s, tpot: 50ms}}
"""


def test_a_guess_is_a_dense_model_in_16_bits():
    # 16e9 bytes are 8e9 parameters in 32 layers; 12 h^2 parameters a layer give h = 4,564.
    shape = dense_shape(16 * 10**9)
    assert (shape.parameters, shape.layers) == (8 * 10**9, 32)
    assert shape.hidden_size == pytest.approx(4564, abs=1)


def test_pressure_asked_for_by_name_is_planned_for_and_says_what_is_a_guess():
    problem = parse_fleet(FLEET, objective="pressure")
    result = solve(problem)
    assert result.evaluation.gpus[0].time_shares
    kinds = {note.kind: note.text for note in notes(problem, result.evaluation)}
    assert "mine is estimated from the size of the weights" in kinds["estimated time"]


def test_without_being_asked_no_plan_rests_on_a_guess():
    problem = parse_fleet(FLEET)
    assert problem.goal is Objective.OCCUPANCY
    with pytest.raises(InputError, match="architecture"):
        problem.with_objective("pressure")
