"""Kubernetes objects, charts, Ray Serve, llama-swap, scripts: all that is exported and more."""

import json
import os

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kvplace.errors import InputError
from kvplace.scaffold.deployments.read import read_deployment


def pod(args, gpus=1, **container):
    limits = {"nvidia.com/gpu": gpus} if gpus else {}
    return {"containers": [{"name": "c", "image": "vllm/vllm-openai", "args": args,
                            "resources": {"limits": limits}, **container}]}  # fmt: skip


def deployment(spec, kind="Deployment", **rest):
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"},
            "spec": {"replicas": 2, "template": {"spec": spec}}, **rest}  # fmt: skip


def read(*objects):
    return read_deployment(yaml.safe_dump_all(objects), "file.yaml")


def rows(*objects):
    return [(i.model, i.degree) for i in read(*objects).instances]


def test_a_workload_of_kubernetes():
    args = ["--model", "org/m", "--tensor-parallel-size", "2"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    assert rows(deployment(pod(args, 2)), service) == [("org/m", 2)] * 2
    shell = pod(None, 2, command=["/bin/sh", "-c"])
    shell["containers"][0]["args"] = ["vllm serve org/m --tensor-parallel-size 2"]
    assert rows(deployment(shell, "StatefulSet")) == [("org/m", 2)] * 2
    env = [{"name": "MODEL", "value": "org/m"}]
    assert rows(deployment(pod(["--model", "$(MODEL)"], 1, env=env))) == [("org/m", 1)] * 2
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod(["org/m"])}
    assert rows(bare) == [("org/m", 1)]
    assert rows({"apiVersion": "v1", "kind": "List", "items": [bare]}) == [("org/m", 1)]


def test_what_asks_for_gpus_and_is_not_read_is_named():
    fine = deployment(pod(["org/m"]))
    train = deployment(pod(["train.py"], 4, image="pytorch"))
    other = {"apiVersion": "x/v1", "kind": "Training", "metadata": {"name": "t"},
             "spec": {"flavors": [{"limits": {"nvidia.com/gpu": 8}}]}}  # fmt: skip
    lines = [entry.describe() for entry in read(fine, train, other).unread]
    assert lines == [
        "a-0 (4 GPUs, it is not known which): its command starts no engine that is known here",
        "a-1 (4 GPUs, it is not known which): its command starts no engine that is known here",
        "t (8 GPUs, it is not known which): a Training is not read here",
    ]
    few = read(fine, deployment(pod(["org/m", "-tp", "4"], 2))).unread
    assert "2 GPUs are given for 4 ranks" in few[0].describe()


def test_kserve():
    llm = {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService",
           "metadata": {"name": "a"},
           "spec": {"model": {"uri": "hf://org/m"}, "replicas": 2,
                    "template": pod(None, "1")}}  # fmt: skip
    assert rows(llm) == [("org/m", 1)] * 2
    service = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
               "metadata": {"name": "a"},
               "spec": {"predictor": {"minReplicas": 1, "model": {
                   "modelFormat": {"name": "huggingface"}, "args": ["--model_id=org/m"],
                   "resources": {"limits": {"nvidia.com/gpu": "1"}}}}}}  # fmt: skip
    assert rows(service) == [("org/m", 1)]


def test_aibrix_claims_and_charts():
    claim = {"apiVersion": "model.aibrix.ai/v1alpha1", "kind": "ModelClaim",
             "metadata": {"name": "a"},
             "spec": {"modelName": "q", "artifactURL": "huggingface://org/m",
                      "engineConfig": {"args": {"tensor-parallel-size": "2"}}}}  # fmt: skip
    assert rows(claim) == [("org/m", 2)]
    chart = {"servingEngineSpec": {"modelSpec": [
        {"name": "q", "modelURL": "org/m", "replicaCount": 2, "requestGPU": 2,
         "vllmConfig": {"tensorParallelSize": 2, "extraArgs": ["--max-model-len", "4096"]}},
        {"name": "broken", "requestGPU": 4}]}}  # fmt: skip
    found = read_deployment(yaml.safe_dump(chart), "values.yaml")
    assert [(i.model, i.degree) for i in found.instances] == [("org/m", 2)] * 2
    assert "broken (4 GPUs, it is not known which)" in found.unread[0].describe()


