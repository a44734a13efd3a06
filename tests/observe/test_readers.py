"""Each reader against a small server of its own: what runs, what is broken, what is nonsense."""

import json

import pytest
from answering import answering

from kvplace.cli.running.observe import RUNTIMES
from kvplace.errors import InputError
from kvplace.observe.aibrix import read_aibrix
from kvplace.observe.compose import read_compose
from kvplace.observe.engines import read_engine
from kvplace.observe.kubernetes import read_kubernetes
from kvplace.observe.kvcached import read_kvcached
from kvplace.observe.llama_swap import read_llama_swap
from kvplace.observe.prometheus import read_prometheus_labels
from kvplace.observe.ray_serve import read_ray_serve
from kvplace.observe.sighting import Known, Sighting, identify
from kvplace.observe.sources import SOURCES

HTTP = (
    read_engine, read_kvcached, read_aibrix, read_ray_serve, read_llama_swap, read_prometheus_labels
)  # fmt: skip


def states(seen):
    return {one.name: one.state for one in seen.engines}


def test_the_verb_knows_every_reader():
    assert SOURCES == RUNTIMES


def test_an_engine_serves_sleeps_or_is_broken():
    models = {"data": [{"id": "org/m"}, {"id": "adapter", "parent": "org/m"}, {"id": "alias"}]}
    with answering({"/v1/models": models, "/health": {}}) as (url, asked):
        seen = read_engine(url)
        assert states(seen) == {"org/m": "serving"}
        assert seen.notes == (f"{url} also goes by 'alias'",)
        assert not any(path.startswith("POST") for path in asked)
    with answering({"/v1/models": models, "/health": 503}) as (url, _):
        assert states(read_engine(url)) == {"org/m": "broken"}
    asleep = {"/v1/models": models, "/health": {}, "/is_sleeping": {"is_sleeping": True}}
    with answering(asleep) as (url, _):
        assert states(read_engine(url)) == {"org/m": "asleep"}


def test_a_kvcached_controller():
    answers = {
        "/models": {
            "models": {"org/a": {"endpoint": "http://10.0.0.5:20123"}, "b": {"endpoint": 7}}
        },
        "/sleep/status": {"sleeping_models": {"b": 1.0}},
        "/health/org%2Fa": {"model": "org/a", "health": {"http://10.0.0.5:20123": True}},
    }
    with answering(answers) as (url, _):
        seen = read_kvcached(url)
    assert states(seen) == {"org/a": "serving", "b": "asleep"}
    assert seen.engines[0].port == 20123
    answers["/health/org%2Fa"]["health"]["http://10.0.0.5:20123"] = False
    with answering(answers) as (url, _):
        assert states(read_kvcached(url))["org/a"] == "broken"


def test_the_snapshot_of_an_aibrix_runtime():
    def engine(name, **more):
        return {"model_name": name, "port": 1, "phase": "Active", "ready": True} | more

    models = [
        engine("a", claim_ref={"name": "claim-a"}),
        engine("b", ready=False, phase="Sleeping"),
        engine("c", ready=False, alive=True),
        engine("d", ready=False, alive=False, last_error="out of memory"),
        {"port": 3},
    ]
    with answering({"/v1/runtime/snapshot": {"models": models}}) as (url, _):
        seen = read_aibrix(url)
    assert states(seen) == {"claim-a": "serving", "b": "asleep", "c": "loading", "d": "broken"}
    assert any("out of memory" in note for note in seen.notes)
    assert any("without a name" in note for note in seen.notes)


def test_the_replicas_of_ray_serve():
    def replica(state):
        return {"state": state, "node_ip": "10.0.0.7", "start_time_s": 0.0}

    deployments = {
        "LLMServer:org--m": {"replicas": [replica("RUNNING"), replica("STARTING")]},
        "OpenAiIngress": {"replicas": [replica("RUNNING")]},
    }
    status = {"applications": {"kvplace": {"deployments": deployments}, "odd": {}}}
    with answering({"/api/serve/applications/": status}) as (url, _):
        seen = read_ray_serve(url)
    assert [(one.name, one.state) for one in seen.engines] == [
        ("org--m", "serving"),
        ("org--m", "loading"),
    ]
    assert seen.engines[0].since == "1970-01-01T00:00:00Z"
    assert seen.notes == ("application 'odd' states no deployments",)


def test_the_running_list_of_llama_swap():
    running = [
        {"model": "m", "state": "ready", "proxy": "http://localhost:5801"},
        {"model": "n", "state": "starting"},
        {"state": "ready"},
    ]
    with answering({"/running": {"running": running}}) as (url, _):
        seen = read_llama_swap(url)
    assert states(seen) == {"m": "serving", "n": "loading"}
    assert seen.engines[0].port == 5801


def test_the_labels_of_prometheus():
    def result(*metrics):
        return {"data": {"result": [{"metric": m, "value": [0, "1"]} for m in metrics]}}

    answers = {
        "/api/v1/query?query=vllm%3Anum_requests_running": result(
            {"model_name": "m", "instance": "h100-0:20001"},
            {"model_name": "m", "instance": "h100-1:20001"},
            {"instance": "h100-1:20001"},
        ),
        "/api/v1/query?query=sglang%3Anum_running_reqs": result(),
    }
    with answering(answers) as (url, _):
        seen = read_prometheus_labels(url)
    assert [(one.name, one.address, one.port) for one in seen.engines] == [
        ("m", "h100-0:20001", 20001),
        ("m", "h100-1:20001", 20001),
    ]
    assert seen.notes == ("a series of vllm:num_requests_running has no label model_name",)


@pytest.mark.parametrize("read", HTTP)
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b"null", b"[" * 100_000, 500, 302])
def test_nonsense_is_a_note(read, body):
    class Any(dict):
        def get(self, *_):
            return body

    with answering(Any()) as (url, _):
        seen = read(url)
    assert not seen.engines
    assert seen.notes


