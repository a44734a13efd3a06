"""Logs read as they are, with hand-counted windows, and every way in which one can be wrong."""

import csv
import gzip
import json
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from kvplace.demand.logs.traces import read_trace
from kvplace.demand.summary import summarise
from kvplace.errors import InputError

duckdb = pytest.importorskip("duckdb", reason="reading logs needs the extra 'logs'")

TRACES = Path(__file__).parents[2].parent / "shared/data/traces"


def shared(name: str) -> Path:
    path = TRACES / name
    if not path.is_file():
        pytest.skip(f"the trace is not at {path}")
    return path


def log(tmp_path, text: str, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


TWO = (
    "t_s,model,prompt_tokens,output_tokens\n0,a,10,1\n30,a,20,3\n60,b,5,5\n119,a,30,2\n180,b,5,5\n"
)


def test_windows_are_counted_by_hand(tmp_path):
    series = read_trace(log(tmp_path, TWO))
    assert series.models == ("a", "b")
    # a: two in the first minute, one in the second; the last request ends the log at 180 s.
    assert series.requests.tolist() == [[2, 1, 0, 0], [0, 1, 0, 1]]
    assert series.prompt_tokens.tolist() == [[30, 30, 0, 0], [0, 5, 0, 5]]
    assert series.covered_seconds.tolist() == [60, 60, 60, 0]
    summary = summarise(series, 1.0)
    assert [model.model for model in summary.models] == ["a", "b"]
    busiest = summary.models[0]
    assert busiest.requests_per_second.value == pytest.approx(2 / 60)
    assert busiest.mean_rate == pytest.approx(3 / 180)
    assert busiest.prompt_tokens.value == 20
    assert busiest.output_tokens.value == 2
    assert "log.csv" in busiest.requests_per_second.origin


@pytest.mark.parametrize("kind", ["jsonl", "csv.gz", "parquet", "tsv"])
def test_every_kind_of_file_says_the_same(kind, tmp_path):
    rows = list(csv.DictReader(TWO.splitlines()))
    path = tmp_path / f"log.{kind}"
    if kind == "jsonl":
        numbers = [{k: v if k == "model" else float(v) for k, v in row.items()} for row in rows]
        path.write_text("\n".join(json.dumps(row) for row in numbers))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(TWO.encode()))
    elif kind == "tsv":
        path.write_text(TWO.replace(",", "\t"))
    else:
        plain = log(tmp_path, TWO, "plain.csv")
        duckdb.connect().execute(f"COPY (FROM '{plain}') TO '{path}' (FORMAT parquet)")
    expected, found = read_trace(log(tmp_path, TWO)), read_trace(path)
    assert found.models == expected.models
    assert found.requests.tolist() == expected.requests.tolist()
    assert found.prompt_tokens.tolist() == expected.prompt_tokens.tolist()


@pytest.mark.parametrize(
    "times",
    [
        ("2023-11-16 18:15:00.0000000", "2023-11-16 18:15:30.5000000"),
        ("2023-11-16T18:15:00Z", "2023-11-16T19:15:30.5+01:00"),
    ],
)
def test_timestamps_with_any_zone_are_read(times, tmp_path):
    head = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text = head + "".join(f"{time},100,10\n" for time in times)
    series = read_trace(log(tmp_path, text), model="m")
    assert series.total_seconds == pytest.approx(30.5)
    assert series.models == ("m",)
    assert any("no model column" in note for note in series.notes)


def test_mooncake_s_own_format_is_in_milliseconds(tmp_path):
    rows = [{"timestamp": 1000 * t, "input_length": 7, "output_length": 3} for t in (0, 30, 90)]
    path = log(tmp_path, "\n".join(json.dumps({**r, "hash_ids": [1]}) for r in rows), "m.jsonl")
    assert read_trace(path).total_seconds == 90


