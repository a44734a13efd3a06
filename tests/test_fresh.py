"""The how-to pages in environments that have nothing but what each page installs.

::

    pytest -m heavy tests/test_fresh.py

A wheel is built from this tree. Each set of extras that a page names is an environment of its own,
made by the package index that pip is set up for. The commands run as a shell runs them, in a copy
of ``examples/samples``, one after the other.
"""

import os
import subprocess
import sys
import venv

import pytest

from test_how_to import INSTALLS, PAGES, ROOT, commands

pytestmark = pytest.mark.heavy
_NOT_HERE = {"ray"}
"""Extras for commands that need a cluster, which are left out."""


def extras(page):
    """Return the extras that a page installs."""
    text = (ROOT / "docs/how-to" / page).read_text("utf-8")
    named = {name for some in INSTALLS.findall(text) for name in some.split(",")}
    return tuple(sorted(named - _NOT_HERE))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this tree."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, ROOT], check=True
    )
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A function that returns an environment with some extras, made once for each set."""
    made = {}

    def of(names):
        if names not in made:
            where = tmp_path_factory.mktemp("-".join(names) or "base") / "venv"
            venv.create(where, with_pip=True)
            what = f"{wheel}[{','.join(names)}]" if names else str(wheel)
            subprocess.run([where / "bin/pip", "install", "-q", what], check=True)
            made[names] = where
        return made[names]

    return of


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_a_page_in_a_fresh_environment(page, environment, tmp_path):
    where = environment(extras(page))
    inside = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "KVPLACE"))}
    inside["PATH"] = f"{where / 'bin'}:{inside['PATH']}"

    def run(line):
        return subprocess.run(
            ["bash", "-c", line], cwd=tmp_path / "samples", env=inside, check=False,
            capture_output=True, text=True,
        )  # fmt: skip

    subprocess.run(["cp", "-r", ROOT / "examples/samples", tmp_path / "samples"], check=True)
    prepared = run("bash prepare.sh")
    assert prepared.returncode == 0, prepared.stderr
    for line in commands(page):
        done = run(line)
        answers = line.split()[1] in ("diff", "watch", "verify")
        assert done.returncode == 0 or (done.returncode == 1 and answers), f"{line}: {done.stderr}"
