"""README and tutorial do what they show; the generated page and the pictures are current.

In a ``console`` block each line that starts with ``$ `` is run by bash in a copy of the
examples, with ``kvplace`` from this environment, and every line shown below it must be among what
the command printed, times aside; ``...`` stands for lines left out. Commands must succeed unless
the block asks for ``echo $?``, which prints the last exit code.
"""

import os
import re
import runpy
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import python_reference
from kvplace.cli.reference import reference

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "docs/tutorial.md"]
ASK, MORE = "echo $?", "..."
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = re.compile(r"\d+\.\d+ s\b")


def blocks(page, language):
    """Return the fenced blocks of a page that are in one language."""
    text = (ROOT / page).read_text("utf-8")
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def steps(block):
    """Split a console block into commands, each with the lines shown below it."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def comparable(line):
    """Return the line without what differs from run to run."""
    return re.sub(r"\s+", " ", _TIME.sub("T s", line)).strip()


def run_steps(block, directory):
    """Run the commands of a block; yield each with the lines shown, its output and exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    code = 0
    for command, shown in steps(block):
        before = f"(exit {code}); " if command == ASK else ""
        done = subprocess.run(
            ["bash", "-c", before + command],
            cwd=directory, env=environment, capture_output=True, text=True, check=False,
            timeout=120, encoding="utf-8",
        )  # fmt: skip
        code = done.returncode
        yield command, shown, (done.stdout + done.stderr).splitlines(), code


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_print_what_the_page_shows(page, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for block in blocks(page, "console"):
        run = list(run_steps(block, tmp_path))
        for at, (command, shown, printed, code) in enumerate(run):
            asked = at + 1 < len(run) and run[at + 1][0] == ASK
            assert code == 0 or asked, f"{command}: exit code {code}: {printed}"
            there = {comparable(line) for line in printed}
            missing = [line for line in shown if line != MORE and comparable(line) not in there]
            assert not missing, f"{command}\nnot printed: {missing}\nprinted: {printed}"


@pytest.mark.parametrize(
    ("page", "one_session"),
    [("README.md", False), ("docs/how-to/python.md", False), ("docs/how-to/notebook.md", True)],
)
def test_the_python_of_a_page_runs(page, one_session, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    found = blocks(page, "python")
    for block in ["\n".join(found)] if one_session else found:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", block],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected = re.findall(r"# -> (.*)", block)
        assert done.stdout.splitlines() == expected


def test_the_readme_s_two_commands_are_one_line_each_and_ci_runs_the_second():
    first, second = (block.strip() for block in blocks("README.md", "sh")[:2])
    assert "\n" not in first + second
    assert first.startswith("python3 -m venv .venv && .venv/bin/pip install -q . && ")
    assert first.endswith(".venv/bin/kvplace plan examples/open-models.yaml")
    assert second.endswith(".venv/bin/python -m pytest -n 2")
    runner = ROOT / ".ci/run"
    assert runner.read_text().splitlines()[-1] == second
    assert os.access(runner, os.X_OK)


def test_the_command_line_reference_is_current():
    page = (ROOT / "docs/reference/cli.md").read_text("utf-8")
    assert page == reference(), "run: python -m kvplace.cli.reference > docs/reference/cli.md"


def test_the_python_reference_is_current():
    page = (ROOT / "docs/reference/python.md").read_text("utf-8")
    assert page == python_reference.reference(), "run: python tests/python_reference.py"


def test_the_table_of_knobs_is_current(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    knobs = runpy.run_path(str(ROOT / "benchmarks/stages.py"))["knobs"]()
    assert (ROOT / "docs/stages.md").read_text("utf-8").endswith(knobs)


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
        for target, anchor in re.findall(
            r"\]\(([^)#\s]*\.md)?#([^)\s]+)\)", page.read_text("utf-8")
        ):
            held = (page.parent / target if target else page).read_text("utf-8")
            heads = re.findall(r"^#+ (.*)$", held, re.MULTILINE)
            assert anchor in {_anchor(head) for head in heads}, f"{page.name}: {target}#{anchor}"


def _anchor(heading):
    """Return the address of a heading on its page, as GitHub and Markdown readers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_pictures_are_well_formed():
    for picture in ROOT.glob("docs/images/*.svg"):
        assert ET.parse(picture).getroot().tag.endswith("svg")