def test_a_number_without_a_unit_is_not_guessed(tmp_path):
    path = log(tmp_path, "timestamp,model\n1,a\n2,a\n")
    with pytest.raises(InputError, match="--time-unit"):
        read_trace(path)
    assert read_trace(path, time_unit="ms").total_seconds == pytest.approx(0.001)


def test_counts_keep_their_own_windows(tmp_path):
    text = "t,model,requests\n0,a,600\n600,a,1200\n1800,a,60\n"
    series = read_trace(log(tmp_path, text))
    assert series.step_seconds == 600
    assert series.requests.tolist() == [[600, 1200, 0, 60]]
    assert series.total_seconds == 2400
    assert summarise(series, 1.0).models[0].requests_per_second.value == 2
    assert read_trace(log(tmp_path, text), step_seconds=1200).requests.tolist() == [[1800, 60]]
    with pytest.raises(InputError, match="multiple"):
        read_trace(log(tmp_path, text), step_seconds=900)


def test_bad_rows_are_all_told_with_their_place(tmp_path):
    text = TWO + "190,,1,1\nx,a,1,1\n191,a,-1,1\n"
    with pytest.raises(InputError) as caught:
        read_trace(log(tmp_path, text))
    lines = caught.value.lines()
    assert len(lines) == 3
    assert "row 6: no usable value in model" in lines[0]
    assert "row 7: no usable value in t_s" in lines[1]
    assert "row 8: no usable value in prompt_tokens" in lines[2]
    series = read_trace(log(tmp_path, text), skip_bad=True)
    assert series.requests.sum() == 5
    assert "3 rows" in series.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("log.txt", TWO, "no kind of log"),
        ("log.csv", "a,b\n1,2\n", "--time-column"),
        ("log.csv", "", "this file is empty"),
        ("log.csv", "t_s,model\n", "there is no row in it"),
        ("log.csv", "t_s,model\n ,a\n", "the column 't_s' is empty"),
        ("log.csv", "t_s,model\n1,a\n", "one instant"),
        ("log.jsonl", "{broken", "log.jsonl"),
        ("log.parquet", "not parquet", "log.parquet"),
    ],
)
def test_a_log_that_cannot_be_read_is_one_line(name, text, told, tmp_path):
    with pytest.raises(InputError) as caught:
        read_trace(log(tmp_path, text, name))
    (line,) = caught.value.lines()
    assert told in line
    assert "SELECT" not in line


@pytest.mark.parametrize("far", ["1e300", "-1e300", "nan", "inf"])
def test_a_time_beyond_all_calendars_is_told_and_not_dropped(far, tmp_path):
    path = log(tmp_path, f"t_ms,model\n0,a\n60000,a\n{far},a\n")
    with pytest.raises(InputError) as caught:
        read_trace(path)
    told = "row 3: no usable value in t_ms; --skip-bad leaves such rows out"
    assert caught.value.lines() == [f"{path}: {told}"]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_trace(tmp_path / "none.csv")


def test_models_that_peak_together_are_told_from_those_that_do_not(tmp_path):
    rows = []
    for minute in range(60):
        day, night = minute < 6, minute >= 54
        for model, busy in (("day-1", day), ("day-2", day), ("night", night)):
            rows += [f"{60 * minute + s},{model}" for s in range(0, 60, 2 if busy else 30)]
    series = read_trace(log(tmp_path, "t_s,model\n" + "\n".join(rows)))
    summary = summarise(series, 0.95)
    peers = {model.model: model.peaks_with for model in summary.models}
    assert peers == {"day-1": ("day-2",), "day-2": ("day-1",), "night": ()}
    # Together: 30 + 30 + 2 a minute by day, against 3 x 30 if all peaked at once.
    assert summary.joint.share == pytest.approx(62 / 90)
    night = next(model for model in summary.models if model.model == "night")
    assert night.joint_peak_rate < night.requests_per_second.value


