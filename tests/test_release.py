"""A release: the version is stated once, and the changelog has a dated section for it."""

import re
import tomllib
from pathlib import Path

from kvplace import __version__

ROOT = Path(__file__).parents[1]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_changelog_has_a_dated_section_for_the_version_and_room_for_what_comes():
    sections = re.findall(r"^## \[(.+?)\](.*)$", CHANGELOG, re.MULTILINE)
    assert sections[0] == ("Unreleased", "")
    assert sections[1][0] == __version__
    assert all(re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date) for _, date in sections[1:])
    for name, _ in sections:
        assert f"\n[{name}]: https://" in CHANGELOG


def test_the_page_on_releases_names_where_the_version_is():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    path = about["tool"]["hatch"]["version"]["path"]
    assert f"`{path}`" in (ROOT / "docs/releasing.md").read_text("utf-8")
    assert __version__ in (ROOT / path).read_text("utf-8")


def test_who_made_it_and_where_it_is_are_stated():
    about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert about["authors"]
    assert {"Homepage", "Documentation", "Changelog", "Issues"} <= set(about["urls"])
