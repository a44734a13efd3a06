"""A long CSV goes by columns, and a short one model by model: nobody can tell which."""

import random

import pytest

from kvplace.checking.load import load_plan
from kvplace.core.models.demand import Demand
from kvplace.core.models.model_table import ModelTable
from kvplace.errors import InputError
from kvplace.formats.plan.io import write_plan
from kvplace.formats.read import read
from kvplace.formats.tables import models
from kvplace.formats.tables.models import parse_table
from kvplace.solver.solve import solve

HEAD = (
    "name", "weights_gib", "requests_per_second", "slo_seconds", "overhead_gib", "min_kv_gib",
    "kv_bytes_per_token", "prompt_tokens", "output_tokens", "ttft_seconds", "tpot_seconds",
    "tensor_parallel", "replicas",
)  # fmt: skip
CELLS = (
    ("a", " b ", "", "x y", "ü", '"q, r"', "'=1+1"),
    ("1", "2.5", "", "x", "-1", "1e30", "0", "'+3", "0.00000000046566128730773925781250001"),
    ("1", "0", "", "-2", "1e13", "nan", "inf", "1_0", "1e2"),
    ("1", "", "0", "x", "1e9", " 2 "),
    ("", "1", "x"),
    ("", "2", "-1", "0"),
    ("", "1000", "1.5", "x", "99999999999999999999"),
    ("", "10", "1e10"),
    ("", "10", "x"),
    ("", "0.5"),
    ("", "0.1", "0"),
    ("", "1", "1 2", "x"),
    ("", "1", "1-8", "8-1", "x"),
)  # fmt: skip


def outcome(text, short, monkeypatch):
    """The problem's digest, or every fault."""
    monkeypatch.setattr(models, "FEW", 10**9 if short else 0)
    try:
        problem = parse_table(text, "2x80GiB,1x40GiB", "m.csv")
    except InputError as error:
        return sorted(map(str, error.faults))
    told = [
        (
            m.name,
            m.weights_bytes,
            m.resident_bytes(1),
            m.least_kv_bytes(1),
            m.demand,
            m.slo,
            m.windows,
            m.tensor_parallel,
            m.replicas,
            [m.resident_bytes(degree) for degree in m.tensor_parallel],
        )
        for m in problem.models
    ]
    return problem.digest, problem.goal, told


SPLIT = """\
name,weights_gib,kv_bytes_per_token,ttft_seconds,tpot_seconds,prompt_tokens,output_tokens,layers,\
hidden,heads,kv_heads,head_dim,intermediate,vocabulary,tensor_parallel,replicas,requests_per_second
a,14.958,131072,1,0.05,500,100,32,4096,32,8,128,14336,128256,1 2 3,1-4,2
b,140,131072,1,0.05,500,100,,,,,,,,4 8,,1
Qwen/Qwen3-8B,15.3,147456,1,0.05,500,100,,,,,,,,2,2,1
c,7,131072,1,0.05,500,100,,,,,,,,,1-2,1
"""


@pytest.mark.parametrize("objective", [None, "occupancy", "pressure"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("1 2 3", "3"),  # which engines refuse
        ("1-4", "4-1"),
        ("4 8", "4 x"),
        ("15.3", ""),
        ("\nc,", "\na,"),
        (",0.05,500", ",0,500"),
        ("147456", ""),
        (",2,2,1", ",2,2,1e13"),
        (",32,8,128", ",32,x,128"),
    ],
)
def test_models_that_may_be_split_are_the_same_by_columns(old, new, objective, monkeypatch):
    found = []
    for short in (10**9, 0):
        monkeypatch.setattr(models, "FEW", short)
        try:
            problem = parse_table(
                SPLIT.replace(old, new, 1), "2x8xH100-SXM-80GB", "m.csv", objective=objective
            )
            found.append((problem.digest, problem.goal, tuple(problem.models), problem.assumed))
        except InputError as error:
            found.append(sorted(map(str, error.faults)))
    assert found[0] == found[1]