def test_arena27_is_read_as_it_is():
    path = shared("arena27_requests.csv")
    series = read_trace(path)
    with path.open(newline="") as stream:
        counted = Counter(row["model"] for row in csv.DictReader(stream))
    assert dict(zip(series.models, series.requests.sum(axis=1), strict=True)) == counted
    assert sum(counted.values()) == 1500
    assert series.total_seconds == pytest.approx(600, rel=0.01)


def test_azure_is_read_as_it_is():
    path = shared("azure_llm_2023_requests.csv.gz")
    summary = summarise(read_trace(path))
    with gzip.open(path, "rt", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["service"] == "conv"]
    conv = next(model for model in summary.models if model.model == "conv")
    mean = sum(int(row["input_tokens"]) for row in rows) / len(rows)
    assert conv.prompt_tokens.value == pytest.approx(mean)


def test_mooncake_is_read_as_it_is():
    series = read_trace(shared("mooncake_conversation_requests.csv.gz"), model="mooncake")
    assert series.models == ("mooncake",)
    assert series.requests.sum() == 12_031


def test_servegen_s_counts_are_read_whole():
    path = shared("servegen_client_10min.csv.gz")
    series = read_trace(path, model_columns=("service", "client"))
    summarise(series)
    assert series.step_seconds == 600
    assert series.requests.sum() == 238_276_495


@pytest.mark.heavy
def test_fifty_million_rows_are_read_in_bounded_memory(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks/long_log.py"
    command = [sys.executable, script, "--file", tmp_path / "log.parquet"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    assert figures["rows"] == 50_000_000
    assert figures["peak_mb"] < 1500


def test_lines_that_are_no_objects_are_bad_rows_too(tmp_path):
    good = [f'{{"t_s": {at}, "model": "a"}}' for at in range(0, 120, 40)]
    bad = ["[1, 2]", "7", '"x"', "null", '{"t_s": 30, "model":']
    path = log(tmp_path, "\n".join([good[0], *bad[:3], *good[1:], *bad[3:]]) + "\n", "log.jsonl")
    with pytest.raises(InputError, match="line 2: it must be a JSON object"):
        read_trace(path)
    series = read_trace(path, skip_bad=True)
    assert series.requests.sum() == 3
    assert series.notes[0] == "5 rows without a usable value were left out"


def test_broken_lines_of_large_logs_are_bad_rows_too(tmp_path, monkeypatch):
    pytest.importorskip("duckdb")
    monkeypatch.setattr(import_module("kvplace.demand.logs.traces"), "_SMALL", 0)
    text = "".join(f'{{"t_s": {at}, "model": "a"}}\n' for at in range(0, 120, 40))
    path = log(tmp_path, text + '{"t_s": 30, "model":\n', "log.jsonl")
    with pytest.raises(InputError, match="Malformed JSON"):
        read_trace(path)
    series = read_trace(path, skip_bad=True)
    assert series.requests.sum() == 3
    assert series.notes[0] == "1 row without a usable value was left out"


def test_lines_of_large_logs_that_are_no_objects_are_bad_rows_too(tmp_path, monkeypatch):
    pytest.importorskip("duckdb")
    monkeypatch.setattr(import_module("kvplace.demand.logs.traces"), "_SMALL", 0)
    text = "".join(f'{{"t_s": {at}, "model": "a"}}\n' for at in (0, 40.5, 80))
    path = log(tmp_path, f'[1, 2]\n7\n"x"\n{text}null\n{{"t_s": 30\n', "log.jsonl")
    with pytest.raises(InputError, match=r"--skip-bad leaves such lines out"):
        read_trace(path)
    series = read_trace(path, skip_bad=True)
    assert series.requests.sum() == 3
    assert series.notes[0] == "5 rows without a usable value were left out"
    path = log(tmp_path, "[1, 2]\n7\n", "none.jsonl")
    with pytest.raises(InputError, match="no line of it is a JSON object"):
        read_trace(path, skip_bad=True)
