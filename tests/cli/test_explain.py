"""``explain`` and ``size`` on files, from arguments to exit code."""

import csv
import io
import json
from pathlib import Path

import pytest
import yaml

import kvplace
from kvplace.cli.main import main

EXAMPLE = str(Path(__file__).parents[2] / "examples/open-models.yaml")
SPREADSHEET = str(Path(__file__).parents[2] / "examples/models.csv")
FOUR = (
    "google/gemma-3-27b-it", "meta-llama/Meta-Llama-3.1-8B-Instruct", "openai/gpt-oss-20b",
    "Qwen/Qwen3-VL-8B-Instruct",
)  # fmt: skip
PINNED = """\
schema: kvplace.fleet/v1
defaults: {overhead: 0B}
nodes:
  - {name: h7, gpus: 1, gpu: {memory: 80GiB}}
  - {name: h8, gpus: 2, gpu: {memory: 80GiB}}
models:
  - {name: a, weights: 30GiB, demand: {requests_per_second: 2}, slo: {latency: 2s}}
  - {name: b, weights: 30GiB, demand: {requests_per_second: 1}, slo: {latency: 2s}}
  - {name: c, weights: 28GiB, demand: {requests_per_second: 1}, slo: {latency: 2s}}
rules:
  - {rule: pin, models: [a, b, c], places: {nodes: [h7]}}
"""


@pytest.fixture
def pinned(tmp_path):
    path = tmp_path / "fleet.yaml"
    path.write_text(PINNED, "utf-8")
    return str(path)


def test_what_clashes_is_told_with_its_numbers_and_exits_3(pinned, capsys):
    assert main(["explain", pinned]) == 3
    captured = capsys.readouterr()
    text = " ".join(captured.out.split())
    assert "smallest clash, 4 demands:" in text
    assert "need 8.0 GiB more than node h7 has: 88.0 GiB with overhead in 80.0 GiB usable" in text
    assert "release the rule: all models are pinned to node h7" in text
    assert "1 more GPU of at least 29 GiB usable in node h7" in text
    assert captured.err == ""


def test_the_clash_as_json_and_csv(pinned, capsys):
    assert main(["explain", pinned, "--format", "json", "--quiet"]) == 3
    data = json.loads(capsys.readouterr().out)
    assert (data["status"], data["clash"]["smallest"]) == ("infeasible", True)
    assert data["clash"]["needed_bytes"] - data["clash"]["usable_bytes"] == 8 * 2**30
    assert data["clash"]["gpus"] == ["h7/0"]
    assert [member["kind"] for member in data["clash"]["members"]] == ["model"] * 3 + ["rule"]
    assert data["repairs"][0]["changes"][0]["subject"] == "rules[0]"
    assert data["levers"] == []
    assert main(["explain", pinned, "--format", "csv", "--quiet"]) == 3
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["part"] for row in rows[:5]] == ["clash"] * 4 + ["repair"]


def test_levers_as_table_json_and_csv(capsys, tmp_path):
    some = yaml.safe_load(Path(EXAMPLE).read_text("utf-8"))
    some["models"] = [model for model in some["models"] if model["name"] in FOUR]
    some["nodes"][0]["gpus"] = 4
    fleet = tmp_path / "some.json"
    fleet.write_text(json.dumps(some), "utf-8")
    args = ["explain", str(fleet), "--objective", "occupancy"]
    assert main(args) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("worst GPU: h100/0 at KVPR 0.3978 = KV pool 40 % full\n")
    assert "limited by one model: google/gemma-3-27b-it" in captured.out
    assert "tensor parallel 2 for google/gemma-3-27b-it" in captured.out
    path = tmp_path / "why.json"
    assert main([*args, "--format", "json", "--output", str(path)]) == 0
    assert "max KVPR" in capsys.readouterr().err
    data = json.loads(path.read_text("utf-8"))
    assert data["bottleneck"]["cause"]["kind"] == "single-model"
    assert data["clash"] is None
    assert all(lever["bound"] <= lever["value"] < data["value"] for lever in data["levers"])
    assert main([*args, "--format", "csv", "--quiet"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["value"]) for row in rows] == [lever["value"] for lever in data["levers"]]


