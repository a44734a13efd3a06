"""The script behind the action: a plan's changes against the base branch, as Markdown."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".github/plan-diff.sh"
FLEET = """schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: G, memory: 80GiB}}]
models:
  - {name: a, weights: 30GiB, demand: {requests_per_second: 2}, slo: {latency: 1s}}
"""
MORE = "  - {name: b, weights: WEIGHTS, demand: {requests_per_second: 2}, slo: {latency: 1s}}\n"


@pytest.fixture
def repository(tmp_path):
    def git(*words):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (tmp_path / "fleet.yaml").write_text(FLEET)
    git("add", ".")
    git("commit", "-q", "-m", "base")
    return tmp_path


def run(repository):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", SCRIPT, "fleet.yaml", "main", "5s"],
        cwd=repository, env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_what_a_new_model_changes_is_said(repository):
    (repository / "fleet.yaml").write_text(FLEET + MORE.replace("WEIGHTS", "20GiB"))
    done = run(repository)
    assert done.returncode == 0, done.stderr
    assert "b" in done.stdout
    assert "start" in done.stdout.lower()


def test_an_infeasible_fleet_says_why_and_exits_with_3(repository):
    (repository / "fleet.yaml").write_text(FLEET + MORE.replace("WEIGHTS", "90GiB"))
    done = run(repository)
    assert done.returncode == 3
    assert "cannot be placed" in done.stdout


def test_a_file_that_is_new_has_no_baseline(repository):
    (repository / "fleet.yaml").rename(repository / "other.yaml")
    shutil.copy(repository / "other.yaml", repository / "fleet.yaml")
    subprocess.run(["git", "rm", "-q", "--cached", "fleet.yaml"], cwd=repository, check=True)
    done = run(repository)
    assert done.returncode == 0, done.stderr


def test_the_action_runs_the_script_with_its_inputs():
    action = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
    steps = action["runs"]["steps"]
    assert any(".github/plan-diff.sh" in step.get("run", "") for step in steps)
    assert set(action["inputs"]) == {"fleet", "time-limit", "base"}
    # Inputs reach the shell as variables, never as text of the script.
    assert not any("${{" in step.get("run", "") for step in steps)


def test_the_container_installs_extras_that_exist():
    text = (ROOT / "Dockerfile").read_text("utf-8")
    extras = text.partition("/src[")[2].partition("]")[0].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(extras) <= set(known["project"]["optional-dependencies"])
