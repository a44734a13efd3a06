"""The command that installs an extra is one that works where kvplace runs."""

import json
import sys
from importlib.metadata import PackageNotFoundError

import pytest

from kvplace import extras
from kvplace.extras import install_command, missing_extra


class Installed:
    """A distribution that was installed from somewhere."""

    def __init__(self, origin=None):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory without anything, and a Python with pip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setattr(extras, "find_spec", lambda _: object())

    def installed(origin):
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed(origin))

    installed(None)
    return tmp_path, installed, monkeypatch


def test_a_package_from_an_index_is_named(here):
    assert install_command("logs") == "./.venv/bin/python -m pip install 'kvplace[logs]'"
    assert str(missing_extra("a page", "report")).startswith("a page needs the extra 'report': ./")


def test_a_clone_is_installed_from_its_directory(here):
    directory, installed, _ = here
    installed({"url": directory.as_uri(), "dir_info": {}})
    assert install_command("logs") == "./.venv/bin/python -m pip install '.[logs]'"
    installed({"url": directory.as_uri(), "dir_info": {"editable": True}})
    assert install_command("logs") == "./.venv/bin/python -m pip install -e '.[logs]'"
    other = directory / "it's here"
    other.mkdir()
    installed({"url": other.as_uri(), "dir_info": {}})
    assert install_command("hub").endswith("""pip install './it'"'"'s here[hub]'""")


def test_a_wheel_is_installed_from_its_file(here):
    directory, installed, _ = here
    wheel = directory / "kvplace-1.0-py3-none-any.whl"
    origin = {"url": wheel.as_uri(), "archive_info": {}}
    installed(origin)
    assert install_command("all").endswith("pip install 'kvplace[all]'")  # the file is gone
    wheel.touch()
    assert install_command("all").endswith("pip install './kvplace-1.0-py3-none-any.whl[all]'")


def test_a_repository_is_installed_from_its_address(here):
    _, installed, _ = here
    installed({"url": "https://example.org/k.git", "vcs_info": {"vcs": "git"}})
    assert "'kvplace[all] @ git+https://example.org/k.git'" in install_command("all")


def test_uv_is_named_where_it_made_the_environment(here):
    directory, _installed, monkeypatch = here
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    assert install_command("logs").startswith("uv pip install --python ./.venv/bin/python 'kv")
    (directory / "pyproject.toml").write_text('[project]\nname = "kvplace"\n')
    monkeypatch.setenv("UV", "/usr/bin/uv")
    assert install_command("logs").startswith("uv run --extra logs kvplace ...")
    assert "uv sync --extra logs" in install_command("logs")


def test_sources_that_were_never_installed_are_installed_in_place(here):
    _, _, monkeypatch = here

    def missing(_):
        raise PackageNotFoundError

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    command = install_command("logs")
    assert " install -e '" in command
    assert command.endswith("[logs]'")
