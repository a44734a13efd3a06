"""``kvplace report``: the page, the figure and Markdown from files."""

import json
from pathlib import Path

import pytest

from kvplace.cli.main import main

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "open-models.yaml")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = ["plan", EXAMPLE, "--format", "json", "-q", "-o"]
    assert main([*plan, "plan.json"]) == 0
    assert main([*plan, "old.json", "--solver", "prism-greedy"]) == 0
    return tmp_path


def test_a_page_with_everything(here, capsys):
    call = ["report", "plan.json", "--baseline", "old.json", "-o", "report.html"]
    assert main([*call, "--figure", "plan.svg", "--markdown", "-"]) == 0
    captured = capsys.readouterr()
    text = (here / "report.html").read_text("utf-8")
    value = json.loads((here / "plan.json").read_text())["objective"]["value"]
    assert f'data-value="{value}"' in text
    assert "Proved optimal" in text
    assert "Before and after" in text
    assert (here / "plan.svg").read_text().startswith("<?xml")
    assert captured.out.startswith("### Plan plan.json: worst GPU at a pressure of 49.96 %")
    assert "kB written to report.html" in captured.err


def test_the_same_plan_gives_the_same_page(here):
    for name in ("a.html", "b.html"):
        assert main(["report", "plan.json", "-o", name, "-q"]) == 0
    assert (here / "a.html").read_bytes() == (here / "b.html").read_bytes()


def test_a_plan_that_does_not_hold_gets_no_report(here, capsys):
    plan = json.loads((here / "plan.json").read_text())
    plan["objective"]["bound"] *= 1.01
    (here / "plan.json").write_text(json.dumps(plan))
    assert main(["report", "plan.json", "-o", "report.html"]) == 2
    assert "objective.bound" in capsys.readouterr().err
    assert not (here / "report.html").exists()


def test_it_must_be_said_what_to_write(here, capsys):
    assert main(["report", "plan.json"]) == 2
    assert "name what to write" in capsys.readouterr().err
    assert main(["report", "plan.json", "--output", "page.pdf"]) == 2
    assert "--output is a page of HTML, and .pdf is none" in capsys.readouterr().err
    assert main(["report", "plan.json", "--figure", "plan.gif"]) == 2
    assert "a figure ends in" in capsys.readouterr().err


def test_the_search_is_on_the_page_where_it_was_recorded(here):
    plan = json.loads((here / "plan.json").read_text())
    value = plan["objective"]["value"]
    plan["progress"] = [
        {"seconds": 0.1, "value": None, "bound": value / 2},
        {"seconds": 0.2, "value": 2 * value, "bound": value / 2},
        {"seconds": 0.4, "value": value, "bound": value},
    ]
    (here / "plan.json").write_text(json.dumps(plan))
    assert main(["report", "plan.json", "-o", "report.html", "-q"]) == 0
    assert "How the search went" in (here / "report.html").read_text("utf-8")


def test_tables_are_compared_with_the_fleet_file(here):
    for solver, name in (("auto", "new.csv"), ("prism-greedy", "old.csv")):
        assert main(["plan", EXAMPLE, "--solver", solver, "--format", "csv", "-q", "-o", name]) == 0
    call = ["report", "new.csv", "--baseline", "old.csv", "--fleet", EXAMPLE, "-o", "report.html"]
    assert main(call) == 0
    text = (here / "report.html").read_text("utf-8")
    assert "The plan file states no bound." in text
    assert "Before and after" in text


@pytest.mark.parametrize("rate", [0, 3])
def test_a_plan_with_a_standby_of_unknown_shape_is_read_again(rate, tmp_path, capsys):
    """By default such a fleet is planned for pressure, and its plan was taken for another's."""
    fleet, plan = str(tmp_path / "fleet.yaml"), str(tmp_path / "plan.json")
    Path(fleet).write_text(
        "schema: kvplace.fleet/v1\nnodes: 1x2xH100\nmodels:\n"
        "  - model: Qwen/Qwen3-8B\n    slo: {ttft: 1s, tpot: 50ms}\n    demand: "
        f"{{requests_per_second: {rate}, prompt_tokens: 800, output_tokens: 200}}\n"
        "  - {name: mine, weights: 3GiB, kv_bytes_per_token: 131072,"
        " demand: {requests_per_second: 0}}\n",
        "utf-8",
    )
    assert main(["plan", fleet, "--output", plan, "--quiet"]) == 0
    assert json.loads(Path(plan).read_text("utf-8"))["objective"]["name"] == "pressure"
    assert main(["check", fleet, plan]) == 0
    assert main(["export", plan, "--to", "shell", "--output", str(tmp_path / "deploy")]) == 0
    capsys.readouterr()
