"""``kvplace verify --observe``: a proposal held against files of runtimes, at every stage."""

import json
from pathlib import Path

import pytest
import yaml
from answering import answering

from kvplace.cli.main import main

FLEET = """\
schema: kvplace.fleet/v1
objective: requests
nodes:
  - {name: h, count: 2, gpus: 2, gpu: {type: H100-SXM-80GB, memory: 79GiB}}
models:
"""
MODEL = (
    "  - {name: org/%s, weights: 15GiB, overhead: 2GiB, demand: {requests_per_second: %d}, "
    "slo: {latency: 6s}}\n"
)
RUNNING = "model,replica,shard,gpu\norg/a,0,0,h-0/0\norg/b,0,0,h-0/0\norg/c,0,0,h-0/1\n"
MOVE = ["--current", "running.csv", "--max-moves", "1", "--kv", "kvcached"]


@pytest.fixture
def proposal(tmp_path, monkeypatch):
    """b is to move from h-0/0, which it shares with a, to the empty node."""
    monkeypatch.chdir(tmp_path)
    text = FLEET + "".join(MODEL % pair for pair in (("a", 9), ("b", 9), ("c", 1)))
    Path("fleet.yaml").write_text(text)
    Path("running.csv").write_text(RUNNING)
    args = [*MOVE, "--runtime", "compose", "--format", "json", "--output", "proposal.json"]
    assert main(["replan", "fleet.yaml", *args]) == 0
    return "proposal.json"


