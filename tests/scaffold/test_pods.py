"""Pods of Kubernetes at any depth: every engine is read or named, whatever object holds it."""

import pytest
import yaml

from kvplace.errors import InputError
from kvplace.scaffold.deployments.read import read_deployment


def container(args=("--model", "org/m"), gpus=1, resource="nvidia.com/gpu", **more):
    return {"name": "c", "image": "vllm/vllm-openai", "args": list(args),
            "resources": {"limits": {resource: gpus} if gpus else {}}, **more}  # fmt: skip


def pods(*containers):
    return {"spec": {"containers": list(containers)}}


def thing(kind, spec, group="example.org/v1"):
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "a"}, "spec": spec}


def read(*objects, aliases=None):
    return read_deployment(yaml.safe_dump_all(objects), "file.yaml", aliases)


def told(*objects):
    """Return what is read, and what is named with its GPUs."""
    try:
        found = read(*objects)
    except InputError as error:
        lines = [line.partition(": ")[2] for line in error.lines()]
        return [line for line in lines if line != "nothing of it can be read"]
    return [
        *((i.name, i.model, i.degree) for i in found.instances),
        *(entry.describe() for entry in found.unread),
    ]


def test_roles_of_an_object_are_read_with_their_copies():
    roles = [
        {"name": "big", "replicas": 2, "template": pods(container(["--model", "org/b"]))},
        {"name": "small", "template": pods(container(["--model", "org/s"]))},
    ]
    service = thing("StormService", {"replicas": 2, "template": {"spec": {"roles": roles}}})
    assert told(service) == [
        *((f"a/big-{n}", "org/b", 1) for n in range(4)),
        *((f"a/small-{n}", "org/s", 1) for n in range(2)),
    ]
    jobs = {"replicatedJobs": [{"name": "j", "replicas": 3, "template": {"spec": {
        "parallelism": 1, "template": pods(container())}}}]}  # fmt: skip
    assert told(thing("JobSet", jobs)) == [(f"a/j-{n}", "org/m", 1) for n in range(3)]


def test_parts_of_a_split_are_named():
    roles = [
        {"name": "prefill", "template": pods(container(gpus=2))},
        {"name": "decode", "template": pods(container(gpus=2))},
    ]
    lines = told(thing("StormService", {"template": {"spec": {"roles": roles}}}))
    assert [line.partition(":")[0] for line in lines] == [
        "a/prefill (2 GPUs, it is not known which)", "a/decode (2 GPUs, it is not known which)",
    ]  # fmt: skip
    flags = ["--model", "org/m", "--kv-transfer-config", '{"kv_role": "kv_producer"}']
    (line,) = told(thing("Deployment", {"template": pods(container(flags))}))
    assert "one part (kv_producer) of a split" in line
    both = [*flags[:-1], '{"kv_connector": "Some", "kv_role": "kv_both"}']
    assert told(thing("Deployment", {"template": pods(container(both))})) == [("a", "org/m", 1)]
    sglang = {**container(["--model-path", "org/m", "--disaggregation-mode", "decode"]),
              "image": "lmsysorg/sglang"}  # fmt: skip
    (line,) = told(thing("Deployment", {"template": pods(sglang)}))
    assert "one part (decode)" in line


def test_an_engine_over_several_pods_is_named_once_with_all_its_gpus():
    group = {"size": 3, "workerTemplate": pods(container(gpus=8))}
    (line,) = told(thing("LeaderWorkerSet", {"leaderWorkerTemplate": group}))
    assert line.startswith("a (24 GPUs, it is not known which): one engine over several pods")
    alone = {"size": 1, "workerTemplate": pods(container())}
    assert told(thing("LeaderWorkerSet", {"leaderWorkerTemplate": alone})) == [("a", "org/m", 1)]
    workers = [{"replicas": 2, "template": pods(container(["ray"], 4))}]
    ray = {"headGroupSpec": {"template": pods(container(gpus=4))}, "workerGroupSpecs": workers}
    fleet = {"replicas": 2, "template": {"spec": ray}}
    lines = told(thing("RayClusterFleet", fleet))
    assert [line.partition(",")[0] for line in lines] == ["a-0 (12 GPUs", "a-1 (12 GPUs"]
    role = {"name": "r", "podGroupSize": 2, "template": pods(container(gpus=1))}
    (line,) = told(thing("StormService", {"template": {"spec": {"roles": [role]}}}))
    assert line.startswith("a/r (2 GPUs")


