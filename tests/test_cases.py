"""Inputs of real kinds that were once answered wrongly, each against what is known of it.

They are not part of the repository: ``../shared/data/cases``. The right value of each is a test
of its own with data made for it, beside the code that it is about.
"""

import contextlib
import csv
import json
import re
import runpy
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from kvplace.cli.main import main

HERE = Path(__file__).parents[1]
CASES = HERE.parent / "shared/data/cases"
EXAMPLE = HERE / "examples/open-models.yaml"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")


@pytest.fixture
def run(capfd):
    """Return a function that runs a command and returns its exit code and what it said."""

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def rows(text):
    return list(csv.DictReader(text.splitlines()))


BYTES = {
    # Case: KV bytes per token, beyond the window, state per sequence, and further arguments.
    "a-bge-m3-encoder-only": ("0", "", "", ()),
    "a-deepseek-v32-fp8-layout": ("48068", "", "", ("--kv-dtype", "fp8")),
    "a-gemma-4-26b-resaved-per-layer-config": ("225280", "20480", "", ()),
    "a-glm-5.1-nvfp4-mlp-layer-types": ("61464", "", "", ()),
    "a-glm-5.2-nvfp4-layer-types": ("92628", "", "", ()),
    "a-glm-5.2-shared-indexer": ("92628", "", "", ()),
    "a-granite-4-resaved": ("16384", "", "77322240", ()),
    "a-mimo-v2-flash-swa-heads": ("222720", "23040", "", ()),
    "a-minimax-m3-index-keys": ("137472", "", "", ()),
    "a-nemotron-3-ultra-no-layer-count": ("12288", "", "407961600", ()),
    "a-qwen3-32b-fp8-scheme-is-text": ("131072", "", "", ()),
}


@pytest.mark.parametrize("case", BYTES)
def test_facts(case, run):
    token, beyond, sequence, more = BYTES[case]
    code, out, err = run("model", CASES / case / "m", "--format", "json", *more)
    assert code == 0, err
    (model,) = json.loads(out)["models"]
    assert str(model["kv_bytes_per_token_per_rank"]) == token
    whole = model["kv_bytes_per_token_beyond_window_per_rank"]
    assert str(whole) == (beyond or token)
    assert str(model["kv_bytes_per_sequence_per_rank"] or "") == sequence


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("a-gguf-directory", "put the config.json of the model that it was made from beside it"),
        ("a-lora-adapter-directory", "a LoRA adapter of meta-llama/Llama-3.1-8B-Instruct"),
    ],
)
def test_facts_that_are_not_there(case, told, run):
    code, _, err = run("model", CASES / case / "m")
    assert (code, told in err) == (2, True)


def test_memory_of_engines(run, tmp_path):
    _, out, _ = run("catalogue", "models", "--search", "gemma-3-4b", "--format", "json")
    found = json.loads(out)["models"]
    (gemma,) = [row for row in found if row["name"] == "google/gemma-3-4b-it"]
    assert gemma["loaded_gib"] == 8.58
    plan = tmp_path / "plan.json"
    run("plan", CASES / "b-gpt-oss-120b-on-one-h100/fleet.yaml", "--format", "json", "-o", plan,
        "--allow-overload")  # fmt: skip
    (gpu,) = json.loads(plan.read_text())["gpus"]
    assert gpu["free_bytes"] / 2**30 == pytest.approx(5.75, abs=0.6)
    made = runpy.run_path(str(HERE / "benchmarks/memory.py"))
    reports = [row for row in made["table"]() if "llm-d" not in row["report"]]
    assert len(reports) == made["sums"](reports, "error")["within_10_percent"]