SERVE = {"applications": [{"name": "app", "args": {"llm_configs": [
    {"model_loading_config": {"model_id": "m", "model_source": "org/m"},
     "engine_kwargs": {"tensor_parallel_size": 2},
     "deployment_config": {"autoscaling_config": {"min_replicas": 2}}}]}}]}  # fmt: skip


def test_ray_serve_alone_and_in_kubernetes():
    assert [(i.model, i.degree) for i in read_deployment(yaml.safe_dump(SERVE), "f").instances] == [
        ("org/m", 2)] * 2  # fmt: skip
    service = {"apiVersion": "ray.io/v1", "kind": "RayService", "metadata": {"name": "r"},
               "spec": {"serveConfigV2": yaml.safe_dump(SERVE)}}  # fmt: skip
    assert rows(service) == [("org/m", 2)] * 2


def test_llama_swap_with_macros():
    text = """
macros: {"start": "vllm serve", "port": "--port ${PORT}"}
models:
  m: {cmd: "${start} org/m ${port}", env: [CUDA_VISIBLE_DEVICES=3]}
  g: {cmd: "llama-server -m /m.gguf", env: [CUDA_VISIBLE_DEVICES=1]}
"""
    found = read_deployment(text, "f")
    assert [(i.model, i.gpus) for i in found.instances] == [("org/m", (3,))]
    assert found.unread[0].describe().startswith("g (GPU 1): llama.cpp")


def test_a_script_that_starts_engines():
    text = """#!/bin/sh
env CUDA_VISIBLE_DEVICES=2,3 \\
  vllm serve org/m --tensor-parallel-size=2 &
CUDA_VISIBLE_DEVICES=1 python -m sglang.launch_server --model-path org/n > log 2>&1 &
"""
    found = read_deployment(text, "start.sh")
    assert [(i.model, i.gpus) for i in found.instances] == [("org/m", (2, 3)), ("org/n", (1,))]


def test_devices_that_a_script_exports_are_those_of_its_engines():
    text = """#!/bin/sh
export CUDA_VISIBLE_DEVICES=3 MODE=x
vllm serve org/m
CUDA_VISIBLE_DEVICES=1 vllm serve org/n
CUDA_VISIBLE_DEVICES=2
export CUDA_VISIBLE_DEVICES
vllm serve org/o
"""
    found = read_deployment(text, "run")
    assert [(i.model, i.gpus) for i in found.instances] == [
        ("org/m", (3,)), ("org/n", (1,)), ("org/o", (2,)),
    ]  # fmt: skip


def test_a_script_with_its_words_in_arrays():
    text = """#!/usr/bin/env bash
TP=2
ARGS=(
  org/m  # which one
  --served-model-name "my (own) name"
)
if [ -n "$FAST" ]; then ARGS+=(--enforce-eager); fi
ARGS+=(--tensor-parallel-size "$TP")
echo "> vllm serve ${ARGS[*]}"
vllm serve "${ARGS[@]}" &
CMD=(python -m sglang.launch_server --model-path org/n)
"${CMD[@]}"
"""
    found = read_deployment(text, "run")
    assert [(i.name, i.model, i.degree, i.served) for i in found.instances] == [
        ("line 10", "org/m", 2, "my (own) name"), ("line 12", "org/n", 1, ""),
    ]  # fmt: skip
    assert not found.unread


def test_what_only_speaks_of_engines_starts_none():
    text = """#!/bin/bash
printf 'run: vllm serve %s' "$1"
log_info "docker run --gpus all vllm/vllm-openai"
if pgrep -f "vllm serve"; then pkill -f "vllm serve"; fi
if ! docker run --rm --gpus all nvidia/cuda:13 nvidia-smi &> /dev/null; then exit 1; fi
tmux new-session -d -s a "CUDA_VISIBLE_DEVICES=1 \\
  vllm serve org/m"
"""
    found = read_deployment(text, "run.sh")
    assert [(i.name, i.model) for i in found.instances] == [("line 6", "org/m")]
    assert not found.unread
    with pytest.raises(InputError, match=r"no command .*; it starts what gpu\.yaml says"):
        read_deployment("docker compose -f gpu.yaml up -d\nsay: x: y\n", "up.sh")
    with pytest.raises(InputError, match=r"known here$"):
        read_deployment("set -e\n", "up.sh")


