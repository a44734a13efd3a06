"""Compose files as people write them: commands, variables, GPUs, and what cannot be read."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.errors import InputError
from kvplace.scaffold.deployments.command_line.variables import fill, read_env, unset_in
from kvplace.scaffold.deployments.read import read_deployment

VLLM = {"image": "vllm/vllm-openai:latest"}


NVLINK = """
source /etc/detect.sh
if [ $$NVLINK = 1 ]; then
  exec vllm serve $${EAGER:+--eager} "$$@"
else
  exec vllm serve --disable-custom-all-reduce "$$@"
fi
"""


def gpus(*ids):
    device = {"driver": "nvidia", "device_ids": list(map(str, ids)), "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}


def read(services, source="compose.yaml", **rest):
    return read_deployment(yaml.safe_dump({"services": services, **rest}), str(source))


def only(service):
    return [(i.model, i.degree, i.gpus) for i in read({"a": service}).instances]


def held(service):
    other = {"ok": {**VLLM, "command": "--model org/ok"}}
    return [entry.describe() for entry in read({**other, "a": service}).unread]


@pytest.mark.parametrize(
    ("service", "degree"),
    [
        ({**VLLM, "command": "--model org/m --tensor-parallel-size 2"}, 2),
        ({**VLLM, "command": "org/m --port 8000 --tensor-parallel-size=2"}, 2),
        ({**VLLM, "command": ["org/m", "-tp", "2"]}, 2),
        ({**VLLM, "command": "vllm serve org/m --tensor_parallel_size 2"}, 2),
        ({**VLLM, "command": "vllm serve org/m --tensor_parallel 2"}, 2),
        ({**VLLM, "command": "vllm serve org/m --te=2"}, 2),
        ({"image": "own/image", "command": "--model org/m --tp 2"}, 2),
        ({"image": "own/image", "entrypoint": "python3 -m vllm.entrypoints.openai.api_server",
          "command": ["--model", "org/m", "--tensor-parallel-size", "2"]}, 2),
        ({"image": "x", "entrypoint": ["/bin/bash", "-c"], "command": [(
            "set -e\nexport TP=2\nexec python3 -m sglang.launch_server \\\n"
            "  --model-path org/m --tp $$TP --port 3\n")]}, 2),
        ({"image": "x", "command": ["sh", "-lc", "CUDA_X=1 vllm serve org/m -tp=2 | tee log"]}, 2),
        ({"image": "x", "entrypoint": "bash -c 'cd / && exec vllm serve ${M:-org/m} -tp 2'"}, 2),
        ({**VLLM, "entrypoint": ["/bin/bash", "-c", NVLINK, "--"],
          "command": ["--port", "8000", "--model", "org/m", "--tensor-parallel-size",
                      "${TP:-2}", "--pipeline-parallel-size", "${PP:-1}"]}, 2),
        ({"image": "ghcr.io/huggingface/text-generation-inference:3.3",
          "environment": {"MODEL_ID": "org/m", "NUM_SHARD": "2"}}, 2),
        ({"image": "openmmlab/lmdeploy", "command": "lmdeploy serve api_server org/m --tp 2"}, 2),
        ({"image": "nvcr.io/nvidia/tensorrt-llm/release",
          "command": "trtllm-serve org/m --tp_size 2"}, 2),
    ],
)  # fmt: skip
def test_command_forms(service, degree):
    assert only({**service, **gpus(4, 5)}) == [("org/m", degree, (4, 5))]


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (gpus(2, 3), (2,)),
        ({"environment": {"NVIDIA_VISIBLE_DEVICES": "2,3", "CUDA_VISIBLE_DEVICES": "1"},
          "runtime": "nvidia"}, (3,)),
        ({"environment": ["CUDA_VISIBLE_DEVICES=1"], **gpus(6, 7)}, (7,)),
        ({"environment": ["CUDA_VISIBLE_DEVICES=5"]}, (5,)),
        ({"gpus": "all"}, (0,)),
        ({"gpus": [{"driver": "nvidia", "device_ids": ["3"]}]}, (3,)),
        ({"gpus": [{"driver": "nvidia", "count": 2}]}, (0,)),
        ({"environment": {"NVIDIA_VISIBLE_DEVICES": "GPU-1234"}}, None),
        ({"devices": ["nvidia.com/gpu=all"]}, (0,)),
        ({}, None),
    ],
)  # fmt: skip
def test_which_gpus_a_process_uses(service, expected):
    assert only({**VLLM, "command": "--model org/m", **service}) == [("org/m", 1, expected)]


def test_copies_of_a_service_and_of_data_parallel():
    service = {**VLLM, "command": "org/m -tp 2 --data-parallel-size 2", **gpus(0, 1, 2, 3)}
    assert only(service) == [("org/m", 2, (0, 1)), ("org/m", 2, (2, 3))]
    service = {**VLLM, "command": "org/m", "deploy": {"replicas": 3}}
    assert len(only(service)) == 3
    assert len(read({"a": {**VLLM, "command": "org/m", "scale": 2}}).instances) == 2
    none = {**VLLM, "command": "org/x", "deploy": {"replicas": 0}}
    assert [i.name for i in read({"a": none, "b": {**VLLM, "command": "org/m"}}).instances] == ["b"]


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ({"image": "ollama/ollama", **gpus(1)}, "a (GPU 1): Ollama"),
        ({"image": "ghcr.io/ggml-org/llama.cpp:server-cuda", "command": "-m /m.gguf", **gpus(1)},
         "a (GPU 1): llama.cpp"),
        ({"image": "nvcr.io/nim/meta/llama-3.1-8b", **gpus(1, 2)}, "a (GPUs 1, 2): NVIDIA NIM"),
        ({"image": "whisper", "gpus": "all"}, "(GPUs, it is not known which): its command starts"),
        ({**VLLM, "command": "org/m -pp 2", **gpus(0, 1)}, "pipeline parallel"),
        ({**VLLM, "command": "org/m -tp 2", **gpus(0)}, "1 GPU is given for 2 ranks"),
        ({**VLLM, "command": "org/m -tp all", **gpus(0)}, "is no tensor parallel"),
        ({**VLLM, "command": "--model ${NOWHERE}", **gpus(0)}, "the variable NOWHERE has no value"),
        ({**VLLM, "command": "--model /models/x", **gpus(0)}, "is a path in the container"),
        ({**VLLM, "command": "org/m -dp 2 --enable-expert-parallel", **gpus(0, 1)},
         "data parallel 2 and --enable-expert-parallel"),
        ({"build": ".", "runtime": "nvidia"}, "its command starts no engine"),
        ({**VLLM, "command": "--config /etc/vllm.yaml", **gpus(0)}, "names no model"),
        ({**VLLM, "command": "--model 'm", **gpus(0)}, "its command is not understood"),
    ],
)  # fmt: skip
def test_what_holds_a_gpu_and_is_not_read_is_named(service, told):
    (line,) = held(service)
    assert told in line


def test_what_uses_no_gpu_is_left_out():
    services = {"db": {"image": "postgres"}, "ui": {"image": "open-webui", "command": "serve 'x"}}
    assert held({"image": "nginx", "environment": {"NVIDIA_VISIBLE_DEVICES": "none"}}) == []
    found = read({**services, "a": {**VLLM, "command": "org/m"}})
    assert (len(found.instances), found.unread) == (1, ())


def test_profiles_are_not_started_by_default(monkeypatch):
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    services = {"a": {**VLLM, "command": "org/m"},
                "b": {**VLLM, "command": "org/n", "profiles": ["alt"]}}  # fmt: skip
    found = read(services)
    assert [i.name for i in found.instances] == ["a"]
    assert "b is not started by default (profile alt)" in found.notes[0]
    monkeypatch.setenv("COMPOSE_PROFILES", "alt,more")
    assert len(read(services).instances) == 2


def test_extends_merges_as_compose_does(tmp_path):
    base = {"services": {"base": {**VLLM, "command": "org/base", "profiles": ["never"],
                                  "environment": ["CUDA_VISIBLE_DEVICES=3", "A=1"]}}}  # fmt: skip
    (tmp_path / "common.yaml").write_text(yaml.safe_dump(base))
    own = {"extends": {"file": "common.yaml", "service": "base"}, "command": "org/m"}
    found = read({"a": own, "b": {"extends": "a"}}, tmp_path / "compose.yaml")
    assert [(i.name, i.model, i.gpus) for i in found.instances] == [
        ("a", "org/m", (3,)), ("b", "org/m", (3,))]  # fmt: skip


@pytest.mark.parametrize("path", ["////", "/tmp", "/tmp/"])
def test_a_path_that_a_volume_leaves_as_it_is_stays_as_it_is_written(path):
    service = {**VLLM, "command": ["--model", path], "volumes": [f"{path}:{path}:ro"], **gpus(0)}
    assert [model for model, _, _ in only(service)] == [path]


def test_a_circle_of_extends_is_one_line():
    with pytest.raises(InputError, match="extends itself"):
        read({"a": {"extends": "b"}, "b": {"extends": "a"}})


def test_env_files_and_volumes_are_read_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.delenv("MODEL_DIR", raising=False)
    (tmp_path / ".env").write_text("# ours\nexport MODEL_DIR='weights' # here\nGPU=2\n")
    (tmp_path / "weights/m").mkdir(parents=True)
    service = {**VLLM, "command": "--model /models/m", "volumes": ["./${MODEL_DIR}:/models:ro"],
               **gpus("${GPU}")}  # fmt: skip
    (found,) = read({"a": service}, tmp_path / "compose.yaml").instances
    assert (found.model, found.gpus) == (str(tmp_path / "weights/m"), (2,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "1"), ("${A}", "1"), ("$$A", "$A"), ("${B:-x}", "x"), ("${E:-x}", "x"),
        ("${E-x}", ""), ("${B-x}", "x"), ("${A:+y}", "y"), ("${B:+y}", ""), ("${E+y}", "y"),
        ("${B:-${A}}", "1"), ("${B:-${C:-deep}}", "deep"), ("${B:-a b}-$A", "a b-1"),
        ("5$", "5$"), ("${B:-}", ""), ("$(A)", "$(A)"), ("${A:?no}", "1"),
    ],
)  # fmt: skip
def test_variables_are_put_in_as_compose_does(text, expected):
    refused = []
    assert fill(text, {"A": "1", "E": ""}, refused.append) == expected
    assert refused == []


def test_variables_in_env_files_are_put_in_unless_quoted(tmp_path):
    (tmp_path / ".env").write_text("A=org/m\nB=\"--model $A\"\nC='$A'\nD=${A}-x # why\n")
    found = read_env(tmp_path / ".env")
    assert (found["B"], found["C"], found["D"]) == ("--model org/m", "$A", "org/m-x")


def test_a_file_of_which_nothing_is_read_says_what_is_not_started():
    services = {"a": {"image": "ollama/ollama", **gpus(0)},
                "b": {"image": "ollama/ollama", "profiles": ["more"], **gpus(1)}}  # fmt: skip
    with pytest.raises(InputError, match="b is not started by default"):
        read(services)


def test_a_variable_that_must_be_set_is_told():
    refused = []
    fill(
        {"a": ["${B:?put a model here}", "${C?}", "${A:-${D:?unused}}"]}, {"A": "1"}, refused.append
    )
    assert refused == [
        "the variable B has no value (put a model here)",
        "the variable C has no value",
    ]
    assert unset_in(fill("x${F}y", {}, refused.append)) == "F"


@given(st.text(alphabet="${}AB:-?+xX ", max_size=30))
def test_any_text_is_filled(text):
    assert isinstance(fill(text, {"A": "1"}, lambda _: None), str)


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
              st.sampled_from(["all", "--model org/m", "bash -c", "0,1", "${X:?}", "vllm serve"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["gpu", "count", "device_ids", "service", "a"]), inner,
                        max_size=3)),
    max_leaves=6,
)  # fmt: skip
FIELDS = ("image", "command", "entrypoint", "environment", "deploy", "gpus", "profiles", "extends",
          "volumes", "env_file", "runtime", "devices", "scale")  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=5))
def test_any_service_is_answered(service):
    try:
        read_deployment(json.dumps({"services": {"a": service}}), "compose.yaml")
    except InputError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "services: &a {x: *a}",
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [{f'*a{i},' * 9}]\n" for i in range(9)),
        "services: " + "[" * 5000,
        "services: !!python/object:os.system {}",
        "? [a]\n: b",
        "\x00",
        "services: {a: {deploy: {resources: {reservations: {devices: [{device_ids: null}]}}}}}",
        "services: {a: {deploy: {resources: {reservations: {devices: [{device_ids: true}]}}}}}",
    ],
)
def test_hostile_files_are_one_line(text):
    with pytest.raises(InputError):
        read_deployment(text, "compose.yaml")


def test_dates_and_tags_of_compose_are_no_hindrance():
    text = """
x-built: 2024-99-99
services:
  a: {image: vllm/vllm-openai, command: org/m, ports: !reset [], labels: !override {a: b}}
"""
    assert len(read_deployment(text, "compose.yaml").instances) == 1