DEMAND = {
    # Case and file: rate, prompt and output tokens, and further arguments.
    ("c-bailian-seconds-read-as-ms", "t.jsonl"): (0.0246, None, None, ()),
    ("c-litellm-spend-logs", "spend.csv"): (None, 977.7, 100, ()),
    ("c-litellm-usage-export", "usage.csv"): (0.1, 1000, 100, ()),
    ("c-mean-above-peak-in-short-logs", "t.csv"): (None, 1000, 100, ()),
    ("c-openai-usage-export", "usage.csv"): (0.1, 1000, 100, ("--time-unit", "s")),
    ("c-tokens-prefix-and-camel-case", "langfuse.csv"): (None, 1000, 100, ()),
    ("c-tokens-prefix-and-camel-case", "openrouter.csv"): (None, 1000, 100, ()),
}


@pytest.mark.parametrize(("case", "file"), DEMAND)
def test_demand(case, file, run):
    rate, prompt, output, more = DEMAND[case, file]
    code, out, err = run("demand", "trace", CASES / case / file, "--format", "csv", *more)
    assert code == 0, err
    for row in rows(out):
        mean, peak = float(row["mean_requests_per_second"]), float(row["peak_requests_per_second"])
        assert mean <= peak * (1 + 1e-9)
        if rate is not None:
            assert mean == pytest.approx(rate, rel=0.01)
        if prompt is not None:
            assert float(row["prompt_tokens"]) == pytest.approx(prompt, rel=1e-3)
            assert float(row["output_tokens"]) == pytest.approx(output, rel=1e-3)


def test_a_log_of_one_request_says_that_it_has_no_rate(run):
    code, _, err = run("demand", "trace", CASES / "c-litellm-spend-logs/spend.json")
    assert (code, "at one instant" in err) == (2, True)