def test_branches_of_a_script_are_all_taken_and_that_is_said():
    text = "#!/bin/sh\nif test -f x\nthen\nvllm serve org/m\nelse\nvllm serve org/n\nfi\n"
    found = read_deployment(text, "run.sh")
    assert [i.model for i in found.instances] == ["org/m", "org/n"]
    assert "branches" in found.notes[0]
    assert not read_deployment(text.replace("else\n", ""), "run.sh").notes


def test_a_unit_of_systemd():
    text = """[Unit]
Description=an engine
[Service]
Environment="MODEL=org/m" TP=2
Environment=CUDA_VISIBLE_DEVICES=2,3
ExecStart=-/opt/venv/bin/vllm serve ${MODEL} \\
  --tensor-parallel-size $TP
"""
    found = read_deployment(text, "vllm.service")
    assert [(i.model, i.degree, i.gpus) for i in found.instances] == [("org/m", 2, (2, 3))]
    with pytest.raises(InputError, match="its ExecStart starts no engine"):
        read_deployment(text.replace("vllm serve", "start"), "vllm.service")


def component(name, kind, *args, gpu=1, **rest):
    main = {"name": "main", "image": "x", "command": ["python3", "-m", "dynamo.sglang"],
            "args": list(args), "resources": {"limits": {"nvidia.com/gpu": str(gpu)}}}  # fmt: skip
    side = {"name": "side", "image": "y"}
    return {"name": name, "type": kind, "podTemplate": {"spec": {"containers": [side, main]}},
            **rest}  # fmt: skip


def graph(*components):
    front = {"name": "Frontend", "type": "frontend", "podTemplate": {"spec": {"containers": [
        {"name": "main", "image": "x"}]}}}  # fmt: skip
    return yaml.safe_dump({"apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"}, "spec": {"components": [front, *components]}})  # fmt: skip


def test_components_of_dynamo_are_read_as_services_are():
    words = ("--model-path", "org/m", "--tp-size", "2")
    found = read_deployment(graph(component("w", "worker", *words, gpu=2, replicas=2)), "f")
    assert [(i.model, i.degree) for i in found.instances] == [("org/m", 2)] * 2
    alone = read_deployment(graph(component("d", "decode", *words, gpu=2)), "f")
    assert [i.model for i in alone.instances] == ["org/m"]
    both = (component("d", "decode", *words, gpu=2), component("p", "prefill", *words, gpu=2))
    with pytest.raises(InputError, match="prefill") as refused:
        read_deployment(graph(*both), "f")
    assert "4 GPU" in str(refused.value) or str(refused.value).count("2 GPUs") == 2
    with pytest.raises(InputError, match="several pods"):
        read_deployment(graph(component("w", "worker", *words, multinode={"nodeCount": 2})), "f")


@pytest.mark.parametrize("kind", ["LimitRange", "ResourceQuota"])
def test_a_quota_holds_no_gpu(kind):
    quota = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "q"},
             "spec": {"limits": [{"max": {"nvidia.com/gpu": "1"}}]}}  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"image": "vllm/vllm-openai", "args": ["--model", "org/m"],
         "resources": {"limits": {"nvidia.com/gpu": "1"}}}]}}  # fmt: skip
    found = read_deployment(yaml.safe_dump_all([quota, pod]), "f")
    assert [i.model for i in found.instances] == ["org/m"]
    assert not found.unread


def test_presets_start_nothing_and_proxies_are_called_so():
    text = """
apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceServiceConfig
metadata: {name: preset}
spec:
  model: {uri: "hf://org/m"}
  template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: "1"}}}]}
"""
    with pytest.raises(InputError, match="preset is a preset that services name"):
        read_deployment(text, "f")
    proxy = "model_list:\n- {model_name: q, litellm_params: {model: hosted_vllm/org/m}}\n"
    with pytest.raises(InputError, match="config of a LiteLLM proxy"):
        read_deployment(proxy, "f")


