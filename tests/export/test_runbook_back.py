"""The way back of a runbook: from wherever it stopped, what ran before runs again."""

import sys
import time

import pytest
import yaml
from stubs import Stubs
from test_runbook import FAR, NOW, fleet, model, moved, replan_to, written

from kvplace.checking.load import load_stated
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.files import Options
from kvplace.export.runbook.engines import engines_of
from kvplace.export.runbook.runbook import RUNBOOKS, runbook
from kvplace.formats.proposal import read_proposal, target_of, write_proposal
from kvplace.replan.outcome import Budget
from kvplace.replan.proposal import propose
from kvplace.replan.replan import replan
from kvplace.replan.schedule.steps import Pricing
from kvplace.solver.solve import solve

assert moved  # a fixture


def proposed_in(directory, pricing=None):
    """One model moves, one is new, one is gone, one stays; the node has two GPUs."""
    ran = Problem(tuple(model(name, 12) for name in ("stay", "move", "gone")), fleet("n"))
    before = solve(ran)
    wanted = Problem(tuple(model(name, 12) for name in ("stay", "move", "new")), fleet("n"))
    where = {r.model: r.gpus[0] for r in before.placement}
    other = {"n/0": "n/1", "n/1": "n/0"}
    after = Placement(
        (
            Replica("stay", 0, (where["stay"],)),
            Replica("move", 0, (other[where["move"]],)),
            Replica("new", 0, (where["gone"],)),
        )
    )
    former = {m.name: m for m in ran.models}
    found = replan(wanted, before.placement, budget=Budget(), former=former, compare=False)
    chosen = replan_to(wanted, before.placement, after, found, former, pricing)
    proposal = propose(chosen, NOW, FAR, engines_of(chosen, before))
    path = directory / "proposal.json"
    path.write_text(write_proposal(proposal))
    proposal = read_proposal(path)
    return proposal, load_stated(target_of(proposal), "")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return proposed_in(tmp_path_factory.mktemp("proposal"))


def world(stubs, book, to, start=None):
    """What runs after the commands that were given, under every name that they speak of."""
    found = dict(start or {})
    for words in stubs.asked():
        name, *rest = words
        if name == "docker" and "up" in rest:
            services = yaml.safe_load((book / rest[rest.index("-f") + 1]).read_text())["services"]
            found[rest[-1]] = services[rest[-1]]["command"]
        elif name == "docker" and "rm" in rest:
            found[rest[-1].removeprefix("id-of-")] = None
        elif name == "kubectl" and "apply" in rest:
            for one in yaml.safe_load_all((book / rest[-1]).read_text()):
                kind, label = one["kind"].lower(), one["metadata"]["name"]
                found[kind.replace("modelclaim", "modelclaim.model.aibrix.ai"), label] = one
        elif name == "kubectl" and "delete" in rest:
            for one in rest:
                if "/" in one:
                    found[tuple(one.split("/"))] = None
        elif name == "python3" and "--config" in rest:
            file = yaml.safe_load((book / rest[-1].rpartition("/")[2]).read_text())
            found.update({one["name"]: one["engine_args"] for one in file["instances"]})
        elif name == "tmux" and "kill-session" in rest:
            found[rest[2].removeprefix("=kvcached-")] = None
        elif name == "tmux" and "new-session" in rest:
            file = rest[-1].split("--config_path ")[1].split()[0].rpartition("/")[2]
            found["frontend"] = yaml.safe_load((book / file).read_text())["instances"]
        elif name == "hook":
            found["route", *rest[1:]] = True if rest[0] == "add" else None
        elif name == "serve":
            found["serve"] = yaml.safe_load((book / rest[1]).read_text())
        elif name == "setsid" or (name == "pkill" and to == "llama-swap"):
            found["node"] = rest
    return {key: value for key, value in found.items() if value is not None}


CASES = [(to, "static") for to in RUNBOOKS] + [("compose", "kvcached"), ("kubernetes", "kvcached")]