PLACES = {
    # Case: the GPUs of each model, by its name.
    "d-bash-c-command": {"Qwen/Qwen3-8B": "0", "Qwen/Qwen3-32B": "2 3"},
    "d-gpus-in-variables": {"Qwen/Qwen3-8B": "2", "Qwen/Qwen3-14B": "0"},
    "d-llama-cpp-ollama-tgi-nim-beside-vllm": {
        "Qwen/Qwen3-8B": "0", "mistralai/Mistral-7B-Instruct-v0.3": "0 1",
    },
    "d-nvidia-visible-then-cuda-visible": {"Qwen/Qwen3-8B": "2", "Qwen/Qwen3-14B": "3"},
    "d-positional-model": {"Qwen/Qwen3-8B": "0", "Qwen/Qwen3-32B": "0 1"},
    "d-profiles": {"Qwen/Qwen3-8B": "0"},
    "d-underscore-and-short-flags": {"Qwen/Qwen3-32B": "0 1", "Qwen/Qwen3-14B": "2 3"},
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_deployments(case, run, tmp_path):
    now = tmp_path / "now.csv"
    code, _, err = run("init", "--from", CASES / case / "compose.yaml", "--nodes", "1x8xH100",
                       "--current", now, "-o", tmp_path / "fleet.yaml")  # fmt: skip
    assert code == 0, err
    found = {}
    for row in rows(now.read_text()):
        found.setdefault(row["model"], []).append(row["gpu"].rpartition("/")[2])
    assert {model: " ".join(gpus) for model, gpus in found.items()} == PLACES[case]
    if case.startswith("d-llama"):
        assert all(f"\n  {name} (GPU" in err for name in ("llama", "oss", "ollama", "nim"))
    if case == "d-profiles":
        assert "alt is not started by default" in err


def test_deployments_that_say_less(run, tmp_path):
    fleet = tmp_path / "fleet.yaml"
    path = ("init", "--nodes", "1x8xH100", "-o", fleet, "--from")
    code, _, err = run(*path, CASES / "d-model-path-in-container/compose.yaml")
    assert (code, "weights/m" in fleet.read_text()) == (0, True), err
    code, _, err = run(*path, CASES / "d-pipeline-parallel/compose.yaml", "--force")
    assert (code, "(GPUs 0, 1, 2, 3)" in err, "pipeline parallel" in err) == (2, True, True)
    code, _, err = run(*path, CASES / "d-required-variable/compose.yaml", "--force")
    assert (code, "VLLM_MODEL has no value" in err) == (2, True)


@pytest.mark.parametrize(
    ("file", "degree", "copies"),
    [
        ("deployment", 2, 2), ("kserve", 1, 1), ("llama-swap", 1, 1), ("modelclaim", 1, 1),
        ("production-stack", 1, 2), ("ray-serve", 2, 1),
    ],
)  # fmt: skip
def test_other_deployments(file, degree, copies, run):
    code, out, err = run("init", "--nodes", "1x8xH100", "--from",
                         CASES / f"d-formats-not-read/{file}.yaml")  # fmt: skip
    assert code == 0, err
    (model,) = yaml.safe_load(out)["models"]
    assert (model["name"], model["tensor_parallel"], model["replicas"]) == (
        "Qwen/Qwen3-8B", degree, copies,
    )  # fmt: skip


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    main(["plan", str(EXAMPLE), "--quiet", "--format", "json", "-o", str(file)])
    return file


def test_an_engine_that_is_exported_can_hold_its_context(plan, run, tmp_path):
    code, _, err = run("export", plan, "--to", "compose", "-o", tmp_path)
    assert code == 0, err
    short = {}
    for file in tmp_path.glob("compose-*.yaml"):
        for name, service in yaml.safe_load(file.read_text())["services"].items():
            words = " ".join(map(str, service["command"]))
            context = re.search(r"--max-model-len[= ](\d+)", words)
            assert context, f"{name} is given no context"
            short[name] = int(context[1])
    assert min(short.values()) > 0


def test_an_aibrix_claim_has_only_the_fields_of_its_version(run, tmp_path):
    known = {"artifactURL", "engine", "engineConfig", "modelName", "podSelector", "replicas"}
    fleet = yaml.safe_load(EXAMPLE.read_text())
    for model in fleet["models"]:
        model["tensor_parallel"] = 1  # AIBrix gives each engine of a pool all its GPUs
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    run("plan", tmp_path / "fleet.yaml", "--quiet", "--format", "json", "-o", plan,
        "--allow-overload")  # fmt: skip
    code, _, err = run("export", plan, "--to", "aibrix", "-o", out)
    assert code == 0, err
    claims = [
        document
        for file in out.glob("*.yaml")
        for document in yaml.safe_load_all(file.read_text())
        if document and document.get("kind") == "ModelClaim"
    ]
    assert claims
    assert {key for claim in claims for key in claim["spec"]} <= known


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("case", "tokens"),
    [("c-prometheus-pd-counted-twice", ("1000", "100")), ("c-prometheus-ray-serve", None)],
)
def test_demand_of_a_real_prometheus(case, tokens, run, tmp_path):
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        pytest.skip("prometheus is not installed")
    now = int(time.time())
    text = (CASES / case / "metrics.om").read_text()
    text = re.sub(r"\{NOW([-+]\d+)\+(\d+)\}", lambda m: str(now + int(m[1]) + int(m[2])), text)
    text = text if text.rstrip().endswith("# EOF") else text + "\n# EOF\n"
    (tmp_path / "m.om").write_text(text)
    (tmp_path / "p.yml").write_text("")
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "m.om", "data"]
    subprocess.run(blocks, cwd=tmp_path, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        ["prometheus", "--config.file=p.yml", "--storage.tsdb.path=data",
         f"--web.listen-address=127.0.0.1:{port}"],
        cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/-/ready"):
                break
            time.sleep(0.1)
        code, out, err = run("demand", "prometheus", url, "--window", "2h", "--format", "csv")
    finally:
        server.terminate()
        server.wait()
    assert code == 0, err
    (row,) = rows(out)
    assert float(row["mean_requests_per_second"]) == pytest.approx(0.5, rel=0.02)
    if tokens:
        assert float(row["prompt_tokens"]) == pytest.approx(float(tokens[0]), rel=0.02)
        assert float(row["output_tokens"]) == pytest.approx(float(tokens[1]), rel=0.02)
