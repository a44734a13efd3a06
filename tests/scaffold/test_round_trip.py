"""What kvplace exports, it reads again: models, degrees and, where the file says them, GPUs."""

import json

import pytest
import yaml

from kvplace.cli.main import main
from kvplace.scaffold.deployments.read import read_deployment

FLEET = {
    "schema": "kvplace.fleet/v1",
    "nodes": [{"name": "h", "gpus": 4, "gpu": {"type": "x", "memory": "80GiB"}}],
    "models": [
        {"name": "org/small", "weights": "16GiB", "kv_bytes_per_token": 131072, "replicas": 2,
         "demand": {"requests_per_second": 1, "prompt_tokens": 9, "output_tokens": 9},
         "slo": {"ttft": "1s", "tpot": "50ms"}},
        {"name": "org/large", "weights": "100GiB", "kv_bytes_per_token": 131072,
         "tensor_parallel": 2,
         "demand": {"requests_per_second": 1, "prompt_tokens": 9, "output_tokens": 9},
         "slo": {"ttft": "1s", "tpot": "50ms"}},
    ],
}  # fmt: skip
SAYS_GPUS = ("aibrix", "compose", "kubernetes", "kvcached", "llama-swap", "prism", "shell")


@pytest.mark.parametrize("runtime", [*SAYS_GPUS, "ray-serve"])
def test_an_export_is_read_again(runtime, tmp_path, capsys):
    fleet, plan, out = tmp_path / "f.yaml", tmp_path / "p.json", tmp_path / "out"
    fleet.write_text(yaml.safe_dump(FLEET))
    assert main(["plan", str(fleet), "--format", "json", "--output", str(plan), "--quiet"]) == 0
    assert main(["export", str(plan), "--to", runtime, "--output", str(out)]) == 0
    capsys.readouterr()
    files = sorted(out.iterdir())
    if runtime == "kvcached":
        files = [file for file in files if file.name.startswith("node-")]
    joined = "\n---\n".join(file.read_text() for file in files)
    found = read_deployment(joined if len(files) > 1 else files[0].read_text(), str(files[0]))
    placed = sorted(
        (p["model"], len(p["gpus"]), [int(g.rpartition("/")[2]) for g in p["gpus"]])
        for p in json.loads(plan.read_text())["placements"]
    )
    told = sorted(
        (i.model, i.degree, list(i.gpus) if i.gpus is not None else None) for i in found.instances
    )
    if runtime in SAYS_GPUS:
        assert told == [tuple(row) for row in placed]
    else:
        assert [row[:2] for row in told] == [row[:2] for row in placed]
    assert found.unread == ()
