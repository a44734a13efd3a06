"""What runs now, read from a kvcached controller file or a compose file."""

import pytest

from kvplace.errors import InputError
from kvplace.scaffold.deployments.read import read_deployment

KVCACHED = """
kvcached: {kvcached_gpu_utilization: 0.95}
router: {enable_router: true, router_port: 8080}
instances:
  - name: one
    model: Qwen/Qwen3-8B
    engine: vllm
    engine_env: ["VLLM_USE_V1=1", "CUDA_VISIBLE_DEVICES=2,3"]
    engine_args: ["--port=12346", "--tensor-parallel-size 2", "--gpu-memory-utilization 0.5"]
  - name: two
    model: Qwen/Qwen3-0.6B
    engine: sglang
    engine_args: ["--disable-radix-cache"]
"""
COMPOSE = """
services:
  chat:
    image: vllm/vllm-openai:latest
    command: --model Qwen/Qwen3-8B --tensor-parallel-size=2 --port 8000
    deploy:
      resources:
        reservations:
          devices: [{driver: nvidia, device_ids: ["0", "1"], capabilities: [gpu]}]
  code:
    image: lmsysorg/sglang
    entrypoint: [python3, -m, sglang.launch_server]
    command: ["--model-path", "${CODE_MODEL:-Qwen/Qwen3-32B}", "--tp", "1"]
    environment: ["NVIDIA_VISIBLE_DEVICES=3"]
  serve:
    image: vllm/vllm-openai
    command: vllm serve Qwen/Qwen3-0.6B --max-model-len 4096
    environment: {NVIDIA_VISIBLE_DEVICES: all}
  prometheus:
    image: prom/prometheus
"""


def rows(text):
    found = read_deployment(text, "file")
    return found.kind, [(i.name, i.model, i.degree, i.gpus) for i in found.instances]


def test_a_kvcached_controller_file():
    assert rows(KVCACHED) == (
        "kvcached",
        # Without CUDA_VISIBLE_DEVICES a process takes the first device.
        [("one", "Qwen/Qwen3-8B", 2, (2, 3)), ("two", "Qwen/Qwen3-0.6B", 1, (0,))],
    )


def test_a_compose_file(monkeypatch):
    monkeypatch.delenv("CODE_MODEL", raising=False)
    assert rows(COMPOSE) == (
        "compose",
        [
            ("chat", "Qwen/Qwen3-8B", 2, (0, 1)),
            ("code", "Qwen/Qwen3-32B", 1, (3,)),
            ("serve", "Qwen/Qwen3-0.6B", 1, (0,)),  # of all GPUs a process takes the first
        ],
    )
    monkeypatch.setenv("CODE_MODEL", "other/model")
    assert rows(COMPOSE)[1][1][1] == "other/model"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "file: line 1"),
        ("models: []", "this is none of: a compose file"),
        ("[]", "this is none of"),
        ("services: {db: {image: postgres}}", "it serves no model"),
        ("instances: [1, {model: 2}]", "instances[0]: it must be a mapping with a model"),
        ("services: {a: {command: '--model ${NOWHERE_SET}'}}", "NOWHERE_SET has no value"),
        ("services: {a: {command: '--model m --tp two'}}", "'two' is no tensor parallel degree"),
        ('services: {a: {command: "--model \'m"}}', "its command is not understood"),
        (
            "services: {a: {command: '--model m --tp 2', environment: {CUDA_VISIBLE_DEVICES: 0}}}",
            "1 GPU is given for 2 ranks",
        ),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(text, told):
    with pytest.raises(InputError) as caught:
        read_deployment(text, "file")
    assert any(told in line for line in caught.value.lines()), caught.value.lines()
