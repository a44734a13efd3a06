"""The committed JSON Schemas are those of the code, and agree with what is read."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from kvplace.formats.fleet.schema import FleetPart, ModelPart, NodePart
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import PlanPart
from kvplace.formats.plan.stated import PlanGPU
from kvplace.formats.read import parse_fleet
from kvplace.formats.schemas import HOME, schema_files, write_schemas
from kvplace.formats.tables.models import parse_table
from kvplace.formats.validation.parts import fields_of
from kvplace.scaffold.editor import editor_line, schema_file
from kvplace.scaffold.init import init
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


def test_schemas_have_names_of_their_own_and_come_with_kvplace():
    names = {json.loads(text)["$id"] for text in schema_files().values()}
    assert names == {f"{HOME}/{file}" for file in schema_files()}
    for format_name in ("kvplace.fleet/v1", "kvplace.plan/v1"):
        file = schema_file(format_name)
        assert json.loads(file.read_text("utf-8"))["$id"] == f"{HOME}/{file.name}"
        assert editor_line(format_name) == f"yaml-language-server: $schema={file.as_uri()}"
    assert schema_file("kvplace.other/v1") is None
    assert editor_line("kvplace.other/v1") == ""


def test_the_wheel_holds_the_schemas():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    assert stated["targets"]["wheel"]["force-include"] == {"schemas": "kvplace/schemas"}


def test_a_new_fleet_file_names_its_schema():
    text = init("1x8xH100", ["Qwen/Qwen3-8B"]).text
    assert text.splitlines()[0] == f"# {editor_line('kvplace.fleet/v1')}"
    jsonschema.validate(yaml.safe_load(text), schema("kvplace.fleet.v1.json"))
