"""``kvplace export``: files of a plan, and the way back."""

import json
import stat

import pytest

from kvplace.cli.main import main
from kvplace.cli.planning.export import RUNTIMES
from kvplace.export.files import EXPORTS

FLEET = """\
schema: kvplace.fleet/v1
defaults: {launch: {image: "registry.example/vllm:1"}}
nodes:
  - {name: h100, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79GiB}}
models:
  - name: Qwen/Qwen3-8B
    weights: 15.26GiB
    kv_bytes_per_token: 147456
    demand: {requests_per_second: 2, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
    launch: {args: --max-model-len 8192, secrets: [HF_TOKEN]}
  - name: Qwen/Qwen3-14B
    weights: 27.51GiB
    kv_bytes_per_token: 163840
    demand: {requests_per_second: 1, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
  - name: Qwen/Qwen3-32B
    weights: 61.02GiB
    kv_bytes_per_token: 262144
    demand: {requests_per_second: 0.2, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert main(["plan", "fleet.yaml", "--format", "json", "-o", "plan.json", "-q"]) == 0
    return tmp_path


def test_the_runtimes_offered_are_those_there_are():
    assert set(RUNTIMES) == set(EXPORTS)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_plan_alone_is_enough(here, runtime, capsys):
    (here / "fleet.yaml").unlink()
    assert main(["export", "plan.json", "--to", runtime, "-o", "out"]) == 0
    files = sorted((here / "out").iterdir())
    assert files
    told = capsys.readouterr().err
    assert "written to out" in told
    assert not any(path.name.startswith(".") for path in files)


def test_a_directory_is_not_named_like_a_file(here, capsys):
    assert main(["export", "plan.json", "--to", "compose", "--output", "deploy.yaml"]) == 2
    told = (
        "deploy.yaml: this is the name of a file, and an export is a directory of files; name one"
    )
    assert f"{told}, such as deploy" in capsys.readouterr().err
    assert not (here / "deploy.yaml").exists()


def test_scripts_can_be_run(here):
    assert main(["export", "plan.json", "--to", "shell", "-o", "out", "-q"]) == 0
    (script,) = (here / "out").iterdir()
    assert script.stat().st_mode & stat.S_IXUSR
    assert "--max-model-len" in script.read_text()
    assert "HF_TOKEN" in script.read_text()


def test_an_export_of_the_same_plan_has_no_difference(here, capsys):
    call = ["export", "plan.json", "--to", "kubernetes", "-o", "out", "--diff", "plan.json"]
    assert main(call) == 0
    assert list((here / "out").iterdir()) == []
    assert "0 of 3 files written" in capsys.readouterr().err


def test_files_of_another_export_are_named(here, capsys):
    assert main(["export", "plan.json", "--to", "prism", "-o", "out", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["export", "plan.json", "--to", "compose", "-o", "out"]) == 0
    assert "not of this export: out/models-h100.json" in capsys.readouterr().err


def test_a_directory_of_many_other_files_is_told_in_short(here, capsys):
    (here / "out").mkdir()
    for number in range(23):
        (here / f"out/{number:02}.txt").touch()
    assert main(["export", "plan.json", "--to", "compose", "-o", "out"]) == 0
    told = capsys.readouterr().err
    assert told.count("not of this export: ") == 20
    assert "and 3 more that are not of this export" in told


@pytest.mark.parametrize("to", RUNTIMES)
def test_every_export_says_what_comes_next(here, capsys, to):
    assert main(["export", "plan.json", "--to", to, "-o", "out"]) == 0
    assert "next: " in capsys.readouterr().err


def test_a_table_needs_its_fleet(here, capsys):
    assert main(["plan", "fleet.yaml", "--format", "csv", "-o", "plan.csv", "-q"]) == 0
    assert main(["export", "plan.csv", "--to", "prism", "-o", "out"]) == 2
    assert "name its fleet file with --fleet" in capsys.readouterr().err
    assert main(["export", "plan.csv", "--fleet", "fleet.yaml", "--to", "prism", "-o", "out"]) == 0


def test_a_plan_that_does_not_hold_is_not_exported(here, capsys):
    plan = json.loads((here / "plan.json").read_text())
    plan["gpus"][0]["weights_bytes"] -= 1
    (here / "plan.json").write_text(json.dumps(plan))
    assert main(["export", "plan.json", "--to", "shell", "-o", "out"]) == 2
    assert "gpus[0].weights_bytes" in capsys.readouterr().err
    assert not (here / "out").exists()


def test_a_plan_with_other_models_in_it_is_not_exported(here, capsys):
    plan = json.loads((here / "plan.json").read_text())
    plan["models"][0]["weights_bytes"] += 1
    (here / "plan.json").write_text(json.dumps(plan))
    assert main(["export", "plan.json", "--to", "shell", "-o", "out"]) == 2
    assert "problem_digest differs" in capsys.readouterr().err


def test_addresses_are_read(here, capsys):
    call = ["export", "plan.json", "--to", "kvcached", "-o", "out", "--address"]
    assert main([*call, "h100=10.0.0.5"]) == 0
    assert "--host=10.0.0.5" in (here / "out/frontend.yaml").read_text()
    assert main([*call, "h100"]) == 2
    assert "is no NODE=HOST" in capsys.readouterr().err
    assert main([*call, "h100-0=10.0.0.5"]) == 2
    assert "no node is named 'h100-0'; nodes are named like 'h100'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("runtime", "name"), [("kvcached", "node-h100.yaml"), ("compose", "compose-h100.yaml")]
)
def test_there_and_back_gives_the_same_placement(here, runtime, name, capsys):
    assert main(["export", "plan.json", "--to", runtime, "-o", "out", "-q"]) == 0
    call = ["init", "--from", f"out/{name}", "--nodes", "1x2xH100-SXM-80GB", "--ttft", "1s"]
    call += ["--tpot", "50ms", "--facts", "catalogue"]
    log = "time,model,prompt_tokens,output_tokens\n"
    models = [model["name"] for model in json.loads((here / "plan.json").read_text())["models"]]
    log += "".join(f"{t},{models[t % 3]},900,100\n" for t in range(600))
    (here / "log.csv").write_text(log)
    call += ["--trace", "log.csv", "--time-unit", "s", "--current", "now.csv", "-o", "again.yaml"]
    assert main(call) == 0, capsys.readouterr().err
    plan = json.loads((here / "plan.json").read_text())
    planned = {p["model"]: [g.rpartition("/")[2] for g in p["gpus"]] for p in plan["placements"]}
    rows = (here / "now.csv").read_text().splitlines()[1:]
    found = {row.split(",")[0]: [row.split(",")[4].rpartition("/")[2]] for row in rows}
    assert found == planned


SPLIT = """\
schema: kvplace.fleet/v1
nodes:
  - {name: h100, gpus: 8, gpu: {type: H100-SXM-80GB, memory: 79GiB}}
