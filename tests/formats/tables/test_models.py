"""The models table and the GPUs that go with it."""

import csv

import pytest

from kvplace.core.hardware import GPU
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import DEFAULT_OVERHEAD_BYTES
from kvplace.core.models.model_table import ModelTable
from kvplace.core.models.objective import Objective
from kvplace.errors import InputError
from kvplace.formats.fleet.gpu_groups import parse_gpus
from kvplace.formats.read import read
from kvplace.formats.tables import models
from kvplace.formats.tables.models import parse_table

GIB = 2**30
HEADER = "name,weights_gib,requests_per_second,slo_seconds"


def faults_of(text, gpus="1x80GiB"):
    with pytest.raises(InputError) as caught:
        parse_table(text, gpus, "m.csv")
    return [str(fault) for fault in caught.value.faults]


def test_a_table_is_read_with_its_defaults():
    problem = parse_table(f"{HEADER}\n\na,10.5,2,1\n\n b , 20,3.5,4 \n", "2x80GiB")
    a, b = problem.models
    assert (a.name, a.weights_bytes, a.demand) == ("a", 21 * GIB // 2, Demand(2.0))
    assert (b.name, b.slo, b.overhead_bytes) == ("b", SLO(None, None, 4.0), DEFAULT_OVERHEAD_BYTES)
    assert problem.goal is Objective.REQUESTS


def test_every_column_has_its_field(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(
        b"\xef\xbb\xbfname,weights_gib,requests_per_second,slo_seconds,overhead_gib,min_kv_gib,"
        b"kv_bytes_per_token,prompt_tokens,output_tokens,ttft_seconds,tpot_seconds,"
        b"tensor_parallel,replicas\r\n"
        b'"a, b",10,2,,0,2,131072,700,70.5,0.5,0.02,1,1-1\r\n'
    )
    problem = read(path, gpus="1xH200-SXM-141GB", objective="occupancy")
    (model,) = problem.models
    assert model.name == "a, b"
    assert (model.overhead_bytes, model.min_kv_bytes) == (0, 2 * GIB)
    assert model.kv_bytes_per_token == 131072
    assert model.demand == Demand(2.0, 700.0, 70.5)
    assert model.slo == SLO(0.5, 0.02)


FAULTS = [
    ("", "line 1: the table has no header"),
    ("name\n", "line 1: the column weights_gib is missing"),
    (
        f"{HEADER},wieghts_gib\n",
        "line 1: unknown column 'wieghts_gib'; did you mean 'weights_gib'?",
    ),
    (f"{HEADER},ttft\n", "line 1: unknown column 'ttft'; did you mean 'ttft_seconds'?"),
    (
        f"{HEADER}\na,10GiB,2,1\n",
        "models[0].weights_gib, line 2: '10GiB' is not a number; the column names the unit",
    ),
    (
        f"{HEADER}\na,nan,2,1\n",
        "models[0].weights_gib, line 2: 'nan' is not a number; the column names the unit",
    ),
    (
        f"{HEADER}\na,-1,2,1\n",
        "models[0].weights_gib, line 2: '-1GiB' is negative; memory starts at 0B",
    ),
    (f"{HEADER}\na,1,,1\n", "models[0].requests_per_second, line 2: is empty"),
    (f"{HEADER}\na,1,2\n", "models[0], line 2: the row has 3 cells; the header names 4 columns"),
    (
        f"{HEADER}\na,1,2,1\na,1,2,1\n",
        "models[1].name, line 3: 'a' is already the name of models[0]",
    ),
    (
        f"{HEADER}\na,1,2,\n",
        (
            "models[0].slo_seconds, line 2: 'a' needs it for the objective requests; give it, "
            "or ttft_seconds and tpot_seconds together with output_tokens"
        ),
    ),
    (
        f"{HEADER},replicas\na,1,2,1,many\n",
        (
            "models[0].replicas, line 2: 'many' is not a number of copies such as 1, or a span "
            "such as "
            "1-8"
        ),
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_each_fault_has_its_column_and_line(text, fault):
    assert fault in faults_of(text)


def test_faults_of_the_gpus_are_told_with_those_of_the_table():
    found = faults_of(f"{HEADER}\na,x,2,1\n", "8x80")
    assert [fault.partition(": ")[0] for fault in found] == [
        "models[0].weights_gib, line 2",
        "--gpus '8x80'",
    ]


def test_hosts_of_gpus_become_nodes_of_their_own():
    nodes = parse_gpus("2x8xH100,3x80GiB")
    assert [(node.name, len(node.gpus)) for node in nodes] == [
        ("H100-0", 8), ("H100-1", 8), ("80GiB", 3),
    ]  # fmt: skip
    assert nodes[1].gpus[7].id == "H100-1/7"


def test_groups_of_gpus_become_nodes():
    first, second, third = parse_gpus("2x80GiB, 1xh100-sxm-80gb ,80GiB")
    assert first.gpus == (
        GPU("80GiB/0", "80GiB", 80 * GIB),
        GPU("80GiB/1", "80GiB", 80 * GIB),
    )
    assert second.gpus == (GPU("H100-SXM-80GB/0", "H100-SXM-80GB", 85018877624),)
    assert third.gpus == (GPU("80GiB-2/0", "80GiB", 80 * GIB),)


GPU_FAULTS = [
    ("", "gpus[0]: '' is no group of GPUs; write it like 8x80GiB"),
    ("8x80GiB,", "gpus[1]: '' is no group of GPUs; write it like 8x80GiB"),
    ("0x80GiB", "gpus[0]: '0x80GiB' counts no GPU; write at least 1"),
    ("-1xH100", "gpus[0]: '-1xH100' is no group of GPUs; write it like 8x80GiB or 5x8xH100"),
    ("1.5xH100", "gpus[0]: '1.5xH100' is no group of GPUs; write it like 8x80GiB or 5x8xH100"),
    ("1x0GiB", "gpus[0]: '1x0GiB' has no memory"),
    (
        "1x80GiBs",
        (
            "gpus[0]: '80GiBs' has the unknown unit 'GiBs'; known units: B, kB, KB, MB, GB, "
            "TB, KiB, MiB, GiB, TiB, Ki, Mi, Gi, Ti"
        ),
    ),
    ("1xA100", "gpus[0]: 'A100' could be "),
    ("9999999x80GiB", "gpus[0]: these are more than 1,000,000 GPUs"),
]


@pytest.mark.parametrize(("text", "fault"), GPU_FAULTS)
def test_each_wrong_group_is_told(text, fault):
    with pytest.raises(InputError) as caught:
        parse_gpus(text)
    assert str(caught.value.faults[0]).startswith(fault)


def test_a_table_full_of_faults_is_not_read_to_its_end():
    faults = faults_of(HEADER + "\n" + ",x,y,z\n" * 5000)
    assert len(faults) == 51
    assert faults[-1] == "and at least 950 more faults"


SHAPED = """\
name,weights_gib,requests_per_second,ttft_seconds,tpot_seconds,kv_bytes_per_token,prompt_tokens,\
output_tokens,layers,hidden_size,parameters,active_parameters,vocabulary_size,heads,head_size
a,14.958,2,1,0.05,131072,900,100,32,4096,8029995008,7504658432,128256,32,128
b,14.958,1,1,0.05,131072,500,100,32,4096,8029995008,7504658432,128256,32,128
c,14.958,0,1,0.05,131072,500,100,,,,,,,
"""


def test_columns_of_a_shape_give_time():
    problem = parse_table(SHAPED, "1x4xH100-SXM-80GB")
    assert problem.goal is Objective.PRESSURE
    first, second, without = problem.models
    assert first.architecture == second.architecture
    assert (first.architecture.layers, first.architecture.heads) == (32, 32)
    assert without.architecture is None


def test_large_and_small_tables_of_shapes_say_the_same(monkeypatch):
    small = parse_table(SHAPED, "1x4xH100-SXM-80GB")
    monkeypatch.setattr(models, "FEW", 0)
    large = parse_table(SHAPED, "1x4xH100-SXM-80GB")
    assert isinstance(large.models, ModelTable)
    assert large.goal is Objective.PRESSURE
    assert large.digest == small.digest
    for one, other in zip(large.models, small.models, strict=True):
        assert one.architecture == other.architecture
        assert one.resident_bytes(1) == other.resident_bytes(1)
        assert one.least_kv_bytes(1) == other.least_kv_bytes(1)
    assert len(large.models.shapes) == 1


@pytest.mark.parametrize("short", [0, 2**17])
def test_a_shape_that_is_not_sound_is_told_with_its_line(monkeypatch, short):
    monkeypatch.setattr(models, "FEW", short)
    text = SHAPED.replace(
        "b,14.958,1,1,0.05,131072,500,100,32", "b,14.958,1,1,0.05,131072,500,100,x"
    )
    with pytest.raises(InputError) as refused:
        parse_table(text, "1x4xH100-SXM-80GB")
    (line,) = refused.value.lines()
    assert "line 3" in line
    assert "models[1].layers" in line
    assert "must be a whole number" in line


@pytest.mark.parametrize("short", [0, 2**17])
def test_a_window_without_a_column_of_rates_is_told(monkeypatch, short):
    monkeypatch.setattr(models, "FEW", short)
    head = "name,weights_gib,slo_seconds,requests_per_second@day,prompt_tokens@night"
    with pytest.raises(InputError) as refused:
        parse_table(f"{head}\na,10,1,2,500\n", "4x80GiB")
    (line,) = refused.value.lines()
    assert "requests_per_second@night" in line
    assert "line 2" in line


def test_parquet_states_shapes_too(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    header, *rows = csv.reader(SHAPED.splitlines())
    columns = {}
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        columns[name] = list(cells) if name == "name" else [float(c) if c else None for c in cells]
    parquet.write_table(pyarrow.table(columns), tmp_path / "m.parquet")
    found = read(tmp_path / "m.parquet", gpus="1x4xH100-SXM-80GB")
    assert found.digest == parse_table(SHAPED, "1x4xH100-SXM-80GB").digest