def drawn(rng):
    """A table with a few cells out of the ordinary, blank lines and rows of other widths."""
    keep = rng.choice([4, 4, 5, 9, 13])
    lines = [",".join(HEAD[:keep])]
    for row in range(rng.randint(1, 6)):
        cells = [
            rng.choice(CELLS[c]) if rng.random() < 0.15 else (CELLS[c][0] if c else f"m{row}")
            for c in range(keep)
        ]
        if rng.random() < 0.05:
            cells = [*cells, "more"] if rng.random() < 0.5 else cells[:-1]
        lines.append(",".join(cells))
        if rng.random() < 0.1:
            lines.append(rng.choice(["", "  ", "," * (keep - 1)]))
    return "\n".join(lines) + "\n"


def test_both_ways_give_the_same_problem_or_the_same_faults(monkeypatch):
    rng = random.Random(5)
    seen = {True: 0, False: 0}
    for _ in range(150):
        text = drawn(rng)
        short, long = (outcome(text, way, monkeypatch) for way in (True, False))
        assert long == short, text
        seen[isinstance(short, tuple)] += 1
    assert min(seen.values()) > 30


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_the_ends_of_lines_change_nothing(ending, monkeypatch):
    rng = random.Random(6)
    for _ in range(30):
        text = drawn(rng)
        expected = outcome(text, False, monkeypatch)
        assert outcome(text.replace("\n", ending), False, monkeypatch) == expected, text


@pytest.mark.parametrize("text", ["", "\n\n", "name,weights_gib\n", ",".join(HEAD) + "\n\n"])
def test_what_is_no_table_is_refused_alike(text, monkeypatch):
    assert outcome(text, False, monkeypatch) == outcome(text, True, monkeypatch)


def test_a_long_csv_is_held_as_arrays_across_chunks(monkeypatch):
    monkeypatch.setattr("kvplace.formats.tables.csv_columns._AT_ONCE", 7)
    rows = [f"m{i},{1 + i / 8},{i + 1},1" for i in range(50)]
    text = "\n".join([",".join(HEAD[:4]), *rows[:20], "", *rows[20:]])
    short = outcome(text, True, monkeypatch)
    assert outcome(text, False, monkeypatch) == short
    assert isinstance(parse_table(text, "9x80GiB").models, ModelTable)
    with pytest.raises(InputError) as caught:
        parse_table(text.replace("m33,", "m3,").replace("m41,6.125", "m41,six"), "9x80GiB")
    assert {(f.path, f.line) for f in caught.value.faults} == {
        ("models[33].name", 36), ("models[41].weights_gib", 44),
    }  # fmt: skip


def windowed(rng):
    """A table with a rate for each of two windows, and tokens for some, a few cells odd."""
    columns = ["name", "weights_gib", "requests_per_second@day", "requests_per_second@night",
               "kv_bytes_per_token", "ttft_seconds", "tpot_seconds"]  # fmt: skip
    columns += rng.choice(
        [
            ["prompt_tokens", "output_tokens"],
            ["prompt_tokens@day", "prompt_tokens@night", "output_tokens"],
            ["prompt_tokens", "prompt_tokens@night", "output_tokens@day", "output_tokens@night"],
        ]
    )
    of = dict(zip(HEAD, CELLS, strict=True))
    lines = [",".join(columns)]
    for row in range(rng.randint(1, 5)):
        cells = [f"m{row}"]
        for column in columns[1:]:
            kinds = of[column.partition("@")[0]]
            plain = str(rng.choice([0, 1, 7, 120])) if "@" in column else "9"
            cells.append(rng.choice(kinds) if rng.random() < 0.06 else plain)
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def test_windows_in_columns_read_alike_long_and_short(monkeypatch):
    rng = random.Random(4)
    sound = 0
    for _ in range(250):
        text = windowed(rng)
        short, long = (outcome(text, kind, monkeypatch) for kind in (True, False))
        sound += isinstance(short, tuple)
        if isinstance(short, list) and isinstance(long, list):
            # Beside a faulty cell, the objective that more is missed for is anybody's guess.
            short, long = (
                [one for one in told if "for the objective" not in one] for told in (short, long)
            )
        assert short == long, text
    assert sound > 60