def dynamo(**services):
    return {"apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
            "metadata": {"name": "g"}, "spec": {"services": services}}  # fmt: skip


def service(command, *args, gpu=1, **rest):
    container = {"image": "ai-dynamo/vllm-runtime:1", "command": command, "args": list(args)}
    resources = {"limits": {"gpu": str(gpu)}} if gpu else {}
    return {"resources": resources, "extraPodSpec": {"mainContainer": container}, **rest}


def test_services_of_dynamo_that_are_no_whole_engine():
    worker = service(["python3", "-m", "dynamo.vllm"], "--model", "org/m")
    planner = service(["python3", "-m", "planner_sla"], "--backend=vllm", gpu=0)
    assert rows(dynamo(Planner=planner, VLLMDecodeWorker=worker)) == [("org/m", 1)]
    half = service(["python3", "-m", "dynamo.vllm"], "--model", "org/m", "--is-prefill-worker")
    with pytest.raises(InputError) as caught:
        read(dynamo(VLLMDecodeWorker=worker, VLLMPrefillWorker=half))
    assert "g/decode/VLLMDecodeWorker (1 GPU" in str(caught.value)
    assert "by its name it is the decode part" in str(caught.value)


def test_a_flag_is_no_value_of_the_flag_before():
    with pytest.raises(InputError, match="names no model"):
        read(deployment(pod(["--model", "--host", "0.0.0.0"])))


def test_an_object_whose_name_is_made_is_called_by_its_beginning():
    job = deployment(pod(["train.py"], image="pytorch"), "Job", metadata={"generateName": "tune-"})
    found = read(deployment(pod(["org/m"])), job)
    assert [entry.name for entry in found.unread] == ["tune-0", "tune-1"]


@pytest.mark.parametrize("schema", ["kvplace.fleet/v1", "kvplace.plan/v1"])
def test_a_file_of_kvplace_is_named_as_what_it_is(schema):
    kind = "plan" if "plan" in schema else "fleet file"
    with pytest.raises(InputError, match=f"this is a {kind} of kvplace"):
        read({"schema": schema, "nodes": [], "models": []})
    with pytest.raises(InputError, match="nested too deeply"):
        read_deployment("[" * 5000 + "]" * 5000, "file.json")


def test_nothing_readable_names_what_there_is():
    with pytest.raises(InputError) as caught:
        read(deployment(pod(["train.py"], 4, image="pytorch")))
    assert "a-0 (4 GPUs" in str(caught.value)
    assert "nothing of it can be read" in str(caught.value)


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
KEYS = st.sampled_from([
    "apiVersion", "kind", "metadata", "spec", "template", "containers", "resources", "limits",
    "nvidia.com/gpu", "args", "command", "env", "name", "value", "replicas", "model", "uri",
    "predictor", "applications", "llm_configs", "models", "cmd", "items", "servingEngineSpec",
    "modelSpec", "instances", "services", "annotations", "kvplace/placement", "engineConfig",
    "artifactURL", "include", "model_path", "init_placements", "gpu_ids", "deployments",
])  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)
HEADS = st.sampled_from(["Deployment", "InferenceService", "LLMInferenceService", "ModelClaim",
                         "RayService", "List", "Pod", "LeaderWorkerSet"])  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(TREES, st.one_of(st.none(), HEADS))
def test_any_file_is_answered(tree, kind):
    if kind is not None and isinstance(tree, dict):
        tree = {**tree, "apiVersion": "v1", "kind": kind}
    try:
        read_deployment(json.dumps(tree), "file.json")
    except InputError:
        return


def test_a_pipe_that_a_file_names_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "compose.yaml"
    for entry in ("env_file: pipe", "extends: {file: pipe, service: a}"):
        path.write_text(f"services:\n  a:\n    image: vllm/vllm-openai\n    {entry}\n")
        with pytest.raises(InputError, match="this is a pipe or a device"):
            read_deployment(path.read_text(), str(path))
