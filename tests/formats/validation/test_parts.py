"""A field of a model is stated once, and both files read back what they write."""

import math
from dataclasses import MISSING, fields, replace

import pytest
from hypothesis import given, settings

from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Moving, Replicas, Split
from kvplace.core.problem import Problem
from kvplace.formats.diagnostics import Report
from kvplace.formats.fleet.asked import DemandPart, SLOPart, WindowPart
from kvplace.formats.fleet.launch import LaunchPart, MovingPart
from kvplace.formats.fleet.rules import PlacesPart
from kvplace.formats.fleet.schema import ModelPart, ReplicasPart
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.schema import ObjectivePart, PlanModelPart, PlanPart
from kvplace.formats.plan.stated import Plan
from kvplace.formats.read import read
from kvplace.formats.validation.json_text import stated
from kvplace.formats.validation.models import validate
from kvplace.formats.validation.parts import Part, exact, fields_of
from strategies import split_problems

WIDE = Model(
    "org/wide", 3 * 2**30, Demand(2.0), overhead_bytes=0, tensor_parallel=(1, 2),
    replicas=Replicas(1, 2, Split.CAPACITY), gpu_types=("X",),
)  # fmt: skip


def test_every_field_of_a_model_and_of_a_plan_is_stated():
    assert {field.name for field in fields(Model)} <= set(ModelPart.model_fields)
    stated_in = set(PlanPart.model_fields) | set(ObjectivePart.model_fields)
    # A certificate is stated as prices, or as a rule.
    assert {field.name for field in fields(Plan)} - {"certificate"} <= stated_in
    assert {"prices", "rule"} <= stated_in


def test_each_file_has_its_own_keys_and_units():
    fleet, plan = stated(ModelPart, WIDE), stated(PlanModelPart, WIDE)
    assert list(fleet)[:4] == ["name", "weights", "overhead", "tensor_parallel"]
    assert (fleet["weights"], plan["weights_bytes"]) == ("3GiB", 3 * 2**30)
    assert fleet["replicas"] == plan["replicas"] == {"min": 1, "max": 2, "split": "capacity"}
    assert "kv_heads" not in fleet
    assert "launch" not in plan


def test_a_plan_requires_what_a_fleet_file_leaves_to_its_defaults():
    assert PlanModelPart.model_fields["overhead_bytes"].is_required()
    assert not ModelPart.model_fields["overhead_bytes"].is_required()
    assert exact(ModelPart) is exact(ModelPart)
    assert set(fields_of(PlanModelPart)) == set(PlanModelPart.model_fields)


@pytest.mark.parametrize(
    ("placed_on", "move"),
    [
        ((("n/0",),), Moving(3.0, 7200.0)),
        ((("n/0", "n/1"), ("n/2",)), Moving(math.inf)),
    ],
)
def test_where_a_model_runs_and_what_moves_it_are_read_back(placed_on, move, tmp_path):
    model = replace(WIDE, slo=SLO(latency_seconds=1.0), placed_on=placed_on, move=move)
    for part in (ModelPart, PlanModelPart):
        report = Report("")
        found = validate(part, stated(part, model), (), report)
        assert found is not None, report._faults
        assert found.build() == model
    fleet = Fleet((Node("n", tuple(GPU(f"n/{at}", "X", 2**36) for at in range(4))),))
    file = tmp_path / "fleet.yaml"
    file.write_text(write_fleet(Problem((model,), fleet)))
    (again,) = read(file).models
    assert (again.placed_on, again.move) == (placed_on, move)


@settings(max_examples=25, deadline=None)
@given(split_problems())
def test_what_is_written_is_read_back(problem):
    for model in problem.models:
        report = Report("")
        part = validate(PlanModelPart, stated(PlanModelPart, model), (), report)
        assert part is not None, report._faults
        assert part.build() == model
        part = validate(ModelPart, stated(ModelPart, model), (), report)
        assert part is not None, report._faults
        assert part.build() == model


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"wieghts": "1GiB"}, "unknown key 'wieghts'; did you mean 'weights'?"),
        ({"name": "m"}, "is missing; write it like weights: 14.958GiB"),
        (
            [],
            (
                "must be a mapping, not a list; write it like {name: org/model, weights: "
                "14.958GiB, demand: {requests_per_second: 2.1}}"
            ),
        ),
        ({"weights": 5}, "5 has no unit; write it like 5GiB"),
        ({"demand": {"rps": 1}}, "unknown key 'rps'; did you mean 'requests_per_second'?"),
        ({"slo": []}, "must be a mapping, not a list"),
    ],
)
def test_a_fault_is_told_in_the_words_of_the_file(data, fault):
    report = Report("")
    assert validate(ModelPart, data, (), report) is None
    assert fault in [message for _, message, _ in report._faults]


@pytest.mark.parametrize("part", [DemandPart, SLOPart, WindowPart, LaunchPart, MovingPart,
                                  ModelPart, PlanModelPart, ReplicasPart, PlacesPart])  # fmt: skip
def test_what_a_file_leaves_out_is_what_the_class_has_by_default(part):
    """Only then may `Part.build` pass over what is not given."""
    for field in fields(part.core):
        own, info = MISSING, part.model_fields[field.name]
        if field.default is not MISSING or field.default_factory is not MISSING:
            own = field.default if field.default is not MISSING else field.default_factory()
        if own is MISSING or info.is_required():
            continue
        given = info.get_default()
        built = given.build() if isinstance(given, Part) else given
        assert given is None or built == own or not (built or own)
