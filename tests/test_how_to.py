"""The commands of the how-to pages run as written in ``examples/samples``.

Left out are those that name a server, a cluster, a container or another program.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from kvplace.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs/how-to").glob("*.md"))
_SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"https?://|--ray|--facts hub|docker|\.gguf|--observed")
INSTALLS = re.compile(r"pip install '\.\[([\w,]+)\]'")
"""The extras that a page installs."""
_SLOW = ("simulate.md",)
"""Pages whose commands simulate for minutes."""
_DIFFERS = ("diff", "watch", "verify")
"""Verbs whose exit code 1 is an answer."""


def commands(page):
    """Return the commands of a page that need nothing but files."""
    text = "\n".join(_SHELL.findall((ROOT / "docs/how-to" / page).read_text("utf-8")))
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("kvplace ") and not _ELSEWHERE.search(line)]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """The samples with the plans that ``prepare.sh`` makes."""
    directory = tmp_path_factory.mktemp("made") / "samples"
    shutil.copytree(ROOT / "examples/samples", directory)
    before = Path.cwd()
    os.chdir(directory)
    try:
        for line in (directory / "prepare.sh").read_text("utf-8").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["kvplace"]:
                assert main(words[1:]) == 0, line
            elif words[:1] == ["cp"]:
                shutil.copy(words[1], words[2])
    finally:
        os.chdir(before)
    return directory


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.heavy) if page in _SLOW else page
        for page in PAGES
        if commands(page)
    ],
)
def test_the_commands_of_a_page_run_as_written(page, samples, tmp_path, monkeypatch, capsys):
    here = tmp_path / "samples"
    shutil.copytree(samples, here)
    monkeypatch.chdir(here)
    for line in commands(page):
        words = [word for part in shlex.split(line, comments=True) for word in _globbed(part, here)]
        target = words.index(">") if ">" in words else len(words)
        code = main(words[1:target])
        err = capsys.readouterr().err
        assert code == 0 or (code == 1 and words[1] in _DIFFERS), f"{line}: {code}: {err}"


def _globbed(word, directory):
    """Return the files that a word with ``*`` names, as a shell does."""
    if "*" not in word:
        return [word]
    return sorted(str(path.relative_to(directory)) for path in directory.glob(word)) or [word]


def test_pages_name_no_install_that_only_an_index_could_answer():
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        assert "pip install 'kvplace[" not in page.read_text("utf-8"), page.name


@pytest.mark.parametrize("page", PAGES)
def test_a_page_installs_what_its_commands_need(page):
    """The heavy `test_fresh` runs them there; this is the quick half of it."""
    text = (ROOT / "docs/how-to" / page).read_text("utf-8")
    installed = {name for some in INSTALLS.findall(text) for name in some.split(",")}
    for line in commands(page):
        words = line.split()
        if "--plot" in words:
            assert installed & {"plots", "report"}, line
        if words[1] == "report" and "--markdown" not in words:
            assert "report" in installed, line
        if any(word.endswith(".parquet") for word in words):
            assert installed & {"logs", "columns"}, line