TABLE = """\
name,weights_gib,kv_bytes_per_token,ttft_seconds,tpot_seconds,output_tokens,prompt_tokens@day,\
prompt_tokens@night,requests_per_second@day,requests_per_second@night
a,15.3,147456,1,0.05,200,500,900,4,1
b,15.3,147456,1,0.05,200,500,,0,3
"""


@pytest.mark.parametrize("short", [True, False])
def test_a_column_per_window_is_the_demand_of_that_window(short, monkeypatch, tmp_path):
    monkeypatch.setattr(models, "FEW", 10**9 if short else 0)
    found = parse_table(TABLE.replace("500,,", "500,800,"), "2xH100-SXM-80GB", objective="pressure")
    assert isinstance(found.models, ModelTable) is not short
    assert [window.name for window in found.windows] == ["day", "night"]
    a, b = found.models
    assert a.windows == {"day": Demand(4.0, 500.0, 200.0), "night": Demand(1.0, 900.0, 200.0)}
    assert a.demand == Demand(2.5, (4 * 500 + 900) / 5, 200.0)
    assert b.demand == Demand(1.5, 800.0, 200.0)
    plan = solve(found)
    file = tmp_path / "plan.json"
    file.write_text(write_plan(plan))
    assert load_plan(file).problem.digest == found.digest
    assert [set(gpu.occupancies) != {0.0} for gpu in plan.evaluation.gpus] == [True, True]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("requests_per_second@day", "requests_per_second", "the mean follows, so leave it out"),
        ("requests_per_second@day", "requests_per_second@", "unknown column"),
        ("prompt_tokens@day", "ttft_seconds@day", "unknown column 'ttft_seconds@day'"),
        (",4,1\n", ",,1\n", "requests_per_second@day.*is empty; write 0"),
        (",4,1\n", ",x,1\n", "requests_per_second@day.*not a number"),
    ],
)
@pytest.mark.parametrize("short", [True, False])
def test_what_is_wrong_with_windows_in_columns(old, new, message, short, monkeypatch):
    monkeypatch.setattr(models, "FEW", 10**9 if short else 0)
    with pytest.raises(InputError, match=message):
        parse_table(TABLE.replace(old, new, 1), "2xH100-SXM-80GB")


@pytest.mark.parametrize("few", [0, 3000])
def test_a_rate_out_of_bounds_in_a_window_is_told_with_its_line(few, monkeypatch):
    monkeypatch.setattr(models, "FEW", few)
    with pytest.raises(InputError) as refused:
        parse_table(TABLE.replace(",4,1\n", ",-4,1\n"), "2xH100-SXM-80GB", objective="pressure")
    (line,) = [one for one in refused.value.lines() if "for the objective" not in one]
    assert "line 2: -4.0 is negative" in line


def test_windows_through_parquet_tables_and_plans(tmp_path, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    header, *rows = (line.split(",") for line in TABLE.replace("\\\n", "").splitlines())
    columns = {
        name: [row[at] if at == 0 else float(row[at] or "nan") for row in rows]
        for at, name in enumerate(header)
    }
    columns["kv_bytes_per_token"] = [147456, 147456]
    columns["prompt_tokens@night"] = [900.0, 800.0]
    table = tmp_path / "models.parquet"
    parquet.write_table(arrow.table(columns), table)
    with monkeypatch.context() as patched:
        patched.setattr(models, "FEW", 0)
        found = read(table, objective="pressure", gpus="2xH100-SXM-80GB")
    assert isinstance(found.models, ModelTable)
    text = TABLE.replace("500,,", "500,800,")
    short = parse_table(text, "2xH100-SXM-80GB", objective="pressure")
    assert found.digest == short.digest
    plan = tmp_path / "plan.parquet"
    write_plan(solve(found), plan)
    assert load_plan(plan, found).problem.digest == found.digest
