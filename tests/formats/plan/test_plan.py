"""The plan file: written, read back equal, and refused with which words."""

import csv
import dataclasses
import io
import json
import math
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.placement import Assigned, Placement, Replica
from kvplace.core.result import Result, Stop
from kvplace.errors import InputError
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.rows import parse_plan_table, table_text
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.plan.table import COLUMNS, PlanTable
from kvplace.formats.read import parse_fleet
from kvplace.formats.tables.models import parse_table
from kvplace.formats.text.cells import safe_cell
from kvplace.solver.solve import solve
from made import rows_of

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: X, memory: 80GiB}}]
models:
  - {name: a, weights: 20GiB, overhead: 0B, demand: {requests_per_second: 6}, slo: {latency: 1s}}
  - {name: b, weights: 30GiB, overhead: 0B, demand: {requests_per_second: 5}, slo: {latency: 1s}}
  - {name: c, weights: 10GiB, overhead: 0B, demand: {requests_per_second: 1}, slo: {latency: 3s}}
"""
KEYS = [
    "schema",
    "kvplace_version",
    "problem_digest",
    "status",
    "stop",
    "proof",
    "objective",
    "gpus",
    "placements",
    "certificate",
    "solver",
    "seed",
    "iterations",
    "seconds",
    "nodes",
    "models",
    "progress",
]


@pytest.fixture(scope="module")
def result():
    return solve(parse_fleet(FLEET), solver="reference")


@pytest.fixture(scope="module")
def plan(result):
    return plan_of(result)


def edited(plan, change):
    """Return the text of a plan after `change` was made to its data."""
    data = json.loads(write_plan(plan))
    change(data)
    return json.dumps(data, indent=1)


def test_a_plan_has_the_keys_of_the_format_in_their_order(plan):
    data = json.loads(write_plan(plan))
    assert list(data) == KEYS
    assert list(data["objective"]) == ["name", "value", "bound", "gap", "bound_method"]
    assert list(data["gpus"][0]) == [
        "id", "type", "memory_bytes", "weights_bytes", "free_bytes", "load", "kvpr", "shards",
    ]  # fmt: skip
    assert data["placements"][0] == {
        "model": "a",
        "replica": 0,
        "gpus": data["placements"][0]["gpus"],
    }
    assert data["certificate"]["prices"].keys() == {"a", "b", "c"}


def test_a_written_plan_reads_back_equal(plan, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(write_plan(plan), encoding="utf-8")
    assert read_plan(path) == plan


def test_the_table_of_a_plan_has_one_row_per_shard_and_its_placement(result, plan, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text(rows_of(result), encoding="utf-8")
    header, *rows = rows_of(result).splitlines()
    assert header == "model,replica,shard,node,gpu,weights_bytes,load"
    assert len(rows) == 3
    assert rows[0].startswith("a,0,0,n,n/")
    assert read_plan(path).placement == plan.placement


@given(
    st.lists(st.text("a,\"'=\n/", min_size=1, max_size=3), max_size=6, unique=True),
    st.text('a,"=/', min_size=1, max_size=3),
)
def test_the_table_is_what_the_writer_of_csv_makes_of_its_rows(names, gpu):
    rows = [(name, 0, 0, 7 * at, at / 3) for at, name in enumerate(names)]
    none = array("i", bytes(4 * len(rows)))
    table = PlanTable(
        names, ([gpu], array("q", none)), none, none,
        array("q", [row[3] for row in rows]), array("d", [row[4] for row in rows]),
    )  # fmt: skip
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, *numbers, taken, load in sorted(rows):
        where = (safe_cell(gpu.rpartition("/")[0]), safe_cell(gpu))
        writer.writerow([safe_cell(name), *numbers, *where, taken, load])
    assert table_text(table) == buffer.getvalue()


@st.composite
def results(draw):
    problem = draw(strategies.problems())
    placement = draw(st.one_of(st.none(), strategies.placements(problem)))
    bound = draw(st.one_of(st.just(0.0), st.just(math.inf), st.floats(0, 1e9)))
    return Result(
        problem=problem,
        placement=placement,
        evaluation=None if placement is None else evaluate(problem, placement),
        proof=Bound(bound, draw(st.sampled_from(["trivial", "search"]))),
        stop=draw(st.sampled_from(Stop)),
        solver="auto",
        seed=draw(st.integers(0, 2**63)),
        iterations=draw(st.integers(0, 10**9)),
        seconds=draw(st.floats(0, 1e6)),
    )


@given(results())
@settings(max_examples=50, deadline=None)
def test_any_plan_reads_back_equal(result):
    plan = plan_of(result)
    assert parse_plan(write_plan(plan)) == plan
    if plan.gpus:
        assert parse_plan_table(rows_of(result)).placement == plan.placement


def test_no_placement_is_null_and_reads_back_as_infinity(plan):
    none = dataclasses.replace(
        plan, status="infeasible", value=math.inf, bound=math.inf, gpus=(), placement=Placement(())
    )
    text = write_plan(none)
    assert json.loads(text)["objective"]["value"] is None
    assert parse_plan(text) == none


def _set(*keys, value):
    def change(data):
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return change


def _drop(key):
    return lambda data: data.pop(key)


FAULTS = [
    (_set("schema", value="x"), "schema, line 2: must be kvplace.plan/v1, not the text 'x'"),
    (
        _set("status", value="optimum"),
        (
            "status, line 5: must be one of optimal, feasible, infeasible, unknown, not the text "
            "'optimum'; did you mean 'optimal'?"
        ),
    ),
    (_drop("seed"), "seed, line 1: is missing"),
    (_set("sed", value=1), None),
    (
        _set("objective", "value", value="x"),
        "objective.value, line 10: must be a number, not the text 'x'",
    ),
    (
        _set("objective", "value", value=-1),
        "objective.value, line 10: -1 is negative; it starts at 0",
    ),
    (
        _set("gpus", 0, "free_bytes", value=1.5),
        "gpus[0].free_bytes, line 21: must be a whole number, not the number 1.5",
    ),
    (_set("gpus", value={}), "gpus, line 15: must be a list, not a mapping"),
    (_set("placements", 0, "gpus", value="n/0"), "placements[0].gpus"),
    (_set("placements", 1, "model", value="a"), "placements[1]"),
]


@pytest.mark.parametrize(("change", "fault"), FAULTS)
def test_each_fault_of_a_plan_has_its_path_and_line(plan, change, fault):
    with pytest.raises(InputError) as caught:
        parse_plan(edited(plan, change), "p.json")
    told = str(caught.value.faults[0])
    assert fault is None or told.startswith(fault), told
    assert caught.value.faults[0].line


TABLE_FAULTS = [
    ("model,replica,shard,gpu\n", "line 1: the table has no rows"),
    ("model;replica;shard;gpu\na;0;0;g\n", "line 1: separate cells with commas, not with ';'"),
    ("model,replica,shard,gpus\na,0,0,g\n", "line 1: unknown column 'gpus'; did you mean 'gpu'?"),
    ("model,replica,gpu\na,0,g\n", "line 1: the column shard is missing"),
    ("model,replica,shard,gpu,gpu\na,0,0,g,g\n", "line 1: the column gpu is there twice"),
    (
        "model,replica,shard,gpu\na,0,0\n",
        "rows[0], line 2: the row has 3 cells; the header names 4 columns",
    ),
    ("model,replica,shard,gpu\na,x,0,g\n", "rows[0].replica, line 2: 'x' is not a whole number"),
    (
        "model,replica,shard,gpu\na,0,0,g\na,0,0,h\n",
        "rows[1], line 3: shard 0 of replica 0 of 'a' is twice",
    ),
    (
        "model,replica,shard,gpu\na,0,1,g\n",
        "line 2: replica 0 of 'a' has the shards 1; they count from 0",
    ),
    ("model,replica,shard,gpu,load\na,0,0,g,nan\n", "rows[0].load, line 2: 'nan' is not a load"),
    ('model,replica,shard,gpu\n"a,0,0,g\n', "line 2: not valid CSV: unexpected end of data"),
]


@pytest.mark.parametrize(("text", "fault"), TABLE_FAULTS)
def test_each_fault_of_a_plan_table_has_its_row_and_line(text, fault):
    with pytest.raises(InputError) as caught:
        parse_plan_table(text, "p.csv")
    assert str(caught.value.faults[0]) == fault


def test_shards_of_a_table_may_come_in_any_order():
    table = parse_plan_table("model,replica,shard,gpu\na,0,1,n/1\nb,0,0,n/0\na,0,0,n/0\n")
    assert table.placement == Placement(
        (Replica("a", 0, ("n/0", "n/1")), Replica("b", 0, ("n/0",)))
    )


def test_rows_of_many_undivided_models_are_those_made_one_by_one():
    names = [f"m{j:04}" for j in range(3000)]
    rows = "".join(f"{name},{1 + j % 7},{1 + j % 5},{2 + j % 3}\n" for j, name in enumerate(names))
    problem = parse_table("name,weights_gib,requests_per_second,slo_seconds\n" + rows, "400x80GiB")
    at = array("q", [j % 400 for j in range(3000)])
    ids = [gpu.id for gpu in problem.fleet.gpus]
    assigned = Placement(Assigned(problem.names, ids, at))
    single = Placement.single({name: ids[i] for name, i in zip(names, at, strict=True)})
    whole, one_by_one = (
        Result(
            problem,
            held,
            evaluate(problem, held),
            Bound(0.0, "trivial"),
            Stop.GIVEN,
            "x",
            0,
            0,
            0.0,
        )
        for held in (assigned, single)
    )
    assert rows_of(whole) == rows_of(one_by_one)
