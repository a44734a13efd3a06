"""Models, GPUs and plans in columns: the same as in text, with the same refusals."""

import csv
import io
import json
import sys
from array import array
from dataclasses import replace

import pytest

from kvplace.checking.check import check
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.window import Window
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.errors import InputError, MissingExtraError
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.formats.plan.parquet import KEY
from kvplace.formats.read import read
from kvplace.formats.tables import arrow as columnar
from kvplace.formats.tables import models
from kvplace.formats.tables.arrow import write_parquet
from kvplace.formats.tables.models import parse_table
from kvplace.solver import solve as door
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import LargeParams, Params
from strategies import KVPR_OBJECTIVES

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

HEAD = ("name", "weights_gib", "requests_per_second", "slo_seconds")
ROWS = [(f"m{j}", 3.25 + j % 7, 0.5 + j % 11, 5.0 + j % 3) for j in range(120)]
FULL = (
    *HEAD, "overhead_gib", "min_kv_gib", "kv_bytes_per_token", "prompt_tokens", "output_tokens",
    "ttft_seconds", "tpot_seconds",
)  # fmt: skip

NEAR = 0.02
"""A gap that is soon reached: what is read, written and checked is no better for a better plan."""
AT_SCALE = Params(large=LargeParams(models=0, sparse_models=0))


def parquet(path, rows=ROWS, head=HEAD):
    """Write rows as Parquet, nothing where a cell is None."""
    columns = zip(*rows, strict=True)
    pq.write_table(pa.table({n: pa.array(c) for n, c in zip(head, columns, strict=True)}), path)
    return str(path)


def csv_text(rows=ROWS, head=HEAD):
    text = io.StringIO()
    csv.writer(text).writerows([head, *([("" if c is None else c) for c in row] for row in rows)])
    return text.getvalue()


def faults_of(action):
    with pytest.raises(InputError) as caught:
        action()
    return [(fault.path, fault.message) for fault in caught.value.faults]


def changed(row, column, value, rows=ROWS, head=HEAD):
    """The rows with one cell changed."""
    new = [list(r) for r in rows]
    new[row][head.index(column)] = value
    return new


def told(model):
    """What a table tells of a model, however its memory is stated."""
    sizes = (model.weights_bytes, model.resident_bytes(1), model.least_kv_bytes(1))
    lengths = (model.kv_bytes_per_token, model.max_model_len)
    return model.name, *sizes, *lengths, model.demand, model.slo


def test_a_table_is_the_same_problem_in_columns_and_in_text(tmp_path, monkeypatch):
    wide = [(*row, 1.5, 0.25, 131072, 800.0, 90.0, 0.5, 0.02) for row in ROWS]
    wide[3] = (*ROWS[3], None, None, 131072, 800.0, 90.0, 0.5, 0.02)
    wide[4] = ("meta-llama/Llama-3.1-8B-Instruct", 14.96, *wide[3][2:])
    wide[5] = ("large", 40.0, *wide[3][2:])
    for rows, head in ((ROWS, HEAD), (wide, FULL)):
        plain = parse_table(csv_text(rows, head), "10x80GiB,2x141GiB")
        with monkeypatch.context() as patched:
            patched.setattr(models, "FEW", 0)
            columnar = read(parquet(tmp_path / "m.parquet", rows, head), gpus="10x80GiB,2x141GiB")
        assert isinstance(columnar.models, ModelTable)
        assert list(map(told, columnar.models)) == list(map(told, plain.models))
        assert columnar.goal is plain.goal
        assert tuple(columnar.loads) == plain.loads
        assert columnar.digest == plain.digest
        for objective in KVPR_OBJECTIVES if head == FULL else []:
            one, two = columnar.with_objective(objective), plain.with_objective(objective)
            assert tuple(one.loads) == two.loads


@pytest.mark.parametrize(
    ("row", "column", "value"),
    [
        (7, "weights_gib", -1.0),
        (7, "weights_gib", float("nan")),
        (7, "weights_gib", None),
        (7, "weights_gib", 1e9),
        (0, "requests_per_second", -0.5),
        (119, "requests_per_second", 1e13),
        (119, "slo_seconds", 0.0),
        (5, "slo_seconds", None),
        (5, "slo_seconds", 1e9),
        (4, "name", None),
        (4, "name", " padded"),
        (4, "name", "x" * 300),
        (4, "name", "bell\a"),
    ],
)
def test_refusals_are_those_of_text(tmp_path, row, column, value):
    rows = changed(row, column, value)
    text = csv_text(rows)
    if value == " padded":
        text = text.replace(" padded", '" padded"')  # text is trimmed; columns are not
    found = faults_of(lambda: read(parquet(tmp_path / "m.parquet", rows), gpus="10x80GiB"))
    assert found
    assert all(path == f"models[{row}].{column}" for path, _ in found)
    if value != " padded" and value == value:
        assert found == faults_of(lambda: parse_table(text, "10x80GiB"))