def test_a_plan_given_is_explained(capsys, tmp_path):
    plan = tmp_path / "plan.json"
    args = ["--gpus", "3x80GiB"]
    greedy = ["--solver", "prism-greedy", "--format", "json", "--output", str(plan), "--quiet"]
    assert main(["plan", SPREADSHEET, *args, *greedy]) == 0
    assert main(["explain", SPREADSHEET, str(plan), *args, "--format", "json", "--quiet"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["value_given"] == kvplace.read_plan(plan).value
    if data["value"] < data["value_given"]:
        assert data["levers"][0]["kind"] == "plan"


def test_a_plan_that_does_not_hold_is_refused_by_the_name_of_its_file(capsys, tmp_path):
    plan = tmp_path / "plan.csv"
    plan.write_text("model,replica,shard,gpu\nchat-large,0,0,80GiB/0\n", "utf-8")
    assert main(["explain", SPREADSHEET, str(plan), "--gpus", "3x80GiB"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"kvplace: {plan}: ") for line in lines)


def test_a_size_with_its_proof_and_a_table(capsys):
    assert (
        main(["size", EXAMPLE, "--target", "occupancy<=0.8", "--gpu-types", "H100-SXM-80GB"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "target: occupancy ≤ 0.8000 on every GPU"
    assert lines[1] == "8 x H100-SXM-80GB suffice, 7 are proved too few"
    assert [line.split()[:2] for line in lines[4:7]] == [["7", "x"], ["8", "x"], ["9", "x"]]


def test_the_cheapest_mix_at_every_growth_as_json(capsys, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("H100-SXM-80GB: 2.5\nH200-SXM-141GB: 3.6\nL4-24GB: 0.4\n", "utf-8")
    spec = "H100-SXM-80GB,H200-SXM-141GB"
    args = ["size", EXAMPLE, "--target", "80%", "--gpu-types", spec, "--prices", str(prices)]
    assert main([*args, "--growth", "1,1.5", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["priced"]
    assert [kind["price"] for kind in data["kinds"]] == [2.5, 3.6]
    for size in data["sizes"]:
        assert size["cost"] == pytest.approx(2.5 * size["nodes"][0] + 3.6 * size["nodes"][1])
        assert size["value"] <= 0.8
        assert size["least_cost"] <= size["cost"]
    assert {row["growth"] for row in data["table"]} == {1, 1.5}
    assert main([*args, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["answer"] for row in rows].count("yes") == 1


def test_a_target_out_of_reach_exits_3_with_the_reason(capsys):
    assert main(["size", EXAMPLE, "--target", "occupancy<=0.2"]) == 3
    out = capsys.readouterr().out
    assert "no fleet is enough, however large:" in out
    assert "allow it 2 copies (replicas: {min: 1, max: 2})" in out


def test_a_table_of_models_takes_its_gpus_from_the_types_on_offer(capsys):
    args = ["size", SPREADSHEET, "--target", "requests<=0.1", "--gpu-types", "80GiB"]
    assert main(args) == 0
    assert "x 80GiB suffice" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--target", "x<=1"], "kvplace: --target: there is no objective 'x'; known: requests,"),
        (["--target", "0.8", "--gpu-types", "8xH900"], "kvplace: --gpu-types: gpus[0]: 'H900' is"),
        (["--target", "0.8", "--growth", "1,x"], "is no list of factors"),
        (["--target", "0.8", "--prices", "/no/such"], "kvplace: /no/such: there is no such file"),
        ([], "missing option '--target'"),
    ],
)
def test_bad_arguments_are_one_line(args, said, capsys):
    assert main(["size", EXAMPLE, *args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_prices_that_lack_a_type_are_refused(capsys, tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("H200: 2.5\n", "utf-8")
    assert main(["size", EXAMPLE, "--target", "0.8", "--prices", str(prices)]) == 2
    error = capsys.readouterr().err
    assert (
        f"{prices}: 'H100-SXM-80GB' has no price; prices, per GPU and hour, are given for H200"
        in error
    )