models:
  - name: meta-llama/Llama-3.3-70B-Instruct
    weights: 131.4GiB
    kv_bytes_per_token: 327680
    tensor_parallel: 4
    demand: {requests_per_second: 0.5, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
  - name: Qwen/Qwen3-32B
    weights: 61GiB
    kv_bytes_per_token: 262144
    tensor_parallel: 2
    replicas: 2
    demand: {requests_per_second: 1, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
    launch: {engine: sglang}
  - name: Qwen/Qwen3-8B
    weights: 15.3GiB
    kv_bytes_per_token: 147456
    replicas: 3
    demand: {requests_per_second: 4, prompt_tokens: 900, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
"""


@pytest.mark.parametrize(
    ("runtime", "name"), [("kvcached", "node-h100.yaml"), ("compose", "compose-h100.yaml")]
)
def test_shards_and_copies_come_back_too(tmp_path, monkeypatch, runtime, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(SPLIT)
    call = ["plan", "fleet.yaml", "--iterations", "20", "--format", "json", "-o", "plan.json"]
    assert main([*call, "-q"]) == 0
    assert main(["export", "plan.json", "--to", runtime, "-o", "out", "-q"]) == 0
    call = ["init", "--from", f"out/{name}", "--nodes", "1x8xH100-SXM-80GB", "--ttft", "1s"]
    call += ["--tpot", "50ms", "--facts", "catalogue", "--current", "now.csv", "-o", "again.yaml"]
    assert main(call) == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    planned = sorted(
        (p["model"], [gpu.rpartition("/")[2] for gpu in p["gpus"]]) for p in plan["placements"]
    )
    assert sorted(len(gpus) for _, gpus in planned) == [1, 1, 1, 2, 2, 4]
    found = {}
    for row in (tmp_path / "now.csv").read_text().splitlines()[1:]:
        model, replica, _, _, gpu, *_ = row.split(",")
        found.setdefault((model, replica), []).append(gpu.rpartition("/")[2])
    assert sorted((model, gpus) for (model, _), gpus in found.items()) == planned