def verdict(capsys, *sources):
    capsys.readouterr()
    options = [part for source in sources for part in ("--observe", source)]
    code = main(["verify", "proposal.json", *options, "--format", "json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return code, json.loads(said.out)


def services(path):
    return [*yaml.safe_load(Path(path).read_text())["services"]]


def ps(path, names):
    """Write what docker compose ps prints beside a compose file."""
    rows = [json.dumps({"Service": n, "State": "running", "Health": "healthy"}) for n in names]
    Path(path).with_suffix(".ps.json").write_text("\n".join(rows))


def test_compose_files_show_how_far_a_proposal_is(proposal, capsys):
    assert main(["export", proposal, "--to", "compose", "--kv", "kvcached", "-o", "to"]) == 0
    old, first, second = "to/before-compose-h-0.yaml", "to/compose-h-0.yaml", "to/compose-h-1.yaml"
    files = [f"compose={first}", f"compose={second}"]
    every, stay, (moved,) = services(old), services(first), services(second)
    assert set(stay) < set(every)
    assert moved not in every
    # Services of the file of before are known although the file of after does not name them.
    ps(first, every)
    ps(second, [])
    assert verdict(capsys, *files)[1]["verdict"] == "ready"
    # The files of both sides may be given.
    ps(old, every)
    assert verdict(capsys, *files, f"compose={old}")[1]["verdict"] == "ready"
    ps(second, [moved])
    code, found = verdict(capsys, *files)
    assert (code, found["verdict"], found["done"]) == (0, "under_way", [1])
    ps(first, [*stay, "grafana"])
    code, found = verdict(capsys, *files)
    assert (code, found["verdict"]) == (0, "done")
    assert main(["verify", proposal, "--observe", files[0], "--observe", files[1]]) == 0
    assert "'grafana' runs and is not in it" in capsys.readouterr().err
    ps(first, stay[:1])
    code, found = verdict(capsys, *files)
    assert (code, found["verdict"]) == (1, "drifted")
    assert len(found["differences"]) == 1


def test_kubernetes_objects_show_how_far_a_proposal_is(proposal, capsys):
    assert main(["export", proposal, "--to", "kubernetes", "--kv", "kvcached", "-o", "to"]) == 0

    def objects(*names):
        found = []
        for name in names:
            whole = yaml.safe_load_all(Path("to", name).read_text())
            found += [one for one in whole if one and one["kind"] == "Deployment"]
        status = {"readyReplicas": 1}
        Path("now.json").write_text(
            json.dumps({"kind": "List", "items": [one | {"status": status} for one in found]})
        )
        return verdict(capsys, "kubernetes=now.json")

    old, rest = "before-group-h-0-g0.yaml", "group-h-0-g1.yaml"
    (new,) = [path.name for path in Path("to").glob("group-h-1-*.yaml")]
    assert objects(old, rest)[1]["verdict"] == "ready"
    assert objects(old, rest, new)[1]["verdict"] == "under_way"
    assert objects("group-h-0-g0.yaml", rest, new)[1]["verdict"] == "done"
    code, found = objects("group-h-0-g0.yaml", new)
    assert (code, found["verdict"]) == (1, "drifted")
    assert "'org/c' does not run on h-0/1 any more" in found["differences"]


@pytest.mark.parametrize("nodes", [2, 1])
def test_ray_serve_tells_how_far_a_proposal_is(proposal, capsys, nodes):
    # To another node, which the cluster tells; within a node, where parts of the KV memory do.
    Path("fleet.yaml").write_text(
        Path("fleet.yaml").read_text().replace("count: 2", f"count: {nodes}")
    )
    args = ["--current", "running.csv", "--max-moves", "1", "--max-downtime", "1h"]
    out = ["--runtime", "ray-serve", "--format", "json", "--output", "proposal.json"]
    assert main(["replan", "fleet.yaml", *args, *out]) == 0
    assert main(["export", proposal, "--to", "ray-serve", "-o", "to"]) == 0
    nodes = [
        {"node_id": f"id-{label}", "resources_total": {"GPU": 2.0, f"kvplace-{label}": 1.0}}
        for label in ("h-0", "h-1")
    ]

    def running(path):
        (application,) = yaml.safe_load(Path(path).read_text())["applications"]
        deployments = {}
        for config in application["args"]["llm_configs"]:
            (bundle,) = config["placement_group_config"]["bundles"]
            (host,) = {name for name in bundle if name.startswith("kvplace-")}
            one = {"state": "RUNNING", "node_ip": "10.0.0.7"}
            one["node_id"] = f"id-{host.removeprefix('kvplace-')}"
            name = config["model_loading_config"]["model_id"].replace("/", "--")
            count = config["deployment_config"]["num_replicas"]
            deployments[f"LLMServer:{name}"] = {"replicas": [one] * count}
        kvplace = {"deployed_app_config": application, "deployments": deployments}
        answers = {
            "/api/serve/applications/": {"applications": {"kvplace": kvplace}},
            "/api/v0/nodes?limit=10000": {"data": {"result": {"result": nodes}}},
        }
        with answering(answers) as (url, _):
            return verdict(capsys, f"ray-serve={url}")

    assert running("to/before-serve.yaml")[1]["verdict"] == "ready"
    code, found = running("to/serve.yaml")
    assert (code, found["verdict"]) == (0, "done")


def test_what_runs_has_to_be_given_once(proposal, capsys):
    assert main(["verify", proposal]) == 2
    assert "--observe" in capsys.readouterr().err
    args = ["--observed", "running.csv", "--observe", "compose=x.yaml"]
    assert main(["verify", proposal, *args]) == 2


def test_a_proposal_says_which_engines_are_seen(proposal, capsys):
    assert main(["export", proposal, "--to", "compose", "--kv", "kvcached", "-o", "to"]) == 0
    ps("to/before-compose-h-0.yaml", services("to/before-compose-h-0.yaml"))
    capsys.readouterr()
    args = ["compose=to/before-compose-h-0.yaml", "--plan", proposal, "--format", "json"]
    assert main(["observe", *args]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert {(e["model"], *e["gpus"]) for e in seen["engines"]} == {
        ("org/a", "h-0/0"),
        ("org/b", "h-0/0"),
        ("org/c", "h-0/1"),
    }
