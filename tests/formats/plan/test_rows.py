"""Rows of a plan, by columns: the same faults in the same words, wherever they come from."""

import random

import pytest

from kvplace.errors import InputError
from kvplace.formats.plan.io import read_plan
from kvplace.formats.plan.rows import parse_plan_table

HEAD = "model,replica,shard,gpu,weights_bytes,load"


def faults_of(read):
    with pytest.raises(InputError) as caught:
        read()
    return [(fault.path, fault.message) for fault in caught.value.faults]


def test_every_fault_is_told_at_once_and_rows_keep_their_numbers():
    rows = [
        "a,0,0,g,1,2.5",
        ",x,0,g,,-1",
        "b,0,0,,1.5,1",
        "c,0,0,g,1",
        "d,0,1,g,1,1",
        "a,0,0,h,1,1",
        "e,x,0,g,1,1",
        "e,0,1,g,1,1",
    ]
    told = faults_of(lambda: parse_plan_table("\n".join([HEAD, *rows])))
    assert told == [
        ("rows[1].model", "is empty"),
        ("rows[1].replica", "'x' is not a whole number"),
        ("rows[1].load", "'-1' is not a load"),
        ("rows[2].gpu", "is empty"),
        ("rows[2].weights_bytes", "'1.5' is not a whole number"),
        ("rows[3]", "the row has 5 cells; the header names 6 columns"),
        ("", "replica 0 of 'd' has the shards 1; they count from 0"),
        ("rows[5]", "shard 0 of replica 0 of 'a' is twice"),
        ("rows[6].replica", "'x' is not a whole number"),
    ]


def test_csv_and_parquet_say_the_same(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'columns'")
    parquet = pytest.importorskip("pyarrow.parquet", reason="as above")
    draw, columns = random.Random(4), HEAD.split(",")
    odd = (["a", ""], ["1", "x"], ["1", ""], ["h", ""], ["", "1.5"], ["", "-2", "y"])
    refused = 0
    for turn in range(40):
        rows = [
            [
                sound if draw.random() < 0.9 else draw.choice(others)
                for sound, others in zip((f"m{row}", "0", "0", "g", "7", "0.5"), odd, strict=True)
            ]
            for row in range(draw.randint(1, 5))
        ]
        text = "\n".join([HEAD, *map(",".join, rows)])
        path = tmp_path / f"{turn}.parquet"
        entries = [[cell or None for cell in column] for column in zip(*rows, strict=True)]
        parquet.write_table(
            arrow.table([arrow.array(e, arrow.string()) for e in entries], names=columns), path
        )
        try:
            table = parse_plan_table(text)
        except InputError:
            refused += 1
            told, others = (
                faults_of(lambda t=text: parse_plan_table(t)),
                faults_of(lambda p=path: read_plan(p)),
            )
            assert sorted(told) == sorted(others)
            continue
        other = read_plan(path)
        assert table.placement == other.placement
        assert list(table.weights_bytes) == list(other.weights_bytes)
        assert list(table.loads) == list(other.loads)
    assert 10 < refused < 40


def test_entries_of_a_dictionary_that_no_row_has_hide_no_doubled_model(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="Parquet needs the extra 'columns'")
    parquet = pytest.importorskip("pyarrow.parquet", reason="as above")
    models = arrow.DictionaryArray.from_arrays(arrow.array([0, 0]), arrow.array(["a", "b", "c"]))
    zeros, gpus = arrow.array([0, 0]), arrow.array(["g", "h"])
    parquet.write_table(
        arrow.table([models, zeros, zeros, gpus], names=HEAD.split(",")[:4]),
        tmp_path / "p.parquet",
    )
    told = faults_of(lambda: read_plan(tmp_path / "p.parquet"))
    assert told == [("rows[1]", "shard 0 of replica 0 of 'a' is twice")]
