"""``kvplace observe``: from runtimes to an observation that replan and verify take."""

import json

import pytest
from answering import answering
from test_replan import FLEET, MODEL, MODELS, RUNNING, table

import kvplace
from kvplace.cli.main import main
from kvplace.formats.observation import read_observation


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    models = "".join(MODEL.format(name=n, weights=w, rate=r) for n, w, r in MODELS)
    (tmp_path / "fleet.yaml").write_text(FLEET + models)
    (tmp_path / "running.csv").write_text(table(RUNNING))
    return tmp_path


def test_what_is_seen_is_planned_on(here, capsys):
    listed = {"models": {name: {"endpoint": ""} for name in RUNNING}}
    health = {f"/health/{n}": {"model": n, "health": {"x": True}} for n in RUNNING}
    with answering({"/models": listed, **health}) as (url, _):
        args = ["observe", f"kvcached={url}", "--plan", "running.csv", "--fleet", "fleet.yaml"]
        assert main([*args, "--format", "json", "-o", "now.json"]) == 0
    seen = read_observation("now.json")
    assert {e.model: e.gpus[0] for e in seen.engines} == RUNNING
    assert main(["replan", "fleet.yaml", "--current", "now.json", "--max-moves", "1"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["~", "b"]
    assert main(["replan", "fleet.yaml", "--current", "now.json", "--format", "json",
                 "-o", "proposal.json"]) == 0  # fmt: skip
    assert main(["verify", "proposal.json", "--observed", "now.json"]) == 0
    assert "ready" in capsys.readouterr().out


def test_gpus_that_the_user_states(here, capsys):
    with answering({"/v1/models": {"data": [{"id": "a"}]}, "/health": {}}) as (url, _):
        args = ["observe", f"vllm={url}", "--at", f"{url}=a-0/0,a-0/1", "--format", "json"]
        assert main(args) == 0
    (engine,) = json.loads(capsys.readouterr().out)["engines"]
    assert engine["gpus"] == ["a-0/0", "a-0/1"]


def test_nothing_that_answers(here, capsys):
    assert main(["observe", "vllm=http://127.0.0.1:9"]) == 4
    assert "does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["vllm", "vllm=", "other=http://x"])
def test_sources_that_are_none(here, capsys, source):
    assert main(["observe", source]) == 2
    assert "is no RUNTIME=PLACE" in capsys.readouterr().err


def test_the_same_from_python(here):
    listed = {"models": {name: {"endpoint": ""} for name in RUNNING}}
    health = {f"/health/{n}": {"model": n, "health": {"x": True}} for n in RUNNING}
    plan = kvplace.load_plan("running.csv", "fleet.yaml")
    with answering({"/models": listed, **health}) as (url, _):
        seen = kvplace.observe(f"kvcached={url}", plan=plan)
    assert kvplace.observed_placement(seen) == plan.placement
    (here / "now.json").write_text(kvplace.write_observation(seen))
    assert kvplace.read_observation("now.json") == seen
    with answering({"/v1/models": {"data": [{"id": "a"}]}, "/health": {}}) as (url, _):
        seen = kvplace.observe([f"vllm={url}"], placed_at={url: ["a-0/0", "a-0/1"]})
    assert seen.engines[0].gpus == ("a-0/0", "a-0/1")
    with pytest.raises(kvplace.InputError, match="is no RUNTIME=PLACE"):
        kvplace.observe("vllm")
