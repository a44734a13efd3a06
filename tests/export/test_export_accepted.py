"""Each export is accepted by what it is for, wherever that can be installed.

Kubernetes' schemas and Ray come with the extra ``accept``; `KVPLACE_RAY_PYTHON` names another
Python that has Ray. ``shellcheck`` and ``docker-compose`` are Debian packages.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import jsonschema
import pytest
import yaml
from controller import routes, start
from exported import documents, objects
from schemas import LLAMA_SWAP, MODEL_CLAIM, POOL_POLICY, PRISM

from hostile import hostile_plan
from kvplace.core.certificates.certificate import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.launch import Launch
from kvplace.core.models.model import Model, Replicas
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.errors import InputError
from kvplace.export.export import export
from kvplace.export.files import Options, files_for
from kvplace.export.layout import lay_out
from kvplace.export.runtimes.kvcached import name_of

GIB = 2**30
IMAGE = "registry.example/vllm:1"


def node(name, gpus):
    return Node(name, tuple(GPU(f"{name}/{i}", "H100", 79 * GIB) for i in range(gpus)))


def model(name, weights, degree=1, copies=1, rate=1.0, **launch):
    return Model(
        name, weights * GIB, Demand(rate, 1000, 100), SLO(1.0, 0.05), 131072,
        tensor_parallel=(degree,), replicas=Replicas(1, copies),
        launch=Launch(image=IMAGE, **launch),
    )  # fmt: skip


def small():
    """Two nodes; a model over two GPUs, one in two copies, two that share a GPU."""
    models = (
        model("org/big", 100, degree=2, args=("--max-model-len", "8192")),
        model("org/twice", 14, copies=2, rate=4.0, secrets=("HF_TOKEN",)),
        model("it's $(x)", 8, env=(("NOTE", "a $b 'c'"),)),
    )
    fleet = Fleet((node("h100-0", 4), node("h100-1", 2)))
    placement = Placement(
        (
            Replica("org/big", 0, ("h100-0/2", "h100-0/1")),
            Replica("org/twice", 0, ("h100-0/0",)),
            Replica("org/twice", 1, ("h100-1/1",)),
            Replica("it's $(x)", 0, ("h100-0/0",)),
        )
    )
    return Problem(models, fleet), placement


def plans():
    """The small plan and some with hostile names."""
    return [small(), *(hostile_plan(seed) for seed in range(16))]


def exports(to, options=None):
    """Export every plan that the runtime can do."""
    done = []
    for problem, placement in plans():
        try:
            done.append((problem, placement, files_for(problem, placement, to, options)))
        except InputError:
            continue
    assert len(done) >= 3
    return done


@pytest.mark.parametrize("pool", ["static", "kvcached"])
def test_kubernetes_objects_hold_against_the_published_schemas(pool):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'kvplace[accept]'")
    version = validate.latest_version()
    for _, _, files in exports("kubernetes", Options(pool=pool)):
        for one in objects(files):
            validate.validate(one, version, strict=True)


def test_aibrix_objects_hold_against_their_documented_fields():
    for problem, placement, files in exports("aibrix"):
        layout = lay_out(problem, placement)
        degree = {g.label: len(g.gpus) for host in layout.hosts for g in host.groups}
        for one in objects(files):
            if one["kind"] == "ModelClaim":
                jsonschema.validate(one, MODEL_CLAIM)
                pool = one["spec"]["podSelector"]["matchLabels"]["pool.aibrix.ai/name"]
                args = one["spec"].get("engineConfig", {"args": {}})["args"]
                assert int(args.get("--tensor-parallel-size", 1)) == degree[pool]
            else:
                about = one["metadata"]
                assert about["labels"]["pool.aibrix.ai/enabled"] == "true"
                policy = about["annotations"].get("pool.aibrix.ai/policy")
                assert (policy is not None) == (degree[about["name"]] == 1)
                if policy:
                    jsonschema.validate(json.loads(policy), POOL_POLICY)


def test_aibrix_pools_are_kubernetes_objects():
    validate = pytest.importorskip("kubernetes_validate", reason="pip install 'kvplace[accept]'")
    for _, _, files in exports("aibrix"):
        for one in objects(files):
            if one["kind"] == "Deployment":
                validate.validate(one, validate.latest_version(), strict=True)


def test_what_aibrix_counts_fits_every_gpu():
    problem, placement = small()
    for text in files_for(problem, placement, "aibrix").values():
        pool, *claims = documents(text)
        assert pool["kind"] == "Deployment"
        taken = sum(
            int(claim["metadata"]["annotations"][f"kvplace/{key}"].removesuffix("Mi"))
            for claim in claims
            for key in ("footprint-per-gpu", "kv-floor-per-gpu")
        )
        assert taken * 2**20 <= 79 * GIB


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="apt-get install docker-compose")
@pytest.mark.parametrize("pool", ["static", "kvcached"])
def test_docker_compose_reads_back_what_was_meant(pool, tmp_path):
    for number, (_, _, files) in enumerate(
        [exports("compose", Options(pool=pool))[i] for i in (0, 2)]
    ):
        for name, text in files.items():
            path = tmp_path / f"{number}-{name}"
            path.write_text(text)
            done = subprocess.run(
                ["docker-compose", "-f", str(path), "config"],
                capture_output=True, text=True, check=False, timeout=60,
                env={**os.environ, "HF_TOKEN": "hf_from_the_environment"},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert not done.stderr.strip()
            assert "hf_from_the_environment" not in text
            (meant,) = documents(text)
            found = yaml.safe_load(done.stdout)
            for label, service in meant["services"].items():
                assert found["services"][label]["command"] == service["command"]
                device = found["services"][label]["deploy"]["resources"]["reservations"]["devices"]
                assert device == service["deploy"]["resources"]["reservations"]["devices"]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="apt-get install shellcheck")
@pytest.mark.parametrize("pool", ["static", "kvcached"])
def test_shellcheck_and_bash_accept_the_scripts(pool, tmp_path):
    paths = []
    for number, (_, _, files) in enumerate(exports("shell", Options(pool=pool))):
        for name, text in files.items():
            paths.append(tmp_path / f"{number}-{name}")
            paths[-1].write_text(text)
    for tool in (["shellcheck", *map(str, paths)], *(["bash", "-n", str(p)] for p in paths)):
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


RAY = """
import json, sys
from ray.serve.schema import ServeDeploySchema
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
try:  # it imports vLLM
    from ray.serve.llm import LLMServingArgs