@pytest.mark.parametrize("read", HTTP)
def test_nobody_there_is_a_note_and_no_address_an_error(read):
    seen = read("http://127.0.0.1:9")
    assert not seen.engines
    assert "does not answer" in seen.notes[0]
    with pytest.raises(InputError, match="is no address"):
        read("h100-0:8000")


def test_a_server_that_wants_a_token_is_told_of():
    with answering({"/running": 401}) as (url, _):
        assert read_llama_swap(url).notes == (f"{url}/running wants a token: --bearer-token-file",)


def deployment(name, placement, ready, **spec):
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "annotations": {"kvplace/placement": placement}},
        "spec": spec,
        "status": {"readyReplicas": ready},
    }


def test_kubernetes_objects(tmp_path):
    items = [
        deployment("g0", json.dumps([["m", ["n/0"]], ["x", ["n/0", "n/1"]]]), 1),
        deployment("g1", json.dumps([["k", ["n/2"]]]), 0),
        deployment("g2", json.dumps([["off", ["n/3"]]]), 0, replicas=0),
        deployment("g3", "{", 1),
        {"kind": "Deployment", "metadata": {"name": "nginx"}},
        {"kind": "ModelClaim", "metadata": {"name": "c"}, "status": {"phase": "Sleeping"}},
        {"kind": "Service", "metadata": {"name": "s"}},
    ]
    (tmp_path / "o.json").write_text(json.dumps({"kind": "List", "items": items}))
    seen = read_kubernetes(str(tmp_path / "o.json"))
    assert states(seen) == {
        "m": "serving", "x": "serving", "k": "loading", "off": "stopped", "c": "asleep"
    }  # fmt: skip
    assert seen.engines[1].gpus == ("n/0", "n/1")
    assert len(seen.notes) == 2
    (tmp_path / "none.yaml").write_text("a: 1")
    with pytest.raises(InputError, match="no Kubernetes object"):
        read_kubernetes(str(tmp_path / "none.yaml"))


def test_yaml_with_aliases_and_further_documents_is_read_whole(tmp_path):
    gpu = "{deploy: {resources: {reservations: {devices: [{driver: nvidia, device_ids: ['3']}]}}}}"
    path = tmp_path / "compose.yaml"
    path.write_text(f"x-gpu: &gpu {gpu}\nservices:\n  a: {{<<: *gpu}}\n  b: *gpu\n")
    assert [(e.name, e.gpus) for e in read_compose(str(path), "h").engines] == [
        ("a", ("h/3",)), ("b", ("h/3",)),
    ]  # fmt: skip
    path = tmp_path / "claims.yaml"
    claim = "kind: ModelClaim\nmetadata: {name: %s}\nspec: {modelName: %s}\n"
    path.write_text("---\n".join(claim % (name, name) for name in "ab"))
    assert len(read_kubernetes(str(path)).engines) == 2


def test_a_compose_file_with_and_without_ps(tmp_path):
    device = {"driver": "nvidia", "device_ids": ["0", "1"], "capabilities": ["gpu"]}
    service = {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps({"services": {"m": service, "n": service, "db": {"image": "x"}}}))
    seen = read_compose(str(path))
    assert states(seen) == {"m": "unknown", "n": "unknown"}
    assert "compose.ps.json" in seen.notes[0]
    rows = [{"Service": "m", "State": "running", "Health": "healthy"},
            {"Service": "db", "State": "running"}]  # fmt: skip
    (tmp_path / "compose.ps.json").write_text("\n".join(map(json.dumps, rows)))
    seen = read_compose(str(path), "h")
    assert states(seen) == {"m": "serving", "n": "stopped"}
    assert seen.engines[0].gpus == ("h/0", "h/1")
    (tmp_path / "compose.ps.json").write_text("nonsense")
    with pytest.raises(InputError, match="docker compose ps"):
        read_compose(str(path))


def test_a_compose_service_whose_gpus_have_no_numbers_is_seen_and_named(tmp_path):
    services = {
        "inside": {"environment": {"CUDA_VISIBLE_DEVICES": "1,2"}},
        "named": {"environment": ["NVIDIA_VISIBLE_DEVICES=GPU-7f"]},
        "all": {"gpus": "all"},
        "db": {"image": "postgres"},
        "odd": None,
    }
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps({"services": services}))
    seen = read_compose(str(path), "h")
    found = {engine.name: engine.gpus for engine in seen.engines}
    assert found == {"inside": ("h/1", "h/2"), "named": (), "all": ()}
    assert [name for name in services if f"which GPUs {name!r} has" in str(seen.notes)] == [
        "named", "all",
    ]  # fmt: skip


def test_engines_are_found_in_the_plan_by_name_port_and_gpus():
    known = [
        Known("org/m", ("org/m", "org-m"), 20001, ("a/0",)),
        Known("org/m", ("org/m-r1", "org-m-r1"), 20002, ("b/0",)),
        Known("org/k", ("org/k", "org-k"), 20003, ("b/1",)),
    ]

    def seen(name, address="x", **more):
        return Sighting(name, "serving", "vllm", address, **more)

    found = identify(
        [
            seen("org/m", "http://b:20002"),
            seen("org/m", "http://a:20001"),
            seen("org--k"),
            seen("other", gpus=("a/1",)),
            seen("org/m", gpus=("a/1",)),
        ],
        known,
    )
    assert [(model, one.gpus) for one, model in found] == [
        ("org/m", ("b/0",)),
        ("org/m", ("a/0",)),
        ("org/k", ("b/1",)),
        ("other", ("a/1",)),
        ("org/m", ("a/1",)),
    ]