def test_dynamo():
    def service(**more):
        main = {"command": ["python3", "-m", "dynamo.vllm"], "args": ["--model", "org/m"]}
        return {"resources": {"limits": {"gpu": "1"}}, "extraPodSpec": {"mainContainer": main},
                **more}  # fmt: skip

    graph = {"Frontend": {"extraPodSpec": {"mainContainer": {"command": ["python3", "-m",
             "dynamo.frontend"]}}}, "Worker": service(replicas=2)}  # fmt: skip
    assert told(thing("DynamoGraphDeployment", {"services": graph})) == [
        ("a/Worker-0", "org/m", 1), ("a/Worker-1", "org/m", 1),
    ]  # fmt: skip
    split = {"P": service(subComponentType="prefill"), "D": service(subComponentType="decode")}
    assert len(told(thing("DynamoGraphDeployment", {"services": split}))) == 2
    wide = {"W": service(multinode={"nodeCount": 2})}
    (line,) = told(thing("DynamoGraphDeployment", {"services": wide}))
    assert line.startswith("a/W (2 GPUs")


@pytest.mark.parametrize(
    ("spec", "told_of_it"),
    [
        ({"flavors": [{"limits": {"nvidia.com/gpu": 2}}]}, "a (2 GPUs"),
        ({"replicas": 3, "template": pods(container(["x.py"], image="torch"))}, "a-0 (1 GPU"),
        ({"template": pods(container(resource="nvidia.com/mig-1g.10gb"))}, "slice of a GPU"),
    ],
)
def test_whatever_asks_for_gpus_is_named(spec, told_of_it):
    assert told_of_it in told(thing("Unheard", spec))[0]


def test_what_is_left_out_is_said():
    stopped = thing("Deployment", {"replicas": 0, "template": pods(container())})
    chip = thing("Deployment", {"template": pods(container(resource="google.com/tpu", gpus=4))})
    fine = {**thing("Pod", pods(container())["spec"]), "metadata": {"name": "p"}}
    assert read(stopped, chip, fine).notes == (
        "a has 0 replicas and is left out",
        "a asks for google.com/tpu, which is no GPU, and is left out",
    )
    assert "which is no GPU" in "".join(told(thing("Deployment", chip["spec"])))
    with pytest.raises(InputError, match="0 replicas"):
        read(stopped)


def test_kubeai():
    spec = {"url": "hf://org/m", "engine": "VLLM", "args": ["--tensor-parallel-size=2"],
            "resourceProfile": "nvidia-gpu-h100:2", "minReplicas": 2}  # fmt: skip
    assert told(thing("Model", spec, "kubeai.org/v1")) == [("a-0", "org/m", 2), ("a-1", "org/m", 2)]
    (line,) = told(thing("Model", {**spec, "engine": "OLlama"}, "kubeai.org/v1"))
    assert "a Model is not read here" in line
    cpu = thing("Model", {**spec, "resourceProfile": "cpu:2"}, "kubeai.org/v1")
    assert told(cpu)[1] == "a asks for cpu:2, which is no GPU, and is left out"