def test_all_faults_come_at_once_with_row_and_column(tmp_path):
    rows = changed(3, "weights_gib", -1.0, changed(90, "slo_seconds", None))
    rows[50][0] = "m49"
    found = faults_of(lambda: read(parquet(tmp_path / "m.parquet", rows), gpus="10x80GiB"))
    assert {path for path, _ in found} == {
        "models[3].weights_gib", "models[90].slo_seconds", "models[50].name",
    }  # fmt: skip
    assert any("models[49]" in message for _, message in found)


def test_columns_of_text_are_numbers_where_they_are_written_so(tmp_path):
    rows = [(name, str(w), str(r), str(s)) for name, w, r, s in ROWS]
    assert (
        read(parquet(tmp_path / "m.parquet", rows), gpus="10x80GiB").digest
        == read(parquet(tmp_path / "n.parquet"), gpus="10x80GiB").digest
    )
    bad = changed(9, "weights_gib", "three", rows)
    found = faults_of(lambda: read(parquet(tmp_path / "m.parquet", bad), gpus="10x80GiB"))
    assert found == [
        ("models[9].weights_gib", "'three' is not a number; the column names the unit")
    ]


def test_headers_are_checked(tmp_path):
    head = ("name", "weight_gib", "requests_per_second", "slo_seconds")
    found = faults_of(lambda: read(parquet(tmp_path / "m.parquet", ROWS, head), gpus="1x80GiB"))
    assert any("did you mean 'weights_gib'" in message for _, message in found)


def test_what_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "m.parquet"
    path.write_text("not columns")
    assert "cannot be read" in faults_of(lambda: read(str(path), gpus="1x80GiB"))[0][1]
    missing = faults_of(lambda: read(str(tmp_path / "no.parquet"), gpus="1x80GiB"))
    assert missing == [("", "there is no such file")]


def test_a_small_file_that_unpacks_to_much_is_refused_before(tmp_path, monkeypatch):
    """4 kB of one text in 200,000 rows took 6.5 GB, and 2 MB of 150 million rows minutes."""
    path = str(tmp_path / "m.parquet")
    rest = {"weights_gib": [1.0] * 5, "requests_per_second": [1.0] * 5}
    pq.write_table(pa.table({"name": ["m" * 1000] * 5, **rest}), path)
    for limits, words in [
        ({"_MOST_ROWS": 4}, "5 rows of 3 columns"),
        ({"_MOST_CELLS": 14}, "5 rows of 3 columns"),
        ({"_MOST_BYTES": 4999}, "a text of 1,000 B in 5 rows is too much"),
    ]:
        with monkeypatch.context() as less:
            for name, value in limits.items():
                less.setattr(columnar, name, value)
            assert words in str(faults_of(lambda: read(path, gpus="2x80GiB")))
    pq.write_table(pa.table({"name": [["m"]] * 5, **rest}), path)
    assert "it holds list" in str(faults_of(lambda: read(path, gpus="2x80GiB")))


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    names = pa.array([b"\xed\xa0\x80", b"b"]).view(pa.string())
    for column in (names, names.dictionary_encode()):
        table = {"name": column, "weights_gib": [1.0, 2.0], "requests_per_second": [1.0, 1.0]}
        pq.write_table(pa.table(table), tmp_path / "m.parquet")
        found = faults_of(lambda: read(tmp_path / "m.parquet", gpus="2x80GiB"))
        assert found == [("name", "it holds text that is not UTF-8")]


def test_columns_are_known_before_anything_is_unpacked(tmp_path, monkeypatch):
    path = parquet(tmp_path / "m.parquet", ROWS, ("name", "size", "rate", "slo_seconds"))
    monkeypatch.setattr(columnar, "_plain", None)
    assert "unknown column 'size'" in str(faults_of(lambda: read(path, gpus="1x80GiB")))


def test_truth_values_of_a_shape_are_read(tmp_path):
    head = (*HEAD, "layers", "hidden_size", "parameters", "active_parameters", "latent")
    rows = [(*ROWS[0], 32, 4096, 8 * 10**9, 8 * 10**9, True)]
    problem = read(parquet(tmp_path / "m.parquet", rows, head), gpus="1x80GiB")
    assert problem.models[0].architecture.latent is True
    assert problem.digest == parse_table(csv_text(rows, head), "1x80GiB").digest


