"""Runbooks: the right commands in the safe order, a dry run, a stop, a way to go on."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import yaml
from stubs import Stubs

from hostile import hostile_name
from kvplace.checking.load import load_stated
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement, Replica
from kvplace.core.problem import Problem
from kvplace.errors import InputError
from kvplace.export.files import Options
from kvplace.export.runbook.engines import engines_of
from kvplace.export.runbook.runbook import RUNBOOKS, runbook
from kvplace.formats.plan.schema import ReplicaPart
from kvplace.formats.proposal import target_of
from kvplace.replan.outcome import Budget
from kvplace.replan.proposal import propose
from kvplace.replan.reasons import reasons_for
from kvplace.replan.replan import replan
from kvplace.replan.schedule.changes import changes, renumbered
from kvplace.replan.schedule.sequence import sequence

GIB = 2**30
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FAR = timedelta(days=36500)


def model(name, gib, rate=1.0, **more):
    return Model(
        name, gib * GIB, Demand(rate), SLO(latency_seconds=5.0), overhead_bytes=GIB,
        min_kv_bytes=GIB, **more,
    )  # fmt: skip


def fleet(*nodes, gpus=2, gib=80):
    return Fleet(
        tuple(
            Node(name, tuple(GPU(f"{name}/{at}", "X", gib * GIB) for at in range(gpus)))
            for name in nodes
        )
    )


def at(*places):
    pairs = (place.rsplit(" ", 1) for place in places)
    return Placement(tuple(Replica(name, 0, (gpu,)) for name, gpu in pairs))


def proposed(models, where, before, after):
    """Return the proposal that leads from one placement to another, and its plan."""
    problem = Problem(models, where)
    found = replan(problem, before, budget=Budget(), fresh=after, compare=False)
    chosen = replan_to(problem, before, after, found)
    proposal = propose(chosen, NOW, FAR, engines_of(chosen))
    return proposal, load_stated(target_of(proposal), "")


def replan_to(problem, before, after, found, former=None, pricing=None):
    """Return a re-plan that leads to a placement, whatever is best."""
    after = renumbered(before, after, problem.fleet)
    todo = tuple(changes(before, after))
    worth = evaluate(problem, after)
    return replace(
        found, placement=after, after=worth, changes=todo, bound=0.0,
        reasons=tuple(reasons_for(problem, before, found.before, worth, todo)),
        schedule=sequence(problem, before, after, former=former, pricing=pricing),
    )  # fmt: skip


MODELS = (model("org/a", 20), model("org/b", 20), model("org/c", 10))
BEFORE = at("org/a n/0", "org/b n/0", "org/c n/1")
AFTER = at("org/a n/1", "org/b n/0", "org/c n/1")


@pytest.fixture(scope="module")
def moved():
    """One node; one of three models moves from its first GPU to its second."""
    return proposed(MODELS, fleet("n"), BEFORE, AFTER)


def written(found, tmp_path):
    tmp_path.mkdir(exist_ok=True)
    found.write(tmp_path / "book")
    return tmp_path / "book" / "runbook.sh"


def asked_of(stubs, *names):
    return [words for words in stubs.asked() if words[0] in names]


def test_who_moves_on_its_node_gets_a_name_and_a_port_of_its_own(moved):
    proposal, result = moved
    old = {part.model: (part.label, part.port) for part in proposal.current}
    new = {name[0]: (n.label, n.port) for name, n in result.engine_names.items()}
    assert new["org/b"] == old["org/b"]
    assert new["org/c"] == old["org/c"]
    assert new["org/a"][0] == "org-a-b"
    assert new["org/a"][1] not in {port for _, port in old.values()}


def test_a_later_plan_gives_the_plain_name_back(moved):
    _, result = moved
    problem = result.problem
    again = replan(problem, result.placement, budget=Budget(moves=0), compare=False)
    back = replan_to(problem, result.placement, BEFORE, again)
    names = engines_of(back, result).names
    assert names.get(("org/a", 0)) is None or names["org/a", 0].label == "org-a"


@pytest.mark.parametrize("to", RUNBOOKS)
def test_a_dry_run_prints_every_step_and_gives_no_command(to, moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, to), tmp_path)
    done = stubs.run(script, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert stubs.asked() == []
    assert done.stdout.count("\nstep ") + done.stdout.startswith("step ") >= 1
    assert "+ " in done.stdout
    assert not (script.parent / "runbook.done").exists()


@pytest.mark.parametrize("to", RUNBOOKS)
def test_a_runbook_ends_well_and_a_second_run_gives_no_command(to, moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, to), tmp_path)
    done = stubs.run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all steps are done\n")
    stubs.forget()
    assert stubs.run(script).returncode == 0
    assert stubs.asked() == []
    listed = stubs.run(script, "--list").stdout.splitlines()
    assert listed
    assert all(line.startswith("[x] ") for line in listed)


def test_compose_names_the_project_that_is_missing_but_shows_a_dry_run(moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, "compose", Options(pool="kvcached")), tmp_path)
    dry = stubs.run(script, "--dry-run", COMPOSE_PROJECT_NAME="")
    assert dry.returncode == 0, dry.stderr
    assert "-p COMPOSE_PROJECT_NAME" in dry.stdout
    real = stubs.run(script, COMPOSE_PROJECT_NAME="")
    assert real.returncode == 1
    assert "set COMPOSE_PROJECT_NAME" in real.stderr
    assert stubs.asked() == []


def test_compose_starts_the_new_engine_before_it_stops_the_old_one(moved, tmp_path):
    stubs = Stubs(tmp_path)
    done = stubs.run(written(runbook(*moved, "compose", Options(pool="kvcached")), tmp_path))
    assert done.returncode == 0, done.stderr
    start, look, stop, remove = asked_of(stubs, "docker")
    assert start[1:] == [
        "compose", "-p", "live", "-f", "compose-n.yaml", "up", "-d", "--no-deps", "org-a-b",
    ]  # fmt: skip
    assert look[-1] == "label=com.docker.compose.service=org-a"
    assert [stop[1], stop[-1]] == ["stop", "id-of-org-a"]
    assert [remove[1], remove[-1]] == ["rm", "id-of-org-a"]
    order = [(words[0], words[1]) for words in stubs.asked()]
    assert (
        order.index(("hook", "add"))
        < order.index(("hook", "remove"))
        < order.index(("docker", "stop"))
    )
    services = yaml.safe_load((tmp_path / "book" / "compose-n.yaml").read_text())["services"]
    assert set(services) == {"org-a-b", "org-b", "org-c"}


def test_fixed_parts_start_neighbours_again_and_say_so(moved, tmp_path):
    found = runbook(*moved, "compose")
    assert any("start again with another part" in note for note in found.notes)
    stubs = Stubs(tmp_path)
    assert stubs.run(written(found, tmp_path)).returncode == 0
    started = [words[-1] for words in asked_of(stubs, "docker") if "up" in words]
    # The neighbour makes room, the newcomer starts; at last who stays takes what was left to it.
    assert started == ["org-c", "org-a-b", "org-b"]


def test_a_failure_stops_and_a_second_run_goes_on_there(moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, "kvcached"), tmp_path)
    gone = stubs.run(script, fails="tmux kill-session -t =kvcached-org-a_")
    assert gone.returncode == 0  # whoever is gone already is no failure
    stubs = Stubs(tmp_path / "other")
    script = written(runbook(*moved, "compose", Options(pool="kvcached")), tmp_path / "more")
    failed = stubs.run(script, fails="docker stop")
    assert failed.returncode != 0
    assert "mend the cause" in failed.stderr
    assert "[~] 4" in stubs.run(script, "--list").stdout
    stubs.forget()
    assert stubs.run(script).returncode == 0
    assert [words[1] for words in asked_of(stubs, "docker")] == ["ps", "stop", "rm"]


def test_a_runbook_of_another_proposal_or_of_a_time_that_is_over_is_refused(moved, tmp_path):
    stubs = Stubs(tmp_path)
    script = written(runbook(*moved, "kubernetes"), tmp_path)
    (script.parent / "runbook.done").write_text("proposal other\n1\n")
    assert "of another proposal" in stubs.run(script).stderr
    (script.parent / "runbook.done").unlink()
    script.write_text(script.read_text().replace("expires=2", "expires=1"))
    assert "time of this proposal was over" in stubs.run(script).stderr
    assert stubs.asked() == []
    assert stubs.run(script, "--expired").returncode == 0


def test_kubernetes_makes_the_pod_that_gains_first_and_names_who_is_down(moved, tmp_path):
    found = runbook(*moved, "kubernetes")
    stubs = Stubs(tmp_path)
    assert stubs.run(written(found, tmp_path)).returncode == 0
    applied = [words[-1] for words in asked_of(stubs, "kubectl") if "apply" in words]
    assert applied == ["services.yaml", "group-n-g1.yaml", "group-n-g0.yaml"]
    # The pod of the second GPU takes org/c down, the one of the first org/b.
    assert any("org/b, org/c" in note for note in found.notes)


def test_aibrix_claims_the_new_pool_before_it_gives_up_the_old_claim(moved, tmp_path):
    stubs = Stubs(tmp_path)
    assert stubs.run(written(runbook(*moved, "aibrix"), tmp_path)).returncode == 0
    given = [words[1:] for words in asked_of(stubs, "kubectl")]
    assert given[0] == ["apply", "-f", "claim-org-a-b.yaml"]
    assert given[1][0] == "wait"
    assert given[2] == ["delete", "modelclaim.model.aibrix.ai/org-a", "--ignore-not-found"]


def test_nodes_are_reached_by_ssh_and_words_arrive_whole(tmp_path):
    # Both hosts change; the names hold what a shell would take for more than words.
    models = tuple(model(name, 20) for name in ("a'; touch HACKED; '", "$(touch HACKED)`x`", "c"))
    names = [m.name for m in models]
    before = at(f"{names[0]} n/0", f"{names[1]} n/0", f"{names[2]} m/0")
    after = at(f"{names[0]} m/1", f"{names[1]} n/0", f"{names[2]} m/0")
    found = runbook(*proposed(models, fleet("n", "m"), before, after), "kvcached")
    stubs = Stubs(tmp_path)
    done = stubs.run(written(found, tmp_path), HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("HACKED"))
    hosts = {words[-1] for words in asked_of(stubs, "tmux") if words[-1].startswith("@")}
    assert hosts == {"@m", "@n"}
    hooked = runbook(*proposed(models, fleet("n", "m"), before, after), "compose",
                     Options(pool="kvcached"))  # fmt: skip
    stubs = Stubs(tmp_path / "compose")
    assert stubs.run(written(hooked, tmp_path / "compose")).returncode == 0
    assert [words[2] for words in asked_of(stubs, "hook")] == [names[0], names[0]]
    assert not list(tmp_path.rglob("HACKED"))


def _is_a_name(text):
    """Whether a fleet file could hold a name."""
    try:
        ReplicaPart(model=text, replica=0, gpus=("n/0",))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("to", RUNBOOKS)
def test_hostile_names_stay_words(to, tmp_path):
    chance, unique = Random(5), set()
    names = [name for _ in range(60) if _is_a_name(name := hostile_name(chance, unique))][:12]
    models = tuple(model(name, 2) for name in names)
    before = Placement(tuple(Replica(n, 0, ("n/0",)) for n in names))
    after = Placement(tuple(Replica(n, 0, (f"n/{at % 2}",)) for at, n in enumerate(names)))
    try:
        found = runbook(*proposed(models, fleet("n"), before, after), to, Options(pool="kvcached"))
    except InputError as error:
        pytest.skip(f"the runtime cannot carry such names: {error}")
    stubs = Stubs(tmp_path)
    script = written(found, tmp_path)
    done = stubs.run(script, HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="apt-get install shellcheck")
@pytest.mark.parametrize("to", RUNBOOKS)
def test_shellcheck_finds_nothing(to, moved, tmp_path):
    script = written(runbook(*moved, to), tmp_path)
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_runtime_without_a_runbook_is_refused(moved):
    with pytest.raises(InputError, match="no runbook for 'prism'"):
        runbook(*moved, "prism")


def test_a_runbook_may_be_called_from_anywhere_by_a_relative_path(moved, tmp_path):
    script = written(runbook(*moved, "kubernetes"), tmp_path)
    done = subprocess.run(
        ["bash", "book/runbook.sh", "--list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[ ] 1 ")
    assert script.exists()
