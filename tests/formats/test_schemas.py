"""The committed JSON Schemas are those of the code, and agree with what is read."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from kvplace.formats.fleet.schema import FleetPart, ModelPart, NodePart
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import plan_of, write_plan
from kvplace.formats.plan.schema import PlanPart
from kvplace.formats.plan.stated import PlanGPU
from kvplace.formats.read import parse_fleet
from kvplace.formats.schemas import schema_files, write_schemas
from kvplace.formats.tables.models import parse_table
from kvplace.formats.validation.parts import fields_of
from kvplace.solver.solve import solve

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".." / "shared" / "data" / "fleets"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def schema(name):
    return json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8"))


def test_the_committed_schemas_are_current(tmp_path):
    write_schemas(tmp_path)
    for name, text in schema_files().items():
        committed = (ROOT / "schemas" / name).read_text(encoding="utf-8")
        assert committed == text, "run: python -m kvplace.formats.schemas schemas"
        assert (tmp_path / name).read_text(encoding="utf-8") == text
        jsonschema.Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid_fleets_with_valid_plans(path):
    text = path.read_text(encoding="utf-8")
    jsonschema.validate(yaml.safe_load(text), schema("kvplace.fleet.v1.json"))
    problem = parse_fleet(text, path.name)
    jsonschema.validate(yaml.safe_load(write_fleet(problem)), schema("kvplace.fleet.v1.json"))
    plan = json.loads(write_plan(plan_of(solve(problem, solver="reference"))))
    jsonschema.validate(plan, schema("kvplace.plan.v1.json"))


@pytest.mark.parametrize("name", ["openrouter-47", "openrouter-60", "openrouter-103", "lmsys-16"])
def test_real_fleets_are_valid(name):
    path = DATA / f"{name}.yaml"
    if not path.exists():
        pytest.skip("the shared data is absent")
    jsonschema.validate(yaml.safe_load(path.read_text()), schema("kvplace.fleet.v1.json"))


@pytest.mark.parametrize(
    ("old", "new"),
    [("weights: 1GiB", "weights: 1"), ("name: m", "nome: m"), ("latency: 1s", "latency: 1m")],
)
def test_the_schema_refuses_what_the_reader_refuses(old, new):
    text = (
        "{schema: kvplace.fleet/v1, nodes: [{name: n, gpus: 1, gpu: {memory: 1GiB}}], models: "
        "[{name: m, weights: 1GiB, demand: {requests_per_second: 1}, slo: {latency: 1s}}]}"
    )
    jsonschema.validate(yaml.safe_load(text), schema("kvplace.fleet.v1.json"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace(old, new)), schema("kvplace.fleet.v1.json"))


def test_the_examples_of_the_reference_are_read():
    text = (ROOT / "docs" / "reference" / "file-formats.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"```(yaml|csv)\n(.*?)```", text, re.DOTALL))
    fleet = "".join(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))  # the second is its rules
    problem = parse_fleet(fleet)
    assert (len(problem.fleet.gpus), len(problem.rules)) == (18, 7)
    jsonschema.validate(yaml.safe_load(fleet), schema("kvplace.fleet.v1.json"))
    gpus = re.search(r"--gpus (\S+)`", text)[1]
    assert len(parse_table(blocks["csv"], gpus).models) == 2
    for part in (FleetPart, ModelPart, NodePart, PlanPart, PlanGPU):
        for key in fields_of(part):
            assert f"`{key}" in text, key
