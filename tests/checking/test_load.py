"""A plan read back is a result, whatever form it was written in."""

import json

import pytest

import kvplace
from kvplace.checking.load import load_plan
from kvplace.core.result import Status, Stop
from kvplace.errors import InputError
from kvplace.formats.plan.io import write_plan
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: X, memory: 80GiB}}]
models:
  - {name: a, weights: 20GiB, overhead: 0B, demand: {requests_per_second: 6}, slo: {latency: 1s}}
  - {name: b<, weights: 30GiB, overhead: 0B, demand: {requests_per_second: 5}, slo: {latency: 1s}}
  - {name: c, weights: 10GiB, overhead: 0B, demand: {requests_per_second: 1}, slo: {latency: 3s}}
"""
NOWHERE = FLEET.replace("weights: 20GiB", "weights: 200GiB")


@pytest.fixture(scope="module")
def result():
    return solve(parse_fleet(FLEET))


def test_the_json_of_a_result_comes_back_equal_and_byte_for_byte(result, tmp_path):
    path = tmp_path / "plan.json"
    write_plan(result, path)
    back = load_plan(path)
    assert back.placement == result.placement
    assert back.evaluation == result.evaluation
    assert (back.value, back.bound, back.status) == (result.value, result.bound, result.status)
    assert back.progress == result.progress
    assert write_plan(back) == path.read_text()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_needs_its_fleet_and_comes_back(result, tmp_path, suffix):
    path = tmp_path / f"plan.{suffix}"
    write_plan(result, path)
    with pytest.raises(InputError, match="a table does not carry its models"):
        load_plan(path)
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(FLEET)
    for source in (fleet, result.problem):
        back = load_plan(path, source)
        assert back.placement == result.placement
        assert back.value == result.value
    rows_alone = suffix == "csv"
    assert back.solver == ("" if rows_alone else result.solver)
    assert back.stop == (Stop.GIVEN if rows_alone else result.stop)
    assert back.bound == (0.0 if rows_alone else result.bound)


def test_a_proof_that_nothing_fits_comes_back(tmp_path):
    result = solve(parse_fleet(NOWHERE))
    path = tmp_path / "plan.json"
    write_plan(result, path)
    with pytest.raises(InputError, match="this plan places nothing"):
        load_plan(path)
    back = load_plan(path, result.problem)
    assert back.status is Status.INFEASIBLE
    assert back.placement is None
    with pytest.raises(InputError, match="places nothing"):
        kvplace.report(back)
    for name in ("plan.csv", "plan.parquet"):
        with pytest.raises(InputError, match="there is no placement"):
            write_plan(result, tmp_path / name)


def test_a_plan_that_lies_is_refused_with_everything_that_is_wrong(result, tmp_path):
    data = json.loads(write_plan(result))
    data["objective"]["value"] *= 0.5
    data["gpus"][0]["free_bytes"] += 1
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError) as caught:
        load_plan(path)
    assert {"objective.value", "gpus[0].free_bytes"} <= {f.path for f in caught.value.faults}


def test_a_result_is_short_in_a_notebook_and_plain_as_data(result):
    assert repr(result).startswith("<Result optimal: 3 models on 2 GPUs, value ")
    assert len(repr(result)) < 120
    assert "b&lt;" in result._repr_html_()
    data = json.loads(json.dumps(result.to_dict()))
    assert data["status"] == "optimal"
    assert data["pressures"] == {gpu.id: gpu.pressure for gpu in result.evaluation.gpus}
    assert len(data["placements"]) == 3


def test_public_functions_take_results(result, tmp_path):
    other = kvplace.refine(
        result.problem,
        kvplace.Placement.single({"a": "n/0", "b<": "n/0", "c": "n/1"}),
        iterations=0,
    )
    found = kvplace.diff(other, result)
    assert found.after.value == result.value
    assert found.changes
    assert kvplace.diff(result, result).changes == ()
    files = kvplace.export(result, "shell")
    assert sorted(files.write(tmp_path)) == []
    assert set(files.files) == {path.name for path in tmp_path.iterdir()}
    assert kvplace.export(result, "shell", before=result).files == {}
    with pytest.raises(InputError, match="there is no export to 'nomad'"):
        kvplace.export(result, "nomad")
    shown = kvplace.report(result, other, name="new.json", baseline_name="old.json")
    assert "Proved optimal" in shown.markdown()
    assert "old.json" in shown.html()
