"""A fleet file from what people have: the file reads back, and every number has its origin."""

import json
import random
from pathlib import Path

import pytest

from kvplace.cli.main import main
from kvplace.facts.catalogue.models import known_model
from kvplace.formats.plan.io import read_plan
from kvplace.formats.read import read

pytest.importorskip("duckdb", reason="reading logs needs the extra 'logs'")

MODELS = ("Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "google/gemma-3-27b-it")
COMPOSE = """
services:
  a1:
    command: vllm serve Qwen/Qwen3-8B
    environment: {CUDA_VISIBLE_DEVICES: "0"}
  a2:
    command: vllm serve Qwen/Qwen3-8B
    environment: {CUDA_VISIBLE_DEVICES: "1"}
  b:
    command: vllm serve Qwen/Qwen3-32B
    environment: {CUDA_VISIBLE_DEVICES: "1"}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("KVPLACE_CATALOGUE", str(own))
    rng = random.Random(5)
    lines, now = ["t_s,model,prompt_tokens,output_tokens"], 0.0
    while now < 3600:
        now += rng.expovariate(1.5)
        lines.append(
            f"{now:.2f},{rng.choice(MODELS)},{rng.randint(500, 4000)},{rng.randint(9, 99)}"
        )
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(capsys, *args) -> tuple[int, str, list[str]]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


INIT = ("init", "--nodes", "2x4xH100", "--ttft", "1s", "--tpot", "50ms")


def test_from_an_empty_folder_to_a_checked_plan_in_three_commands(here, capsys):
    code, _out, err = run(capsys, *INIT, "--trace", "log.csv", "--output", "fleet.yaml")
    assert (code, err) == (0, ["fleet.yaml is written; next: kvplace plan fleet.yaml"])
    code, _out, _err = run(
        capsys, "plan", "fleet.yaml", "--format", "json", "--output", "plan.json"
    )
    assert code == 0
    code, out, _err = run(capsys, "check", "fleet.yaml", "plan.json")
    assert code == 0
    assert "the plan holds" in out


def test_every_number_has_its_origin_as_a_comment(here, capsys):
    code, out, _err = run(capsys, *INIT, "--trace", "log.csv")
    assert code == 0
    plain = ("name:", "schema:", "count:", "gpus:", "type:", "{tokens:")  # its list has it
    for line in out.splitlines():
        words = line.strip().removeprefix("- ")
        if words and not words.startswith(("#", *plain)) and not words.endswith(":"):
            assert "  # " in line, line


def test_the_file_says_what_log_and_catalogue_say(here, capsys):
    run(capsys, *INIT, "--trace", "log.csv", "--output", "fleet.yaml")
    problem = read("fleet.yaml")
    assert {gpu.memory_bytes for gpu in problem.fleet.gpus} == {round(79.18 * 2**30)}
    assert [gpu.id for gpu in problem.fleet.gpus][:2] == ["h100-0/0", "h100-0/1"]
    qwen = problem.models[problem.index_of["Qwen/Qwen3-8B"]]
    assert qwen.weights_bytes == known_model("Qwen/Qwen3-8B").weights_bytes
    assert qwen.kv_bytes_per_token == 147_456
    assert qwen.slo.ttft_seconds == 1
    assert 0.4 < qwen.demand.requests_per_second < 1


def test_beyond_its_window_a_model_holds_growth_and_a_full_window(here, capsys):
    run(capsys, *INIT, "--trace", "log.csv", "--output", "fleet.yaml")
    problem = read("fleet.yaml")
    gemma = problem.models[problem.index_of["google/gemma-3-27b-it"]]
    assert gemma.kv_bytes_per_token == 507_904
    (window,) = gemma.sliding_windows
    assert (window.tokens, window.kv_bytes_per_token) == (1024, 507_904 - 81_920)


def test_a_name_in_the_log_can_be_an_alias(here, capsys):
    (here / "log.csv").write_text("t_s,model,input_tokens,output_tokens\n0,chat,9,9\n60,chat,9,9\n")
    args = (*INIT, "--trace", "log.csv", "--models", "Qwen/Qwen3-8B")
    code, _out, err = run(capsys, *args)
    assert code == 2
    said = "the demand has no model of this name; it has chat; pass --alias NAME=Qwen/Qwen3-8B "
    assert said in err[0]
    code, out, _err = run(capsys, *args, "--alias", "chat=Qwen/Qwen3-8B")
    assert code == 0
    assert "prompt_tokens: 9 " in out
    with (here / "log.csv").open("a") as log:
        log.write("0,code,29,9\n60,code,29,9\n")
    both = ("--alias", "chat=Qwen/Qwen3-8B", "--alias", "code=Qwen/Qwen3-8B")
    code, out, _err = run(capsys, *args, *both)
    assert code == 0
    assert "prompt_tokens: 19 " in out  # of both names together


def test_a_model_that_the_log_lacks_is_a_standby_with_a_note(here, capsys):
    (here / "log.csv").write_text(
        "t,model,input_tokens,output_tokens\n0,Qwen/Qwen3-8B,9,9\n60,Qwen3-41B,9,9\n"
    )
    models = "Qwen/Qwen3-8B,Qwen/Qwen3-14B"
    code, out, err = run(capsys, *INIT, "--trace", "log.csv", "--models", models)
    assert code == 0
    assert "requests_per_second: 0  # the demand does not name it: a standby" in out
    note = next(line for line in err if "is a standby" in line)
    assert note == (
        "kvplace: note: Qwen/Qwen3-14B is a standby: the demand has no model of this name; did "
        "you mean 'Qwen3-41B'? Then pass --alias Qwen3-41B=Qwen/Qwen3-14B"
    )
    alias = ("--alias", "Qwen3-41B=Qwen/Qwen3-14B")
    code, _out, err = run(capsys, *INIT, "--trace", "log.csv", "--models", models, *alias)
    assert code == 0
    assert not any("standby" in line for line in err)


def test_a_model_of_no_demand_and_no_figures_is_an_error_that_names_the_near_one(here, capsys):
    args = ("--trace", "log.csv", "--models", "Qwen/Qwen3-8B,Qwen3-32", "--facts", "catalogue")
    code, _out, err = run(capsys, *INIT, *args)
    assert code == 2
    assert "did you mean 'Qwen/Qwen3-32B'? Then pass --alias Qwen/Qwen3-32B=Qwen3-32" in err[0]


def test_a_log_without_tokens_needs_the_latency_of_a_request(here, capsys):
    (here / "log.csv").write_text("t,model,requests\n0,Qwen/Qwen3-8B,60\n600,Qwen/Qwen3-8B,120\n")
    code, _out, err = run(capsys, *INIT, "--trace", "log.csv")
    assert code == 2
    assert "pass --latency" in err[0]
    args = ("--trace", "log.csv", "--latency", "6s", "--output", "fleet.yaml")
    assert run(capsys, *INIT, *args)[0] == 0
    assert run(capsys, "plan", "fleet.yaml")[0] == 0


def test_without_demand_models_are_standbys_that_say_so(here, capsys):
    code, out, _err = run(capsys, *INIT, "--models", "Qwen/Qwen3-8B", "--replicas", "1-4")
    assert code == 0
    assert "requests_per_second: 0  # no demand was given" in out
    assert "replicas: {min: 1, max: 4}" in out


def test_what_a_standby_needs_with_a_rate_is_there_to_be_uncommented(here, capsys):
    main(["init", "--nodes", "8xH100", "--models", "Qwen/Qwen3-8B", "--output", "f.yaml"])
    text = Path("f.yaml").read_text()
    text = text.replace("requests_per_second: 0 ", "requests_per_second: 2 ")
    for key in ("prompt_tokens", "output_tokens", "slo"):
        assert f"# {key}: " in text
        text = text.replace(f"# {key}: ", f"{key}: ")
    Path("f.yaml").write_text(text)
    capsys.readouterr()
    assert main(["plan", "f.yaml"]) == 0
    assert "max pressure" in capsys.readouterr().out


def test_what_runs_now_becomes_models_copies_and_a_placement(here, capsys):
    (here / "compose.yaml").write_text(COMPOSE)
    args = ("--from", "compose.yaml", "--current", "now.csv", "--output", "fleet.yaml")
    code, _out, err = run(capsys, "init", "--nodes", "8xH100", *args)
    assert (code, err) == (0, [
        "fleet.yaml is written; next: kvplace plan fleet.yaml",
        "from what runs: kvplace replan fleet.yaml --current now.csv",
    ])  # fmt: skip
    rows = [line.split(",")[:5] for line in (here / "now.csv").read_text().splitlines()]
    assert rows == [
        ["model", "replica", "shard", "node", "gpu"],
        ["Qwen/Qwen3-32B", "0", "0", "h100-0", "h100-0/1"],
        ["Qwen/Qwen3-8B", "0", "0", "h100-0", "h100-0/0"],
        ["Qwen/Qwen3-8B", "1", "0", "h100-0", "h100-0/1"],
    ]
    assert len(read_plan("now.csv").placement.replicas) == 3
    assert "replicas: 2  # copies that run now: 2" in (here / "fleet.yaml").read_text()


UNKNOWN = (
    COMPOSE
    + """
  ollama:
    image: ollama/ollama
    deploy: {resources: {reservations: {devices: [{device_ids: ["6"], capabilities: [gpu]}]}}}
  nim:
    image: nvcr.io/nim/meta/llama
    deploy: {resources: {reservations: {devices: [{device_ids: ["GPU-a", "GPU-b"],
      capabilities: [gpu]}]}}}
"""
)


def test_what_cannot_be_read_is_named_and_kept_as_a_reservation(here, capsys):
    (here / "compose.yaml").write_text(UNKNOWN)
    args = ("init", "--nodes", "8xH100", "--from", "compose.yaml", "--output", "fleet.yaml")
    code, _out, err = run(capsys, *args, "--quiet")
    assert code == 0
    assert err[0].startswith("warning: 2 services on GPUs could not be read")
    assert "ollama (GPU 6): Ollama" in err[1]
    assert "nim (2 GPUs, it is not known which)" in err[2]
    assert "reserve" not in (here / "fleet.yaml").read_text()
    code, _out, err = run(capsys, *args, "--keep-unknown", "--force")
    assert code == 0
    assert "reserved whole (h100-0/5, h100-0/6, h100-0/7)" in err[0]
    (rule,) = read(here / "fleet.yaml").rules
    assert rule.places.gpus == ("h100-0/5", "h100-0/6", "h100-0/7")
    assert run(capsys, "plan", "fleet.yaml")[0] == 0


def test_a_model_whose_figures_are_not_known_can_be_kept_too(here, capsys):
    (here / "compose.yaml").write_text(COMPOSE.replace("Qwen/Qwen3-32B", "./nowhere/x"))
    args = ("init", "--nodes", "8xH100", "--from", "compose.yaml", "--facts", "catalogue")
    assert run(capsys, *args)[0] != 0 or "could not be read" in run(capsys, *args)[2][0]
    code, out, err = run(capsys, *args, "--keep-unknown")
    assert code == 0
    assert "rule: reserve" in out
    assert any("nowhere" in line for line in err)


def test_aliases_alone_name_the_models_of_a_log(here, capsys):
    (here / "log.csv").write_text("t_s,model,input_tokens,output_tokens\n0,chat,9,9\n60,chat,9,9\n")
    args = (*INIT, "--trace", "log.csv")
    code, _out, err = run(capsys, *args)
    assert code == 2
    assert "say which model it is with --alias chat=MODEL" in err[0]
    code, out, _err = run(capsys, *args, "--alias", "chat=Qwen/Qwen3-8B")
    assert code == 0
    assert "name: Qwen/Qwen3-8B" in out


def test_the_split_over_ranks_is_written_down(here, capsys):
    models = "deepseek-ai/DeepSeek-V3,meta-llama/Llama-3.1-70B-Instruct"
    code, out, _err = run(capsys, "init", "--nodes", "1x8xH200", "--models", models)
    assert code == 0
    (here / "fleet.yaml").write_text(out)
    deepseek, llama = read(here / "fleet.yaml").models
    assert (deepseek.kv_bytes_per_token, deepseek.attention) == (70_272, "mla")
    assert deepseek.tensor_parallel == (8,)
    assert (llama.kv_bytes_per_token, llama.kv_heads) == (327_680, 8)


def test_a_local_directory_needs_no_network(here, capsys):
    config = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4}
    config |= {"hidden_size": 256, "torch_dtype": "bfloat16"}
    (here / "mine").mkdir()
    (here / "mine/config.json").write_text(json.dumps(config))
    header = json.dumps({"w": {"dtype": "U8", "shape": [64], "data_offsets": [0, 64]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(64)
    (here / "mine/model.safetensors").write_bytes(content)
    code, out, _err = run(capsys, *INIT, "--models", "./mine")
    assert code == 0
    assert "- name: mine" in out
    assert "weights: 64B" in out
    assert "kv_bytes_per_token: 2048 " in out
    (here / "mine.yaml").write_text(out)  # what an engine is started from, from anywhere
    assert read(here / "mine.yaml").models[0].launch.source == str(here / "mine")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--nodes", "8xH100"], "which models?"),
        (["--models", "a/b"], "which GPUs?"),
        (["--models", "a/b", "--nodes", "8xA100"], "'A100' could be A100-SXM-40GB"),
        (["--models", "a/b", "--nodes", "0xH100"], "counts no GPU"),
        (["--trace", "x.csv", "--prometheus", "http://h", "--nodes", "8xH100"], "pass one"),
        (["--trace", "log.csv", "--nodes", "8xH100"], "no latency objective is known"),
        (["--from", "f", "--nodes", "8xH100", "--current", "now.json"], "end it in .csv"),
        (["--models", "a/b", "--nodes", "8xH100", "--current", "f"], "--current needs --from"),
        (["--models", "a/b", "--nodes", "8xH100", "--replicas", "4-1"], "1 <= least <= most"),
        (["--from", "log.csv", "--nodes", "8xH100"], "this is none of: a compose file"),
        (
            ["--models", "meta-llama/Llama-3.1-405B-Instruct", "--nodes", "8xL4-24GB"],
            "fit no node: split over 8 GPUs, a shard takes 100.6 GiB",
        ),
        (
            ["--models", "Qwen/Qwen3-8B", "--nodes", "8xH100", "--tensor-parallel", "3"],
            "8 KV heads do not split over 3 ranks",
        ),
        (
            ["--models", "Qwen/Qwen3-8BB", "--nodes", "8xH100", "--facts", "catalogue"],
            "did you mean 'Qwen/Qwen3-8B'",
        ),
    ],
)
def test_what_does_not_suffice_is_told(args, told, here, capsys):
    code, out, err = run(capsys, "init", *args)
    assert (code, out) == (2, "")
    assert any(told in line for line in err), err


def test_what_comes_next_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(
        "services: {a: {image: vllm/vllm-openai, command: --model Qwen/Qwen3-8B,\n"
        '  gpus: [{device_ids: ["0"]}]}}\n'
    )
    words = ["init", "--from", "c.yaml", "--nodes", "1x2xH100", "-o", "f.yaml"]
    assert main([*words, "--current", "now.csv"]) == 0
    told = capsys.readouterr().err
    assert "f.yaml is written; next: kvplace plan f.yaml" in told
    assert "kvplace replan f.yaml --current now.csv" in told
    assert main(["plan", "f.yaml", "-q", "-o", "p.json"]) == 0
    assert main(["export", "p.json", "--to", "compose", "-o", "out"]) == 0
    assert "docker compose -f out/FILE up -d" in capsys.readouterr().err
    assert main([*words[:-1], "g.yaml", "--quiet"]) == 0
    assert "next" not in capsys.readouterr().err