except ImportError:
    LLMServingArgs = None
for document in json.load(sys.stdin):
    schema = ServeDeploySchema.model_validate(document)
    assert [one.name for one in schema.applications] == ["kvplace"]
    for config in schema.applications[0].args["llm_configs"]:
        known = LLMConfig.model_validate(config)
        assert known.model_id == config["model_loading_config"]["model_id"]
    if LLMServingArgs:
        LLMServingArgs.model_validate(schema.applications[0].args)
print("accepted")
"""


def test_ray_serve_s_own_models_accept_the_application():
    python = os.environ.get("KVPLACE_RAY_PYTHON", sys.executable)
    there = subprocess.run(
        [python, "-c", "import ray.llm._internal.serve.core.configs.llm_config"],
        capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    if there.returncode:
        pytest.skip("pip install 'kvplace[accept]' pyarrow, or set KVPLACE_RAY_PYTHON")
    found = [documents(files["serve.yaml"])[0] for _, _, files in exports("ray-serve")]
    done = subprocess.run(
        [python, "-c", RAY], input=json.dumps(found), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip().endswith("accepted"), done.stderr


def test_llama_swap_s_schema_accepts_the_configuration():
    for _, _, files in exports("llama-swap"):
        for text in files.values():
            jsonschema.validate(documents(text)[0], LLAMA_SWAP)


def test_a_command_is_one_line_that_bash_reads_back(tmp_path):
    problem, _ = small()
    name = "a # b \\ ${PORT} é"
    one = Problem((model(name, 8),), problem.fleet)
    files = files_for(one, Placement((Replica(name, 0, ("h100-0/0",)),)), "llama-swap")
    (data,) = documents(files["llama-swap-h100-0.yaml"])
    line = data["models"][name]["cmd"]
    assert "\n" not in line
    assert "${" not in line
    (tmp_path / "vllm").write_text('#!/bin/bash\nprintf "%s\\0" "$@"\n')
    (tmp_path / "vllm").chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.decode().split("\0")[1:3] == [name, f"--served-model-name={name}"]


def test_prism_s_list_has_its_keys():
    for _, _, files in exports("prism"):
        for text in files.values():
            jsonschema.validate(json.loads(text), PRISM)


def test_kvcached_starts_and_routes_what_was_planned():
    for problem, placement, files in exports("kvcached"):
        layout = lay_out(problem, placement)
        table = routes(documents(files["frontend.yaml"])[0])
        assert table.keys() == {engine.served_name for engine in layout.engines}
        dialled = set()
        for host in layout.hosts:
            for one in start(documents(files[f"node-{host.label}.yaml"])[0]):
                (engine,) = [e for e in host.engines if name_of(e.label) == one.name]
                assert one.environment["CUDA_VISIBLE_DEVICES"] == ",".join(map(str, engine.indices))
                assert table[engine.served_name] == (one.host, one.port)
                assert one.host != "0.0.0.0"
                dialled.add((one.host, one.port))
                served = [w for w in one.words if w.startswith("--served-model-name=")]
                assert served == [f"--served-model-name={engine.served_name}"]
        assert len(dialled) == len(layout.engines)


def test_addresses_of_nodes_are_dialled_and_0_0_0_0_is_not():
    problem, placement = small()
    options = Options(addresses={"h100-0": "10.0.0.5", "h100-1": "node-b.example"})
    front = files_for(problem, placement, "kvcached", options)["frontend.yaml"]
    hosts = {host for host, _ in routes(documents(front)[0]).values()}
    assert hosts == {"10.0.0.5", "node-b.example"}
    for wrong in ("0.0.0.0", "::", "::1", "a b", ""):
        with pytest.raises(InputError, match="is no address"):
            files_for(problem, placement, "kvcached", Options(addresses={"h100-0": wrong}))


def test_secrets_are_nowhere_written(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_value")
    problem, placement = small()
    for to in ("aibrix", "compose", "shell", "kubernetes", "ray-serve"):
        text = "".join(files_for(problem, placement, to).values())
        assert "HF_TOKEN" in text
        assert "hf_secret_value" not in text


def test_only_what_changes_is_in_the_difference():
    problem, placement = small()
    moved = Placement(
        tuple(r if r.index == 0 else Replica(r.model, r.index, ("h100-1/0",)) for r in placement)
    )
    before, after = (
        Result(problem, p, evaluate(problem, p), Bound(0, "trivial"), Stop.GIVEN, "", 0, 0, 0)
        for p in (placement, moved)
    )
    found = export(after, "kubernetes", before=before)
    assert set(found.files) == {"group-h100-1-g0.yaml"}
    assert found.removed == ("group-h100-1-g1.yaml",)
    assert found.total == len(files_for(problem, moved, "kubernetes"))
    assert not export(before, "kubernetes", before=before).files


def test_a_plan_that_does_not_hold_is_not_exported():
    problem, placement = small()
    lost = Placement(placement.replicas[1:])
    with pytest.raises(InputError, match=re.escape("0 replicas placed")):
        files_for(problem, lost, "shell")


def test_what_a_runtime_cannot_do_is_said():
    problem, placement = small()
    mixed = Placement(
        (*(r for r in placement if r.model != "it's $(x)"), Replica("it's $(x)", 0, ("h100-0/1",)))
    )
    with pytest.raises(InputError, match="AIBrix gives every engine of a pool all its GPUs"):
        files_for(problem, mixed, "aibrix")
    other = Problem((model("a", 8), model("b", 8, engine="sglang")), problem.fleet)
    alone = Placement((Replica("a", 0, ("h100-0/0",)), Replica("b", 0, ("h100-0/1",))))
    with pytest.raises(InputError, match=r"ray\.serve\.llm runs vllm"):
        files_for(other, alone, "ray-serve")
    with pytest.raises(InputError, match="ports"):
        files_for(problem, placement, "shell", Options(base_port=65000))