@pytest.mark.parametrize(("to", "pool"), CASES)
def test_a_whole_way_there_and_back_leaves_what_ran(to, pool, mixed, tmp_path):
    found = runbook(*mixed, to, Options(pool=pool))
    stubs = Stubs(tmp_path)
    script = written(found, tmp_path)
    dry = stubs.run(script, "--back", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "+ " in dry.stdout
    assert stubs.asked() == []
    assert "nothing is to be taken back" in stubs.run(script, "--back").stdout
    assert stubs.run(script).returncode == 0
    there = world(stubs, script.parent, to)
    done = stubs.run(script, "--back")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all is taken back\n")
    assert not (script.parent / "runbook.done").exists()
    assert world(stubs, script.parent, to) != there or to == "llama-swap"
    assert "before-" in script.read_text()
    assert "nothing is to be taken back" in stubs.run(script, "--back").stdout


@pytest.mark.parametrize("tries", [6, pytest.param(sys.maxsize, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("to", ["compose", "kvcached", "kubernetes", "aibrix"])
def test_back_from_every_command_runs_what_ran(to, tries, mixed, tmp_path):
    found = runbook(*mixed, to, Options(pool="kvcached"))
    whole = Stubs(tmp_path / "whole")
    script = written(found, tmp_path / "whole")
    assert whole.run(script).returncode == 0
    commands = len(whole.asked())
    assert whole.run(script, "--back").returncode == 0
    before = world(whole, script.parent, to)
    names = {"move_", "gone_"} if to == "kvcached" else {"move", "gone"}
    assert names <= {str(key[-1] if isinstance(key, tuple) else key) for key in before}
    step = max(1, commands // tries)
    for at in range(int(time.time()) % step, commands, step):  # others every time
        stubs = Stubs(tmp_path / str(at))
        script = written(found, tmp_path / str(at))
        stubs.run(script, STUB_FAILS_AT=str(at))
        assert stubs.run(script, "--back").returncode == 0
        assert world(stubs, script.parent, to, before) == before, at


def test_a_step_that_is_half_taken_back_is_done_again_either_way(moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, "compose", Options(pool="kvcached")), tmp_path)
    assert stubs.run(script).returncode == 0
    failed = stubs.run(script, "--back", fails="docker compose")
    assert failed.returncode != 0
    assert "half taken back" in failed.stderr
    assert "[~] 4" in stubs.run(script, "--list").stdout
    stubs.forget()
    assert stubs.run(script).returncode == 0  # forward again
    assert [words[1] for words in stubs.asked()] == ["ps", "stop", "rm"]
    assert stubs.run(script, "--back").returncode == 0


def test_what_nobody_knows_how_to_start_ends_the_way_back_and_is_named(mixed, tmp_path):
    proposal, result = mixed
    proposal = proposal.model_copy(update={"former": ()})
    stubs = Stubs(tmp_path)
    script = written(runbook(proposal, result, "compose", Options(pool="kvcached")), tmp_path)
    assert stubs.run(script).returncode == 0
    ended = stubs.run(script, "--back")
    assert ended.returncode == 1
    assert "it is not known how 'gone' was started" in ended.stderr


@pytest.mark.parametrize("to", ["compose", "kvcached", "aibrix"])
@pytest.mark.parametrize("level", [1, 2])
def test_what_sleeps_is_stopped_last_and_woken_on_the_way_back(to, level, tmp_path):
    proposal, result = proposed_in(tmp_path, Pricing(sleep=level))
    kinds = [step.kind for step in proposal.steps]
    assert kinds.count("sleep") == 2
    assert kinds[-2:] == ["unload", "unload"]
    found = runbook(proposal, result, to, Options(pool="kvcached"))
    stubs = Stubs(tmp_path)
    script = written(found, tmp_path)
    assert stubs.run(script, "--dry-run").returncode == 0
    assert stubs.run(script, "--back", "--dry-run").returncode == 0
    assert stubs.asked() == []
    done = stubs.run(script)
    assert done.returncode == 0, done.stderr
    slept = [" ".join(words) for words in stubs.asked() if "sleep" in " ".join(words)]
    assert len([line for line in slept if "sleep?level=" in line or " sleep move" in line
                or " sleep gone" in line]) == 2  # fmt: skip
    assert any("--enable-sleep-mode" in note for note in found.notes) or to == "aibrix"
    if to == "compose":
        # Back from the first of the last stops: both are woken, and the engines run already.
        script = written(found, tmp_path / "again")
        stubs = Stubs(tmp_path / "again" / "stubs")
        assert stubs.run(script, fails="docker ps").returncode != 0
        assert stubs.run(script, "--back").returncode == 0
        asked = [words[-1] for words in stubs.asked() if words[0] == "curl"]
        assert sum("wake_up" in word for word in asked) == 2 * (1 if level == 1 else 2)


def test_fixed_parts_cannot_sleep(tmp_path):
    proposal, result = proposed_in(tmp_path, Pricing(sleep=1))
    with pytest.raises(InputError, match="fixed parts"):
        runbook(proposal, result, "compose")
