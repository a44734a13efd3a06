"""Every table in Markdown: ``--format markdown``, or a file that ends in ``.md``."""

import re

import click
import pytest

from kvplace.cli.main import VERBS, main, root
from kvplace.report.tables.scores import fenced, rows_markdown

FLEET = """
schema: kvplace.fleet/v1
nodes: 1x2xH100
models:
  - model: Qwen/Qwen3-8B
    demand: {requests_per_second: 1, prompt_tokens: 500, output_tokens: 100}
    slo: {ttft: 1s, tpot: 50ms}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(FLEET)
    assert main(["plan", "fleet.yaml", "-q", "-o", "plan.json"]) == 0
    return tmp_path


def tables(text):
    """Return the rows of every table, split at bars that are not escaped."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [len(re.split(r"(?<!\\)\|", row)) for row in rows]


def timeless(text):
    return re.sub(r"[\d.]+ s$", "", text, flags=re.MULTILINE)


def test_every_verb_that_prints_a_table_prints_markdown():
    context = click.Context(root)
    for verb in VERBS:
        for option in root.get_command(context, verb).params:
            if option.name == "form":
                assert "markdown" in option.type.choices, verb


@pytest.mark.parametrize(
    "call",
    [
        ["plan", "fleet.yaml"],
        ["diff", "plan.json", "plan.json"],
        ["check", "fleet.yaml", "plan.json"],
        ["explain", "fleet.yaml"],
        ["forecast", "plan.json"],
        ["catalogue", "models"],
        ["model", "Qwen/Qwen3-8B"],
        ["size", "fleet.yaml", "--target", "80%"],
    ],
    ids=lambda call: call[0],
)
def test_a_table_is_markdown_by_the_name_of_the_file(call, here, capsys):
    assert main([*call, "-q", "-o", "answer.md"]) == 0
    text = (here / "answer.md").read_text("utf-8")
    assert "\x1b" not in text
    assert text.count("```") % 2 == 0
    assert text.startswith(("#", "|", "**", "```text\n"))
    assert len(set(tables(text))) <= 2  # models and GPUs may have other columns
    assert main([*call, "-q", "--format", "markdown"]) == 0
    again = capsys.readouterr().out
    assert timeless(again) == timeless(text)


def test_a_plan_in_markdown_has_its_models_and_gpus(here):
    assert main(["plan", "fleet.yaml", "-q", "-o", "p.md"]) == 0
    text = (here / "p.md").read_text("utf-8")
    assert text.startswith("### Plan: worst GPU at a pressure of ")
    assert "| Qwen/Qwen3-8B | 1 | " in text
    assert "1 idle GPU: H100/" in text


def test_cells_stay_in_their_columns():
    text = rows_markdown([{"name": "a|b", "value": "<b>`x`"}, {"name": "-", "value": "1"}])
    assert text.splitlines()[2] == "| a\\|b | \\<b\\>\\`x\\` |"
    assert set(tables(text)) == {4}
    assert fenced("a ``` b").startswith("````text\n")