def test_degrees_and_copies_are_read_too(tmp_path):
    rows = [(*row, "1 2", "1-3") for row in ROWS[:4]]
    head = (*HEAD, "tensor_parallel", "replicas")
    problem = read(parquet(tmp_path / "m.parquet", rows, head), gpus="4x80GiB")
    assert problem.models[0].tensor_parallel == (1, 2)
    assert problem.models[3].replicas.max == 3
    assert problem.digest == parse_table(csv_text(rows, head), "4x80GiB").digest


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_degrees_and_copies_may_be_numbers(kind, tmp_path):
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({
        "name": ["a", "b"], "weights_gib": [1.0, 2.0], "requests_per_second": [1.0, 1.0],
        "slo_seconds": [1.0, 1.0], "tensor_parallel": arrow.array([2, None], kind),
        "replicas": arrow.array([1, 3], kind),
    })  # fmt: skip
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "m.parquet")
    problem = read(tmp_path / "m.parquet", gpus="4x80GiB")
    assert [model.tensor_parallel for model in problem.models] == [(2,), (1,)]
    assert [model.replicas.max for model in problem.models] == [1, 3]


def test_gpus_are_the_same_in_csv_as_in_parquet(tmp_path):
    head = ["node", "type", "memory_gib", "reserve_gib", "zone"]
    rows = [["a", "H100", None, 2.5, "z"]] * 8 + [["b", "mine", 79.5, None, None]] * 2
    (tmp_path / "gpus.csv").write_text("\n".join(
        ",".join("" if cell is None else str(cell) for cell in row) for row in [head, *rows]
    ))  # fmt: skip
    models = parquet(tmp_path / "m.parquet")
    columnar = read(models, gpus=parquet(tmp_path / "gpus.parquet", rows, head))
    assert read(models, gpus=str(tmp_path / "gpus.csv")).fleet == columnar.fleet


def test_faults_of_gpus_in_csv_have_their_row_column_and_line(tmp_path):
    (tmp_path / "gpus.csv").write_text(
        "node,type,memory_gib,zone\nn,H1000,,z\nn,H100,80GB,y\nm,,,\n,H100,,\nx,H100\n"
    )
    (tmp_path / "m.csv").write_text("name,weights_gib,requests_per_second,slo_seconds\na,1,1,1\n")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "m.csv", gpus=str(tmp_path / "gpus.csv"))
    assert [(fault.path, fault.line) for fault in caught.value.faults] == [
        ("gpus[0].type", 2), ("gpus[1].zone", 3), ("gpus[1].memory_gib", 3), ("gpus[2]", 4),
        ("gpus[3].node", 5), ("gpus[4]", 6),
    ]  # fmt: skip


def test_gpus_in_columns(tmp_path):
    rows = [
        *((f"a{i // 4}", None, 79.5, 1.0, "east") for i in range(8)),
        ("b", "H100-SXM-80GB", None, None, "west"),
        ("b", None, 40.0, None, "west"),
    ]
    head = ("node", "type", "memory_gib", "reserve_gib", "zone")
    gpus = parquet(tmp_path / "fleet.parquet", rows, head)
    problem = read(parquet(tmp_path / "m.parquet"), gpus=gpus)
    assert [node.name for node in problem.fleet.nodes] == ["a0", "a1", "b"]
    assert problem.fleet.nodes[2].labels == {"zone": "west"}
    assert problem.fleet.gpus[0].usable_bytes == round(78.5 * 2**30)
    assert problem.fleet.gpus[9].id == "b/1"
    bad = [list(row) for row in rows]
    bad[5][2], bad[9][3] = -4.0, 50.0
    parquet(tmp_path / "fleet.parquet", bad, head)
    found = faults_of(lambda: read(parquet(tmp_path / "m.parquet"), gpus=gpus))
    assert {path for path, _ in found} == {"gpus[5].memory_gib", "gpus[9].reserve_gib"}
    alike = [("a", "H100-SXM-80GB", 0.0, None, None), ("a", "H100-SXM-80GB", 0.0, None, None)]
    parquet(tmp_path / "fleet.parquet", alike, head)
    (fault,) = faults_of(lambda: read(parquet(tmp_path / "m.parquet"), gpus=gpus))
    assert fault[0] == "gpus[0].memory_gib"


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    """A problem and its result."""
    folder = tmp_path_factory.mktemp("answer")
    problem = read(parquet(folder / "m.parquet"), gpus="8x80GiB,4x141GiB")
    return problem, solve(problem, gap=NEAR)


@pytest.fixture
def solved(answer, tmp_path):
    """A problem, its result, and the plan's file."""
    path = tmp_path / "plan.parquet"
    write_plan(answer[1], path)
    return *answer, path