def test_a_path_gets_its_model_by_another_name():
    path = thing("Deployment", {"replicas": 2, "template": pods(
        container(["--model", "/models/m", "-tp", "2"], gpus=2))})  # fmt: skip
    (line, _) = told(path)
    assert line.endswith("say which it is with --alias /models/m=MODEL")
    found = read(path, aliases={"/models/m": "org/m"})
    assert [(i.name, i.model, i.degree) for i in found.instances] == [
        ("a-0", "org/m", 2), ("a-1", "org/m", 2),
    ]  # fmt: skip
    cpu = thing("LLMInferenceService", {"model": {"uri": "hf://org/m"},
                "template": {"containers": [{"resources": {"limits": {"cpu": 1}}}]}})  # fmt: skip
    assert told(cpu)[1] == "a asks for no GPU and is left out"
    store = thing("LLMInferenceService", {"model": {"uri": "pvc://models/m"}})
    assert "--alias pvc://models/m=MODEL" in told(store)[0]
    service = {"image": "vllm/vllm-openai", "command": "--model /m",
               "gpus": [{"device_ids": ["3"]}]}  # fmt: skip
    compose = {"services": {"s": service}}
    (instance,) = read(compose, aliases={"/m": "org/m"}).instances
    assert (instance.model, instance.gpus) == ("org/m", (3,))


def test_ray_serve(tmp_path):
    config = {"model_loading_config": {"model_id": "m", "model_source": "org/m"},
              "engine_kwargs": {"tensor_parallel_size": 2, "data_parallel_size": 2}}  # fmt: skip
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(config))
    file = str(tmp_path / "serve.yaml")

    def rows(**application):
        text = yaml.safe_dump({"applications": [{"name": "app", **application}]})
        try:
            found = read_deployment(text, file)
        except InputError as error:
            return [line.partition(": ")[2] for line in error.lines()]
        return [(i.name, i.model, i.degree) for i in found.instances]

    assert rows(args={"llm_configs": ["m.yaml"]}) == [("m-0", "org/m", 2), ("m-1", "org/m", 2)]
    assert "gone.yaml, cannot be read" in rows(args={"llm_configs": ["gone.yaml"]})[0]
    assert "app (GPUs" in rows(runtime_env={"env_vars": {"MODEL_ID": "org/m"}})[0]
    split = {"prefill_config": config, "decode_config": config}
    assert len(rows(args=split)) == 3
    tpu = {**config, "accelerator_type": "TPU-V6E"}
    assert "no GPU" in rows(args={"llm_configs": [tpu]})[0]
    assert read_deployment(yaml.safe_dump(config), file).instances[0].model == "org/m"


def test_scripts_with_containers_and_variables():
    script = """#!/bin/bash
MODEL=org/m
export TP=2
docker run --rm -d --gpus '"device=2,3"' -v ~/c:/c -e A=b --ipc=host vllm/vllm-openai:v1 \\
  --model $MODEL --tensor-parallel-size ${TP}
docker run -p 80:80 nginx
CUDA_VISIBLE_DEVICES=0 vllm serve "$MODEL" > log 2>&1 &
docker run --gpus all ollama/ollama
vllm serve $UNSET
"""
    found = read_deployment(script, "run.sh")
    assert [(i.name, i.model, i.degree, i.gpus) for i in found.instances] == [
        ("line 4", "org/m", 2, (2, 3)), ("line 7", "org/m", 1, (0,)),
    ]  # fmt: skip
    assert [(u.name, u.reason[:20]) for u in found.unread] == [
        ("line 8", "Ollama does not say "), ("line 9", "the variable UNSET h"),
    ]  # fmt: skip


def test_llama_swap_with_docker_and_macros_of_a_model():
    text = """
macros: {image: vllm/vllm-openai}
models:
  a:
    macros: {m: org/m}
    cmd: docker run --gpus '"device=1"' ${image} --model ${m} --port ${PORT}
  b: {cmd: llama-server -m /b.gguf}
"""
    found = read_deployment(text, "config.yaml")
    assert [(i.name, i.model, i.gpus) for i in found.instances] == [("a", "org/m", (1,))]
    assert [u.name for u in found.unread] == ["b"]