def test_a_plan_comes_back_and_is_what_it_states(solved):
    problem, result, path = solved
    plan = read_plan(path)
    assert plan.placement == result.placement
    assert plan.objective == "requests"
    found = check(problem, plan)
    assert found.agrees, found.disagreements
    assert len(found.verified) == 5


@pytest.mark.parametrize("scale", [True, False])
def test_every_lie_is_found(solved, monkeypatch, scale):
    problem, _, path = solved
    if scale:
        monkeypatch.setattr(door, "DEFAULTS", AT_SCALE)
        write_plan(solve(problem, gap=NEAR), path)
    table = pq.read_table(path)
    head = json.loads(table.schema.metadata[KEY.encode()])

    def paths(table=table, **other):
        stated = {KEY: json.dumps(head | other)}
        pq.write_table(table.replace_schema_metadata(stated), path)
        return {one.path for one in check(problem, read_plan(path))}

    assert paths() == set()
    objective = head["objective"]
    assert "objective.value" in paths(objective=objective | {"value": objective["value"] * 0.9})
    assert "objective.bound" in paths(objective=objective | {"bound": objective["bound"] * 1.5})
    assert "status" in paths(status="infeasible")
    assert "problem_digest" in paths(problem_digest="sha256:0")
    assert "certificate" in paths(certificate=head["certificate"] | {"threshold": 1e9})
    assert "certificate" in paths(certificate={"rule": "hope", "threshold": 1.0, "model": ""})
    with pytest.raises(InputError, match="certificate: must be a mapping"):
        paths(certificate=[])
    with pytest.raises(InputError, match="status: must be one of"):
        paths(status="great")
    assert "objective.bound" in paths(certificate=None)
    for key in ("gpus", "models", "nodes", "placements", "rules"):
        with pytest.raises(InputError, match=f"{key}: is stated by the rows, or by the fleet"):
            paths(**{key: [{"name": "a"}]})
    assert "problem_digest" not in paths(windows=[{"name": "day", "weight": 2}])
    assert read_plan(path).head.windows == (Window("day", 2.0),)
    for column, value in (("weights_bytes", 1), ("load", 1.0)):
        at = table.column_names.index(column)
        values = table[column].to_pylist()
        values[5] = value
        wrong = table.set_column(at, column, pa.array(values))
        assert paths(wrong) == {f"rows[5].{column}"}
    assert "placements" in paths(table.slice(1))  # a model lost
    twice = pa.concat_tables([table, table.slice(0, 1)])
    with pytest.raises(InputError, match="is twice"):
        paths(twice)
    models = table["model"].to_pylist()
    models[0] = "stranger"
    assert "placements" in paths(table.set_column(0, "model", pa.array(models)))
    ids = table["gpu"].to_pylist()
    at = table.column_names.index("gpu")
    assert "placements" in paths(table.set_column(at, "gpu", pa.array([ids[0]] * len(ids))))
    ids[3] = "nowhere/0"
    assert "placements" in paths(table.set_column(at, "gpu", pa.array(ids)))


def test_rows_in_any_order_are_the_same_plan(solved):
    problem, result, path = solved
    table = pq.read_table(path)
    shuffled = table.take(list(range(len(table)))[::-1])
    pq.write_table(shuffled, path)
    found = check(problem, read_plan(path))
    assert found.agrees, found.disagreements
    assert found.evaluation.value == result.value


def test_columns_and_objects_are_evaluated_alike(monkeypatch):
    monkeypatch.setattr(door, "DEFAULTS", AT_SCALE)
    problem = parse_table(csv_text(), "8x80GiB,4x141GiB")
    result = solve(problem, gap=NEAR)
    objects = Placement(tuple(result.placement))
    assert evaluate(problem, objects) == result.evaluation
    assert evaluate(problem, objects).profile() == result.evaluation.profile()
    assert evaluate(problem, objects).busy == result.evaluation.busy
    one = result.placement.replicas
    crowd = Placement(replace(one, gpu_of=array("q", [0] * len(one))))
    assert evaluate(problem, crowd) == evaluate(problem, Placement(tuple(crowd)))
    assert not evaluate(problem, crowd).valid


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'columns': .*columns"):
        read(str(tmp_path / "m.parquet"), gpus="1x80GiB")
    with pytest.raises(MissingExtraError):
        write_parquet({}, {})


def test_a_table_of_models_reads_like_a_tuple(tmp_path):
    problem = read(parquet(tmp_path / "m.parquet"), gpus="8x80GiB,4x141GiB")
    listed = Problem(tuple(problem.models), problem.fleet, problem.goal)
    assert problem.models[5:7] == listed.models[5:7]
    assert problem.models == listed.models
    assert problem.index_of == listed.index_of
    assert solve(problem, gap=NEAR).placement == solve(listed, gap=NEAR).placement
